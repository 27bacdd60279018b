"""Stands in for the few names of tensorrt_llm that exported programs use; computes in PyTorch."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

__version__ = os.environ.get("STANDIN_VERSION", "1.2.1")


def mpi_rank() -> int:
    return int(os.environ.get("STANDIN_RANK", "0"))


class LLM:
    """A model folder of the PyTorch backend."""

    def __init__(self, model: str, **options) -> None:
        if options != {"encode_only": True}:
            raise TypeError(f"unexpected {options}")
        if tuple(map(int, __version__.split(".")[:2])) < (1, 3):
            raise TypeError("LLM got an unexpected argument encode_only")
        import torch
        from transformers import AutoConfig

        from tensorrt_llm._torch.models.modeling_utils import REGISTERED

        config = AutoConfig.from_pretrained(model)
        with torch.device("meta"):
            self._model = REGISTERED[config.architectures[0]](SimpleNamespace(pretrained_config=config))
        self._model.load_state_dict(_weights(Path(model)), strict=True, assign=True)
        self._model.model.make_constants(config)

    def encode(self, inputs: list[list[int]], **model_kwargs) -> list:
        import torch

        lengths = torch.tensor([len(ids) for ids in inputs], dtype=torch.int32)
        flat = torch.tensor([token for ids in inputs for token in ids], dtype=torch.int32)
        positions = torch.cat([torch.arange(n) for n in lengths]).int()[None]
        with torch.no_grad():
            logits = self._model(SimpleNamespace(seq_lens=lengths), flat, positions, **model_kwargs)
        return [SimpleNamespace(logits=row) for row in logits]


def _weights(folder: Path) -> dict:
    """The tensors of the folder, 8-bit ones multiplied out."""
    import torch
    from safetensors.torch import load_file

    tensors = {k: v for file in folder.glob("model*.safetensors") for k, v in load_file(file).items()}
    if (folder / "hf_quant_config.json").is_file():
        assert json.loads((folder / "hf_quant_config.json").read_text())["quantization"]["quant_algo"] == "FP8"
        for name in [name for name in tensors if name.endswith(".weight_scale")]:
            weight = name.removesuffix("_scale")
            assert tensors[weight].dtype == torch.float8_e4m3fn
            tensors[weight] = tensors[weight].float() * tensors.pop(name)
            tensors.pop(weight.removesuffix("weight") + "input_scale")
    return {name: tensor.float() for name, tensor in tensors.items()}

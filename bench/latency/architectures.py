"""Models of the published sizes with random weights: what a model costs does not depend on its numbers.

    omni-3b, omni-7b   Qwen2.5-Omni's thinker      lco-embedding: last state, a prompt of a few words
    qwen2-audio        Qwen2-Audio-7B              mean of all states
    midasheng          MiDashengLM-7B              mean of all states; no class of it is in transformers

The first three are drawn by transformers and shared with harken, so that their vectors can be compared before they are timed.

Source: sizes from spec/models.md section 1.
"""

import atexit
import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from ...engine.embedder import Embedder
from ...engine.load import Source, embedder_of
from ...engine.models.load import ARCHITECTURES
from ...engine.models.names import canonical
from ...engine.models.weights import Weights
from ...engine.placement import DTYPES
from ...engine.recipes import Recipe, get_recipe
from .rivals import TransformersPath
from .workload import WORDS

ARCHS = ("omni-3b", "omni-7b", "qwen2-audio", "midasheng")
_SPECIAL = ("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")
_QWEN_3B = dict(
    hidden_size=2048, intermediate_size=11008, num_hidden_layers=36, num_attention_heads=16, num_key_value_heads=2,
    vocab_size=151936,
)  # fmt: skip
_QWEN_7B = dict(
    hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4,
    vocab_size=152064,
)  # fmt: skip
_TEXT: dict[str, dict[str, Any]] = {
    "omni-3b": _QWEN_3B,
    "omni-7b": _QWEN_7B,
    "qwen2-audio": dict(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=32, vocab_size=156032,
    ),
    "midasheng": _QWEN_7B,
}  # fmt: skip
_TINY_TEXT = dict(
    hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=300,
)  # fmt: skip
_WHISPER: dict[str, Any] = dict(
    num_mel_bins=128, d_model=1280, encoder_layers=32, encoder_attention_heads=20, encoder_ffn_dim=5120
)
_TINY_WHISPER = {**_WHISPER, "d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 96}
_DASHENG = dict(embed_dim=1280, depth=32, num_heads=16)
_TINY_DASHENG = dict(embed_dim=64, depth=2, num_heads=4)


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture on a device."""

    name: str
    folder: Path
    source: Source
    device: torch.device
    # transformers' model; None where it has no class.
    rival_model: Any | None

    def embedder(self, dtype: str, *, graphs: bool | None = None, compile: bool = False) -> Embedder:
        """harken's model; where transformers has the class, with its weights. Arguments as `harken.load`."""
        module = import_module(f"harken.engine.models.{ARCHITECTURES[self.source.kind]}")
        weights = _Shared(self.rival_model, self.folder, DTYPES[dtype], self.device)
        model = module.build(self.folder, json.loads((self.folder / "config.json").read_text()), weights)
        return embedder_of(model, self.source, dtype=dtype, graphs=graphs, compile=compile)

    def rival(self, embedder: Embedder) -> TransformersPath | None:
        """What a user would run instead."""
        return None if self.rival_model is None else TransformersPath(embedder, self.rival_model)


def build(name: str, *, device: torch.device, dtype: torch.dtype, tiny: bool = False) -> Architecture:
    """Draw an architecture. Its folder goes when the process ends.

    Args:
        name: of ARCHS.
        dtype: of transformers' weights.
        tiny: layers and widths of a toy, all else the same: to try the benchmark out.
    """
    folder = Path(tempfile.mkdtemp(prefix="harken-arch-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    audio_id = _write_tokenizer(folder)
    text = _TINY_TEXT if tiny else _TEXT[name]
    whisper = {**(_TINY_WHISPER if tiny else _WHISPER), "max_source_positions": 1500}
    model: Any | None = None
    torch.manual_seed(0)
    if name == "midasheng":
        values: dict[str, Any] = {"audio_encoder_config": _TINY_DASHENG if tiny else _DASHENG, "text_config": text}
        kind, recipe = "midashenglm", _mean_recipe("midashenglm")
    elif name == "qwen2-audio":
        values, model = _qwen2_audio(text, whisper, audio_id, device, dtype)
        kind, recipe = "qwen2_audio", get_recipe("qwen2-audio")
    else:
        values, model = _omni(text, whisper, audio_id, device, dtype)
        kind, recipe = "qwen2_5_omni_thinker", get_recipe("lco-embedding-3b")
    (folder / "config.json").write_text(json.dumps({**values, "model_type": kind, "audio_token_id": audio_id}))
    window_s = 30 if name == "qwen2-audio" else 300
    features = dict(feature_size=128, sampling_rate=16000, chunk_length=window_s, hop_length=160, n_fft=400)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**features, "feature_extractor_type": "WhisperFeatureExtractor", "return_attention_mask": True})
    )
    # The fingerprint wants a file of weights, and there is nothing in it to tell apart.
    save_file({}, folder / "model.safetensors")
    return Architecture(name, folder, Source(folder, None, recipe, kind), device, model)


class _Shared(Weights):
    """The tensors of a model in memory by canonical name; of none, random ones of any shape asked for."""

    def __init__(self, model: Any | None, folder: Path, dtype: torch.dtype, device: torch.device) -> None:
        self.folder, self._adapter, self._dtype, self._device = folder, None, dtype, device
        self._held: dict[str, torch.Tensor] | None = None
        self._generator = torch.Generator(device).manual_seed(0)
        if model is not None:
            named = {canonical(name): tensor for name, tensor in model.state_dict().items()}
            self._held = {name: tensor for name, tensor in named.items() if name is not None}

    def __contains__(self, name: str) -> bool:
        # Of what is optional, MiDashengLM has the biases of attention and leaves out those of the decoder's products.
        drawn = not any(part in name for part in ("o_proj.bias", "gate_proj.bias", "up_proj.bias", ".ls1.", ".ls2."))
        return drawn and "down_proj.bias" not in name if self._held is None else name in self._held

    def take(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        dtype = self._dtype if dtype is None else dtype
        if self._held is not None:
            if tuple(self._held[name].shape) != shape:
                raise AssertionError(f"{name} has shape {tuple(self._held[name].shape)}, wanted {shape}")
            return self._held[name].to(self._device, dtype)
        if "norm" in name or name.endswith("running_var"):
            return torch.ones(shape, dtype=dtype, device=self._device)
        return torch.randn(shape, dtype=dtype, device=self._device, generator=self._generator) * 0.02


def _omni(
    text: dict[str, Any], whisper: dict[str, Any], audio_id: int, device: torch.device, dtype: torch.dtype
) -> tuple[dict[str, Any], Any]:
    from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration

    sections = text["hidden_size"] // text["num_attention_heads"] // 2
    config = Qwen2_5OmniThinkerConfig(
        audio_config={**whisper, "n_window": 100, "output_dim": text["hidden_size"]},
        # Never used for sounds, so a toy whatever the size.
        vision_config=dict(
            depth=1, hidden_size=32, intermediate_size=48, num_heads=2, out_hidden_size=text["hidden_size"],
            fullatt_block_indexes=[0],
        ),
        text_config={
            **text, "tie_word_embeddings": False,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 1e6,
                "mrope_section": [sections - 2 * (sections // 3), sections // 3, sections // 3],
            },
        },
        audio_token_index=audio_id, image_token_index=1, video_token_index=2, audio_start_token_id=audio_id + 1,
        audio_end_token_id=audio_id + 2, vision_start_token_id=3, vision_end_token_id=4,
    )  # fmt: skip
    return config.to_dict(), _drawn(Qwen2_5OmniThinkerForConditionalGeneration, config, device, dtype)


def _qwen2_audio(
    text: dict[str, Any], whisper: dict[str, Any], audio_id: int, device: torch.device, dtype: torch.dtype
) -> tuple[dict[str, Any], Any]:
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

    config = Qwen2AudioConfig(
        audio_config=whisper,
        text_config={**text, "model_type": "qwen2", "rms_norm_eps": 1e-5, "tie_word_embeddings": False},
        audio_token_index=audio_id,
    )
    return config.to_dict(), _drawn(Qwen2AudioForConditionalGeneration, config, device, dtype)


def _drawn(kind: Any, config: Any, device: torch.device, dtype: torch.dtype) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return kind(config).eval()
    finally:
        torch.set_default_dtype(before)


def _mean_recipe(kind: str) -> Recipe:
    return replace(get_recipe("qwen2-audio"), name=f"mean-{kind}", backbones=(kind,), max_audio_s=300.0)


def _write_tokenizer(folder: Path) -> int:
    """A tokenizer of whole words, so that prompts are about as long as the real ones'; all but the workload's are one token."""
    # Room for the ids that stand for images and videos.
    words = ["word", *(f"<|unused{i}|>" for i in range(9)), *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="word"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": _SPECIAL[-1], "eos_token": _SPECIAL[-2]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return tokenizer.get_vocab()[_SPECIAL[0]]

"""Run the export on TensorRT-LLM's PyTorch backend.

    python run_pytorch_backend.py --selftest
    python run_pytorch_backend.py --text "<prompt with its template>"

Wants a TensorRT-LLM whose LLM takes encode_only=True (1.3 or newer). Sentences go in as token ids. Sounds go in as rows
(audio tokens in the places of their prompt), as the argument inputs_embeds of LLM.encode.
"""

import argparse
import sys
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

import modeling_trtllm_embedder  # noqa: E402, F401  (registers the model)
from embed_head import EmbedHead  # noqa: E402
from golden_check import items, report  # noqa: E402


class BackendEmbedder:
    """The model in TensorRT-LLM."""

    def __init__(self) -> None:
        import tensorrt_llm
        from tensorrt_llm import LLM

        try:
            self._llm = LLM(model=str(FOLDER), encode_only=True)
        except TypeError as error:
            sys.exit(
                f"run_pytorch_backend: tensorrt_llm {tensorrt_llm.__version__} takes no encode_only ({error}); wanted 1.3 or "
                "newer. For 1.2.1 and older: harken export --to trtllm-engine"
            )
        self._head = EmbedHead(FOLDER)

    def of_tokens(self, token_ids: "list[list[int]]", kind: str = "text") -> torch.Tensor:
        """[B, d] vectors of prompts given as token ids."""
        return self._vectors(self._llm.encode(token_ids), kind)

    def of_rows(self, rows: "list[torch.Tensor]", kind: str) -> torch.Tensor:
        """[B, d] vectors of prompts given as the decoder's input rows [T, H]."""
        # The ids only say how long each prompt is.
        return self._vectors(self._llm.encode([[0] * len(one) for one in rows], inputs_embeds=torch.cat(rows)), kind)

    def _vectors(self, outputs: list, kind: str) -> torch.Tensor:
        return self._head.of_kind(torch.stack([output.logits.flatten() for output in outputs]), kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--selftest", action="store_true")
    parser.add_argument("--text", help="a prompt, template and all")
    args = parser.parse_args()
    if args.selftest:
        known, model = items(), BackendEmbedder()
        texts = [item for item in known if item["kind"] == "text"]
        sounds = [item for item in known if item["kind"] == "audio"]
        found: dict = {}
        if texts:
            vectors = model.of_tokens([item["token_ids"].tolist() for item in texts])
            found |= dict(zip((item["name"] for item in texts), vectors))
        if sounds:
            vectors = model.of_rows([item["inputs"] for item in sounds], "audio")
            found |= dict(zip((item["name"] for item in sounds), vectors))
        sys.exit(0 if report(found) else 1)
    if args.text:
        from tokenizers import Tokenizer

        ids = Tokenizer.from_file(str(FOLDER / "tokenizer.json")).encode(args.text, add_special_tokens=False).ids
        print(BackendEmbedder().of_tokens([ids])[0].tolist())
        return
    parser.error("give --selftest or --text")


if __name__ == "__main__":
    main()

"""sentence-transformers and vLLM as systems, each on a folder that it can load.

Source: the usage of sentence_transformers.SentenceTransformer and vllm.LLM.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ...engine.embedder import Embedder
from ...errors import InputError
from .st_folder import write_st_folder
from .workload import RATE_HZ


class SentenceTransformersPath:
    """A SentenceTransformer.

    Args:
        folder: a merged checkpoint; where it has no modules.json, one is made beside links to its files (st_folder.py).
        embedder: gives device, dtype and recipe.

    Raises:
        InputError: the library is not installed, or cannot load the folder; its own words are in the text.
    """

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        _need("sentence_transformers", "sentence-transformers")
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder} is no checkpoint: it has no config.json")
        from sentence_transformers import SentenceTransformer

        self._made = TemporaryDirectory(prefix="harken-st-")
        if not (folder / "modules.json").is_file():
            folder = write_st_folder(folder, embedder, Path(self._made.name))
        dtype = {"dtype": embedder.model.dtype}
        try:
            self._model: Any = SentenceTransformer(
                str(folder), device=str(embedder.model.device), model_kwargs=dtype, local_files_only=True
            )
        except (ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"cannot load {folder}: {error}") from None

    def encode_audio(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """[n, d] vectors of clips in one batch."""
        return self._encode([{"array": clip, "sampling_rate": RATE_HZ} for clip in clips])

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] vectors of sentences in one batch."""
        return self._encode(list(texts))

    def _encode(self, inputs: list[Any]) -> np.ndarray:
        return self._model.encode(
            inputs, batch_size=len(inputs), convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False
        )


class VllmPath:
    """vLLM's pooling models.

    Args:
        folder: the checkpoint, its adapter merged.
        embedder: gives prompts and pooling.

    Raises:
        InputError: vLLM is not installed, or the recipe has something that it does not serve.
    """

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        _need("vllm", "vllm")
        recipe = embedder.recipe
        if recipe.audio_head is not None or recipe.text_head is not None or recipe.pooling not in ("mean", "last"):
            raise InputError(f"vLLM has no heads of recipe {recipe.name}, and pools the mean or the last state alone")
        if embedder.adapter is not None:
            raise InputError("wants a merged checkpoint: harken export --to hf")
        from vllm import LLM
        from vllm.config import PoolerConfig

        self._embedder = embedder
        self._model: Any = LLM(
            str(folder),
            runner="pooling",
            convert="embed",
            dtype=embedder.fingerprint.dtype,
            pooler_config=PoolerConfig(pooling_type=recipe.pooling.upper()),
            limit_mm_per_prompt={"audio": 1},
        )

    def encode_audio(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """[n, d] vectors of clips; vLLM cuts its own batches."""
        recipe = self._embedder.recipe
        filled = (recipe.audio_template or "").replace("{instruction}", recipe.default_audio_instruction)
        # One audio token stands for the sound; vLLM repeats it.
        prompt = filled.replace("{audio}", self._embedder.tokenizer.decode([self._embedder.model.audio_token_id]))
        return self._embed([{"prompt": prompt, "multi_modal_data": {"audio": [(clip, RATE_HZ)]}} for clip in clips])

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] vectors of sentences."""
        recipe = self._embedder.recipe
        filled = (recipe.text_template or "").replace("{instruction}", recipe.default_text_instruction)
        return self._embed([{"prompt": filled.replace("{text}", text)} for text in texts])

    def _embed(self, prompts: list[dict[str, Any]]) -> np.ndarray:
        vectors = np.array([out.outputs.embedding for out in self._model.embed(prompts, use_tqdm=False)], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _need(module: str, package: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise InputError(f"{package} is not installed")

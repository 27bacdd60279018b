"""A captioner that runs a transformers model here: a language model, with or without ears.

Source: transformers' chat templates and `generate`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import BackendError, ModelError
from .captioner import NoReply, Request


class LocalCaptioner:
    """Answers requests with a checkpoint in Hugging Face layout.

    Args:
        folder: the checkpoint; a model whose configuration has an audio part hears.
        device: "cpu", "cuda", "cuda:1".
        dtype: as transformers takes it; "auto": the checkpoint's.
        batch_size: requests run together, padded on the left. With a temperature, replies depend on it.

    Raises:
        BackendError: transformers, or a package the model's processor wants (torchvision for Qwen2.5-Omni), is not installed.
        ModelError: the folder holds no model that transformers can load and that writes text.
    """

    def __init__(self, folder: str | Path, *, device: str = "cpu", dtype: str = "auto", batch_size: int = 4) -> None:
        try:
            from transformers import (
                AutoConfig,
                AutoModelForCausalLM,
                AutoModelForMultimodalLM,
                AutoProcessor,
                AutoTokenizer,
            )
        except ImportError:
            raise BackendError("captions by a local model want transformers; pip install 'harken[train]'") from None
        self.folder, self.batch_size = Path(folder), batch_size
        if not (self.folder / "config.json").is_file():
            raise ModelError(f"{folder}: holds no config.json; wanted a checkpoint folder in Hugging Face layout")
        try:
            config = AutoConfig.from_pretrained(folder)
            self._hears = hasattr(config, "audio_config") or hasattr(config, "thinker_config")
            loader = AutoModelForMultimodalLM if self._hears else AutoModelForCausalLM
            model = loader.from_pretrained(folder, dtype=dtype)
            # Of models that also speak, the part that writes.
            self._model = getattr(model, "thinker", model).to(device).eval()
            self._processor: Any = (AutoProcessor if self._hears else AutoTokenizer).from_pretrained(folder)
        except ImportError as error:
            told = " ".join(str(error).split())
            raise BackendError(f"{folder}: wants a package that is missing: {told}") from None
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{folder}: cannot be loaded: {error}") from None
        if self._hears and not hasattr(self._processor, "feature_extractor"):
            raise ModelError(
                f"{folder}: has no processor for sounds; wanted preprocessor_config.json as the hub's has it"
            )
        self._tokenizer = self._processor.tokenizer if self._hears else self._processor
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def hears(self) -> bool:
        return self._hears

    @property
    def sample_rate_hz(self) -> int:
        return int(self._processor.feature_extractor.sampling_rate) if self._hears else 16_000

    def replies(self, requests: Sequence[Request]) -> list[str | NoReply]:
        """A reply or its lack for each request, in order."""
        done: dict[int, str | NoReply] = {}
        groups: dict[tuple[object, ...], list[int]] = {}
        for i, request in enumerate(requests):
            if request.audio is not None and not self._hears:
                done[i] = NoReply(f"{request.name}: {self.name} hears nothing; wanted a request without a sound")
                continue
            # What one call of `generate` can do together.
            key = (request.max_tokens, request.temperature, request.top_p, request.audio is None)
            groups.setdefault(key, []).append(i)
        for group in groups.values():
            for start in range(0, len(group), self.batch_size):
                batch = group[start : start + self.batch_size]
                done |= zip(batch, self._generate([requests[i] for i in batch]))
        return [done[i] for i in range(len(requests))]

    def _generate(self, requests: list[Request]) -> list[str | NoReply]:
        import torch

        inputs = self._inputs(requests).to(self._model.device)
        first = requests[0]
        sampling: dict[str, Any] = {"do_sample": False}
        if first.temperature > 0:
            sampling = {"do_sample": True, "temperature": first.temperature, "top_p": first.top_p}
            torch.manual_seed(first.seed)
        with torch.inference_mode():
            ids = self._model.generate(
                **inputs, max_new_tokens=first.max_tokens, pad_token_id=self._tokenizer.pad_token_id, **sampling
            )
        texts = self._tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [
            text.strip() if text.strip() else NoReply(f"{request.name}: the model wrote nothing")
            for request, text in zip(requests, texts)
        ]

    def _inputs(self, requests: list[Request]) -> Any:
        prompts = [
            self._processor.apply_chat_template(self._messages(request), tokenize=False, add_generation_prompt=True)
            for request in requests
        ]
        if requests[0].audio is None:
            return self._tokenizer(prompts, padding=True, return_tensors="pt", add_special_tokens=False)
        sounds = [request.audio.samples for request in requests if request.audio is not None]
        return self._processor(
            text=prompts, audio=sounds, sampling_rate=self.sample_rate_hz, padding=True, return_tensors="pt"
        )

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        def turn(role: str, text: str, *before: dict[str, Any]) -> dict[str, Any]:
            # Templates of text models want a string, those of others a list of parts.
            return {"role": role, "content": [*before, {"type": "text", "text": text}] if self._hears else text}

        messages = [turn("system", request.system)]
        for user, assistant in request.examples:
            messages += [turn("user", user), turn("assistant", assistant)]
        sound = [] if request.audio is None else [{"type": "audio", "audio": request.name}]
        return [*messages, turn("user", request.text, *sound)]

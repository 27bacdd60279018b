"""modules.json for sentence-transformers, where its modules compute what the recipe says: prompt, pooling, unit length.

The prompts become a chat template of the Transformer module alone; the checkpoint's own stays as it is. What cannot be
expressed is told, not approximated.

Source: the configuration files of sentence-transformers 6; checked with 6.2 on Qwen2-Audio.
"""

import json
from pathlib import Path

from ..load import Source
from ..models.config import read_json

# Checkpoints whose processor sentence-transformers can load by itself; Qwen2.5-Omni's wants packages for images.
_KINDS = ("qwen2_audio",)
_POOLING = {"mean": "mean", "last": "lasttoken"}
_BASE = "sentence_transformers.base.modules"
FILES = ("modules.json", "sentence_bert_config.json", "1_Pooling", "2_Normalize")


def reason_against(source: Source) -> str | None:
    """Why sentence-transformers' modules cannot express the recipe; None: they can."""
    recipe = source.recipe
    preprocessor = source.folder / "preprocessor_config.json"
    window_s = read_json(preprocessor).get("chunk_length", 30) if preprocessor.is_file() else None
    templates = [t for t in (recipe.audio_template, recipe.text_template) if t is not None]
    reasons = {
        f"models of type {source.kind} are not known to load there": source.kind not in _KINDS,
        f"attention is {recipe.attention}": recipe.attention != "causal",
        f"pooling is {recipe.pooling}": recipe.pooling not in _POOLING,
        "vectors go through heads": (recipe.audio_head, recipe.text_head) != (None, None),
        "long sounds are not cut where the features' window ends": (
            recipe.long_audio != "truncate" or recipe.max_audio_s != window_s or recipe.feature_window_s is not None
        ),
        "short sounds are padded": recipe.min_audio_s > 0,
        "texts are cut or stripped before the template": recipe.max_text_tokens is not None or recipe.strip_text_end,
        "a template takes an instruction": any("{instruction}" in template for template in templates),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def write_modules(source: Source, folder: Path, *, width: int, audio_token: str) -> None:
    """Write modules.json and the configuration of each module.

    Args:
        source: whose recipe has no `reason_against` it.
        folder: holds the checkpoint.
        width: of the hidden states.
        audio_token: what the processor replaces by a sound's tokens.
    """
    recipe = source.recipe
    types = [
        ("", f"{_BASE}.transformer.Transformer"),
        ("1_Pooling", "sentence_transformers.sentence_transformer.modules.pooling.Pooling"),
        *([("2_Normalize", f"{_BASE}.normalize.Normalize")] if recipe.normalize else []),
    ]
    modules = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(types)]
    _write(folder / "modules.json", modules)
    takes = {"method": "forward", "method_output_name": "last_hidden_state"}
    _write(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": takes, "audio": takes, "message": {**takes, "format": "structured"}},
            "module_output_name": "token_embeddings",
            "processor_kwargs": {"chat_template": _chat_template(source, audio_token)},
        },
    )
    for path, _ in types[1:]:
        (folder / path).mkdir()
    pooling = {"embedding_dimension": width, "pooling_mode": _POOLING[recipe.pooling], "include_prompt": True}
    _write(folder / "1_Pooling" / "config.json", pooling)
    if recipe.normalize:
        _write(folder / "2_Normalize" / "config.json", {})


def _chat_template(source: Source, audio_token: str) -> str:
    """A template that gives, for a message of one sound or one text, the recipe's prompt."""
    made = "{%- for message in messages -%}{%- for part in message['content'] -%}"
    for kind, template, value in (
        ("audio", source.recipe.audio_template, json.dumps(audio_token)),
        ("text", source.recipe.text_template, "part['text']"),
    ):
        if template is not None:
            before, after = (json.dumps(piece) for piece in template.split("{" + kind + "}"))
            made += f"{{%- if part['type'] == '{kind}' -%}}{{{{ {before} + {value} + {after} }}}}{{%- endif -%}}"
    return made + "{%- endfor -%}{%- endfor -%}"


def _write(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")

"""A checkpoint as sentence-transformers wants it: its files beside modules.json and the recipe's prompts as a chat template.

    Transformer (last hidden states) -> Pooling (mean or last token) -> Normalize

Source: own; the files' keys are those of sentence-transformers 6.
"""

import json
from pathlib import Path

from ...engine.embedder import Embedder
from ...errors import InputError

_MODULES = (
    ("", "sentence_transformers.base.modules.transformer.Transformer"),
    ("1_Pooling", "sentence_transformers.sentence_transformer.modules.pooling.Pooling"),
    ("2_Normalize", "sentence_transformers.base.modules.normalize.Normalize"),
)
_POOLING = {"mean": "mean", "last": "lasttoken"}
_PROCESSORS = {"qwen2_audio": "Qwen2AudioProcessor"}


def write_st_folder(checkpoint: Path, embedder: Embedder, out: Path) -> Path:
    """Make `out`, an empty folder, of links to a merged checkpoint's files and of what says how they are used.

    Raises:
        InputError: the recipe has heads, another pooling, or no template; the adapter is not merged.
    """
    recipe = embedder.recipe
    if recipe.audio_head is not None or recipe.text_head is not None or recipe.pooling not in _POOLING:
        raise InputError(
            f"sentence-transformers has no heads of recipe {recipe.name}, and pools the mean or last state"
        )
    if embedder.adapter is not None and checkpoint == embedder.folder:
        raise InputError("wants a merged checkpoint: harken export --to hf")
    if recipe.attention != "causal":
        raise InputError(f"recipe {recipe.name} changes the model's attention")
    for path in checkpoint.iterdir():
        (out / path.name).symlink_to(path.resolve())
    wrap = {"method": "forward", "method_output_name": ["hidden_states", -1]}
    states = {"message": {**wrap, "format": "structured"}, "audio": wrap, "text": wrap}
    written: dict[str, object] = {
        "modules.json": [{"idx": i, "name": str(i), "path": p, "type": kind} for i, (p, kind) in enumerate(_MODULES)],
        "sentence_bert_config.json": {
            "transformer_task": "any-to-any", "modality_config": states, "module_output_name": "token_embeddings"
        },
        "1_Pooling/config.json": {"embedding_dimension": embedder.model.width, "pooling_mode": _POOLING[recipe.pooling]},
    }  # fmt: skip
    kind = json.loads((checkpoint / "config.json").read_text()).get("model_type")
    if kind in _PROCESSORS and not (checkpoint / "processor_config.json").exists():
        written["processor_config.json"] = {"processor_class": _PROCESSORS[kind]}
    for name, values in written.items():
        (out / name).parent.mkdir(exist_ok=True)
        _replace(out / name, json.dumps(values))
    (out / "2_Normalize").mkdir(exist_ok=True)
    _replace(out / "chat_template.jinja", _chat_template(embedder))
    return out


def _chat_template(embedder: Embedder) -> str:
    """The recipe's prompts: one of a sound, one of a sentence."""
    recipe = embedder.recipe
    token = embedder.tokenizer.decode([embedder.model.audio_token_id])
    sound = (recipe.audio_template or "").replace("{instruction}", recipe.default_audio_instruction)
    text = (recipe.text_template or "").replace("{instruction}", recipe.default_text_instruction)
    # Strings in the template's own language, so that nothing of a prompt is taken for an instruction or its newline cut.
    quoted = lambda words: "{{ " + json.dumps(words, ensure_ascii=False) + " }}"
    before, _, after = text.partition("{text}")
    return (
        "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'audio' %}"
        + quoted(sound.replace("{audio}", token))
        + "{% else %}" + quoted(before) + "{{ c['text'] }}" + quoted(after)
        + "{% endif %}{% endfor %}{% endfor %}"
    )  # fmt: skip


def _replace(path: Path, text: str) -> None:
    """In the place of a link, not through it."""
    path.unlink(missing_ok=True)
    path.write_text(text)

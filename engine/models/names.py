"""One name for each tensor, whatever wrote the checkpoint.

Hub checkpoints, thinker-only ones, models saved by transformers 4 and 5, and peft adapters call the same tensor by
different names. Canonical names start with one of

    audio_tower.   projector.   decoder.   lm_head.

and of models of two encoders

    audio_tower.   audio_projection.   text_tower.   text_projection.

Source: spec/models.md section 5 (key layouts).
"""

# Constants that some versions of transformers store with the weights.
_CONSTANTS = ("relative_position_index", "position_ids", "token_type_ids", "num_batches_tracked")

# First match wins; None: the part is not used for sound and text.
_PREFIXES: tuple[tuple[str, str | None], ...] = (
    ("model.audio_tower.audio_bos_eos_token.", None),
    ("model.audio_tower.", "audio_tower."),
    ("audio_tower.audio_bos_eos_token.", None),
    ("audio_tower.", "audio_tower."),
    ("model.multi_modal_projector.linear.", "projector."),
    ("multi_modal_projector.linear.", "projector."),
    ("audio_encoder.front_end.", None),
    ("audio_encoder.", "audio_tower."),
    ("audio_projector.net.", "projector."),
    ("decoder.lm_head.", "lm_head."),
    ("decoder.model.", "decoder."),
    ("audio_model.audio_encoder.", "audio_tower."),
    ("text_model.", "text_tower."),
    ("roberta.", "text_tower."),
    ("embeddings.", "text_tower.embeddings."),
    ("encoder.layer.", "text_tower.encoder.layer."),
    ("pooler.", "text_tower.pooler."),
    ("logit_scale_a", None),
    ("logit_scale_t", None),
    ("model.visual.", None),
    ("visual.", None),
    ("talker.", None),
    ("token2wav.", None),
    ("language_model.lm_head.", "lm_head."),
    ("lm_head.", "lm_head."),
    ("model.language_model.", "decoder."),
    ("language_model.model.", "decoder."),
    ("language_model.", "decoder."),
    ("model.layers.", "decoder.layers."),
    ("model.embed_tokens.", "decoder.embed_tokens."),
    ("model.norm.", "decoder.norm."),
    ("layers.", "decoder.layers."),
    ("embed_tokens.", "decoder.embed_tokens."),
    ("norm.", "decoder.norm."),
)


def canonical(name: str) -> str | None:
    """The canonical name of a checkpoint's tensor; None if harken never uses it; a name nobody knows is returned as it is."""
    name = name.removeprefix("thinker.")
    if name.endswith(_CONSTANTS):
        return None
    for prefix, replacement in _PREFIXES:
        if name.startswith(prefix):
            return None if replacement is None else replacement + name[len(prefix) :]
    return name

"""harken-mini, the built-in model: plain short prompts, the mean of all tokens, one head for sounds and one for text."""

from .recipe import Recipe

RECIPES = (
    Recipe(
        name="harken-mini",
        source="own",
        backbones=("qwen2_audio",),
        audio_template="<|im_start|>user\n<|audio_bos|>{audio}<|audio_eos|><|im_end|>\n",
        text_template="<|im_start|>user\n{text}<|im_end|>\n",
        pooling="mean",
        audio_head="audio_head",
        text_head="text_head",
        max_audio_s=30.0,
        max_text_tokens=256,
        licence="Whisper base MIT, SmolLM2-135M-Instruct Apache-2.0, adapter Apache-2.0",
    ),
)

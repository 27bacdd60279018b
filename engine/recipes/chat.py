"""The chat layout that Qwen's audio models were trained on: what is asked stands in the user's turn.

Source: the chat template of the checkpoints, spec/recipes.md A.3.
"""

SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
SOUND = "<|audio_bos|>{audio}<|audio_eos|>"
ASSISTANT = "<|im_start|>assistant\n"


def user(content: str) -> str:
    """The standard system message and one user's turn; what it holds is put together without separators."""
    return f"{SYSTEM}<|im_start|>user\n{content}<|im_end|>\n"

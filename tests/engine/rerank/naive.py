"""Oracle: P(Yes) of one pair by unmodified transformers: a full forward, the whole vocabulary, softmax over two logits.

The prompts are written out here a second time, from the published strings.
"""

from pathlib import Path
from typing import Any

import soundfile
import torch

INSTRUCTION = (
    "I will provide you with a query and a candidate. Please evaluate whether the candidate matches the query. "
    "If it does, respond with 'Yes'; if it doesn't, respond with 'No'."
)
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
SOUND = "<|audio_bos|>{audio}<|audio_eos|>"
ANSWER = "<|im_end|>\n<|im_start|>assistant\n"
CONTENT = {
    "a2t": f"Query:{SOUND}Find a caption describing the sound events in the given audio.Candidate:[text]",
    "t2a": f"Query:Find an audio containing the sound events in the following caption: [text]Candidate:{SOUND}",
    "audio-first": f"Candidate:{SOUND}Query:Find an audio containing the sound events in the following caption: [text]",
}


class NaiveReranker:
    """Scores pairs one by one by an oracle of tests/engine/hf.py; remembers what it has scored."""

    def __init__(self, oracle: Any) -> None:
        self.oracle = oracle
        self._scores: dict[tuple[str, ...], float] = {}
        ids = (oracle.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("Yes", "No"))
        self.yes, self.no = ids

    def score(self, kind: str, text: str, clip: Path, instruction: str = INSTRUCTION) -> float:
        key = kind, text, str(clip), instruction
        if key not in self._scores:
            hidden = self.oracle.hidden(prompt(kind, text, instruction), [soundfile.read(clip, dtype="float32")[0]])
            with torch.no_grad():
                logits = self.oracle.model.lm_head(hidden)[-1]
            self._scores[key] = float(torch.softmax(logits[[self.yes, self.no]], 0)[0])
        return self._scores[key]


def prompt(kind: str, text: str, instruction: str = INSTRUCTION) -> str:
    """The whole prompt, {audio} where the sound stands."""
    return SYSTEM + instruction + CONTENT[kind].replace("[text]", text) + ANSWER

"""Oracle: P(Yes) of one pair by unmodified transformers: a full forward, the whole vocabulary, softmax over two logits.

The prompts are written out here a second time, from the published strings.
"""

from pathlib import Path

import numpy as np
import soundfile
import torch

from ..hf import Qwen2AudioOracle

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


class NaiveReranker(Qwen2AudioOracle):
    """Scores pairs one by one; remembers what it has scored."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._scores: dict[tuple, float] = {}
        self.yes, self.no = (self.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("Yes", "No"))

    def prompt(self, kind: str, text: str, instruction: str = INSTRUCTION) -> str:
        return SYSTEM + instruction + CONTENT[kind].replace("[text]", text) + ANSWER

    def score(self, kind: str, text: str, clip: Path | np.ndarray, instruction: str = INSTRUCTION) -> float:
        key = kind, text, str(clip), instruction
        if key not in self._scores:
            samples = soundfile.read(clip, dtype="float32")[0] if isinstance(clip, Path) else clip
            hidden = self.hidden(self.prompt(kind, text, instruction), [samples])
            with torch.no_grad():
                logits = self.model.lm_head(hidden)[-1]
            self._scores[key] = float(torch.softmax(logits[[self.yes, self.no]], 0)[0])
        return self._scores[key]

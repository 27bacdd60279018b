"""Groups of sounds through the model, gathered into parts; what the model refuses fails alone.

Source: own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from ...errors import HarkenError, InputError
from ..audio import Waveform
from .encoder import Encoder
from .reading import Failed, Group
from .report import Tally
from .rows import Rows


@dataclass(frozen=True, slots=True)
class Made:
    """A part whose sounds all went through the model: the rows [start, stop) of the manifest."""

    part: int
    start: int
    stop: int
    rows: Rows
    failures: list[Failed]


@dataclass(slots=True)
class PartMaker:
    """Takes the groups of parts in order, gives each part when its last group was in."""

    encoder: Encoder
    instruction: str | None
    tally: Tally
    rows: Rows = field(default_factory=Rows)
    failures: list[Failed] = field(default_factory=list)

    @property
    def is_between_parts(self) -> bool:
        return not self.rows.rows and not self.failures

    def add(self, group: Group) -> Made | None:
        """Embed a group; the finished part if it was the last of one."""
        begin = perf_counter()
        results = iter(self._encode([sound.got for sound in group.sounds if isinstance(sound.got, Waveform)]))
        num_failed, audio_s, seconds = len(self.failures), 0.0, dict[str, float]()
        for sound in group.sounds:
            for stage, more in sound.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + more
            got = sound.got
            result = None if isinstance(got, Failed) else next(results)
            if isinstance(got, Failed):
                self.failures.append(got)
            elif isinstance(result, HarkenError):
                self.failures.append(Failed(sound.row, sound.entry, "encode", type(result).__name__, str(result)))
            else:
                assert result is not None
                self.rows.add(sound.row, sound.entry, got.duration_s, result)
                audio_s += got.duration_s
        seconds["device"] = perf_counter() - begin
        self.tally.add(len(group.sounds), len(self.failures) - num_failed, audio_s, seconds)
        if not group.last:
            return None
        made = Made(group.part, group.start, group.stop, self.rows, self.failures)
        self.rows, self.failures = Rows(), []
        return made

    def _encode(self, clips: Sequence[Waveform]) -> list[np.ndarray | HarkenError]:
        """A result or an error a clip; where the model refuses them together, each is tried alone."""
        if not clips:
            return []
        try:
            results = self.encoder.encode_clips(clips, instruction=self.instruction)
        except HarkenError as error:
            if len(clips) == 1:
                return [error]
            return [got for clip in clips for got in self._encode([clip])]
        return [
            result if np.isfinite(result).all() else InputError(f"{clip.name}: its vector holds NaN or infinity")
            for clip, result in zip(clips, results)
        ]

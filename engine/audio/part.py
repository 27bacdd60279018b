"""One part of a sound, by its seconds.

Source: own.
"""

from typing import Any

from ...errors import AudioError
from .decode import decode, decode_from
from .waveform import Waveform


def decode_part(
    source: Any,
    name: str | None = None,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    limit_s: float | None = None,
) -> Waveform:
    """The seconds [start_s, end_s) of a sound, or its first limit_s if that is less.

    Args:    source, name: as `decode` takes them.   start_s, end_s: None: the sound's beginning, its end.
             limit_s: None: no limit.
    Returns: the part at the sound's own rate.
    Raises:  AudioError: as `decode`; the sound ends before the part does.
    """
    first_s = start_s or 0.0
    length_s = None if end_s is None else end_s - first_s
    wanted_s = min((s for s in (length_s, limit_s) if s is not None), default=None)
    wave = decode_from(source, name, first_s, wanted_s) if first_s else None
    if wave is None:
        wave = decode(source, name, max_s=None if wanted_s is None else first_s + wanted_s)
        first = round(first_s * wave.sample_rate_hz)
        if first >= len(wave.samples):
            raise AudioError(f"{wave.name}: lasts {wave.duration_s:g} s; wanted a part that begins at {first_s:g} s")
        if first:
            wave = Waveform(wave.samples[first:], wave.sample_rate_hz, wave.name)
    # A header's seconds are rounded by those who write lists: a hundredth past the end is the end.
    if (
        end_s is not None
        and (limit_s is None or end_s - first_s <= limit_s)
        and end_s > first_s + wave.duration_s + 0.01
    ):
        lasts_s = first_s + wave.duration_s
        raise AudioError(f"{wave.name}: lasts {lasts_s:g} s; wanted a part that ends at {end_s:g} s")
    return wave

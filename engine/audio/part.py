"""One part of a sound, by its seconds.

Source: own.
"""

from typing import Any

from ...errors import AudioError
from .decode import decode
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
    ends = [s for s in (end_s, None if limit_s is None else first_s + limit_s) if s is not None]
    wave = decode(source, name, max_s=min(ends, default=None))
    rate, num_samples = wave.sample_rate_hz, len(wave.samples)
    if first_s * rate >= num_samples:
        raise AudioError(f"{wave.name}: lasts {wave.duration_s:g} s; wanted a part that begins at {first_s:g} s")
    # A header's seconds are rounded by those who write lists: a hundredth past the end is the end.
    if end_s is not None and (limit_s is None or end_s - first_s <= limit_s) and end_s > wave.duration_s + 0.01:
        raise AudioError(f"{wave.name}: lasts {wave.duration_s:g} s; wanted a part that ends at {end_s:g} s")
    return wave if not first_s else Waveform(wave.samples[round(first_s * rate) :], rate, wave.name)

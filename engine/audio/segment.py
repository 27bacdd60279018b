"""Long silences cut out of a sound, so that what is left is cut into chunks that hold something.

    level of a frame of 20 ms = 20 log10(rms);   silent: more than `silence_db` below the loudest frame of the sound
    a run of silent frames is dropped if it lasts longer than `silence_s`

Source: Robust-ATR, which drops long silences before chunking (spec/recipes.md E.1); its threshold is not published.
"""

import numpy as np

from .waveform import Waveform

FRAME_S = 0.02


def drop_silences(clip: Waveform, *, silence_db: float, silence_s: float) -> Waveform:
    """The clip without its long silences.

    Args:
        clip: any length.
        silence_db: how far below the loudest frame a frame is silent.
        silence_s: longer runs of silent frames are dropped.

    Returns: what is left, in order; the clip itself where nothing is dropped. The loudest frame always stays, and a clip of
        zeros keeps all its samples.
    """
    size = max(1, round(FRAME_S * clip.sample_rate_hz))
    starts = np.arange(0, len(clip.samples), size)
    counts = np.minimum(size, len(clip.samples) - starts)
    power = np.add.reduceat(np.square(clip.samples, dtype=np.float64), starts) / counts
    silent = power < power.max() * 10 ** (-silence_db / 10)
    # Where runs of equal frames begin, and the end.
    edges = np.flatnonzero(np.diff(silent, prepend=not silent[0])).tolist() + [len(silent)]
    dropped = np.zeros(len(silent), bool)
    for first, end in zip(edges, edges[1:]):
        dropped[first:end] = silent[first] and counts[first:end].sum() > silence_s * clip.sample_rate_hz
    if not dropped.any():
        return clip
    return Waveform(clip.samples[~np.repeat(dropped, counts)], clip.sample_rate_hz, clip.name)

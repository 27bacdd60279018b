"""What graphs are fed with, from prompts and mel frames: padded batches and the counts that go with them.

Source: own; the counts are those of models/whisper.py and models/dasheng.py.
"""

from collections.abc import Sequence

import numpy as np
import torch

from ...errors import InputError, ModelError
from ...kernels.logmel import LogMel
from ..models.dasheng import PATCH, DashengTower
from ..models.mllm import AudioLM
from ..models.whisper import WhisperTower, num_audio_tokens, num_positions
from ..text.template import Prompt

Inputs = dict[str, torch.Tensor]


def tower_inputs(model: AudioLM, clips: Sequence[np.ndarray]) -> tuple[Inputs, tuple[int, ...]]:
    """Inputs of the audio tower's graph, and how many audio tokens each clip makes.

    Args:
        model: whose tower it is.
        clips: float32 [n] each, at the tower's sample rate.
    """
    mel = model.features(clips)
    if isinstance(model.tower, WhisperTower):
        return _whisper(mel, model.tower)
    assert isinstance(model.tower, DashengTower)
    return _dasheng(mel, model.tower)


def _whisper(mel: LogMel, tower: WhisperTower) -> tuple[Inputs, tuple[int, ...]]:
    window = tower.window
    if window is not None and num_positions(window) % 2:
        raise ModelError(f"export: segments of {window} frames end in half an audio token; wanted a multiple of 4")
    # (first frame row, frames held, positions kept)
    cuts: list[tuple[int, int, int]] = []
    cuts_of_clip: list[list[int]] = []
    for frames, first, end in zip(mel.num_frames, mel.cu_frames, mel.cu_frames[1:]):
        size = window or frames
        starts = range(0, frames, size)
        cuts_of_clip.append(list(range(len(cuts), len(cuts) + len(starts))))
        for start in starts:
            kept = min(size, frames - start)
            cuts.append((first + start, kept if window else end - first, num_positions(kept)))
    longest = max(rows for _, rows, _ in cuts)
    # The graph counts frames in pairs.
    longest += longest % 2
    width = num_positions(longest)
    tokens = tuple(num_audio_tokens(frames) for frames in mel.num_frames)
    pairs = []
    for own, count in zip(cuts_of_clip, tokens):
        positions = np.concatenate([i * width + np.arange(cuts[i][2]) for i in own])
        pairs.append(positions[: 2 * count].reshape(count, 2))
    return {
        "mel": _segments(mel.features_FM, [(first, rows) for first, rows, _ in cuts], longest),
        "num_rows": torch.tensor([rows for _, rows, _ in cuts]),
        "num_keys": torch.tensor([kept for _, _, kept in cuts]),
        "tokens": torch.from_numpy(np.concatenate(pairs)),
    }, tokens


def _dasheng(mel: LogMel, tower: DashengTower) -> tuple[Inputs, tuple[int, ...]]:
    window, group = tower.config.window, tower.group
    cuts: list[tuple[int, int]] = []
    keys: list[int] = []
    places: list[list[tuple[int, int]]] = []
    for frames, first in zip(mel.num_frames, mel.cu_frames):
        patches, seen = frames // PATCH, (frames - 1) // PATCH
        if patches % window == 1:
            # A window of one patch cannot but look at itself.
            seen = patches
        places.append([])
        for start in range(0, patches, window):
            size = min(window, patches - start)
            places[-1].append((len(cuts), size))
            cuts.append((first + PATCH * start, PATCH * size))
            keys.append(min(window, seen - start))
    longest = max(rows for _, rows in cuts)
    width = longest // PATCH
    tokens = tuple(frames // PATCH // group for frames in mel.num_frames)
    made = []
    for own, count in zip(places, tokens):
        rows = np.concatenate([i * width + np.arange(size) for i, size in own])
        made.append(rows[: count * group].reshape(count, group))
    return {
        "mel": _segments(mel.features_FM, cuts, longest),
        "num_keys": torch.tensor(keys),
        "tokens": torch.from_numpy(np.concatenate(made)),
    }, tokens


def _segments(features_FM: torch.Tensor, cuts: list[tuple[int, int]], longest: int) -> torch.Tensor:
    """[N, M, longest] the rows of each cut, zeros behind."""
    out = features_FM.new_zeros(len(cuts), features_FM.shape[1], longest, dtype=torch.float32)
    for i, (first, rows) in enumerate(cuts):
        out[i, :, :rows] = features_FM[first : first + rows].T
    return out


def prefill_inputs(
    prompts: Sequence[Prompt], audio_rows_AW: torch.Tensor | None, width: int, *, contents: bool
) -> Inputs:
    """Inputs of the whole embedder's graph.

    Args:
        prompts: their audio spans, in order, take the rows of `audio_rows_AW`.
        audio_rows_AW: of the tower's graph; None where no prompt holds a sound.
        width: of a row.
        contents: the graph has the input of that name.

    Raises:
        InputError: more or fewer audio rows than the prompts have places for.
    """
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
    index = torch.full_like(ids, -1)
    used = 0
    for i, prompt in enumerate(prompts):
        ids[i, : len(prompt)] = torch.tensor(prompt.token_ids)
        if prompt.audio_span is not None and audio_rows_AW is not None:
            first, count = prompt.audio_span
            index[i, first : first + count] = torch.arange(used, used + count)
            used += count
    rows = torch.zeros(1, width) if audio_rows_AW is None else audio_rows_AW
    if audio_rows_AW is not None and len(audio_rows_AW) != used:
        raise InputError(f"the prompts have places for {used} audio rows, got {len(audio_rows_AW)}")
    found = {
        "token_ids": ids,
        "audio_rows": rows,
        "audio_index": index,
        "lengths": torch.tensor([len(prompt) for prompt in prompts]),
    }
    return {**found, "contents": torch.tensor([prompt.content for prompt in prompts])} if contents else found

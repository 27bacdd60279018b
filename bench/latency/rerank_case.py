"""Cases of re-ranking: a sample is one query with its candidates, an answer their scores.

    harken          nothing cached
    harken, heard   the candidate sounds met before, as behind an index
    hf pairwise, hf batched   rerank_rivals.py

Source: own; the systems are those of rerank.py.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.convert.mini import build_mini
from ...engine.models.whisper import WhisperTower
from ...engine.rerank.load import load_reranker
from ...engine.rerank.prompts import Direction
from ...engine.rerank.reranker import Reranker
from ...errors import InputError
from .rerank import Task, make_task
from .rerank_rivals import Qwen2AudioPairs
from .systems import Answer, Case, System

SYSTEMS = ("harken", "harken, heard", "hf pairwise", "hf batched")
# Largest difference of two probabilities.
TOLERANCE = {"float32": 1e-4}


def rerank_case(
    model: Reranker,
    heard: Reranker,
    rival: Qwen2AudioPairs | None,
    direction: Direction,
    *,
    num_queries: int,
    num_candidates: int,
    length_s: float,
    batch: int,
    names: Sequence[str] = SYSTEMS,
) -> Case:
    """Queries of one direction.

    Args:
        model, heard: without and with a cache of audio tokens.
        rival: None where transformers has no class for the model.
        direction: "t2a" or "a2t".
        num_queries: different samples.
        num_candidates: of each query.
        length_s: of every clip.
        batch: pairs a batch of "hf batched".
        names: of SYSTEMS; harken is always there.
    """
    tasks = [make_task(direction, num_candidates, length_s, seed) for seed in range(num_queries)]
    systems = [System("harken", lambda found: _scores(model, found), 1)]
    absent: dict[str, str] = {}
    if "harken, heard" in names:
        systems.append(System("harken, heard", lambda found: _scores(heard, found), 1))
    for name, size, whole_head in (("hf pairwise", 1, True), ("hf batched", batch, False)):
        if name in names and rival is not None:
            systems.append(System(name, _rival_scores(rival, size, whole_head), 1))
        elif name in names:
            absent[name] = "the pairs through transformers are written for Qwen2-Audio"
    dtype = str(model.model.dtype).removeprefix("torch.")
    return Case(
        "rerank", f"{num_candidates} candidates of {length_s:g} s, {direction}", "samples", list(tasks), systems,
        lambda got, wanted: 1 - float(np.abs(got - wanted).max()), 1 - TOLERANCE.get(dtype, 2e-2), absent,
    )  # fmt: skip


def load_rerankers(
    folder: str | Path | None, adapter: str | None, device: str | None, dtype: str | None
) -> tuple[Reranker, Reranker, Qwen2AudioPairs | None]:
    """The reranker without and with its cache, and the rival; None as folder: the built-in model's frozen parts."""
    if adapter is not None:
        raise InputError("wants a merged checkpoint: harken export --to hf, and no --adapter")
    place = build_mini() if folder is None else folder
    load = lambda cache_bytes: load_reranker(place, device=device, dtype=dtype, cache_bytes=cache_bytes)
    model = load(0)
    tower = model.model.tower
    is_qwen2_audio = isinstance(tower, WhisperTower) and tower.window is None
    return model, load(1 << 30), Qwen2AudioPairs(model, place) if is_qwen2_audio else None


def _pairs(task: Task) -> list[tuple[np.ndarray, str]]:
    """One of the two lists has one entry."""
    return [(clip, text) for clip in task.clips for text in task.texts]


def _scores(model: Reranker, tasks: Sequence[Task]) -> np.ndarray:
    given: list[tuple[Any, Any]] = []
    for task in tasks:
        pairs = [((clip, 16000), text) for clip, text in _pairs(task)]
        given += pairs if task.direction == "a2t" else [(text, sound) for sound, text in pairs]
    return model.predict(given, direction=tasks[0].direction).reshape(len(tasks), -1)


def _rival_scores(rival: Qwen2AudioPairs, batch: int, whole_head: bool) -> Answer:
    score = lambda task: rival.score(task.direction, _pairs(task), batch, whole_head=whole_head)[0]
    return lambda tasks: np.stack([score(task) for task in tasks])

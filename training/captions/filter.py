"""Captions scored by a model of sounds and texts; those that fit their sound best are kept.

    score = cosine(audio vector, text vector);   of a row, the `keep` best with score >= min_score

Source: Robust-ATR, which filters generated captions by CLAP score; threshold and number are not published. The default keeps
five, as many as AudioCaps and Clotho have a clip, and sets no threshold.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.audio import Waveform
from ...engine.embedder import Embedder
from ...errors import InputError, OutputError
from ..data.row import Row
from ..data.sounds import load_sounds
from .lines import as_line, done_before, read_captions, sync
from .run import CaptionReport

TASK = "filtered"


def filter_captions(
    rows: Sequence[Row],
    captions: str | Path,
    model: Embedder,
    out: str | Path,
    *,
    keep: int = 5,
    min_score: float | None = None,
    batch_size: int = 32,
    progress: Callable[[int], None] | None = None,
) -> CaptionReport:
    """Score the captions of a file against their sounds and write those that fit, as another captions file.

    Args:
        rows: the sounds.
        captions: a captions file; its replies' `caption`s are scored.
        model: of one space for sounds and texts.
        out: the file to write; a reply is {"captions": the kept, best first, "scores": {task: score}}. Gone on with if there.
        keep, min_score: which captions stay. A row of which none does gets an error.
        batch_size: rows scored at once.
        progress: called with the number of rows just done.

    Raises:
        InputError: no caption is there for any row, or `out` was begun by another model or setting.
        OutputError: `out` cannot be written.
    """
    texts = {i: {t: r["caption"] for t, r in of.items() if "caption" in r} for i, of in read_captions(captions).items()}
    wanted = [row for row in rows if texts.get(row.id)]
    if not wanted:
        raise InputError(f"{captions}: holds no caption of any of the {len(rows)} rows")
    made_with = _made_with(model, keep, min_score)
    done = done_before(Path(out), {TASK: made_with}, retry_errors=False)
    todo = [row for row in wanted if (row.id, TASK) not in done]
    report = CaptionReport(num_before=len(wanted) - len(todo))
    try:
        with Path(out).open("ab") as file:
            for start in range(0, len(todo), batch_size):
                batch = todo[start : start + batch_size]
                for row, got in zip(batch, _score(batch, texts, model, keep, min_score)):
                    line = {"id": row.id, "task": TASK, "made_with": made_with, "model": str(model.fingerprint)}
                    failed = isinstance(got, str)
                    file.write(as_line({**line, **({"error": got} if failed else {"reply": got})}))
                    report.num_failed += failed
                    report.num_done += not failed
                sync(file)
                if progress is not None:
                    progress(len(batch))
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from None
    return report


def _score(
    rows: list[Row], texts: dict[str, dict[str, str]], model: Embedder, keep: int, min_score: float | None
) -> list[dict[str, Any] | str]:
    """What is kept of each row, or why nothing is."""
    waves = [got for _, got in load_sounds(rows, model.sample_rate_hz, max_s=model.read_limit_s)]
    heard = [i for i, wave in enumerate(waves) if isinstance(wave, Waveform)]
    encoded = model.try_encode_audio([waves[i] for i in heard])
    vectors = dict(zip((heard[row] for row in encoded.rows), encoded.vectors))
    errors = {heard[failure.row]: failure.error for failure in encoded.failures}
    pairs = [(i, task) for i in vectors for task in texts[rows[i].id]]
    said = model.encode_text([texts[rows[i].id][task] for i, task in pairs]) if pairs else np.zeros((0, model.dim))
    scores: dict[int, dict[str, float]] = {}
    for (i, task), vector in zip(pairs, said):
        score = float(vectors[i] @ vector / max(float(np.linalg.norm(vectors[i]) * np.linalg.norm(vector)), 1e-12))
        scores.setdefault(i, {})[task] = round(score, 6)
    return [
        _kept(rows[i].id, scores[i], texts[rows[i].id], keep, min_score)
        if i in scores
        else errors.get(i, str(waves[i]))
        for i in range(len(rows))
    ]


def _kept(
    row_id: str, scores: dict[str, float], texts: dict[str, str], keep: int, min_score: float | None
) -> dict[str, Any] | str:
    best = sorted(scores, key=lambda task: -scores[task])
    good = [task for task in best if min_score is None or scores[task] >= min_score]
    kept = list(dict.fromkeys(texts[task] for task in good))[:keep]
    if not kept:
        return f"{row_id}: the best of {len(scores)} captions scores {scores[best[0]]:.3f}; wanted at least {min_score}"
    return {"captions": kept, "scores": scores}


def _made_with(model: Embedder, keep: int, min_score: float | None) -> str:
    return hashlib.sha256(json.dumps([model.fingerprint.id, keep, min_score]).encode()).hexdigest()[:12]

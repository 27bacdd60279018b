"""What the reranker's tests share."""

from pathlib import Path

import numpy as np

import harken

from ... import tolerances

WAIT_S = 200.0


def make(checkpoint: Path, **settings: object) -> harken.Reranker:
    return harken.load_reranker(checkpoint, device="cpu", **settings)


def close(got: object, want: object) -> bool:
    return np.abs(np.asarray(got) - np.asarray(want)).max() < tolerances.P_YES_FP32


def idle(reranker: harken.Reranker) -> None:
    """Wait for the model's thread to end, then nothing may be left."""
    thread = reranker._runner._thread
    if thread is not None:
        thread.join(timeout=WAIT_S)
    assert reranker._runner._thread is None
    assert reranker._runner.num_pending_tokens == 0 and not len(reranker._runner._scheduler)
    assert reranker._scorer.num_held == 0

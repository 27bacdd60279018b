"""Cases of search: a sample is a query's vector, an answer the positions of its nearest rows.

    harken, numpy, torch, faiss flat, usearch     all exact, over the same float32 rows

A corpus that does not fit beside its copies (faiss keeps its own) is said and left out.

Source: own; the rivals are those of kernels/topk.py.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from ...engine.index import Index
from ...errors import InputError
from ..kernels.topk import numpy_way, torch_chunks
from .systems import Answer, Case, System

SYSTEMS = ("harken", "numpy", "torch", "faiss flat", "usearch")
K = 10
# Queries that a server answers together at most.
BATCH = 32
# Share of harken's positions that a rival must find: ties are broken otherwise.
LEAST = 0.98
_SPARE_BYTES = 1 << 30


def search_case(num_rows: int, width: int, num_queries: int, names: Sequence[str] = SYSTEMS) -> Case:
    """Random rows of unit length and random queries.

    Raises:
        InputError: the corpus does not fit into the memory that is free.
    """
    # The rows, and scores and positions of a batch while numpy sorts them.
    wanted = 4 * num_rows * width + 20 * num_rows * BATCH
    free = available_bytes()
    if wanted + _SPARE_BYTES > free:
        raise InputError(
            f"{num_rows:,} x {width} takes {wanted / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: not measured"
        )
    corpus, queries = _unit(num_rows, width, seed=0), _unit(num_queries, width, seed=1)
    index = Index.build(corpus)
    systems = [System("harken", lambda q: index.search(np.stack(q), K).positions, BATCH)]
    rows = torch.from_numpy(corpus)
    absent: dict[str, str] = {}
    if "numpy" in names:
        systems.append(System("numpy", lambda q: _numpy(q, corpus), BATCH))
    if "torch" in names:
        answer: Answer = lambda q: torch_chunks(torch.from_numpy(np.stack(q)), rows, K).numpy()
        systems.append(System("torch", answer, BATCH))
    if "faiss flat" in names:
        if find_spec("faiss") is None:
            absent["faiss flat"] = "faiss is not installed"
        elif wanted + _SPARE_BYTES > available_bytes():
            absent["faiss flat"] = f"its copy of the corpus takes {wanted / 1e9:.1f} GB more than there is"
        else:
            systems.append(System("faiss flat", _faiss(corpus), BATCH))
    if "usearch" in names:
        if find_spec("usearch") is None:
            absent["usearch"] = "usearch is not installed"
        else:
            systems.append(System("usearch", _usearch(corpus), BATCH))
    return Case(
        "search", f"{num_rows:,} x {width}, best {K}", "vector", list(queries), systems, share_found, LEAST, absent
    )


def share_found(got: np.ndarray, wanted: np.ndarray) -> float:
    """Of the positions [q, k] in `wanted`, the part that `got` has in the same row."""
    return float((got[:, :, None] == wanted[:, None, :]).any(1).mean())


def available_bytes() -> int:
    """Memory that may be taken without swapping; all there is where the system does not say."""
    path = Path("/proc/meminfo")
    told = path.read_text().splitlines() if path.exists() else []
    return next((1024 * int(line.split()[1]) for line in told if line.startswith("MemAvailable")), 1 << 62)


def _numpy(queries: Sequence[np.ndarray], corpus: np.ndarray) -> np.ndarray:
    batches = [np.stack(queries[i : i + BATCH]) for i in range(0, len(queries), BATCH)]
    return np.concatenate([numpy_way(batch, corpus, K) for batch in batches])


def _faiss(corpus: np.ndarray) -> Answer:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    flat = faiss.IndexFlatIP(corpus.shape[1])
    flat.add(corpus)
    return lambda queries: flat.search(np.stack(queries), K)[1]


def _usearch(corpus: np.ndarray) -> Answer:
    from usearch.index import MetricKind, search

    threads = torch.get_num_threads()

    def answer(queries: Sequence[np.ndarray]) -> np.ndarray:
        found = search(corpus, np.stack(queries), K, MetricKind.IP, exact=True, threads=threads).keys
        return np.asarray(found).astype(np.int64).reshape(len(queries), K)

    return answer


def _unit(num_rows: int, width: int, seed: int) -> np.ndarray:
    """[num_rows, width] float32 of unit length, in place, so that a large corpus is held once."""
    rows = np.random.default_rng(seed).standard_normal((num_rows, width), np.float32)
    for start in range(0, num_rows, 1 << 16):
        part = rows[start : start + (1 << 16)]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows

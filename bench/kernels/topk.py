"""Exact top-K against what one would call instead.   python -m harken.bench.kernels.topk [--rows N] [--out FILE]

Question: what share of the copy bandwidth (few queries) and of the product ceiling (many) does an exact search reach, and
          is any rival faster?
Gate:     a rival must return harken's k-th best score within 1 %, and at least 98 % of its ids (storage rounds), or is
          printed as FAILED and not timed. Over int8 85 % will do: both rivals round the query to int8 too.
Rivals:   CPU: numpy and torch (product, then the k best), faiss flat with and without BLAS and its scalar quantizers,
          usearch exact, and harken's own reference where the C++ core runs. CUDA: torch and CuPy in chunks.
Reads:    GB/s = N * D * itemsize / median; TFLOP/s = 2 * Q * N * D / median; ratio = median of the rival / of harken;
          cpu ratio = the same of the least processor time, for machines that are not quiet.
"""

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...kernels.backend import available
from ...kernels.topk import topk
from ..record import machine_line
from .compare import Way, ceilings, emit, in_turns

CHUNK_BYTES = 1 << 30


def torch_chunks(queries: torch.Tensor, corpus: torch.Tensor, k: int) -> torch.Tensor:
    """Product and torch.topk a chunk, then the best of all chunks."""
    step = max(k, CHUNK_BYTES // (4 * len(queries)))
    scores, ids = [], []
    for start in range(0, len(corpus), step):
        best = (queries @ corpus[start : start + step].T).topk(min(k, len(corpus) - start), dim=1)
        scores.append(best.values)
        ids.append(best.indices + start)
    return torch.cat(ids, 1).gather(1, torch.cat(scores, 1).topk(k, dim=1).indices)


def numpy_way(queries: np.ndarray, corpus: np.ndarray, k: int) -> np.ndarray:
    scores = queries @ corpus.T
    ids = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return np.take_along_axis(ids, np.argsort(-np.take_along_axis(scores, ids, 1), axis=1), 1)


def faiss_ways(queries: np.ndarray, corpus: np.ndarray, k: int, dtype: torch.dtype) -> dict[str, Way]:
    if find_spec("faiss") is None:
        return {}
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    D = corpus.shape[1]
    if dtype == torch.float32:
        flat = faiss.IndexFlatIP(D)
        flat.add(corpus)

        def blas() -> np.ndarray:
            before, faiss.cvar.distance_compute_blas_threshold = faiss.cvar.distance_compute_blas_threshold, 1
            ids = flat.search(queries, k)[1]
            faiss.cvar.distance_compute_blas_threshold = before
            return ids

        return {"faiss flat": lambda: flat.search(queries, k)[1], "faiss flat BLAS": blas}
    if dtype == torch.int8:
        # This quantizer casts the query to integers as well.
        queries = queries * np.float32(127 / np.abs(queries).max())
    kinds = {torch.float16: "QT_fp16", torch.bfloat16: "QT_bf16", torch.int8: "QT_8bit_direct_signed"}
    kind = kinds[dtype]
    quantized = faiss.IndexScalarQuantizer(D, getattr(faiss.ScalarQuantizer, kind), faiss.METRIC_INNER_PRODUCT)
    quantized.train(corpus[:1000])
    quantized.add(corpus)
    return {f"faiss SQ {kind}": lambda: quantized.search(queries, k)[1]}


def usearch_ways(queries: np.ndarray, stored: np.ndarray, k: int) -> dict[str, Way]:
    if find_spec("usearch") is None:
        return {}
    from usearch.index import MetricKind, search

    scale = 127 / np.abs(queries).max()
    own = np.round(queries * scale) if stored.dtype == np.int8 else queries
    own = own.astype(stored.dtype)
    threads = torch.get_num_threads()
    return {"usearch": lambda: search(stored, own, k, MetricKind.IP, exact=True, threads=threads).keys}


def cupy_way(queries: torch.Tensor, corpus: torch.Tensor, k: int) -> dict[str, Way]:
    if find_spec("cupy") is None:
        return {}
    import cupy

    q, c, step = cupy.from_dlpack(queries.to(corpus.dtype)), cupy.from_dlpack(corpus), CHUNK_BYTES // (4 * len(queries))

    def way() -> Any:
        ids, scores = [], []
        for start in range(0, len(c), step):
            part = q @ c[start : start + step].T
            best = cupy.argpartition(-part, k - 1, axis=1)[:, :k]
            ids.append(best + start)
            scores.append(cupy.take_along_axis(part, best, 1))
        order = cupy.argsort(-cupy.concatenate(scores, 1), axis=1)[:, :k]
        return torch.from_dlpack(cupy.take_along_axis(cupy.concatenate(ids, 1), order, 1))

    return {"cupy": way}


def ways_of(queries: torch.Tensor, corpus: torch.Tensor, k: int) -> dict[str, Way]:
    """Every way on the same vectors; int8 holds the vector times 127, which changes no order."""
    ways: dict[str, Way] = {"harken": lambda: topk(queries, corpus, k).ids_QK}
    if corpus.is_cuda:
        own = queries.to(corpus.dtype) if corpus.dtype != torch.int8 else queries
        if corpus.dtype != torch.int8:
            ways["torch"] = lambda: torch_chunks(own, corpus, k)
            ways |= cupy_way(queries, corpus, k)
        return ways
    if "cpp" in available(cpp=True):
        ways["harken reference"] = lambda: topk(queries, corpus, k, backend="reference").ids_QK
    host = queries.numpy()
    if corpus.dtype != torch.bfloat16:
        stored = corpus.numpy()
        ways |= usearch_ways(host, stored, k)
    if corpus.dtype == torch.float32:
        ways["numpy"] = lambda: numpy_way(host, stored, k)
    if corpus.dtype != torch.int8:
        own = queries.to(corpus.dtype)
        ways["torch"] = lambda: torch_chunks(own, corpus, k)
    return ways | faiss_ways(host, corpus.float().numpy(), k, corpus.dtype)


def gate(ways: dict[str, Way], queries: torch.Tensor, corpus: torch.Tensor) -> dict[str, float]:
    """Share of harken's ids that each way finds; ways that miss are printed and taken out."""
    wanted, recall = torch.as_tensor(ways["harken"]()), {}
    for name, way in list(ways.items()):
        ids = torch.as_tensor(np.asarray(way(), dtype=np.int64) if not corpus.is_cuda else way()).to(wanted.device)
        ids = ids.reshape(wanted.shape)
        recall[name] = float((ids[:, :, None] == wanted[:, None, :]).any(2).double().mean())
        worst = (queries * corpus[ids[:, -1]].float()).sum(1) / (queries * corpus[wanted[:, -1]].float()).sum(1)
        if recall[name] < (0.85 if corpus.dtype == torch.int8 else 0.98) or float((worst - 1).abs().max()) > 0.01:
            print(
                f"FAILED {name}: finds {recall[name]:.4f} of the ids, k-th score off by {float((worst - 1).abs().max()):.4f}"
            )
            del ways[name]
    return recall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="corpus rows; default 10 million on CUDA, 200,000 on the CPU")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument(
        "--queries", type=int, nargs="+", default=None, help="default 1 32 1024 on CUDA, 1 32 on the CPU"
    )
    parser.add_argument("--k", type=int, nargs="+", default=[100])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float16", "bfloat16", "int8"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, help="CPU threads of every way; default: torch's")
    parser.add_argument("--out", type=Path, help="append one JSON line a result")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = args.rows or (10_000_000 if device.type == "cuda" else 200_000)
    limits, where = ceilings(device), machine_line(device)
    print(where, {name: round(value, 3) for name, value in limits.items()})
    generator = torch.Generator(device).manual_seed(0)
    unit: Callable[[int], torch.Tensor] = lambda n: torch.nn.functional.normalize(
        torch.randn(n, args.width, generator=generator, device=device), dim=1
    )
    vectors = unit(rows)
    for dtype in (getattr(torch, name) for name in args.dtypes):
        corpus = (vectors * 127 / vectors.abs().max()).round().to(dtype) if dtype == torch.int8 else vectors.to(dtype)
        for Q in args.queries or ([1, 32, 1024] if device.type == "cuda" else [1, 32]):
            for k in args.k:
                measure(unit(Q), corpus, k, args.rounds, where | limits, args.out)


def measure(
    queries: torch.Tensor, corpus: torch.Tensor, k: int, rounds: int, where: dict[str, Any], out: Path | None
) -> None:
    """Gate and time every way on one case; prints and emits a line each."""
    (Q, width), rows, dtype = queries.shape, len(corpus), str(corpus.dtype)[6:]
    ways = ways_of(queries, corpus, k)
    recall = gate(ways, queries, corpus)
    timings = in_turns(ways, corpus.device, rounds=rounds)
    for name, t in timings.items():
        gb_s = corpus.numel() * corpus.element_size() / t.p50_ms / 1e6
        tflop_s = 2 * Q * corpus.numel() / t.p50_ms / 1e9
        ratio = t.p50_ms / timings["harken"].p50_ms
        cpu_ratio = t.cpu_ms / timings["harken"].cpu_ms
        print(
            f"{dtype:9} Q {Q:5} k {k:4} {name:28} {t.p50_ms:10.2f} ms ({t.p20_ms:.2f}..{t.p80_ms:.2f})"
            f" {gb_s:8.1f} GB/s {tflop_s:8.3f} TFLOP/s  x{ratio:.2f}"
            f"  cpu {t.cpu_ms:.1f} ms x{cpu_ratio:.2f}  recall {recall[name]:.4f}"
        )
        row = {"op": "topk", "way": name, "rows": rows, "width": width, "queries": Q, "k": k, "dtype": dtype}
        row |= {"ms_p20": t.p20_ms, "ms_p50": t.p50_ms, "ms_p80": t.p80_ms, "repeats": t.repeats, "gb_s": gb_s}
        row |= {"tflop_s": tflop_s, "ratio": ratio, "cpu_ms": t.cpu_ms, "cpu_ratio": cpu_ratio, "recall": recall[name]}
        emit(where | row, out)


if __name__ == "__main__":
    main()

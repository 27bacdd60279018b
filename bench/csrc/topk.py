"""Top-K of the C++ core beside its rivals, one and two threads.   python -m harken.bench.csrc.topk [--rows N] [--out FILE]

Question: is one query a read of the corpus and no more, at 1, 2 and 4 bytes a number, and are 32 queries ahead of BLAS?
Gate, rivals and what the figures mean: bench/kernels/topk.py, which runs once for every number of threads.
"""

import argparse

from .threads import with_threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--k", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", help="append one JSON line a result")
    args = parser.parse_args()
    arguments = ["--rows", args.rows, "--width", args.width, "--queries", *args.queries, "--k", *args.k]
    arguments += ["--rounds", args.rounds, *(["--out", args.out] if args.out else [])]
    raise SystemExit(with_threads("harken.bench.kernels.topk", [str(a) for a in arguments], args.threads))


if __name__ == "__main__":
    main()

"""Log-mel of the C++ core beside its rivals, one and two threads.   python -m harken.bench.csrc.logmel [--out FILE]

Question: what does a clip of 10 and of 30 s cost, alone and in a batch?
Gate, rivals and what the figures mean: bench/kernels/logmel.py, which runs once for every number of threads and length.
"""

import argparse

from .threads import with_threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", help="append one JSON line a result")
    args = parser.parse_args()
    status = 0
    for seconds in args.seconds:
        arguments = ["--clips", *args.clips, "--seconds", seconds, "--rounds", args.rounds]
        arguments += ["--out", args.out] if args.out else []
        status = with_threads("harken.bench.kernels.logmel", [str(a) for a in arguments], args.threads) or status
    raise SystemExit(status)


if __name__ == "__main__":
    main()

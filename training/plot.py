"""Loss and recall of a run, drawn from its log.

Source: own.
"""

import json
import sys
from pathlib import Path


def plot_log(log: Path, image: Path) -> bool:
    """Draw OUT/log.jsonl; False, with a line on stderr, where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        print('no plot: pip install "harken[train]" brings matplotlib', file=sys.stderr)
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    steps = [line for line in lines if "loss" in line]
    left.plot([line["step"] for line in steps], [line["loss"] for line in steps])
    left.set(xlabel="step", ylabel="loss")
    validations = [line for line in lines if "validation" in line]
    names = sorted({name for line in validations for name in line["validation"]})
    for name in names:
        there = [line for line in validations if name in line["validation"]]
        right.plot(
            [line["step"] for line in there], [line["validation"][name] for line in there], marker="o", label=name
        )
    right.set(xlabel="step", ylabel="validation")
    if names:
        right.legend(fontsize=7)
    figure.savefig(image, dpi=110)
    pyplot.close(figure)
    return True

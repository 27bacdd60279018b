"""The kernels' results as one short table.   python -m harken.bench.kernels.table FILE

Reads the JSON lines that the benches of this folder write with --out. Shares are of the ceilings measured in the same run.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# What is not part of a case's name: where it ran, and what was measured.
MEASURED = {"op", "way", "ms_p20", "ms_p50", "ms_p80", "ms_a_clip", "repeats", "gb_s", "tflop_s", "ratio", "recall", "error",
            "copy_gb_s", "product_tflop_s", "cpu_ms", "cpu_ratio", "device", "threads", "python"}  # fmt: skip


def lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Markdown, one line a result."""
    out = ["| operation | case | way | ms | of copy | of product | x harken |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        # Versions are strings that start with a digit; a case's own words (dtypes, names) do not.
        case = {k: v for k, v in row.items() if k not in MEASURED and not (isinstance(v, str) and v[:1].isdigit())}
        ratio = f"{row['ratio']:.2f}" if row.get("ratio") else ""
        name = " ".join(f"{k} {v}" for k, v in case.items())
        shares = f"{share(row, 'gb_s', 'copy_gb_s')} | {share(row, 'tflop_s', 'product_tflop_s')}"
        out.append(f"| {row['op']} | {name} | {row['way']} | {row['ms_p50']:.4g} | {shares} | {ratio} |")
    return out


def share(row: Mapping[str, Any], part: str, whole: str) -> str:
    return f"{row[part] / row[whole]:.0%}" if row.get(part) and row.get(whole) else ""


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).exists():
        raise SystemExit("usage: python -m harken.bench.kernels.table FILE; FILE holds the JSON lines of a run")
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    if rows:
        limits = f"copy {rows[0]['copy_gb_s']:.0f} GB/s, product {rows[0]['product_tflop_s']:.2f} TFLOP/s"
        print(f"{rows[0]['device']}: {limits}\n")
    print("\n".join(lines(rows)))


if __name__ == "__main__":
    main()

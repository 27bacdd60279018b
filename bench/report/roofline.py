"""How near a measurement is to what its machine can do.

    floor  = max(bytes / copy bandwidth, operations / product speed)
    share  = floor / measured = max(GB/s reached / GB/s of a copy, TFLOP/s reached / TFLOP/s of a product)

Both ceilings were measured in the same run (kernels/compare.py), so a busy machine lowers them too. A share above 1 says
that a working set fitted a cache that the copy's did not, or that other work slowed the ceilings more.

Source: Williams et al. 2009, the roofline model.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Share:
    """Part of the machine's limit that was reached, and which limit it is."""

    share: float
    # "bandwidth" or "products"
    limit: str
    floor_ms: float


def share_of_limit(row: dict[str, Any]) -> Share | None:
    """Of a kernel's row; None where it says neither bytes nor operations, or the machine's ceilings are missing."""
    parts = {}
    for reached, ceiling, name in (
        ("gb_s", "copy_gb_s", "bandwidth"),
        ("tflop_s", "product_tflop_s", "products"),
    ):
        if row.get(reached) and row.get(ceiling):
            parts[name] = row[reached] / row[ceiling]
    if not parts:
        return None
    limit = max(parts, key=lambda name: parts[name])
    return Share(parts[limit], limit, row["ms_p50"] * parts[limit])

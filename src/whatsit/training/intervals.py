"""The interval of a share, such as an accuracy."""

from __future__ import annotations

import math

Interval = tuple[float, float]

Z95 = 1.959963984540054


def wilson_interval(right: int, total: int, z: float = Z95) -> Interval:
    """Return the 95 % interval of a share (Wilson 1927), sound also near 0 and 1."""
    if not total:
        return 0.0, 1.0
    share = right / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    low = 0.0 if right == 0 else max(0.0, (centre - spread) / scale)
    return low, 1.0 if right == total else min(1.0, (centre + spread) / scale)

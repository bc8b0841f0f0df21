"""Shares and durations as people read them."""

from __future__ import annotations


def percent(share: float, digits: int = 1) -> str:
    """Format a share such as `98.1 %`; as 100 % or 0 % only if it is exactly that."""
    least = 10.0**-digits
    if 1 - least / 200 <= share < 1:
        return f"> {100 - least:.{digits}f} %"
    if 0 < share < least / 200:
        return f"< {least:.{digits}f} %"
    return f"{100 * share:.{digits}f} %"


def duration(seconds: float) -> str:
    """Format the time of one prediction, such as `7.0 ms` or `1.25 s`."""
    return f"{1000 * seconds:.1f} ms" if seconds < 0.1 else f"{seconds:.2f} s"

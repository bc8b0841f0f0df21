"""Figures as people read them."""

from __future__ import annotations


def percent(share: float, digits: int = 1) -> str:
    """A share from 0 to 1, such as `98.1 %`; never 100 % or 0 % for what is not."""
    least = 10.0**-digits
    if 1 - least / 200 <= share < 1:
        return f"> {100 - least:.{digits}f} %"
    if 0 < share < least / 200:
        return f"< {least:.{digits}f} %"
    return f"{100 * share:.{digits}f} %"


def duration(seconds: float) -> str:
    """Such as `7.0 ms` or `1.25 s`."""
    return f"{1000 * seconds:.1f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def plain(text: str) -> str:
    """A name without control characters, those that turn the direction of the text around it, and what is not Unicode."""
    return text.translate(_STEERING)


_STEERING = dict.fromkeys(
    [
        *range(0x20),
        *range(0x7F, 0xA0),
        *(0x061C, 0x200E, 0x200F),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
        *range(0xD800, 0xE000),
    ],
    "\ufffd",
)

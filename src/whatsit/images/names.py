"""Names of classes and files: what they may contain, and how they are shown.

An invisible character may break a line, control a terminal, or reverse the direction of the text around it. Those that join
letters stay: the zero-width space parts Thai words, joiners make one emoji of several, and tags make the flag of Wales.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MAX_LABEL = 200  # characters

_JOINERS = "\u200b\u200c\u200d"
_FLAGS = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f")  # of regions (Unicode Technical Standard 51)
# Signs of Arabic, Syriac and Kaithi that are visible, though their category is that of invisible ones.
_SEEN = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")
_CONTROLS = dict.fromkeys(
    [
        *range(0x20),
        *range(0x7F, 0xA0),
        *(0x061C, 0x200E, 0x200F, 0x2028, 0x2029),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
        *range(0xD800, 0xE000),
    ],
    "\ufffd",
)


def plain(text: str) -> str:
    """Return a name without controls, marks of direction, and what is not Unicode."""
    return text.translate(_CONTROLS)


def plain_text(text: str) -> str:
    """Return `plain` for a text of several lines."""
    return re.sub("[^\n\t]+", lambda found: plain(found[0]), text)


def printable(text: str) -> str:
    r"""Return a text for a terminal: invisible characters are escaped, such as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else repr(c)[1:-1] for c in text)


def drawable(text: str) -> str:
    """Return a text for fonts: invisible characters become a sign, joiners go."""
    return "".join(c if c.isprintable() else "\ufffd" for c in _FLAGS.sub("\U0001f3f4", text) if c not in _JOINERS)


def label_fault(label: str) -> str | None:
    """Return what is wrong with the name of a class, to end a sentence, or None."""
    if not label:
        return "is empty"
    if len(label) > MAX_LABEL:
        return f"has {len(label):,} characters; at most {MAX_LABEL}"
    if not (found := _invisible(label)):
        return None
    what = "half of a pair: the name is not valid Unicode"
    if unicodedata.category(found) != "Cs":
        what = unicodedata.name(found, "a control character").lower()
    return f"has the character U+{ord(found):04X}, which is not seen ({what}); leave it out"


def is_plain(text: str) -> bool:
    """Return whether a text is valid Unicode without invisible characters."""
    return not _invisible(text)


def _invisible(text: str) -> str:
    """Return the first invisible character of a text but for joiners, or nothing."""
    rest = (c for c in _SEEN.sub("", _FLAGS.sub("", text)) if c not in _JOINERS)
    return next((c for c in rest if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")), "")


def join_words(words: Iterable[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last

"""Names that come from others, of classes and files: what they may hold, and how they are shown without harm.

A character that cannot be seen may break a line, steer a terminal, or turn the direction of the text around it. Those that join
letters stay: the zero-width space parts Thai words, joiners make one emoji of several, and tags make the flag of Wales.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LABEL = 200  # characters

_JOINERS = "\u200b\u200c\u200d"
_FLAGS = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f")  # of regions (Unicode Technical Standard 51)
# Signs of Arabic, Syriac and Kaithi that are seen, though their category is that of unseen ones.
_SEEN = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")
_STEERING = dict.fromkeys(
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
    """Return a name without controls, characters that turn the direction of the text, and what is not Unicode."""
    return text.translate(_STEERING)


def plain_text(text: str) -> str:
    """Return `plain` for a text of several lines."""
    return re.sub("[^\n\t]+", lambda found: plain(found[0]), text)


def printable(text: str) -> str:
    """Return a text whose unseen characters are written as Python does, such as `\\x1b`, so that none steers a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else repr(c)[1:-1] for c in text)


def drawable(text: str) -> str:
    """Return a text for fonts: unseen characters are shown by a sign, and those that join letters are left out."""
    return "".join(c if c.isprintable() else "\ufffd" for c in _FLAGS.sub("\U0001f3f4", text) if c not in _JOINERS)


def label_fault(label: str) -> str | None:
    """Return what is wrong with the name of a class, for the end of a sentence, or None."""
    if not label:
        return "is empty"
    if len(label) > MAX_LABEL:
        return f"has {len(label):,} characters; at most {MAX_LABEL}"
    unseen = next((c for c in _SEEN.sub("", _FLAGS.sub("", label)) if _is_unseen(c)), None)
    if unseen is None:
        return None
    return f"has the character U+{ord(unseen):04X}, which is not seen ({_what(unseen)}); leave it out"


def is_plain(text: str) -> bool:
    """Return whether a text is valid Unicode without line breaks, controls and other unseen characters."""
    return not any(_is_unseen(c) for c in _SEEN.sub("", _FLAGS.sub("", text)))


def _is_unseen(character: str) -> bool:
    return character not in _JOINERS and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _what(character: str) -> str:
    if unicodedata.category(character) == "Cs":
        return "half of a pair: the name is not valid Unicode"
    return unicodedata.name(character, "a control character").lower()

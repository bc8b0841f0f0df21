"""Read base64 in every form that programs write it.

Read are: RFC 4648 with `+/` or the URL-safe `-_`, with or without padding; line breaks as MIME, PEM and Java's encoder write
them (RFC 2045); a data URL (RFC 2397), as JavaScript's `readAsDataURL` gives it, also with escapes such as `%2B`.
"""

from __future__ import annotations

import base64
import binascii
import re
import urllib.parse

_BREAKS = re.compile(r"[ \t]*[\r\n\f\v]+[ \t]*")
_URL_SAFE = str.maketrans("-_", "+/")
_OTHER = re.compile(r"[^A-Za-z0-9+/]")
_SHOWN = 40  # letters of what is shown of a text


def read_base64(value: object) -> bytes:
    """Return the bytes that a text stands for.

    Raises `ValueError`, whose words say what is wrong with it, to be read after "picture 3".
    """
    if not isinstance(value, str):
        raise ValueError(f"is {_kind(value)}, not a text in base64")
    try:
        return base64.b64decode(value, validate=True)  # by far the most
    except ValueError:
        text = _without_prefix(value.strip().lstrip("\ufeff"))
    text = _BREAKS.sub("", text.strip()).translate(_URL_SAFE)
    text = _without_padding(text)
    if odd := _OTHER.search(text):
        raise ValueError(_words_of(text, odd.start()))
    if len(text) % 4 == 1:
        raise ValueError(
            f"is no base64: it has {len(text):,} letters, one too few or too many; part of it may be missing"
        )
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"is no base64: {error}") from None


def _without_prefix(text: str) -> str:
    """Take the head off a data URL."""
    if text[:5].lower() != "data:":
        return text
    head, comma, data = text.partition(",")
    if not comma:
        raise ValueError(f"is a data URL without a comma before its data: {head[:_SHOWN]!r}")
    if head.rpartition(";")[2].strip().lower() != "base64":
        raise ValueError(f"is a data URL whose data are not in base64: {head[:_SHOWN]!r}; it is to say ;base64")
    return urllib.parse.unquote(data) if "%" in data else data


def _without_padding(text: str) -> str:
    bare = text.rstrip("=")
    if "=" in bare:
        raise ValueError(
            f"is no base64: '=' stands at place {bare.index('=') + 1:,}, before its end; two texts may be joined"
        )
    return bare


def _words_of(text: str, place: int) -> str:
    """Say what the mistake is where a letter stands that base64 has not."""
    if text[:2] in ("b'", 'b"'):
        return "begins with b', as Python shows bytes; give the text itself: base64.b64encode(data).decode()"
    if text[place] == " ":
        return f"has a blank within its base64, at place {place + 1:,}; a '+' that was sent in a form becomes one"
    if re.match(r"[a-z]{2,6}://", text, re.IGNORECASE):
        return f"is the address {text[:_SHOWN]!r}; addresses are not fetched, send the picture itself in base64"
    return f"is no base64: {text[place]!r} stands at place {place + 1:,}"


def _kind(value: object) -> str:
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), type(value).__name__)

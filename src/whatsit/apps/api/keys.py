"""API keys and tokens: read from a file, and compared with what a request brings."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from pathlib import Path

from whatsit.errors import UsageError


def read_keys(path: Path) -> tuple[str, ...]:
    """Return the keys in a file, one a line, without comments. Raises `UsageError`."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: the keys cannot be read: {getattr(error, 'strerror', None) or error}") from None
    keys = tuple(line.strip() for line in lines if line.strip() and not line.strip().startswith("#"))
    if odd := [key for key in keys if not (key.isascii() and key.isprintable())]:
        raise UsageError(
            f"{path}: the key that begins with '{odd[0][:3]}' has letters that no request can bring; use a to z and digits"
        )
    short = [key for key in keys if len(key) < 16]
    if short or not keys:
        raise UsageError(
            f"{path}: {'a key is' if short else 'no key is there; one is'} to have 16 characters or more, on a line of its own"
        )
    return keys


class Keys:
    """Keys of which a request must bring one; only their digests are kept."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def __contains__(self, key: object) -> bool:
        """Compare with every key, in the same time for right and wrong ones."""
        digest = _digest(str(key))
        return any([hmac.compare_digest(digest, known) for known in self._digests])  # noqa: C419 - all are compared


def key_of(headers: Mapping[bytes, bytes]) -> str:
    """Return the key in a request's headers; empty where there is none."""
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get(b"x-api-key", b"").decode("latin-1").strip()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()

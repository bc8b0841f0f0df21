"""Every error that whatsit raises on purpose.

Each message is one line written for the person who reads it.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class WhatsitError(Exception):
    """Something the user can understand and act on; the base of all the others."""


class UsageError(WhatsitError):
    """An argument is wrong, such as a path that does not exist or an unknown name.

    The command line exits with 2.
    """


class DataError(WhatsitError):
    """The data set cannot be used: a missing folder, one class, a hostile archive."""


class ImageError(WhatsitError):
    """One picture cannot be read: empty, truncated, too large, or no picture at all.

    `reason` is the same in a word, for those who say it in another language: `empty`, `too_many_bytes`, `too_many_pixels`,
    `heic` (its reader is not installed), `format` (no picture, or a format that is not read), `unsupported` (a kind of an
    allowed format that is not read), `damaged`, `memory`, `model` (the model fails on it) or `unreadable`.
    """

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason

    @classmethod
    def damaged(cls, why: str) -> ImageError:
        """Return the error for a picture of which a part is missing or wrong."""
        return cls(f"the picture is damaged or cut short: {why}", "damaged")

    @classmethod
    def unsupported(cls, what: str) -> ImageError:
        """Return the error for a kind of an allowed format that is not decoded.

        `what` is such as "a 12-bit JPEG".
        """
        return cls(f"this is {what}, which is not read; save the picture as an ordinary JPEG or PNG", "unsupported")


class RecipeError(UsageError):
    """A training recipe has an unknown key, a wrong type or a value outside its range."""


class ModelError(WhatsitError):
    """A network cannot be built or exported.

    The backbone is unknown, or weights are missing or do not fit.
    """


class BundleError(WhatsitError):
    """A `.whatsit` file is missing, damaged, tampered with, or of an unknown format."""


class MissingBundleError(BundleError, UsageError):
    """There is no file where the model should be."""


class ServiceError(WhatsitError):
    """A service cannot be reached, or refuses a request."""


class MissingExtraError(WhatsitError):
    """A part of whatsit was asked for whose optional packages are not installed."""

    def __init__(self, what: str, extra: str, module: str) -> None:
        super().__init__(
            f"{what} needs the package '{module}', which is not installed; install it with: pip install 'whatsit[{extra}]'"
        )


def require_packages(what: str, extra: str, *packages: str) -> None:
    """Raise `MissingExtraError` for the first of these packages that is missing."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(what, extra, package)


@contextmanager
def needing(what: str, extra: str, package: str | None = None) -> Iterator[None]:
    """Turn a failed import into `MissingExtraError`.

    It names the extra and the package, by default the one that the error names.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(what, extra, package or error.name or extra) from None


def suggest(word: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'? allowed: x, y`, for the end of a message."""
    allowed = list(allowed)
    near = difflib.get_close_matches(word, allowed, 1, 0.5)
    question = f"; did you mean '{near[0]}'?" if near else ""
    return f"{question}{';' if not near else ''} allowed: {', '.join(allowed)}"

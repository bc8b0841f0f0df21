"""Start and end an app or the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from whatsit.apps.terminal import err
from whatsit.process import Stopped


@contextmanager
def until_stopped(what: str) -> Iterator[None]:
    """Run within this until Ctrl-C or SIGTERM, and say that it has stopped."""
    with suppress(Stopped):
        yield
    err(f"{what} has stopped.")

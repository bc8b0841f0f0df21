"""A thread for each worker, until all is done or one of them fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar


class Closable(Protocol):
    """A worker with a process that any thread may end."""

    def close(self) -> None:
        """End its process."""
        ...


Member = TypeVar("Member", bound=Closable)


class Stop:
    """The first error of some threads, and whether they are to stop."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._lock, self._stopped = threading.Lock(), threading.Event()

    def __bool__(self) -> bool:
        return self._stopped.is_set()

    def set(self, error: BaseException | None = None) -> None:
        """Stop all threads; what goes wrong while they stop is not an error."""
        with self._lock:
            if not self:
                self.error = error
            self._stopped.set()


def run_in_threads(members: Sequence[Member], work: Callable[[Member], None], stop: Stop) -> None:
    """Run `work` on each member in a thread of its own; at the end close all members.

    Raises the first error. Ctrl-C is heard.
    """

    def guarded(member: Member) -> None:
        try:
            work(member)
        except BaseException as error:
            stop.set(error)

    threads = [threading.Thread(target=guarded, args=(member,), daemon=True) for member in members]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive() and not stop:
                thread.join(0.2)  # Ctrl-C is heard between
    finally:
        stop.set()
        for member in members:
            member.close()
        for thread in threads:
            if thread.ident:
                thread.join()
    if stop.error:
        raise stop.error

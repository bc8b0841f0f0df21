"""The messages for a webhook, sent by a thread until they are delivered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from whatsit.events import Reporter
from whatsit.runtime.watch_state import KEPT, REFUSED, SENT, WatchState
from whatsit.runtime.webhook import Delivery, Outcome

FIRST_WAIT, LAST_WAIT = 1.0, 300.0  # seconds between two tries; each is twice the one before
TRIES = 10  # of a message on which the service fails, while it takes others
_LOT = 32
_IDLE = 3600.0  # seconds; a new message ends it


class Posting(Protocol):
    """A `Webhook`, or what is used like one."""

    shown: str

    def post(self, body: str, key: str) -> Delivery:
        """See `Webhook.post`."""
        ...

    def abort(self) -> None:
        """See `Webhook.abort`."""
        ...


class Outbox:
    """Delivers each recorded message at least once, under the same key each time.

    While the service cannot be reached all wait, with growing pauses, for ever. A message that it refuses is kept for the next
    start, and so is one on which it fails `TRIES` times.
    """

    def __init__(self, state: WatchState, webhook: Posting, reporter: Reporter) -> None:
        self._state, self._webhook, self._reporter = state, webhook, reporter
        self._paused_until, self._failures = float("-inf"), 0
        self._due: dict[str, float] = {}
        self._wake, self._ended = threading.Event(), threading.Event()
        self._error: Exception | None = None  # that ended the thread

    def wake(self, count: int = 1) -> None:
        """Say that there may be this number of new messages.

        Raises what ended the thread, such as `DiskError`.
        """
        if self._error:
            raise self._error
        if count:
            self._wake.set()

    def deliver(self, now: float) -> float:
        """Send what is due; return the seconds until there is something to do again.

        `now` is in seconds, of a clock that never jumps.
        """
        if now < self._paused_until:
            return self._paused_until - now
        while messages := [one for one in self._state.to_send(_LOT) if self._due.get(one.id, now) <= now]:
            for message in messages:
                if self._ended.is_set():
                    return 0.0
                delivery = self._webhook.post(message.body, message.id)
                if delivery.outcome is Outcome.BUSY:
                    return self._pause(now, delivery)
                self._end_pause()
                self._note(message.id, message.tries + 1, now, delivery)
        return max(0.0, min([*self._due.values(), now + _IDLE]) - now)

    def _pause(self, now: float, delivery: Delivery) -> float:
        wait: float = max(delivery.wait, min(FIRST_WAIT * 2**self._failures, LAST_WAIT))
        if not self._failures and not self._ended.is_set():
            self._reporter.warn(
                f"{self._webhook.shown}: {delivery.reason}; what is to be sent is kept, and tried again in {wait:.0f} s or more"
            )
        self._failures = min(self._failures + 1, 20)
        self._paused_until = now + wait
        return wait

    def _end_pause(self) -> None:
        if self._failures:
            self._reporter.say(f"{self._webhook.shown}: it answers again")
        self._failures = 0

    def _note(self, one: str, tries: int, now: float, delivery: Delivery) -> None:
        self._due.pop(one, None)
        if delivery.outcome is Outcome.SENT:
            self._state.delivered(one, SENT)
        elif delivery.outcome is Outcome.FAILED and tries < TRIES:
            self._state.delivered(one, KEPT)
            self._due[one] = now + min(FIRST_WAIT * 2 ** (tries - 1), LAST_WAIT)
        else:
            self._state.delivered(one, REFUSED)
            self._reporter.warn(
                f"{self._webhook.shown}: {delivery.reason}; message {one} is kept, and sent at the next start"
            )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send by a thread meanwhile."""
        thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._wake.set()
            thread.join(1.0)  # the request that is being made may be answered
            self._webhook.abort()
            thread.join(1.0)  # a connection that is being opened cannot be ended

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._wake.clear()
                self._wake.wait(self.deliver(time.monotonic()))
                while not self._ended.is_set() and (left := self._paused_until - time.monotonic()) > 0:
                    self._ended.wait(left)
        except Exception as error:  # else nothing would be sent any more, and nobody would know
            self._error = error

"""Messages to a webhook: at least once, under one key, whatever the service does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Listener
from whatsit.runtime.outbox import LAST_WAIT, TRIES, Outbox
from whatsit.runtime.watch_state import Message, WatchState
from whatsit.runtime.webhook import Delivery, Outcome

BUSY, FAILED = Delivery(Outcome.BUSY, "it answers 503"), Delivery(Outcome.FAILED, "it answers 500")
REFUSED, SENT = Delivery(Outcome.REFUSED, "it answers 404"), Delivery(Outcome.SENT)


class Service:
    """Takes what it is sent, or does as it is said for some time."""

    shown = "https://example.org"

    def __init__(self, *first: Delivery, never: str = "") -> None:
        self.first, self.never, self.got = list(first), never, list[str]()

    def post(self, body: str, key: str) -> Delivery:
        self.got.append(key)
        if key == self.never:
            return FAILED
        return self.first.pop(0) if self.first else SENT

    def abort(self) -> None:
        pass


@pytest.fixture
def state(tmp_path: Path) -> Iterator[WatchState]:
    with WatchState(tmp_path / "a.sqlite", tmp_path) as state:
        state.record([], [Message(name, f"{name}.jpg", "{}") for name in "abc"])
        state.written(list("abc"))
        yield state


def test_each_message_is_sent_once_where_all_goes_well(state: WatchState) -> None:
    service = Service()
    outbox = Outbox(state, service, Listener())
    outbox.deliver(0.0)
    outbox.deliver(1.0)
    assert (service.got, state.undelivered()) == (["a", "b", "c"], 0)


def test_busy_service_is_tried_again_with_growing_waits_that_have_a_limit(state: WatchState) -> None:
    service, listener = Service(*[BUSY] * 12), Listener()
    outbox, now, waits = Outbox(state, service, listener), 0.0, []
    while state.undelivered():
        waits.append(outbox.deliver(now))
        now += waits[-1]
    assert waits[:12] == [1, 2, 4, 8, 16, 32, 64, 128, 256, LAST_WAIT, LAST_WAIT, LAST_WAIT]
    assert service.got == ["a"] * 13 + ["b", "c"]
    assert len(listener.warned) == 1  # not one a try
    assert listener.said == ["https://example.org: it answers again"]


def test_nothing_is_sent_before_the_wait_is_over(state: WatchState) -> None:
    service = Service(Delivery(Outcome.BUSY, "it answers 429", wait=30.0))
    outbox = Outbox(state, service, Listener())
    assert outbox.deliver(0.0) == 30.0
    assert outbox.deliver(10.0) == 20.0
    assert service.got == ["a"]


def test_message_that_a_service_fails_on_does_not_hold_up_the_others(state: WatchState) -> None:
    service = Service(never="a")
    outbox, now = Outbox(state, service, Listener()), 0.0
    outbox.deliver(now)
    assert service.got == ["a", "b", "c"]
    for _ in range(2 * TRIES):
        now += outbox.deliver(now)
    assert service.got.count("a") == TRIES
    assert state.undelivered() == 1  # kept for the next start


def test_refused_message_is_kept_and_named(state: WatchState) -> None:
    service, listener = Service(REFUSED), Listener()
    Outbox(state, service, listener).deliver(0.0)
    assert service.got == ["a", "b", "c"]
    assert state.undelivered() == 1
    assert listener.warned == ["https://example.org: it answers 404; message a is kept, and sent at the next start"]


def test_fault_of_the_thread_is_not_silent(state: WatchState) -> None:
    asked = threading.Event()

    class Faulty(Service):
        def post(self, body: str, key: str) -> Delivery:
            asked.set()
            raise ZeroDivisionError

    outbox = Outbox(state, Faulty(), Listener())
    with outbox.running():
        assert asked.wait(10)
    with pytest.raises(ZeroDivisionError):
        outbox.wake()

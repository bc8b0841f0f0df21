"""Dynamic batches: images of different requests are predicted together.

Whenever the model is free it takes what waits, up to a batch. So a single client never waits for others, and under load
batches grow by themselves. The queue is bounded by a `Gate`, which admits a request before anything is decoded for it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from whatsit.apps.api.refusals import overloaded
from whatsit.engines import Images
from whatsit.errors import ImageError
from whatsit.runtime.predictor import Answer

Answered = Answer | ImageError  # of a picture; the error where the model fails on it
Outcome = list[Answered] | Exception


class Gate:
    """A limit on the images of a model between arrival and response.

    For one event loop.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.inside = 0

    @property
    def full(self) -> bool:
        """Whether one more image would be refused."""
        return self.inside >= self.capacity

    def check(self) -> None:
        """Raise `RefusedError` (429) where it is full."""
        if self.full:
            raise overloaded()

    @contextmanager
    def hold(self, pictures: int) -> Iterator[None]:
        """Hold room for a request's images, or raise `RefusedError` (429).

        A request that is larger than the gate is admitted when it is alone.
        """
        if self.inside and self.inside + pictures > self.capacity:
            raise overloaded()
        self.inside += pictures
        try:
            yield
        finally:
            self.inside -= pictures


# Called after every batch with how many images it had, how long each request waited, and the seconds of computing.
Observe = Callable[[int, Sequence[float], float], None]


@dataclass(eq=False)
class Work:
    """Decoded images of a request, at most a batch, and the future for their answers."""

    pixels: Images  # [n, H, W, 3]
    future: asyncio.Future[list[Answered]]
    since: float = field(default_factory=time.perf_counter)


class Batcher:
    """A thread that runs a model on batches of at most `max_batch` images."""

    def __init__(
        self,
        answer: Callable[[Images], Sequence[Answered]],
        *,
        max_batch: int,
        max_delay: float = 0.0,
        observe: Observe | None = None,
    ) -> None:
        """Start the thread.

        Args:
            answer: returns N answers for uint8 `[N, H, W, 3]`.
            max_batch: the largest N.
            max_delay: seconds that an image waits for others.
            observe: called after every batch.
        """
        self.max_batch = max_batch
        self._answer = answer
        self._max_delay = max_delay
        self._observe = observe
        self._changed = threading.Condition()
        self._waiting: deque[Work] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="batcher", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """How many images wait."""
        return sum(len(work.pixels) for work in list(self._waiting))

    def submit(self, pixels: Images, future: asyncio.Future[list[Answered]]) -> None:
        """Put images, at most `max_batch`, into the queue; return their future.

        The future may be of another thread's event loop.

        They are dropped if the future is done by their turn, as its client has gone or its time is over.
        """
        with self._changed:
            self._waiting.append(Work(pixels, future))
            self._changed.notify()

    def close(self) -> None:
        """End the thread after what waits, without waiting for it."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _loop(self) -> None:
        while works := self._next():
            self._run(works)

    def _next(self) -> list[Work]:
        """Return the next batch; empty when the batcher is closed and nothing waits."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return []
                if self._max_delay:
                    patience = self._waiting[0].since + self._max_delay - time.perf_counter()
                    self._changed.wait_for(lambda: self._closed or self.depth >= self.max_batch, max(patience, 0.0))
                if works := self._take():
                    return works

    def _take(self) -> list[Work]:
        works: list[Work] = []
        room = self.max_batch
        while self._waiting and (not works or len(self._waiting[0].pixels) <= room):
            work = self._waiting.popleft()
            if not work.future.done():
                works.append(work)
                room -= len(work.pixels)
        return works

    def _run(self, works: list[Work]) -> None:
        started = time.perf_counter()
        outcomes = self._outcomes(works)
        seconds = time.perf_counter() - started
        for loop in {work.future.get_loop() for work in works}:
            mine = [pair for pair in zip(works, outcomes, strict=True) if pair[0].future.get_loop() is loop]
            try:
                loop.call_soon_threadsafe(_deliver, mine)
            except RuntimeError:  # the loop is closed, and its clients are gone
                continue
        if self._observe:
            count = sum(len(work.pixels) for work in works)
            self._observe(count, [started - work.since for work in works], seconds)

    def _outcomes(self, works: list[Work]) -> list[Outcome]:
        try:
            pixels = works[0].pixels if len(works) == 1 else np.concatenate([work.pixels for work in works])
            answers = iter(self._answer(pixels))
            return [[next(answers) for _ in work.pixels] for work in works]
        except Exception as error:  # whatever a runtime raises
            if len(works) == 1:
                return [error]
        return [self._outcomes([work])[0] for work in works]  # the bad one fails alone


def _deliver(pairs: list[tuple[Work, Outcome]]) -> None:
    for work, outcome in pairs:
        if work.future.done():
            continue
        if isinstance(outcome, Exception):
            work.future.set_exception(outcome)
        else:
            work.future.set_result(outcome)


def best_batch(answer: Callable[[Images], object], size: tuple[int, int], *, seconds: float = 1.0) -> int:
    """Return the largest batch that comes within 5 % of a model's best rate.

    It is of 1 to 32 images and takes at most a twentieth of a second, as the next request waits for it. Measured in about a
    second.
    """
    rates: dict[int, float] = {}
    ends = time.perf_counter() + seconds
    for count in (1, 2, 4, 8, 16, 32):
        pixels = np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)
        answer(pixels)  # the first of a size is slower
        runs: list[float] = []
        while len(runs) < 2 or (len(runs) < 8 and sum(runs) < seconds / 8):
            started = time.perf_counter()
            answer(pixels)
            runs.append(time.perf_counter() - started)
        if count > 1 and min(runs) > 0.05:
            break
        rates[count] = count / min(runs)
        if time.perf_counter() > ends:
            break
    return max(count for count, rate in rates.items() if rate >= 0.95 * max(rates.values()))

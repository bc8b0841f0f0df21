from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from tests.coroutines import run_apart
from whatsit.apps.api.batching import Batcher, Gate, best_batch
from whatsit.apps.api.refusals import RefusedError
from whatsit.runtime.predictor import Answer


class Model:
    """Answers with the first value of each picture; waits at a gate, and fails for a picture of 255."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.sizes: list[int] = []

    def __call__(self, pixels: np.ndarray) -> list[Answer]:
        self.entered.set()
        assert self.open.wait(10)
        self.sizes.append(len(pixels))
        if (pixels == 255).any():
            raise ValueError("poison")
        return [Answer(np.array([picture.flat[0]], np.float32), 0.0) for picture in pixels]


class Watcher:
    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []

    def batch(self, pictures: int, waited: Sequence[float], seconds: float) -> None:
        self.batches.append((pictures, len(waited)))


def picture(value: int, count: int = 1) -> np.ndarray:
    return np.full((count, 2, 2, 3), value, np.uint8)


def run(model: Model, works: Sequence[np.ndarray], *, cancel: Sequence[int] = (), **settings: float) -> list[object]:
    """Submit a first work, wait until the model is at it, submit the others, open the gate; the outcomes in order."""

    async def all_of_them() -> list[object]:
        batcher = Batcher(model, **{"max_batch": 4, **settings})
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in works]
        batcher.submit(works[0], futures[0])
        await loop.run_in_executor(None, model.entered.wait, 10)
        for pixels, future in zip(works[1:], futures[1:], strict=True):
            batcher.submit(pixels, future)
        for place in cancel:
            futures[place].cancel()
        model.open.set()
        found = await asyncio.gather(*futures, return_exceptions=True)
        batcher.close()
        return [
            [int(one.probabilities[0]) for one in answers] if isinstance(answers, list) else answers
            for answers in found
        ]

    return run_apart(all_of_them())


def test_what_waits_is_answered_together_and_in_order() -> None:
    model = Model()
    assert run(model, [picture(value) for value in range(8)]) == [[value] for value in range(8)]
    assert model.sizes == [1, 4, 3]


def test_requests_of_several_pictures_stay_whole() -> None:
    model = Model()
    assert run(model, [picture(1), picture(2, 3), picture(3, 2), picture(4)]) == [[1], [2] * 3, [3] * 2, [4]]
    assert model.sizes == [1, 3, 3]


def test_a_poisoned_picture_fails_alone() -> None:
    found = run(Model(), [picture(1), picture(2), picture(255), picture(3)])
    assert (found[0], found[1], found[3]) == ([1], [2], [3])
    assert isinstance(found[2], ValueError)


def test_work_whose_client_has_gone_is_dropped() -> None:
    model = Model()
    found = run(model, [picture(1), picture(2), picture(3)], cancel=[1])
    assert isinstance(found[1], asyncio.CancelledError)
    assert model.sizes == [1, 1]


def test_batches_are_told() -> None:
    watcher = Watcher()
    run(Model(), [picture(1), picture(2), picture(3)], observe=watcher.batch)
    assert watcher.batches == [(1, 1), (2, 2)]


def test_what_waits_is_answered_after_closing() -> None:
    async def close_early() -> list[Answer]:
        model = Model()
        model.open.set()
        batcher = Batcher(model, max_batch=4)
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        batcher.submit(picture(5), future)
        batcher.close()
        return await future

    [answer] = run_apart(close_early())
    assert answer.probabilities[0] == 5


def test_gate_lets_in_as_many_as_it_has_room_for() -> None:
    gate = Gate(3)
    with gate.hold(2), gate.hold(1):
        with pytest.raises(RefusedError, match="waiting"):
            gate.check()
        with pytest.raises(RefusedError, match="waiting"), gate.hold(1):
            pass
    gate.check()
    assert gate.inside == 0


def test_gate_lets_in_what_is_larger_than_itself_when_it_is_alone() -> None:
    gate = Gate(3)
    with gate.hold(10), pytest.raises(RefusedError):
        gate.check()


def test_best_batch_is_the_largest_that_is_as_good_as_any() -> None:
    assert best_batch(lambda pixels: None, (2, 2), seconds=0.01) in (1, 2, 4, 8, 16, 32)

"""The process that reads images and runs the model: it may die, and only it.

It takes blocks of images on stdin and gives an answer for each on stdout, as frames: two lengths, JSON, raw bytes. It runs
each block as one batch of `BLOCK`, of which any image keeps its place, so that the answers are the same, bit for bit, however
often and with whatever neighbours an image is run.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import signal
import struct
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from whatsit.errors import ImageError, WhatsitError
from whatsit.images.batches import decode_batch
from whatsit.images.locate import Reader
from whatsit.images.manifest import Row
from whatsit.images.places import is_address

BLOCK = 8  # images
_LENGTHS = struct.Struct("<II")
_READERS = 16  # threads that ask an object store


def send(file: BinaryIO, value: object, data: bytes = b"") -> None:
    """Write a frame. Raises `OSError` where the other side is gone."""
    text = json.dumps(value).encode()
    file.write(_LENGTHS.pack(len(text), len(data)) + text + data)
    file.flush()


def receive(file: BinaryIO) -> tuple[Any, bytes]:
    """Read a frame. Raises `EOFError` at the end."""
    head = _exactly(file, _LENGTHS.size)
    text, data = (_exactly(file, size) for size in _LENGTHS.unpack(head))
    return json.loads(text), data


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data


class Work(Protocol):
    """What is done with images."""

    size: tuple[int, int]  # (height, width) that they are decoded to
    rule: str  # by which they are resized

    def run(self, pixels: npt.NDArray[np.uint8]) -> tuple[list[Any], list[bytes]]:
        """Return for each image of a batch `[BLOCK, H, W, 3]` something for JSON, and raw bytes."""
        ...


class Predicting:
    """Predict with a bundle."""

    def __init__(self, model: str, *, top: int, runtime: str) -> None:
        from whatsit.runtime.predictor import Predictor

        self._predictor = Predictor(model, runtime=runtime, threads=1)
        self._top = top
        self.size, self.rule = self._predictor.size, self._predictor.rule

    def run(self, pixels: npt.NDArray[np.uint8]) -> tuple[list[Any], list[bytes]]:
        """See `Work`."""
        found: list[Any] = []
        for answer in self._predictor.answer_each(pixels):
            if isinstance(answer, ImageError):
                found.append(answer)
                continue
            prediction = self._predictor.to_prediction(answer, self._top)
            score = None if np.isnan(answer.ood_score) else answer.ood_score
            found.append([prediction.label, prediction.probability, prediction.unknown, score, prediction.top])
        return found, [b""] * len(found)


class Embedding:
    """Compute the features of a frozen network, in each view."""

    def __init__(
        self, model: str, *, size: list[int], rule: str, views: list[str], runtime: str, precision: str
    ) -> None:
        from pathlib import Path

        from whatsit.engines import open_engine

        self._engine = open_engine(
            Path(model).read_bytes(), ["embedding"], runtime=runtime, precision=precision, threads=1
        )
        self._views = views
        self.size, self.rule = (size[0], size[1]), rule

    def run(self, pixels: npt.NDArray[np.uint8]) -> tuple[list[Any], list[bytes]]:
        """See `Work`."""
        from whatsit.images.views import apply_view

        limit = float(np.finfo(np.float16).max)
        views = [self._engine.run(apply_view(pixels, view))[0] for view in self._views]
        rows = np.stack(views, axis=1).clip(-limit, limit).astype("<f2")
        return [None] * len(rows), [row.tobytes() for row in rows]


WORKS = {"predict": Predicting, "embed": Embedding}


def main() -> None:
    """Answer until stdin ends."""
    from whatsit.process import own_process

    own_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal; this process ends with its parent
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints goes nowhere near the answers
    try:
        settings, _ = receive(source)
        work: Work = WORKS[settings.pop("work")](**settings.pop("settings"))
    except EOFError:
        return
    except (WhatsitError, ImportError, OSError) as error:
        send(target, {"error": str(error)})
        return
    send(target, {"ready": True})
    root = settings["root"]
    reader = Reader(root)
    asked: queue.Queue[Any] = queue.Queue()
    with ThreadPoolExecutor(_READERS) as pool:

        def reading(row: Row) -> Callable[[], bytes]:
            """Begin to read where that is slow; return what gives the bytes."""
            return (
                pool.submit(reader.read, row).result
                if is_address(root) or is_address(row.uri)
                else partial(reader.read, row)
            )

        def listen() -> None:
            """Take what is asked for; end this process with the one that asks."""
            try:
                while True:
                    block, _ = receive(source)
                    asked.put([None if row is None else reading(Row(*row)) for row in block["rows"]])
            except (EOFError, OSError):
                os._exit(0)

        threading.Thread(target=listen, daemon=True).start()
        while True:
            answers, data = _answer(work, asked.get())
            send(target, {"answers": answers}, data)


def _answer(work: Work, block: list[Callable[[], bytes] | None]) -> tuple[list[Any], bytes]:
    """Return the answers of a block; for None there is None."""
    pixels = np.zeros((BLOCK, *work.size, 3), np.uint8)
    found: list[Any] = [None] * len(block)
    digests = [""] * len(block)
    for place, read in enumerate(block):
        if read is None:
            continue
        try:
            data = read()
        except ImageError as error:
            found[place] = {"error": str(error), "reason": error.reason}
            continue
        digests[place] = hashlib.sha256(data).hexdigest()
        batch = decode_batch([data], _itself, work.size, rule=work.rule)
        for _, trouble in batch.failed:
            found[place] = {"error": str(trouble), "reason": trouble.reason}
        if len(batch.pixels):
            pixels[place] = batch.pixels[0]
    answers, blobs = work.run(pixels)
    parts = []
    for place, read in enumerate(block):
        if read is None or found[place] is not None:
            continue
        answer = answers[place]
        if isinstance(answer, ImageError):
            found[place] = {"error": str(answer), "reason": answer.reason}
        else:
            found[place] = {"answer": answer, "digest": digests[place]}
            parts.append(blobs[place])
    return found, b"".join(parts)


def _itself(data: bytes) -> bytes:
    return data


if __name__ == "__main__":
    main()
    sys.exit(0)

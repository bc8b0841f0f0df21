"""The process that reads images and runs the model: it may die, and only it.

It takes blocks of images on stdin and gives an answer for each on stdout, as frames: two lengths, JSON, raw bytes. It runs
each block as one batch of `BLOCK`, of which any image keeps its place, so that the answers are the same, bit for bit, however
often and with whatever neighbours an image is run.
"""

from __future__ import annotations

import hashlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from whatsit.errors import ImageError, WhatsitError
from whatsit.images.audit import measured_row
from whatsit.images.decode import as_image_error, decode
from whatsit.images.locate import Reader
from whatsit.images.manifest import ImageRow
from whatsit.images.places import is_address
from whatsit.images.views import apply_view
from whatsit.scale.pipe import own_pipes, receive, send

BLOCK = 8  # images
_READERS = 16  # threads that ask an object store


Found = tuple[Any, bytes] | ImageError | None  # for JSON, and raw bytes; None where there was no file


class Runner(Protocol):
    """What is done with images."""

    wants_digests: bool  # SHA-256 of the files

    def run(self, files: list[bytes | None]) -> list[Found]:
        """Return what is found for each file of a block; None stays None."""
        ...


class Predicting:
    """Predict with a bundle."""

    wants_digests = False

    def __init__(self, model: str, *, top: int, runtime: str) -> None:
        from whatsit.runtime.predictor import Predictor

        self._predictor = Predictor(model, runtime=runtime, threads=1)
        self._top = top

    def run(self, files: list[bytes | None]) -> list[Found]:
        """See `Runner`."""
        pixels, found = _decode(files, self._predictor.size, self._predictor.rule)
        for place, answer in enumerate(self._predictor.answer_each(pixels)[: len(files)]):
            if files[place] is None or found[place] is not None:
                continue
            if isinstance(answer, ImageError):
                found[place] = answer
                continue
            prediction = self._predictor.to_prediction(answer, self._top)
            score = None if np.isnan(answer.ood_score) else answer.ood_score
            found[place] = [prediction.label, prediction.probability, prediction.unknown, score, prediction.top], b""
        return found


class Embedding:
    """Compute the features of a frozen network, in each view: float16 `[views, F]`."""

    wants_digests = False

    def __init__(
        self, model: str, *, size: list[int], rule: str, views: list[str], runtime: str, precision: str
    ) -> None:
        from whatsit.engines import open_engine

        graph = Path(model).read_bytes()
        self._engine = open_engine(graph, ["embedding"], runtime=runtime, precision=precision, threads=1)
        self._size, self._rule, self._views = (size[0], size[1]), rule, views

    def run(self, files: list[bytes | None]) -> list[Found]:
        """See `Runner`."""
        pixels, found = _decode(files, self._size, self._rule)
        limit = float(np.finfo(np.float16).max)
        views = [self._engine.run(apply_view(pixels, view))[0] for view in self._views]
        rows = np.stack(views, axis=1).clip(-limit, limit).astype("<f2")
        for place, file in enumerate(files):
            if file is not None and found[place] is None:
                found[place] = None, rows[place].tobytes()
        return found


class Measuring:
    """Take an image's measures and thumbnail, see `images/audit.py`."""

    wants_digests = True

    def run(self, files: list[bytes | None]) -> list[Found]:
        """See `Runner`."""
        found: list[Found] = []
        for file in files:
            try:
                found.append(None if file is None else (None, measured_row(file)))
            except Exception as error:  # one picture never costs more than itself
                found.append(as_image_error(error))
        return found


def _decode(files: list[bytes | None], size: tuple[int, int], rule: str) -> tuple[npt.NDArray[np.uint8], list[Found]]:
    """Return pixels `[BLOCK, H, W, 3]`, each file in its place, and errors."""
    pixels = np.zeros((BLOCK, *size, 3), np.uint8)
    found: list[Found] = [None] * len(files)
    for place, file in enumerate(files):
        if file is not None:
            try:
                pixels[place] = decode(file, size, rule=rule)
            except Exception as error:  # one picture never costs more than itself
                found[place] = as_image_error(error)
    return pixels, found


RUNNERS: dict[str, Callable[..., Runner]] = {"predict": Predicting, "embed": Embedding, "measure": Measuring}


def main() -> None:
    """Answer until stdin ends."""
    from whatsit.process import own_process

    own_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal; this process ends with its parent
    source, target = own_pipes()
    try:
        settings, _ = receive(source)
        work: Runner = RUNNERS[settings.pop("work")](**settings.pop("settings"))
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

        def reading(row: ImageRow) -> Callable[[], bytes]:
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
                    asked.put([None if row is None else reading(ImageRow(*row)) for row in block["rows"]])
            except (EOFError, OSError):
                os._exit(0)

        threading.Thread(target=listen, daemon=True).start()
        while True:
            answers, data = _answer(work, asked.get())
            send(target, {"answers": answers, "trouble": reader.trouble}, data)


def _answer(work: Runner, block: list[Callable[[], bytes] | None]) -> tuple[list[Any], bytes]:
    """Return the answers of a block; for None there is None."""
    files: list[bytes | None] = [None] * len(block)
    errors: dict[int, ImageError] = {}
    for place, read in enumerate(block):
        try:
            files[place] = read() if read else None
            if read and not files[place]:
                raise ImageError("the file is empty (0 bytes)", "empty")
        except ImageError as error:
            files[place], errors[place] = None, error
    answers: list[Any] = []
    parts = []
    for place, found in enumerate(work.run(files)):
        found = errors.get(place, found)
        if isinstance(found, ImageError):
            answers.append({"error": str(found), "reason": found.reason})
        elif found is None:
            answers.append(None)
        else:
            digest = hashlib.sha256(files[place] or b"").hexdigest() if work.wants_digests else ""
            answers.append({"answer": found[0], "digest": digest})
            parts.append(found[1])
    return answers, b"".join(parts)


if __name__ == "__main__":
    main()
    sys.exit(0)

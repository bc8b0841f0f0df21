"""From the files or pixels of a request to answers, within its deadline.

Images are admitted by a gate, decoded on threads and predicted in batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from starlette.types import Receive

from whatsit.apps.api.batching import Answered, Batcher
from whatsit.apps.api.bodies import Bodies
from whatsit.apps.api.models import Entry, Models, Served
from whatsit.apps.api.refusals import ClientGoneError, RefusedError
from whatsit.apps.api.settings import Settings
from whatsit.apps.api.telemetry import Log, Metrics
from whatsit.engines import Images
from whatsit.errors import ImageError
from whatsit.images.batches import Batch, decode_batch
from whatsit.runtime.predictor import Answer

Result = TypeVar("Result")
_LOT = 4  # pictures that one thread decodes for one request at a time


class Service:
    """What the routes share. It lives in one event loop, from `start` to `stop`."""

    def __init__(
        self, models: Sequence[str | Path], settings: Settings, *, runtime: str = "auto", log: Log | None = None
    ) -> None:
        self.settings = settings
        self.log = log or Log()
        self.metrics = Metrics()
        self.models = Models(models, settings, observer=self.metrics.observer, runtime=runtime)
        self.metrics.watch(self.models)
        self.bodies = Bodies(settings)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.draining = False  # asked to stop: what is accepted is finished, nothing new is taken
        self._decoders = ThreadPoolExecutor(settings.decoders, thread_name_prefix="decode")
        self._loaders = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._watcher: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether requests are taken and every model is at work."""
        return not self.draining and self.models.ready

    def start(self) -> None:
        """Begin to look for changed files, in the running event loop."""
        self.loop = asyncio.get_running_loop()
        if self.settings.watch:
            self._watcher = self.loop.create_task(self._watch())

    def stop(self) -> None:
        """End all threads, without waiting for them."""
        if self._watcher:
            self._watcher.cancel()
        self.models.close()
        self.bodies.close()
        for pool in (self._decoders, self._loaders):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.settings.watch)
            for entry in await loop.run_in_executor(self._loaders, self.models.changed):
                with contextlib.suppress(Exception):  # logged by `reload`; the old one stays
                    await self.reload(entry)

    async def reload(self, entry: Entry) -> None:
        """Open an entry's file again, and log it. Raises as `Models.load`."""
        before = entry.reason
        try:
            await self.models.load(entry, self._loaders)
        except Exception:
            if entry.reason == before:  # it is logged once
                raise
            self.metrics.reloads.labels(entry.name, entry.version, "failed").inc()
            self.log.write("reload failed", "error", model=entry.name, version=entry.version, reason=entry.reason)
            raise
        self.metrics.reloads.labels(entry.name, entry.version, "done").inc()
        self.log.write("reloaded", model=entry.name, version=entry.version)

    async def answer_files(
        self, served: Served, files: Sequence[bytes], receive: Receive, timeout: float | None = None
    ) -> list[Answer | ImageError]:
        """Return an answer for each image file; an unreadable one gets its own error.

        Raises `RefusedError` (429, 504), `ClientGoneError`, and what the model raises.
        """
        with served.gate.hold(len(files)):
            lot = min(_LOT, served.batcher.max_batch)
            async with self._deadline(receive, timeout) as futures:
                lots = [list(files[start : start + lot]) for start in range(0, len(files), lot)]
                jobs = [_Decoding(some, served, self.settings.max_pixels) for some in lots]
                futures += [job.future for job in jobs]
                self._decode_in_turn(jobs)
                answers = await asyncio.gather(*futures)
        return [answer for job, good in zip(jobs, answers, strict=True) for _, answer in job.batch.answers(good)]

    def _decode_in_turn(self, jobs: list[_Decoding]) -> None:
        """Decode a few images of a request at a time, in turn with other requests."""
        waiting = deque(jobs)

        def next_one() -> None:
            with contextlib.suppress(IndexError, RuntimeError):  # all are taken, or the service has stopped
                job = waiting.popleft()
                self._decoders.submit(job.run, next_one)

        for _ in range(self.settings.decoders):
            next_one()

    async def answer_pixels(
        self, served: Served, pixels: Images, receive: Receive, timeout: float | None = None
    ) -> list[Answer]:
        """Return an answer for each decoded image, uint8 `[N, H, W, 3]`.

        Raises as `answer_files`, and the `ImageError` of an image.
        """
        with served.gate.hold(len(pixels)):
            async with self._deadline(receive, timeout) as futures:
                for start in range(0, len(pixels), served.batcher.max_batch):
                    futures.append(asyncio.get_running_loop().create_future())
                    served.batcher.submit(pixels[start : start + served.batcher.max_batch], futures[-1])
                answers = await asyncio.gather(*futures)
        return [_required(answer) for part in answers for answer in part]

    async def off_the_loop(self, served: Served, work: Callable[[], Result], receive: Receive) -> Result:
        """Call a function for one image on a decoder's thread. Raises as `answer_files`."""
        with served.gate.hold(1):
            async with self._deadline(receive, None) as futures:
                future = asyncio.wrap_future(self._decoders.submit(work))
                futures.append(future)
                return await future

    @asynccontextmanager
    async def _deadline(self, receive: Receive, timeout: float | None) -> AsyncIterator[list[asyncio.Future[Any]]]:
        """Cancel the futures in the list at the deadline or when the client has gone."""
        futures: list[asyncio.Future[Any]] = []
        gone = False

        async def watch() -> None:
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True
            for future in futures:
                future.cancel()

        watcher = asyncio.get_running_loop().create_task(watch())
        limit = min(timeout or self.settings.deadline, self.settings.deadline)
        try:
            async with asyncio.timeout(limit):
                yield futures
        except TimeoutError:
            raise RefusedError(504, f"there was no answer within {limit:g} seconds", "deadline") from None
        except asyncio.CancelledError:
            if gone:
                raise ClientGoneError from None
            raise
        finally:
            watcher.cancel()
            for future in futures:
                future.cancel()


class _GivenUpError(Exception):
    """The client has gone while its images were decoded."""


class _Decoding:
    """A few images of a request, decoded on a thread and put into the model's queue."""

    def __init__(self, files: list[bytes], served: Served, max_pixels: int) -> None:
        self.future: asyncio.Future[list[Answered]] = asyncio.get_running_loop().create_future()
        self.future.add_done_callback(self._drop)
        self.batch: Batch[bytes]  # once the future has its answers
        self._files = files
        self._size, self._rule = served.predictor.size, served.predictor.rule
        self._batcher: Batcher = served.batcher
        self._max_pixels = max_pixels

    def run(self, done: Callable[[], None]) -> None:
        try:
            if not self.future.done():
                self._decode(self._files)
        finally:
            done()

    def _decode(self, files: list[bytes]) -> None:
        try:
            self.batch = decode_batch(files, self._read, self._size, self._max_pixels, self._rule)
        except Exception as error:  # such as no memory: the request's own error
            self._tell(functools.partial(self.future.set_exception, error))
            return
        if len(self.batch.pixels):
            self._batcher.submit(self.batch.pixels, self.future)
        else:
            self._tell(lambda: self.future.set_result([]))

    def _read(self, file: bytes) -> bytes:
        if self.future.done():
            raise _GivenUpError
        return file

    def _drop(self, _: object) -> None:
        """Release the files, which would wait in the threads' queue after the request."""
        self._files = []

    def _tell(self, settle: Callable[[], None]) -> None:
        def settle_if_open() -> None:
            if not self.future.done():
                settle()

        with contextlib.suppress(RuntimeError):  # the loop is closed, and its clients are gone
            self.future.get_loop().call_soon_threadsafe(settle_if_open)


def _required(answer: Answered) -> Answer:
    if isinstance(answer, ImageError):
        raise answer
    return answer

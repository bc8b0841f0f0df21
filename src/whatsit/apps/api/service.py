"""From the files or pixels of a request to answers: admitted, decoded off the event loop, answered in batches, in time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from starlette.types import Receive

from whatsit.apps.api.batching import Batcher
from whatsit.apps.api.bodies import Bodies, ClientGoneError
from whatsit.apps.api.models import Entry, Models, Served
from whatsit.apps.api.settings import RefusedError, Settings
from whatsit.apps.api.telemetry import Log, Metrics
from whatsit.engines import Images
from whatsit.errors import ImageError, WhatsitError
from whatsit.images.batches import Batch, decode_lot
from whatsit.runtime.predictor import Answer

Result = TypeVar("Result")
_LOT = 8  # pictures that one thread decodes for one request at a time


class Service:
    """Everything that the routes share. Lives in one event loop, from `start` to `stop`."""

    def __init__(
        self, models: Sequence[str | Path], settings: Settings, *, runtime: str = "auto", log: Log | None = None
    ) -> None:
        self.settings = settings
        self.log = log or Log()
        self.metrics = Metrics()
        self.models = Models(models, settings, observe=self.metrics.observer, runtime=runtime)
        self.metrics.watch(self.models)
        self.bodies = Bodies(settings)
        self.draining = False  # asked to stop: what is accepted is finished, nothing new is taken
        self._decoders = ThreadPoolExecutor(settings.decoders, thread_name_prefix="decode")
        self._loaders = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._watcher: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether requests are taken and every model is at work."""
        return not self.draining and self.models.ready

    def start(self) -> None:
        """Begin to look for changed files."""
        if self.settings.watch:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """End all threads, without waiting for them."""
        if self._watcher:
            self._watcher.cancel()
        self.models.close()
        for pool in (self._decoders, self._loaders):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.settings.watch)
            for entry in await loop.run_in_executor(self._loaders, self.models.changed):
                try:
                    await self.reload(entry)
                except WhatsitError:
                    continue  # told by `reload`; the old one goes on

    async def reload(self, entry: Entry) -> None:
        """Open an entry's file anew. Raises `WhatsitError`; what was at work goes on then."""
        try:
            await self.models.load(entry, self._loaders)
        except WhatsitError as error:
            self.metrics.reloads.labels(entry.name, entry.version, "failed").inc()
            self.log.write("reload failed", "error", model=entry.name, version=entry.version, reason=str(error))
            raise
        self.metrics.reloads.labels(entry.name, entry.version, "done").inc()
        self.log.write("reloaded", model=entry.name, version=entry.version)

    async def answer_files(
        self, served: Served, files: Sequence[bytes], receive: Receive, timeout: float | None = None
    ) -> list[Answer | ImageError]:
        """Answer for the files of pictures; an unreadable one gets its own error.

        Raises `RefusedError` (429, 504), `ClientGoneError`, and what the model raises.
        """
        with served.gate.hold(len(files)):
            lot = min(_LOT, served.batcher.max_batch)
            async with self._deadline(receive, timeout) as futures:
                batches = []
                for start in range(0, len(files), lot):
                    future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
                    futures.append(future)
                    job = _Decoding(list(files[start : start + lot]), served, future, self.settings.max_pixels)
                    batches.append(job)
                    self._decoders.submit(job.run)
                answers = await asyncio.gather(*futures)
        return [answer for job, good in zip(batches, answers, strict=True) for _, answer in job.batch.answers(good)]

    async def answer_pixels(
        self, served: Served, pixels: Images, receive: Receive, timeout: float | None = None
    ) -> list[Answer]:
        """Answer for decoded pictures, uint8 `[N, H, W, 3]`. Raises as `answer_files`."""
        with served.gate.hold(len(pixels)):
            async with self._deadline(receive, timeout) as futures:
                for start in range(0, len(pixels), served.batcher.max_batch):
                    futures.append(asyncio.get_running_loop().create_future())
                    served.batcher.submit(pixels[start : start + served.batcher.max_batch], futures[-1])
                answers = await asyncio.gather(*futures)
        return [answer for part in answers for answer in part]

    async def off_the_loop(self, served: Served, work: Callable[[], Result], receive: Receive) -> Result:
        """Do other work for one picture on a decoder's thread, with the same bounds. Raises as `answer_files`."""
        with served.gate.hold(1):
            async with self._deadline(receive, None) as futures:
                future = asyncio.wrap_future(self._decoders.submit(work))
                futures.append(future)
                return await future

    @asynccontextmanager
    async def _deadline(self, receive: Receive, timeout: float | None) -> AsyncIterator[list[asyncio.Future[Any]]]:
        """Futures put into the list are cancelled when their time is over or the client has gone; what waits is dropped."""
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


class _Decoding:
    """A few pictures of a request, decoded on a thread and handed to the model from there."""

    def __init__(
        self, files: list[bytes], served: Served, future: asyncio.Future[list[Answer]], max_pixels: int
    ) -> None:
        self._files = files
        self._size = served.predictor.size
        self._batcher: Batcher = served.batcher
        self._future = future
        self._max_pixels = max_pixels
        self.batch: Batch[bytes]  # once the future has its answers

    def run(self) -> None:
        if self._future.done():
            return
        try:
            self.batch = decode_lot(self._files, lambda file: file, self._size, self._max_pixels)
        except Exception as error:  # such as no memory: the request's own error
            self._tell(functools.partial(self._future.set_exception, error))
            return
        if len(self.batch.pixels):
            self._batcher.submit(self.batch.pixels, self._future)
        else:
            self._tell(lambda: self._future.set_result([]))

    def _tell(self, settle: Callable[[], None]) -> None:
        def settle_if_open() -> None:
            if not self._future.done():
                settle()

        self._future.get_loop().call_soon_threadsafe(settle_if_open)

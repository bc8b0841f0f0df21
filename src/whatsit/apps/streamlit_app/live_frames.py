"""`POST whatsit/answer?model=NAME`: a frame of the camera in, its prediction out.

Streamlit reruns a script for every event, 14 times a second at best; a plain request takes a few milliseconds
(`docs/decisions/0008-live-camera.md`). Nothing of a frame is kept. Pages of other origins cannot send frames: for the
required header, browsers ask for a permission that is not given.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse

from whatsit.apps.streamlit_app.model_registry import ModelRegistry, OpenModel
from whatsit.errors import ImageError, WhatsitError
from whatsit.images.decode import picture_size

PATH = "/whatsit/answer"
HEADER = "x-whatsit"
MAX_FRAME = 4 * 1024 * 1024  # bytes
MAX_FRAME_PIXELS = 16_000_000
_THREADS, _QUEUE = 2, 8  # frames that are predicted at once, and that wait
_OPENED_AT_ONCE = 4  # models
_SECONDS = 10  # in which a frame must have arrived


class _RefusedError(Exception):
    """A frame gets an error as its answer: an HTTP status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


_BUSY = 429, "too many cameras at once; try again"


class LiveFrames:
    """The endpoint of the live camera. For one event loop."""

    def __init__(self, models: ModelRegistry) -> None:
        """Predict with these models."""
        self._models = models
        self._opening: set[Path] = set()  # models that a frame asked for

    async def predict(self, request: Request) -> JSONResponse:
        """Return the prediction, or `error` with 400, 403, 404, 408, 413 or 429."""
        try:
            if HEADER not in request.headers:
                raise _RefusedError(403, "this address is for the app's own pages")
            with anyio.fail_after(_SECONDS):
                frame = await _body(request)
            return JSONResponse(await self._queued(request.query_params.get("model", ""), frame))
        except _RefusedError as error:
            status, message = error.status, str(error)
        except TimeoutError:
            status, message = 408, "the frame did not arrive in time"
        except WhatsitError as error:
            status, message = 400 if isinstance(error, ImageError) else 404, str(error)
        return JSONResponse({"error": message}, status)

    # Limiters belong to an event loop, so they are made within it.

    @cached_property
    def _predicting_limit(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(_THREADS)

    @cached_property
    def _opening_limit(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(_OPENED_AT_ONCE)

    async def _queued(self, model: str, frame: bytes) -> dict[str, object]:
        opened = await self._open(model)
        if self._predicting_limit.statistics().tasks_waiting >= _QUEUE:
            raise _RefusedError(*_BUSY)
        return await anyio.to_thread.run_sync(_predict, opened, frame, limiter=self._predicting_limit)

    async def _open(self, model: str) -> OpenModel:
        """Return the model, opened in threads that do not predict: others need not wait."""
        entry = await anyio.to_thread.run_sync(self._models.find, model)
        if entry is None:
            raise WhatsitError("there is no such model")
        opened = self._models.opened(entry)
        if opened is None:
            if entry.path in self._opening:  # the page sends its next frame later
                raise _RefusedError(*_BUSY)
            self._opening.add(entry.path)
            try:
                opened = await anyio.to_thread.run_sync(self._models.open, entry, limiter=self._opening_limit)
            finally:
                self._opening.discard(entry.path)
        return opened


async def _body(request: Request) -> bytes:
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > MAX_FRAME:
            raise _RefusedError(413, f"a frame has at most {MAX_FRAME:,} bytes")
    return bytes(parts)


def _predict(opened: OpenModel, frame: bytes) -> dict[str, object]:
    picture_size(frame, max_pixels=MAX_FRAME_PIXELS)  # before anything is decoded
    [prediction] = opened.predictor.predict([frame], top=3)
    return prediction.to_json()

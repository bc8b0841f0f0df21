"""`POST whatsit/answer?model=NAME`: one frame of the live camera in, its answer out.

Streamlit reruns a script for every event, 14 times a second at best; a plain request takes a few milliseconds
(`docs/decisions/0008-live-camera.md`). The frame is answered and forgotten. Pages of other origins cannot ask: the header
that is wanted makes their browsers ask for a permission that is not given.
"""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse

from whatsit.apps.presentation import answer_json
from whatsit.apps.streamlit_app.shelf import OpenModel, offered_model, open_model, opened_model
from whatsit.errors import ImageError, WhatsitError
from whatsit.images.decode import picture_size

PATH = "/whatsit/answer"
HEADER = "x-whatsit"
MAX_FRAME = 4 * 1024 * 1024  # bytes
MAX_FRAME_PIXELS = 16_000_000
_AT_ONCE, _WAITING = 2, 8
_OPENED_AT_ONCE = 4
_SECONDS = 10  # in which a frame must have arrived


class _BusyError(Exception):
    pass


class _TooLargeError(Exception):
    pass


_limiters: dict[str, anyio.CapacityLimiter] = {}  # they belong to the event loop, which is not there at import
_being_opened: set[Path] = set()  # models requested by a frame


async def answer(request: Request) -> JSONResponse:
    """The answer as JSON: `label`, `probability`, `unknown`, `top`; or `error` with 400, 403, 404, 408, 413 or 429."""
    if HEADER not in request.headers:
        return _error(403, "this address is for the app's own pages")
    try:
        with anyio.fail_after(_SECONDS):
            frame = await _body(request)
        return JSONResponse(await _in_turn(request.query_params.get("model", ""), frame))
    except TimeoutError:
        return _error(408, "the frame did not arrive in time")
    except _TooLargeError:
        return _error(413, f"a frame has at most {MAX_FRAME:,} bytes")
    except _BusyError:
        return _error(429, "too many cameras at once; try again")
    except ImageError as error:
        return _error(400, str(error))
    except WhatsitError as error:
        return _error(404, str(error))


async def _body(request: Request) -> bytes:
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > MAX_FRAME:
            raise _TooLargeError
    return bytes(parts)


async def _in_turn(model: str, frame: bytes) -> dict[str, object]:
    opened = await _open(model)
    answering = _limiter("answering", _AT_ONCE)
    if answering.statistics().tasks_waiting >= _WAITING:
        raise _BusyError
    return await anyio.to_thread.run_sync(_look, opened, frame, limiter=answering)


async def _open(model: str) -> OpenModel:
    """The model, which is opened apart from the answers, so that visitors of others do not wait."""
    entry = await anyio.to_thread.run_sync(offered_model, model)
    if entry is None:
        raise WhatsitError("there is no such model")
    opened = opened_model(entry)
    if opened is None:
        if entry.path in _being_opened:  # frames come again, and need not all wait
            raise _BusyError
        _being_opened.add(entry.path)
        try:
            opened = await anyio.to_thread.run_sync(open_model, entry, limiter=_limiter("opening", _OPENED_AT_ONCE))
        finally:
            _being_opened.discard(entry.path)
    return opened


def _look(opened: OpenModel, frame: bytes) -> dict[str, object]:
    picture_size(frame, max_pixels=MAX_FRAME_PIXELS)  # before anything is decoded
    [found] = opened.predictor.predict([frame], top=3)
    return answer_json(found)


def _limiter(name: str, most: int) -> anyio.CapacityLimiter:
    if name not in _limiters:
        _limiters[name] = anyio.CapacityLimiter(most)
    return _limiters[name]


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)

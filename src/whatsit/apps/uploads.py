"""The folder in which an app keeps what visitors upload: bounded, and gone when the app is, however it ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread
from filelock import FileLock, Timeout
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PREFIX = "whatsit-uploads-"
LOCK = ".lock"
_YOUNG = 60.0  # seconds for which an upload is not taken away: its answer may be on the way
_FULL = "There is no room for more pictures at the moment; try again in a minute."


@contextmanager
def upload_folder(place: Path) -> Iterator[Path]:
    """Make a folder in another, which goes at the end; first remove those there of processes that were killed.

    The system lets go of a process's lock when it dies, so a folder whose lock can be had is nobody's any more.
    """
    place.mkdir(parents=True, exist_ok=True)
    remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    lock = FileLock(folder / LOCK, timeout=0)
    lock.acquire()
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(place: Path) -> None:
    """Remove the upload folders of this user whose processes have died."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(place):
            if entry.name.startswith(PREFIX) and _is_abandoned(Path(entry.path)):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        info = folder.lstat()
        mine = not hasattr(os, "getuid") or info.st_uid == os.getuid()
        if not stat.S_ISDIR(info.st_mode) or not mine:
            return False
        if not (folder / LOCK).is_file():  # it may be being made
            return time.time() - info.st_mtime > _YOUNG
        with FileLock(folder / LOCK, timeout=0):
            return True
    except (OSError, Timeout):
        return False


class UploadRoom:
    """An ASGI layer that lets uploads in while there is room: the oldest make room, and the youngest stay."""

    def __init__(self, app: ASGIApp, folder: Path, *, upload: str, most: int, most_files: int) -> None:
        """Bound a folder to `most` bytes and `most_files` files; `upload` is how the path of uploads ends."""
        self._app, self._folder, self._upload = app, folder, upload
        self._most, self._most_files = most, most_files
        self._kept = 0  # bytes
        self._coming = 0  # bytes of uploads on their way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith(self._upload):
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        reserved, seen = int(declared) if declared.isdecimal() else 0, 0
        self._coming += reserved

        async def counted() -> Message:
            nonlocal reserved, seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > reserved:  # of an upload that does not say how large it is
                self._coming += seen - reserved
                reserved = seen
                if self._kept + self._coming > self._most:
                    raise HTTPException(503, _FULL)
            return message

        try:
            self._kept, has_room = await anyio.to_thread.run_sync(self._make_room, self._most - self._coming)
            if has_room:
                await self._app(scope, counted, send)
            else:
                await PlainTextResponse(_FULL, 503, {"Connection": "close", "Retry-After": "60"})(scope, receive, send)
        finally:
            self._coming -= reserved
            self._kept += seen

    def _make_room(self, most: int) -> tuple[int, bool]:
        """Take the oldest files away until at most so many bytes are left: the bytes left, and whether that was enough."""
        files = sorted(_files(self._folder))
        size, count = sum(size for _, size, _ in files), len(files)
        spared = time.time() - _YOUNG
        for changed, length, path in files:
            if (size <= most and count < self._most_files) or changed > spared:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                size, count = size - length, count - 1
        return size, size <= most and count < self._most_files


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """When each file below a folder was changed, its size and its path."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            with contextlib.suppress(OSError):  # Gradio has removed it meanwhile
                info = path.lstat()
                if stat.S_ISREG(info.st_mode):
                    yield info.st_mtime, info.st_size, path

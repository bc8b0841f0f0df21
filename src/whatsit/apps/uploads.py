"""The folder of what visitors upload: bounded, and removed with the app."""

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
_YOUNG = 60.0  # seconds for which an upload is kept in any case: its answer may be on the way
_FULL = "There is no room for more pictures at the moment; try again in a minute."


@contextmanager
def upload_folder(parent: Path) -> Iterator[Path]:
    """Make a folder, removed at the end, as are those of processes that were killed.

    The system releases the locks of a process that dies, so a folder whose lock is free is nobody's any more.
    """
    parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Remove the upload folders of this user whose processes have died."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent):
            if entry.name.startswith(PREFIX) and _is_abandoned(Path(entry.path)):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        info = folder.lstat()
        is_own = not hasattr(os, "getuid") or info.st_uid == os.getuid()
        if not stat.S_ISDIR(info.st_mode) or not is_own:
            return False
        if not (folder / LOCK).is_file():  # its process may be about to lock it
            return time.time() - info.st_mtime > _YOUNG
        with FileLock(folder / LOCK, timeout=0):
            return True
    except (OSError, Timeout):
        return False


class UploadLimit:
    """An ASGI layer that removes the oldest uploads where new ones need room."""

    def __init__(self, app: ASGIApp, folder: Path, *, upload: str, max_bytes: int, max_files: int) -> None:
        """Bound a folder; `upload` is the end of the path of uploads."""
        self._app, self._folder, self._upload = app, folder, upload
        self._max_bytes, self._max_files = max_bytes, max_files
        self._stored = 0  # bytes
        self._arriving = 0  # bytes of uploads on their way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 503 where there is no room for its upload."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith(self._upload):
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        reserved, received = int(declared) if declared.isdecimal() else 0, 0
        self._arriving += reserved

        async def counted() -> Message:
            nonlocal reserved, received
            message = await receive()
            received += len(message.get("body", b""))
            if received > reserved:  # of an upload that does not declare its size
                self._arriving += received - reserved
                reserved = received
                if self._stored + self._arriving > self._max_bytes:
                    raise HTTPException(503, _FULL)
            return message

        try:
            self._stored, has_room = await anyio.to_thread.run_sync(self._make_room, self._max_bytes - self._arriving)
            if has_room:
                await self._app(scope, counted, send)
            else:
                await PlainTextResponse(_FULL, 503, {"Connection": "close", "Retry-After": "60"})(scope, receive, send)
        finally:
            self._arriving -= reserved
            self._stored += received

    def _make_room(self, most: int) -> tuple[int, bool]:
        """Remove the oldest files; return the bytes left and whether that is enough."""
        files = sorted(_files(self._folder))
        size, count = sum(size for _, size, _ in files), len(files)
        for changed, length, path in files:
            if (size <= most and count < self._max_files) or changed > time.time() - _YOUNG:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                size, count = size - length, count - 1
        return size, size <= most and count < self._max_files


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield when each file below a folder was changed, its size and its path."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            with contextlib.suppress(OSError):  # Gradio has removed it meanwhile
                info = path.lstat()
                if stat.S_ISREG(info.st_mode):
                    yield info.st_mtime, info.st_size, path

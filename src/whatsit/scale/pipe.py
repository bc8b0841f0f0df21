"""A child process, and the frames in its pipes: two lengths, JSON, raw bytes."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import struct
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from typing import Any, BinaryIO, cast

_LENGTHS = struct.Struct("<II")


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


def own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return a child's stdin and stdout, which libraries no longer reach."""
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints goes nowhere near the answers
    return source, target


class ChildEnded(Exception):  # noqa: N818 - no error but an event
    """The child died or stalled."""

    def __init__(self, why: str, stalled: bool = False) -> None:
        super().__init__(why)
        self.stalled = stalled


class ChildProcess:
    """The process, and a thread that listens to it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        self._heard: queue.Queue[tuple[Any, bytes] | None] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        try:
            while True:
                self._heard.put(receive(cast("Any", self._process.stdout)))
        except (EOFError, OSError, ValueError):
            self._heard.put(None)

    def send(self, message: object) -> None:
        """Send a message. Raises `ChildEnded`."""
        try:
            send(cast("Any", self._process.stdin), message)
        except (OSError, ValueError):  # ValueError where it was ended meanwhile
            raise ChildEnded(self._reason()) from None

    def receive(self, seconds: float) -> tuple[Any, bytes] | None:
        """Return the next message, or None where none comes within `seconds`.

        Raises `ChildEnded`.
        """
        try:
            heard = self._heard.get(timeout=seconds)
        except queue.Empty:
            return None
        if heard is None:
            self._heard.put(None)  # for who asks again
            raise ChildEnded(self._reason())
        return heard

    def _reason(self) -> str:
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            return "its process no longer answers"
        if code == -9:
            return "its process was killed (signal 9), perhaps for want of memory"
        if code < 0:
            return f"its process crashed (signal {-code})"
        try:
            self._log.seek(0)
            lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        except ValueError:  # it was ended meanwhile
            lines = []
        return f"its process ended with code {code}{': ' + lines[-1][:200] if lines else ''}"

    def end(self) -> None:
        """End the process, from any thread."""
        self._process.kill()
        self._process.wait()
        self._listener.join()  # which hears the end; a thread that reads while Python ends would abort it
        for file in (self._process.stdin, self._process.stdout, self._log):
            with contextlib.suppress(OSError):
                if file:
                    file.close()

"""Reads the bodies of requests: within a time, a size and a memory, packed or not, in one part or many."""

from __future__ import annotations

import asyncio
import functools
import zlib
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import Message, Receive

from whatsit.apps.api.settings import MEGABYTE, RefusedError, Settings, bad_request, too_large

Result = TypeVar("Result")
_SMALL = 64 * 1024  # bytes that are unpacked or parsed on the event loop
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


class Memory:
    """The bytes of all bodies that are in memory at one time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """One request's share, given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self.used -= share.bytes


class Share:
    """See `Memory`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.bytes = 0

    def take(self, count: int) -> None:
        """Raise `RefusedError` (503) where the memory of all is used up."""
        if self._memory.used + count > self._memory.limit:
            reason = "too many large requests at once; try again in a second"
            raise RefusedError(503, reason, "memory", {"retry-after": "1", "connection": "close"})
        self._memory.used += count
        self.bytes += count


class Bodies:
    """How a service reads bodies."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.memory = Memory(settings.max_memory)
        # Of its own, as those of the decoders may be busy with pictures for longer than a body may take to arrive.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="body")

    def close(self) -> None:
        """End the threads, without waiting for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def work(self, size: int, do: Callable[[], Result]) -> Result:
        """Do work over so many bytes: here where they are few, else beside the event loop, which others need."""
        if size <= _SMALL:
            return do()
        return await asyncio.get_running_loop().run_in_executor(self._threads, do)

    async def read(self, request: Request, share: Share) -> bytes:
        """The whole body, unpacked.

        Raises `RefusedError`: 400, 408, 413, 415 or 503; and `ClientGoneError`.
        """
        parts = [part async for part in self._unpacked(request, share)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def read_files(self, request: Request, share: Share) -> list[tuple[str, bytes]]:
        """The name and contents of each file of a multipart form, in order. Raises as `read`."""
        parser = MultiPartParser(
            request.headers,
            _whole_form(request, self._unpacked(request, share)),
            max_files=self._settings.max_pictures,
            max_fields=16,
            max_part_size=MEGABYTE,
        )
        parser.spool_max_size = self._settings.max_body  # in memory: what is larger is refused anyway
        try:
            form = await parser.parse()
        except MultiPartException as error:
            if "many files" in error.message:
                raise too_large(f"too many pictures; at most {self._settings.max_pictures} in one request") from None
            raise bad_request(f"the form is malformed: {error.message}") from None
        except (KeyError, UnicodeError, ValueError) as error:  # a boundary that is missing, a name that is no text
            raise bad_request(f"the form is malformed: {type(error).__name__} {error}"[:200]) from None
        try:
            if wrong := [
                key for key, value in form.multi_items() if key in ("file", "files") and isinstance(value, str)
            ]:
                raise bad_request(f"the field '{wrong[0]}' is no file: it has no file name")
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            return [(plain(file.filename or ""), await file.read()) for file in files]
        finally:
            await form.close()

    async def _unpacked(self, request: Request, share: Share) -> AsyncGenerator[bytes, None]:
        limit = self._settings.max_body
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > limit:
            raise too_large(f"the body has {declared[:20]} bytes; at most {limit:,} are taken")
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "", *_WINDOWS):
            allowed = "gzip, deflate or none"
            raise RefusedError(415, f"the content encoding '{coding[:40]}' is not read; allowed: {allowed}", "encoding")
        chunks = self._arriving(request.receive)
        if coding in _WINDOWS:
            chunks = self._unpack(chunks, coding, limit)
        total = 0
        async for chunk in chunks:
            total += len(chunk)
            if total > limit:
                raise too_large(f"the body has more than the {limit:,} bytes that are taken")
            share.take(len(chunk))
            yield chunk

    async def _unpack(
        self, chunks: AsyncGenerator[bytes, None], coding: str, limit: int
    ) -> AsyncGenerator[bytes, None]:
        """Yields at most a megabyte at a time, and no more than one byte beyond the limit."""
        unpacker = zlib.decompressobj(_WINDOWS[coding])
        total, most = 0, _SMALL
        try:
            async for chunk in chunks:
                while chunk and total <= limit:
                    if unpacker.eof:
                        raise bad_request(f"something follows the end of the {coding} data")
                    take = functools.partial(unpacker.decompress, chunk, min(most, limit + 1 - total))
                    part = await self.work(most, take)
                    total += len(part)
                    most = MEGABYTE  # what goes on after its first piece may be large
                    chunk = unpacker.unconsumed_tail or unpacker.unused_data
                    if part:
                        yield part
        except zlib.error:
            raise bad_request(f"the body is not valid {coding} data") from None
        if not unpacker.eof and total <= limit:
            raise bad_request(f"the {coding} data end too early")

    async def _arriving(self, receive: Receive) -> AsyncGenerator[bytes, None]:
        ends = asyncio.get_running_loop().time() + self._settings.arrival
        more = True
        while more:
            message = await self._next(receive, ends)
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            more = message.get("more_body", False)
            if body := message.get("body"):
                yield body

    async def _next(self, receive: Receive, ends: float) -> Message:
        try:
            async with asyncio.timeout_at(ends):
                return await receive()
        except TimeoutError:
            words = f"the request did not arrive within {self._settings.arrival:g} seconds"
            raise RefusedError(408, words, "slow", {"connection": "close"}) from None


async def _whole_form(request: Request, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The chunks as they are; an error at the end where the last boundary is missing, which the parser lets pass."""
    last = b""
    async for chunk in chunks:
        last = (last + chunk)[-256:] if len(chunk) < 256 else chunk[-256:]
        yield chunk
    _, options = parse_options_header(request.headers.get("content-type", ""))
    if not last.rstrip().endswith(b"--" + options.get(b"boundary", b"") + b"--"):
        raise MultiPartException("it ends before its last boundary; part of it is missing")


def plain(name: str) -> str:
    """A file's name that can be written in UTF-8, whatever its client claims its letters to be."""
    return name.encode("utf-8", "replace").decode()

"""Read the bodies of requests, within a time, a size and a memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from whatsit.apps.api.refusals import ClientGoneError, RefusedError, bad_request, too_large
from whatsit.apps.api.settings import MEGABYTE, Settings

Result = TypeVar("Result")
_SMALL = 64 * 1024  # bytes that are parsed on the event loop
_TO_CLOSE = {"connection": "close"}


class Share:
    """The bytes that one request has in memory, and all requests together."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._bytes = 0

    def take(self, count: int) -> None:
        """Add bytes. Raises `RefusedError` (503) where the memory of all is used up."""
        if self._bodies.used + count > self._bodies.settings.max_memory:
            words = "too many large requests at once; try again in a second"
            raise RefusedError(503, words, "memory", {"retry-after": "1", **_TO_CLOSE})
        self._bodies.used += count
        self._bytes += count

    def give_back(self) -> None:
        """Take the bytes off the sum of all."""
        self._bodies.used -= self._bytes


class Bodies:
    """How a service reads bodies."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.used = 0  # bytes of all bodies in memory
        # Of its own, as those of the decoders may be busy with pictures for longer than a body may take to arrive.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="body")

    def close(self) -> None:
        """End the threads, without waiting for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Hold one request's share of the memory until its end."""
        share = Share(self)
        try:
            yield share
        finally:
            share.give_back()

    async def work(self, size: int, do: Callable[[], Result]) -> Result:
        """Call a function that works on `size` bytes, on a thread where they are many."""
        if size <= _SMALL:
            return do()
        return await asyncio.get_running_loop().run_in_executor(self._threads, do)

    async def read(self, request: Request, share: Share) -> bytes:
        """Return the whole body.

        Raises `RefusedError` (408, 413, 415, 503) and `ClientGoneError`.
        """
        return b"".join([chunk async for chunk in self._chunks(request, share)])

    async def read_files(self, request: Request, share: Share) -> list[tuple[str, bytes]]:
        """Return the name and contents of each file of a multipart form, in order.

        Raises as `read`, and 400.
        """
        parser = MultiPartParser(
            request.headers,
            _whole_form(request, self._chunks(request, share)),
            max_files=self.settings.max_pictures,
            max_fields=16,
            max_part_size=MEGABYTE,
        )
        parser.spool_max_size = self.settings.max_body  # in memory: what is larger is refused anyway
        try:
            form = await parser.parse()
        except MultiPartException as error:
            if "many files" in error.message:
                raise too_large(f"too many pictures; at most {self.settings.max_pictures} in one request") from None
            raise bad_request(f"the form is malformed: {error.message}") from None
        except (KeyError, UnicodeError, ValueError) as error:  # a boundary that is missing, a name that is no text
            raise bad_request(f"the form is malformed: {type(error).__name__} {error}"[:200]) from None
        try:
            for key, value in form.multi_items():
                if key in ("file", "files") and isinstance(value, str):
                    raise bad_request(f"the field '{key}' is no file: it has no file name")
            files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            return [(_writable(file.filename or ""), await file.read()) for file in files]
        finally:
            await form.close()

    async def _chunks(self, request: Request, share: Share) -> AsyncGenerator[bytes, None]:
        limit = self.settings.max_body
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > limit:
            raise too_large(f"the body has {declared[:20]} bytes; at most {limit:,} are taken")
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", ""):
            words = f"the content encoding '{coding[:40]}' is not read; send the body as it is"
            raise RefusedError(415, words, "encoding")
        total, more = 0, True
        ends = asyncio.get_running_loop().time() + self.settings.arrival
        while more:
            try:
                async with asyncio.timeout_at(ends):
                    message = await request.receive()
            except TimeoutError:
                words = f"the request did not arrive within {self.settings.arrival:g} seconds"
                raise RefusedError(408, words, "slow", _TO_CLOSE) from None
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            more = message.get("more_body", False)
            chunk: bytes = message.get("body", b"")
            total += len(chunk)
            if total > limit:
                raise too_large(f"the body has more than the {limit:,} bytes that are taken")
            if chunk:
                share.take(len(chunk))
                yield chunk


async def _whole_form(request: Request, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield the chunks; raise at the end where the last boundary is missing."""
    last = b""
    async for chunk in chunks:
        last = (last + chunk)[-256:] if len(chunk) < 256 else chunk[-256:]
        yield chunk
    _, options = parse_options_header(request.headers.get("content-type", ""))
    if not last.rstrip().endswith(b"--" + options.get(b"boundary", b"") + b"--"):
        raise MultiPartException("it ends before its last boundary; part of it is missing")


def _writable(name: str) -> str:
    """Return a file's name without what UTF-8 cannot write."""
    return name.encode("utf-8", "replace").decode()

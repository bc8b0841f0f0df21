"""Places where files lie: a folder, or a bucket of an object store.

Addresses are paths, `file://`, `s3://`, `gs://`, `az://`, `http://` and `https://`. Credentials are found as the platform's own
tools find them (environment, profile, role of the machine), and never stand in an address.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar, cast
from urllib.parse import SplitResult, unquote, urlsplit

from whatsit.errors import UsageError, WhatsitError, needing
from whatsit.files import disk_error, replacing
from whatsit.images.walk import LeftOut, walk

Value = TypeVar("Value")

SCHEMES = ("s3", "gs", "az", "http", "https")
DELAYS = (0.5, 2.0, 5.0, 10.0)  # seconds before a failed request is repeated, beside the library's own repeats
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_METADATA = "169.254.169.254"  # a cloud machine's own address for its role
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
REQUEST = 12  # seconds that a request may take


class PlaceError(WhatsitError):
    """A place that cannot be read or written, or a file in it."""


class MissingFileError(PlaceError):
    """There is no such file in a place."""


class Place(Protocol):
    """Files under keys with `/`. Every method raises `PlaceError` or `DiskError`."""

    address: str  # for people, without credentials

    def list(self, left_out: LeftOut | None = None) -> Iterator[tuple[str, int]]:
        """Yield the key and size in bytes of every file, in order.

        What is skipped is noted in `left_out`.
        """
        ...

    def open(self, key: str) -> IO[bytes]:
        """Return a seekable file. Raises `MissingFileError`."""
        ...

    def read(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """Return a file's bytes, or some of them. Raises `MissingFileError`."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Write a file whole or not at all."""
        ...

    def write_new(self, key: str, data: bytes) -> bool:
        """Write a file whole, unless there is one; return whether it was written.

        Of two at once only one writes it.
        """
        ...


def is_address(text: str) -> bool:
    """Return whether a text is an address of an object store or of the web."""
    found = _ADDRESS.match(text)
    return found is not None and found[1].lower() != "file"


def absolute(text: str) -> str:
    """Return a path or an address in a form that means the same from every folder."""
    return text.rstrip("/") if is_address(text) else str(Path(local_path(text)).resolve())


def holds_secret(address: str) -> bool:
    """Return whether an address holds a user, a password or a query.

    Raises `UsageError` for what is no address.
    """
    parts = _parts(address)
    return bool(parts.password or parts.query or (parts.username and parts.scheme != "az"))


def _parts(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError as error:
        raise UsageError(f"{address[:100]!r} is no usable address: {error}") from None


def local_path(text: str) -> str:
    """Return the path that a `file://` address means; any other text stays as it is."""
    found = _ADDRESS.match(text)
    return unquote(urlsplit(text).path) if found and found[1].lower() == "file" else text


def open_place(address: str | Path, delays: Sequence[float] = DELAYS) -> Place:
    """Return the place at an address.

    Args:
        address: a path or an address.
        delays: seconds before each repeat of a request that failed for a time.

    Raises:
        UsageError: it is empty, of a scheme that is not read, or contains a password or a signature.
        MissingExtraError: it needs `whatsit[cloud]`.
    """
    text = os.fspath(address)
    if not text.strip() or "\0" in text:
        raise UsageError("the place is empty; give a folder or an address such as s3://bucket/folder")
    found = _ADDRESS.match(text)
    if found is None:
        return FolderPlace(Path(text))
    scheme, parts = found[1].lower(), _parts(text)
    if scheme == "file":
        return FolderPlace(Path(local_path(text)))
    if scheme not in SCHEMES:
        raise UsageError(f"'{scheme}://' is not read; allowed are paths, file, {', '.join(SCHEMES)}")
    if not parts.netloc:
        raise UsageError(f"{scheme}://: the address names no bucket or host")
    if holds_secret(text):
        raise UsageError(
            f"{scheme}://{parts.hostname}: an address must hold no password, key or signature; give them as the platform's "
            f"tools expect them, such as AWS_PROFILE or AWS_ACCESS_KEY_ID in the environment"
        )
    return BucketPlace(text.rstrip("/"), delays)


class FolderPlace:
    """A folder, which need not exist before something is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = str(folder)

    def list(self, left_out: LeftOut | None = None) -> Iterator[tuple[str, int]]:
        """See `Place`; hidden files and those of the system are skipped, as everywhere."""
        try:
            for name in walk(self.folder, LeftOut() if left_out is None else left_out):
                path = os.path.join(self.folder, name)  # noqa: PTH118 - pathlib is ten times as slow
                try:
                    size = os.stat(path).st_size  # noqa: PTH116 - as above
                except OSError:  # a link to nothing, which is reported where it is read
                    size = -1
                yield name, size
        except FileNotFoundError:
            return
        except OSError as error:
            raise PlaceError(f"{self.folder}: the folder cannot be read: {error.strerror or error}") from None

    def open(self, key: str) -> IO[bytes]:
        """See `Place`."""
        try:
            return (self.folder / key).open("rb")
        except FileNotFoundError:
            raise MissingFileError(f"{self.folder / key}: there is no such file") from None
        except (OSError, ValueError) as error:
            raise PlaceError(f"{self.folder / key}: cannot be read: {_why(error)}") from None

    def read(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """See `Place`."""
        with self.open(key) as file:
            try:
                file.seek(start)
                return file.read(-1 if size is None else size)
            except OSError as error:
                raise PlaceError(f"{self.folder / key}: cannot be read: {_why(error)}") from None

    def write(self, key: str, data: bytes) -> None:
        """See `Place`. Raises `DiskError`."""
        path = self.folder / key
        try:
            with replacing(path) as file:
                file.write(data)
        except OSError as error:
            raise disk_error(path, error) from None

    def write_new(self, key: str, data: bytes) -> bool:
        """See `Place`. Raises `DiskError`."""
        mine = self.beside(key)
        self.write(mine.name, data)
        return self.adopt(mine, key)

    def beside(self, key: str) -> Path:
        """Return the path of a hidden file to write before it gets a key."""
        return self.folder / f".{key}.{secrets.token_hex(6)}"

    def adopt(self, file: Path, key: str) -> bool:
        """Give a hidden file a key, unless that is taken; return whether it was."""
        path = self.folder / key
        try:
            os.link(file, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            if path.exists():
                return False
            file.replace(path)
        finally:
            file.unlink(missing_ok=True)
        return True


class BucketPlace:
    """A bucket of an object store, or a folder of one.

    Or a site of the web, which cannot be listed or written.
    """

    def __init__(
        self, address: str, delays: Sequence[float] = DELAYS, repeats: int = 5, seconds: float = REQUEST
    ) -> None:
        """Open it; nothing is asked of it yet.

        Args:
            address: of the bucket, and perhaps a folder in it.
            delays: seconds before each repeat of a request that failed for a time.
            repeats: within each of these, quickly one after the other.
            seconds: that a request may take.

        Raises `MissingExtraError`, `UsageError`.
        """
        with needing("reading from object stores", "cloud", "obstore"):
            import obstore
            from obstore import exceptions
            from obstore.store import from_url
        self.address = address
        self._obstore, self._delays = obstore, tuple(delays)
        self._fatal = (
            exceptions.PermissionDeniedError,
            exceptions.UnauthenticatedError,
            exceptions.NotSupportedError,
            exceptions.InvalidPathError,
        )
        self._exists = exceptions.AlreadyExistsError
        self._missing, self._any = exceptions.NotFoundError, exceptions.BaseError
        options: Any = {"timeout": timedelta(seconds=seconds)}
        endpoints = (address, *(os.environ.get(name, "") for name in _ENDPOINTS))
        if any(one.startswith("http://") for one in endpoints):
            options["allow_http"] = True
        try:
            self._store = from_url(
                address,
                client_options=options,
                retry_config={"max_retries": repeats, "retry_timeout": timedelta(seconds=seconds)},
            )
        except (exceptions.BaseError, ValueError) as error:
            raise UsageError(f"{address}: not a usable address: {_first_line(error)}") from None

    def list(self, left_out: LeftOut | None = None) -> Iterator[tuple[str, int]]:
        """See `Place`. A list that breaks off is repeated, from where it was."""
        if self.address.startswith("http"):
            raise PlaceError(
                f"{self.address}: a site of the web has no list of its files; give a CSV or text file of them"
            )
        last: str | None = None
        while page := self._patiently(lambda: self._page(last), ""):  # noqa: B023 - asked at once
            for meta in page:
                if not _is_hidden(meta["path"]):
                    yield meta["path"], meta["size"]
                elif left_out is not None:
                    left_out.kinds["hidden files"] += 1
            last = page[-1]["path"]

    def _page(self, after: str | None) -> Any:
        """Return some of the files that follow one, so that a list can be resumed."""
        return next(iter(self._obstore.list(self._store, offset=after, chunk_size=1000)), None)

    def open(self, key: str) -> IO[bytes]:
        """See `Place`."""
        reader = self._patiently(lambda: self._obstore.open_reader(self._store, key), key)
        return cast("IO[bytes]", io.BufferedReader(_Readable(reader), 1 << 20))

    def read(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        """See `Place`."""
        if size is None and not start:
            return self._patiently(lambda: bytes(self._obstore.get(self._store, key).bytes()), key)
        if size is None:
            raise ValueError("a range of a bucket's file needs its size")
        if size == 0:
            return b""
        return self._patiently(lambda: bytes(self._obstore.get_range(self._store, key, start=start, length=size)), key)

    def write(self, key: str, data: bytes) -> None:
        """See `Place`."""
        if self.address.startswith("http"):
            raise PlaceError(f"{self.address}: a site of the web cannot be written; give a folder or a bucket")
        self._patiently(lambda: self._obstore.put(self._store, key, data), key)

    def write_new(self, key: str, data: bytes) -> bool:
        """See `Place`."""
        try:
            self._patiently(lambda: self._obstore.put(self._store, key, data, mode="create"), key, known=self._exists)
        except self._exists:
            return False
        return True

    def _transient(self) -> tuple[type[BaseException], ...]:
        return (self._any, OSError)

    def _patiently(self, ask: Callable[[], Value], key: str, known: type[Exception] | None = None) -> Value:
        """Ask, and again after each delay where that fails for a time.

        Raises `PlaceError`, or what is `known`.
        """
        where = f"{self.address}/{key}" if key else self.address
        for delay in (*self._delays, None):
            try:
                return ask()
            except (self._missing, FileNotFoundError):
                raise MissingFileError(f"{where}: there is no such file") from None
            except self._fatal as error:
                raise PlaceError(
                    f"{where}: refused: {_first_line(error)}; check the credentials and the rights of this account"
                ) from None
            except self._transient() as error:
                if known and isinstance(error, known):
                    raise
                if _METADATA in str(error):  # where the library looks when it finds no credentials
                    raise PlaceError(
                        f"{where}: no credentials were found; give them as the platform's tools expect them, such as "
                        f"AWS_PROFILE or AWS_ACCESS_KEY_ID in the environment"
                    ) from None
                if "404 Not Found" in str(error):  # of a list
                    raise MissingFileError(f"{where}: there is no such bucket or folder") from None
                if delay is None:
                    raise PlaceError(
                        f"{where}: failed {len(self._delays) + 1} times, the last time with: {_first_line(error)}"
                    ) from None
                time.sleep(delay)
        raise AssertionError


class _Readable(io.RawIOBase):
    """A reader of obstore as Python's own files are, for those who check."""

    def __init__(self, reader: Any) -> None:
        super().__init__()
        self._reader = reader

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = bytes(self._reader.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._reader.seek(offset, whence))

    def tell(self) -> int:
        return int(self._reader.tell())


def _is_hidden(key: str) -> bool:
    return any(part.startswith(".") for part in key.split("/")) or key.endswith("/")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _first_line(error: BaseException) -> str:
    """Return what an error says in short.

    Without the queries of addresses, which may hold signatures.
    """
    text = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return re.sub(r"\?[^\s\"')]*", "", text)[:300]

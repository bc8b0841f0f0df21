"""Where the bytes of a manifest's images lie, and reading them from there."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from whatsit.errors import DataError, ImageError, MissingExtraError, WhatsitError
from whatsit.images.manifest import ImageRow
from whatsit.images.places import MissingFileError, Place, PlaceError, is_address, local_path, open_place
from whatsit.images.sources import read_file, require_few_bytes
from whatsit.images.stores import FileAt, ZipStore

PATIENCE = (0.25, 1.0, 2.0)  # seconds before a request is repeated; with the requests less than `supervise.STALL`
MOST_OPEN = 64  # archives
# The reasons where the place may be to blame, and not the image.
UNREACHABLE, MISSING = "unreachable", "missing"


class Reader:
    """Read the images of manifests from files, archives and object stores.

    Safe for several threads.
    """

    def __init__(self, root: str) -> None:
        """Take the folder or address that relative addresses are below."""
        self._root = root
        self.trouble = ""  # with a place, the last
        self._lock = threading.Lock()
        self._places: dict[str, Place] = {}
        self._zips: dict[str, ZipStore] = {}
        self._files: dict[str, FileAt] = {}

    def read(self, row: ImageRow) -> bytes:
        """Return an image's bytes.

        Raises `ImageError`, after repeats where a connection breaks.
        """
        try:
            require_few_bytes(row.size or 0)
            address, key = split_address(row.uri, self._root)
            if is_address(address):
                return self._from_place(address, key, row)
            path = os.path.join(address, key)  # noqa: PTH118 - pathlib is ten times as slow
            if row.offset is not None:
                return self._range(path, row.offset, row.size or 0)
            if row.member is not None:
                return self._zip(path).read(row.member)
            return self._file(path)
        except KeyError:
            raise ImageError("the archive no longer holds it", UNREACHABLE) from None
        except MissingFileError:
            raise ImageError("there is no such file", UNREACHABLE if row.member else MISSING) from None
        except ImageError:
            raise
        except (PlaceError, MissingExtraError) as error:
            self.trouble = str(error)
            raise ImageError("its store failed each time that it was asked", UNREACHABLE) from None
        except (WhatsitError, OSError, ValueError) as error:
            if row.member:
                self.trouble = str(error)
            reason = UNREACHABLE if row.member else "unreadable"
            raise ImageError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}", reason) from None

    def _file(self, path: str) -> bytes:
        try:
            return read_file(path)
        except ImageError as error:
            if error.reason == "unreadable" and not os.path.lexists(path):
                raise ImageError(str(error), MISSING) from None
            raise

    def _from_place(self, address: str, key: str, row: ImageRow) -> bytes:
        with self._lock:
            if address not in self._places:
                self._places[address] = open_place(address, PATIENCE)
            place = self._places[address]
        if row.offset is not None:
            return place.read(key, row.offset, row.size or 0)
        data = place.read(key)
        require_few_bytes(len(data))
        return data

    def _range(self, path: str, offset: int, size: int) -> bytes:
        with self._lock:
            if path not in self._files:
                if len(self._files) >= MOST_OPEN:
                    del self._files[next(iter(self._files))]
                with Path(path).open("rb") as file:
                    self._files[path] = FileAt(file)
            read_at = self._files[path]
        data = read_at(offset, size)
        if len(data) != size:
            raise ImageError("the archive is shorter than when the manifest was cut", UNREACHABLE)
        return data

    def _zip(self, path: str) -> ZipStore:
        with self._lock:
            if path not in self._zips:
                if len(self._zips) >= MOST_OPEN:
                    self._zips.pop(next(iter(self._zips)))
                self._zips[path] = ZipStore(Path(path))
            return self._zips[path]


def split_address(uri: str, root: str) -> tuple[str, str]:
    """Return the place of a file and its key there. Raises `DataError`."""
    if not is_address(uri):
        return root, local_path(uri)  # an absolute path stays one when it is joined
    scheme, _, rest = uri.partition("://")
    account, _, key = rest.partition("/")
    if scheme.lower() == "az":  # az://account/container/key
        container, _, key = key.partition("/")
        account = f"{account}/{container}"
    if not account or not key or "?" in key:
        raise DataError(f"{uri.partition('?')[0][:200]}: this address names no file, or holds a query")
    return f"{scheme}://{account}", key

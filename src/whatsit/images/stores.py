"""Where the bytes of pictures lie: a folder, a zip, a tar or memory, all read by name and by several threads at once.

Archives are never unpacked to disk. Their table of contents is checked once, before anything is read.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from whatsit.errors import DataError, ImageError
from whatsit.images.decode import MAX_BYTES, read_file
from whatsit.images.walk import LINK, SPECIAL, LeftOut, pictures_among, pictures_below, walk

# An archive may unpack to this many times its own size before it is taken for a bomb; pictures hardly compress.
MAX_RATIO = 200
RATIO_MATTERS_FROM = 64 * 1024 * 1024
_SPARSE = "files with holes"
_AGAIN = "older files of the same name"
_SAYS_UTF8 = 0x800  # the flag of a member of a zip whose name is in UTF-8


class Store(Protocol):
    """A set of files that can be read by name. Names are relative and use `/`."""

    def names(self) -> list[str]:
        """Every file's name, in an order that does not depend on the machine."""
        ...

    def read(self, name: str) -> bytes:
        """One file's bytes; raises `ImageError` where they cannot be read. Safe to call from several threads."""
        ...


class FolderStore:
    """The files below a folder, listed by the one walk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        try:
            return list(walk(self.root, LeftOut()))
        except OSError as error:
            raise DataError(f"{self.root}: the folder cannot be read: {error.strerror or error}") from None

    def read(self, name: str) -> bytes:
        return read_linked(self.root / name)


class MemoryStore:
    """Files that were made in memory."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def names(self) -> list[str]:
        return list(self._files)

    def read(self, name: str) -> bytes:
        return self._files[name]


def read_linked(path: Path) -> bytes:
    """Read a file in a folder; of a link whose target is missing the `ImageError` says so."""
    try:
        return read_file(path)
    except ImageError as error:
        if error.reason == "unreadable" and path.is_symlink() and not path.exists():
            raise ImageError("it is a link, and the file that it leads to is missing") from None
        raise


def pictures_in(store: Store, left_out: LeftOut) -> Iterator[str]:
    """Yield the names of the pictures in a store, in order; what is left out is noted. Raises `DataError`."""
    if isinstance(store, FolderStore):
        yield from pictures_below(store.root, left_out)
        return
    if isinstance(store, ZipStore | TarStore):
        names = sorted({*store.names(), *store.folders, *store.others})
        yield from pictures_among(names, left_out, store.others)
        left_out.kinds.update(store.hidden)
        return
    yield from pictures_among(store.names(), left_out)


class _FileAt:
    """Reads an open file at given places, from several threads, for as long as it is needed; the file may be closed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._descriptor = os.dup(file.fileno())
        self._lock = threading.Lock()
        weakref.finalize(self, os.close, self._descriptor)

    def __call__(self, offset: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, count, offset)
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, count)


class ZipStore:
    """The files in a zip archive, stored or deflated. Raises `DataError` for one that is damaged, encrypted or hostile."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file, zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                size = os.fstat(file.fileno()).st_size
                if any(not 0 <= info.header_offset <= size - info.compress_size for info in members):
                    raise zipfile.BadZipFile("some of its files lie before its beginning or behind its end")
                self._read_at = _FileAt(file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
            raise DataError(f"{path}: the zip archive cannot be read, it may be cut short: {error}") from None
        self._members: dict[str, zipfile.ZipInfo] = {}
        self.folders: list[str] = []  # that have an entry of their own, with `/` at the end
        self.others: dict[str, str] = {}  # what is no file, such as links, by its name: the kind
        self.hidden: Counter[str] = Counter()  # what cannot be told by a name
        doubtful = []
        for info in members:
            name, certain = _name_of(info)
            if name.endswith("/"):
                self.folders.append(name)
                continue
            _check_zip_member(path, name, info)
            if kind := _kind_of(info.external_attr >> 16):
                self.others[name] = kind
                self._members.pop(name, None)
            else:
                if name in self._members:
                    self.hidden[_AGAIN] += 1
                self._members[name] = info
                self.others.pop(name, None)
                doubtful += [] if certain else [name]
        _check_ratio(path, sum(info.file_size for info in members))
        self.notes = _notes(doubtful)

    def names(self) -> list[str]:
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        info = self._members[name]
        if (size := max(info.file_size, info.compress_size)) > MAX_BYTES:
            raise ImageError(f"the file has {size:,} bytes; at most {MAX_BYTES:,} are read", "too_many_bytes")
        # One read fetches the local header, whose two variable fields are nearly always as long as the name, and the data.
        guess = 30 + len(info.filename.encode()) + 64 + info.compress_size
        block = self._read_at(info.header_offset, guess)
        if len(block) < 30 or block[:4] != b"PK\x03\x04":
            raise ImageError("its place in the zip archive is damaged")
        start = 30 + int.from_bytes(block[26:28], "little") + int.from_bytes(block[28:30], "little")
        packed = block[start : start + info.compress_size]
        if len(packed) < info.compress_size:
            packed = self._read_at(info.header_offset + start, info.compress_size)
        data = packed if info.compress_type == zipfile.ZIP_STORED else _inflate(packed, info.file_size)
        if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
            raise ImageError("its data in the zip archive are damaged (wrong checksum)")
        return data


class TarStore:
    """The files in a tar archive; a compressed one is unpacked into an unnamed temporary file."""

    def __init__(self, path: Path) -> None:
        try:
            with _plain_tar(path) as plain, tarfile.open(fileobj=plain, mode="r:") as archive:
                members = archive.getmembers()
                self._read_at = _FileAt(plain)
        except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
            raise DataError(f"{path}: the tar archive cannot be read, it may be cut short: {error}") from None
        self.notes: tuple[str, ...] = ()
        self.folders: list[str] = []  # that have an entry of their own, with `/` at the end
        self.others: dict[str, str] = {}  # what is no file, such as links, by its name: the kind
        self.hidden: Counter[str] = Counter()  # what cannot be told by a name
        self._places: dict[str, tuple[int, int]] = {}
        for member in members:
            _check_member_name(path, member.name)
            name = member.name.removeprefix("./")
            if member.isreg() and not member.issparse():
                if name in self._places:
                    self.hidden[_AGAIN] += 1
                self._places[name] = (member.offset_data, member.size)
                self.others.pop(name, None)
            elif member.isdir():
                self.folders += [f"{name}/"] if name not in ("", ".") else []
            else:
                linked = member.issym() or member.islnk()
                self.others[name] = LINK if linked else _SPARSE if member.issparse() else SPECIAL
                self._places.pop(name, None)

    def names(self) -> list[str]:
        return sorted(self._places)

    def read(self, name: str) -> bytes:
        offset, size = self._places[name]
        if size > MAX_BYTES:
            raise ImageError(f"the file has {size:,} bytes; at most {MAX_BYTES:,} are read", "too_many_bytes")
        return self._read_at(offset, size)


def _kind_of(mode: int) -> str | None:
    """What a member of a zip is by its Unix mode, where it is no file; 0 where no system said."""
    if stat.S_ISLNK(mode):
        return LINK
    return None if stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR) else SPECIAL


def _plain_tar(path: Path) -> IO[bytes]:
    """The archive itself, or its unpacked form where it is compressed (gzip, bzip2, xz)."""
    with path.open("rb") as file:
        magic = file.read(6)
    openers: list[tuple[bytes, Any]] = [(b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open)]
    opener = next((found for start, found in openers if magic.startswith(start)), None)
    if opener is None:
        return path.open("rb")
    plain: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - handed on to the caller
    size = 0
    try:
        with opener(path, "rb") as packed:
            while block := packed.read(1 << 20):
                size += len(block)
                _check_ratio(path, size)
                plain.write(block)
    except BaseException:
        plain.close()
        raise
    plain.seek(0)
    return plain


def _name_of(info: zipfile.ZipInfo) -> tuple[str, bool]:
    """A member's name as it was meant, and whether that is certain.

    macOS writes UTF-8 without saying so; old Windows tools part folders by backslashes.
    """
    name, certain = info.filename, True
    if not info.flag_bits & _SAYS_UTF8 and name == info.orig_filename:  # else it was said in Unicode elsewhere
        try:
            name = name.encode("cp437").decode()
        except UnicodeError:
            certain = False
    return name if "/" in name else name.replace("\\", "/"), certain


def _notes(doubtful: list[str]) -> tuple[str, ...]:
    if not doubtful:
        return ()
    words = "names in the zip may be spelt wrong, as it does not say how they are written"
    return (f"{words}: {len(doubtful):,}, such as {doubtful[0]!r}; give the unpacked folder instead",)


def _inflate(packed: bytes, size: int) -> bytes:
    """Inflate to at most one byte more than promised, so that a lying archive cannot fill the memory."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)
    except zlib.error as error:
        raise ImageError(f"its data in the zip archive are damaged: {error}") from None


def _check_zip_member(archive: Path, name: str, info: zipfile.ZipInfo) -> None:
    _check_member_name(archive, name)
    if info.flag_bits & 0x1:
        raise DataError(f"{archive}: '{name}' is encrypted; unpack the archive with its password first")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{archive}: '{name}' is packed by an unusual method; make the zip again with 'deflate'")


def _check_member_name(archive: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    drive = len(name) > 1 and name[1] == ":"
    if path.is_absolute() or ".." in path.parts or drive or "\0" in name:
        raise DataError(f"{archive}: refused, because '{name[:200]}' points outside the archive")


def _check_ratio(archive: Path, unpacked: int) -> None:
    packed = max(archive.stat().st_size, 1)
    if unpacked > RATIO_MATTERS_FROM and unpacked / packed > MAX_RATIO:
        raise DataError(
            f"{archive}: refused as a decompression bomb: {packed:,} bytes unpack to at least {unpacked:,} "
            f"(more than {MAX_RATIO} times as much)"
        )

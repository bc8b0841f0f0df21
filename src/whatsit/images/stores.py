"""Stores of image files: a folder, a zip or a tar, read by name from any thread.

Archives are never unpacked to disk. Their table of contents is checked once, before anything is read.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import struct
import tarfile
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Generic, Protocol, TypeVar

from whatsit.errors import DataError, ImageError
from whatsit.images.sources import read_file, require_few_bytes
from whatsit.images.walk import LINK, SPECIAL, LeftOut, pictures_among, pictures_below

# An archive may unpack to this many times its own size before it is taken for a bomb; images hardly compress.
MAX_RATIO = 200
RATIO_MATTERS_FROM = 64 * 1024 * 1024
_SPARSE = "files with holes"
_AGAIN = "older files of the same name"
_SAYS_UTF8 = 0x800  # the flag of a member of a zip whose name is in UTF-8

Member = TypeVar("Member")


class Store(Protocol):
    """A set of files that can be read by name. Names are relative and use `/`."""

    def pictures(self, left_out: LeftOut) -> Iterator[str]:
        """Yield the names of the images, in the same order on every machine.

        What is left out is noted. Raises `DataError`.
        """
        ...

    def read(self, name: str) -> bytes:
        """Return one file's bytes, called from any thread. Raises `ImageError`."""
        ...


class FolderStore:
    """The files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def pictures(self, left_out: LeftOut) -> Iterator[str]:
        """Yield the names of the images, as `Store` says."""
        return pictures_below(self.root, left_out)

    def read(self, name: str) -> bytes:
        """Return a file's bytes. Raises `ImageError`."""
        return read_linked(self.root / name)


def read_linked(path: Path) -> bytes:
    """Read a file in a folder. Raises `ImageError`, which names a link without target."""
    try:
        return read_file(path)
    except ImageError as error:
        if error.reason == "unreadable" and path.is_symlink() and not path.exists():
            raise ImageError("it is a link, and the file that it leads to is missing") from None
        raise


class FileAt:
    """A reader of a file at given offsets, for several threads, even when closed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._descriptor = os.dup(file.fileno())
        self._lock = threading.Lock()
        weakref.finalize(self, os.close, self._descriptor)

    def __call__(self, offset: int, count: int) -> bytes:
        """Return the bytes there, fewer at the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, count, offset)
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, count)


class _Archive(Generic[Member]):
    """The table of contents of an archive."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: tuple[str, ...] = ()  # what the user should know, a sentence each
        self._members: dict[str, Member] = {}  # the files
        self._folders: list[str] = []  # that have an entry of their own, with `/` at the end
        self._others: dict[str, str] = {}  # what is no file, such as links, with its kind
        self._hidden: Counter[str] = Counter()  # files of which only the number is known

    def pictures(self, left_out: LeftOut) -> Iterator[str]:
        """Yield the names of the images, as `Store` says."""
        yield from pictures_among(sorted({*self._members, *self._folders, *self._others}), left_out, self._others)
        left_out.kinds.update(self._hidden)

    def _add(self, name: str, member: Member, kind: str | None) -> None:
        """Add a file, or what is none of a kind, in the place of what had its name before."""
        if kind:
            self._others[name] = kind
            self._members.pop(name, None)
        else:
            if name in self._members:
                self._hidden[_AGAIN] += 1
            self._members[name] = member
            self._others.pop(name, None)

    def _check_name(self, name: str) -> None:
        path = PurePosixPath(name.replace("\\", "/"))
        drive = len(name) > 1 and name[1] == ":"
        if path.is_absolute() or ".." in path.parts or drive or "\0" in name:
            raise DataError(f"{self._path}: refused, because '{name[:200]}' points outside the archive")


# Of a member: where its header is, its packed and its own size, its checksum, the bytes of its name, and whether it is packed. A
# `ZipInfo` takes ten times as much memory.
_ENTRY = struct.Struct("<QQQII?")


class ZipStore(_Archive[bytes]):
    """The files in a zip archive, stored or deflated."""

    def __init__(self, path: Path) -> None:
        """Read the table of contents. Raises `DataError`: damaged, encrypted or hostile."""
        super().__init__(path)
        try:
            with path.open("rb") as file, zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                size = os.fstat(file.fileno()).st_size
                if any(not 0 <= info.header_offset <= size - info.compress_size for info in members):
                    raise zipfile.BadZipFile("some of its files lie before its beginning or behind its end")
                self._read_at = FileAt(file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
            raise DataError(f"{path}: the zip archive cannot be read, it may be cut short: {error}") from None
        doubtful = []
        for info in members:
            name, certain = _name_of(info)
            if name.endswith("/"):
                self._folders.append(name)
                continue
            self._check_member(name, info)
            kind = _kind_of(info.external_attr >> 16)
            length, packed = len(info.filename.encode()), info.compress_type != zipfile.ZIP_STORED
            entry = _ENTRY.pack(info.header_offset, info.compress_size, info.file_size, info.CRC, length, packed)
            self._add(name, entry, kind)
            doubtful += [] if certain or kind else [name]
        _check_ratio(path, sum(info.file_size for info in members))
        if doubtful:
            self.notes = (
                f"names in the zip may be spelt wrong, as it does not say how they are written: {len(doubtful):,}, such as "
                f"{doubtful[0]!r}; give the unpacked folder instead",
            )

    def read(self, name: str) -> bytes:
        """Return a file's bytes. Raises `ImageError`."""
        offset, packed_size, size, checksum, length, is_packed = _ENTRY.unpack(self._members[name])
        require_few_bytes(max(size, packed_size))
        # One read fetches the local header, whose two variable fields are nearly always as long as the name, and the data.
        block = self._read_at(offset, 30 + length + 64 + packed_size)
        if len(block) < 30 or block[:4] != b"PK\x03\x04":
            raise ImageError("its place in the zip archive is damaged")
        start = 30 + int.from_bytes(block[26:28], "little") + int.from_bytes(block[28:30], "little")
        packed = block[start : start + packed_size]
        if len(packed) < packed_size:
            packed = self._read_at(offset + start, packed_size)
        data = _inflate(packed, size) if is_packed else packed
        if len(data) != size or zlib.crc32(data) != checksum:
            raise ImageError("its data in the zip archive are damaged (wrong checksum)")
        return data

    def _check_member(self, name: str, info: zipfile.ZipInfo) -> None:
        self._check_name(name)
        if info.flag_bits & 0x1:
            raise DataError(f"{self._path}: '{name}' is encrypted; unpack the archive with its password first")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{self._path}: '{name}' is packed by an unusual method; make the zip again with 'deflate'")


class TarStore(_Archive[tuple[int, int]]):
    """The files in a tar archive; a compressed one is unpacked into a temporary file."""

    def __init__(self, path: Path) -> None:
        """Read the table of contents. Raises `DataError` where it is damaged or hostile."""
        super().__init__(path)
        try:
            with _plain_tar(path) as plain, tarfile.open(fileobj=plain, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    self._take(member)
                    archive.members = []  # type: ignore[attr-defined]  # else it keeps them all
                self._read_at = FileAt(plain)
        except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
            raise DataError(f"{path}: the tar archive cannot be read, it may be cut short: {error}") from None

    def _take(self, member: tarfile.TarInfo) -> None:
        """Add a member. Raises `DataError` for a hostile name."""
        self._check_name(member.name)
        name = member.name.removeprefix("./")
        if member.isdir():
            self._folders += [f"{name}/"] if name not in ("", ".") else []
            return
        linked = member.issym() or member.islnk()
        kind = LINK if linked else _SPARSE if member.issparse() else None if member.isreg() else SPECIAL
        self._add(name, (member.offset_data, member.size), kind)

    def read(self, name: str) -> bytes:
        """Return a file's bytes. Raises `ImageError`."""
        offset, size = self._members[name]
        require_few_bytes(size)
        return self._read_at(offset, size)


def _kind_of(mode: int) -> str | None:
    """Return what a member of a zip is by its Unix mode, where it is no file."""
    if stat.S_ISLNK(mode):
        return LINK
    return None if stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR) else SPECIAL  # 0: no mode was written


def _plain_tar(path: Path) -> IO[bytes]:
    """Open the archive, or its unpacked form where it is compressed (gzip, bzip2, xz)."""
    with path.open("rb") as file:
        magic = file.read(6)
    openers: list[tuple[bytes, Any]] = [(b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open)]
    opener = next((found for start, found in openers if magic.startswith(start)), None)
    if opener is None:
        return path.open("rb")
    plain: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - returned to the caller
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
    """Return a member's name as it was meant, and whether that is certain.

    macOS writes UTF-8 without declaring it; old Windows tools separate folders by backslashes.
    """
    name, certain = info.filename, True
    if not info.flag_bits & _SAYS_UTF8 and name == info.orig_filename:  # else it is in Unicode elsewhere
        try:
            name = name.encode("cp437").decode()
        except UnicodeError:
            certain = False
    return name if "/" in name else name.replace("\\", "/"), certain


def _inflate(packed: bytes, size: int) -> bytes:
    """Inflate to at most one byte more than declared, so that memory cannot fill up."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)
    except zlib.error as error:
        raise ImageError(f"its data in the zip archive are damaged: {error}") from None


def _check_ratio(archive: Path, unpacked: int) -> None:
    packed = max(archive.stat().st_size, 1)
    if unpacked > RATIO_MATTERS_FROM and unpacked / packed > MAX_RATIO:
        raise DataError(
            f"{archive}: refused as a decompression bomb: {packed:,} bytes unpack to at least {unpacked:,} "
            f"(more than {MAX_RATIO} times as much)"
        )

"""Check of a PNG: only the parts that decide about its pixels reach the decoder."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from whatsit.errors import ImageError

PNG_START = b"\x89PNG\r\n\x1a\n"
# What begins the texts of a PNG that may hold an orientation.
_ORIENTATIONS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_MAX_TEXT = 1 << 19  # bytes of such a text, unpacked
_MAX_PROFILE = 1 << 22  # bytes of a colour profile, unpacked
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # bits, by colour type
_CHECKED = frozenset([b"IHDR", b"PLTE", b"tRNS", b"IDAT"])
_END = b"\0\0\0\0IEND\xaeB`\x82"
_ONCE = frozenset([b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"iCCP"])


class Png(NamedTuple):
    """A PNG that may be decoded."""

    data: bytes  # header, palette, transparency, orientation, pixels, end
    size: tuple[int, int]  # (width, height)
    profile: bytes | None  # the colour profile, unpacked


def clean_png(data: bytes) -> Png:
    """Return a PNG that may be decoded, from its file.

    A missing end is added; whether the pixels are complete, the decoder reports.

    Raises `ImageError` where its header is not allowed, or a part that decides about the pixels is damaged.
    """
    header, front, pixels = b"", list[bytes](), list[bytes]()
    profile: bytes | None = None
    plain = data.endswith(_END)  # nothing needs to be left out or put in
    seen: set[bytes] = set()
    for kind, part in _parts(data):
        if kind in _ONCE and kind in seen:
            raise ImageError.damaged(f"it has two parts {kind.decode()}")
        seen.add(kind)
        if kind == b"IHDR":
            header = part
        elif kind == b"IDAT":
            pixels.append(part)
        elif kind in (b"PLTE", b"tRNS") or (kind == b"eXIf" and _is_whole(part)):
            plain = plain and not pixels
            front.append(part)
        else:
            plain = False
            if kind == b"iCCP":
                profile = _profile(part[8:-4])
            elif part.startswith(_ORIENTATIONS, 8) and _is_short(kind, part[8:-4]):
                front.append(_chunk(kind, part[8:-4]))
    size = _check_header(header)
    if not pixels:
        raise ImageError.damaged("it holds no pixels")
    if not plain:
        data = b"".join((PNG_START, header, *front, *pixels, _END))
    return Png(data, size, profile)


def _parts(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the parts before the end, with their kinds and checked checksums."""
    at = len(PNG_START)
    while True:
        end, kind = at + 12 + int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if len(kind) < 4 or not kind.isalpha() or kind == b"IEND":
            return
        part = data[at:end]
        if end > len(data):  # the last part is cut off, perhaps in its checksum
            if kind == b"IDAT":
                yield kind, _chunk(kind, part[8 : end - at - 4])
            return
        if kind in _CHECKED and not _is_whole(part):
            raise ImageError.damaged(f"its part {kind.decode()} has a wrong checksum")
        yield kind, part
        at = end


def _is_whole(part: bytes) -> bool:
    return zlib.crc32(memoryview(part)[4:-4]) == int.from_bytes(part[-4:], "big")


def _check_header(header: bytes) -> tuple[int, int]:
    if len(header) != 25:
        raise ImageError.damaged("its header is missing")
    width, height, bits, kind, packing, filtering, interlace = struct.unpack_from(">IIBBBBB", header, 8)
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31):
        raise ImageError.damaged("the sides in its header are impossible")
    if bits not in _DEPTHS.get(kind, ()) or packing or filtering or interlace > 1:
        raise ImageError.damaged("its header is not that of a PNG")
    return width, height


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _unpack(packed: bytes, most: int) -> bytes | None:
    """Inflate; None where the data are damaged or longer than allowed."""
    unpacker = zlib.decompressobj()
    try:
        body = unpacker.decompress(packed, most)
    except zlib.error:
        return None
    return body if unpacker.eof else None


def _profile(body: bytes) -> bytes | None:
    return _unpack(body.partition(b"\0")[2][1:], _MAX_PROFILE)


def _is_short(kind: bytes, body: bytes) -> bool:
    if len(body) > _MAX_TEXT:
        return False
    rest = body.partition(b"\0")[2]
    if kind == b"iTXt" and rest[:1] == b"\x01":
        return _unpack(rest[2:].split(b"\0", 2)[-1], _MAX_TEXT) is not None
    return kind != b"zTXt" or _unpack(rest[1:], _MAX_TEXT) is not None

"""Check of a TIFF's first directory before it is decoded."""

from __future__ import annotations

import ctypes
import struct
from functools import cache

from whatsit.errors import ImageError
from whatsit.images.jpeg import check_frames

# None, CCITT (three), LZW, JPEG, deflate (two), packbits, LZMA, Zstandard, WebP.
_PACKINGS = frozenset([1, 2, 3, 4, 5, 7, 8, 32946, 32773, 34925, 50000, 50001])
_JPEG = 7
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # types of whole numbers
_THUMBNAIL, _WIDTH, _HEIGHT, _BITS, _PACKING, _COLOURS = 254, 256, 257, 258, 259, 262
_SAMPLES, _STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 277, 273, 279, 322, 323, 324, 325
_SUBFILES, _DNG = 330, 50706
_SENSOR = frozenset([32803, 34892])  # colours of a camera's sensor
_MAX_TILE = 1 << 26  # pixels
_MAX_SAMPLES = 6  # Pillow reads no more, and logs it
_MAX_PARTS = 1 << 20  # strips or tiles


def check_tiff(data: bytes) -> tuple[int, int]:
    """Return the (width, height) in a TIFF's first directory.

    Raises `ImageError` where it is of a kind that is not decoded: a camera's raw file, an unusual compression.
    """
    silence_libtiff()
    tags = _directory(data)
    width, height = (tags.get(tag, [0])[0] for tag in (_WIDTH, _HEIGHT))
    if min(width, height) < 1:
        raise ImageError.damaged("its header says that it has no pixels")
    raw = tags.get(_DNG) is not None or _SENSOR & set(tags.get(_COLOURS, ()))
    if raw or (tags.get(_THUMBNAIL, [0])[:1] == [1] and _SUBFILES in tags):
        raise ImageError(
            "this is a camera's raw file, which is not read; develop it, or save the picture as JPEG or PNG with the "
            "camera's program",
            "format",
        )
    packing = tags.get(_PACKING, [1])[0]
    if packing not in _PACKINGS:
        raise ImageError.unsupported(f"a TIFF with the compression {packing}")
    samples, bits = tags.get(_SAMPLES, [1])[0], tags.get(_BITS, [1])
    if not 1 <= samples <= _MAX_SAMPLES or max(bits) > 64:
        raise ImageError.unsupported(f"a TIFF of {samples} samples of {max(bits)} bits")
    tile = tags.get(_TILE_WIDTH, [1])[0] * tags.get(_TILE_HEIGHT, [1])[0]
    if tile > _MAX_TILE:
        raise ImageError.unsupported("a TIFF with very large tiles")
    if packing == _JPEG:
        _check_streams(data, tags)
    return width, height


def _check_streams(data: bytes, tags: dict[int, list[int]]) -> None:
    """Check every strip or tile of a TIFF in JPEG compression, each a JPEG."""
    starts = tags.get(_TILES) or tags.get(_STRIPS) or []
    lengths = tags.get(_TILE_BYTES) or tags.get(_STRIP_BYTES) or []
    if not starts or len(starts) != len(lengths):
        raise ImageError.damaged("its list of parts is incomplete")
    for start, length in zip(starts, lengths, strict=True):
        stream = data[start : start + length]
        if not stream.startswith(b"\xff\xd8"):
            raise ImageError.damaged("a part of it is no JPEG")
        check_frames(stream)


def _directory(data: bytes) -> dict[int, list[int]]:
    """Return the whole numbers in the first directory, by tag."""
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    tags: dict[int, list[int]] = {}
    try:
        [at] = struct.unpack_from(f"{order}Q", data, 8) if big else struct.unpack_from(f"{order}I", data, 4)
        [count] = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, at)
        at += 8 if big else 2
        for place in range(at, at + min(count, 4096) * (20 if big else 12), 20 if big else 12):
            tag, kind, length = struct.unpack_from(f"{order}HH{'Q' if big else 'I'}", data, place)
            inside = 8 if big else 4
            value = place + 4 + inside
            if _SIZES.get(kind, 1) * length > inside:
                [value] = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, value)
            if kind in _WHOLE and 0 < length <= _MAX_PARTS:
                tags[tag] = list(struct.unpack_from(f"{order}{length}{_WHOLE[kind]}", data, value))
            elif tag == _DNG:
                tags[tag] = [0]
    except struct.error:
        if _WIDTH not in tags:
            raise ImageError.damaged("its header is incomplete") from None
    return tags


@cache
def silence_libtiff() -> None:
    """Stop libtiff from writing its errors and warnings to stderr.

    Pillow has no switch for it. Where the library cannot be reached (Windows: it is inside of Pillow's own), nothing is done.
    """
    from PIL import _imaging

    try:
        library = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            setter = getattr(library, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)
    except (OSError, AttributeError):
        return

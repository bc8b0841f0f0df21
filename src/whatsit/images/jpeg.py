"""What is known of a JPEG before it is decoded, and the decoder of plain ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg

from whatsit.errors import ImageError

# What begins the parts of a JPEG that say how its pixels are shown.
_JFIF, _PROFILE = b"JFIF\0", b"ICC_PROFILE\0"
_PARTS = (_JFIF, b"Exif\0", b"http://ns.adobe.com/xap", _PROFILE)
_SCAN = 0xDA
# Baseline, extended and progressive JPEG; tables; scan; what applications and people add.
_ALLOWED = frozenset([0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD, _SCAN, *range(0xE0, 0xF0), 0xFE])
_KINDS = {
    0xC3: "a lossless JPEG",
    0xC5: "a hierarchical JPEG",
    0xC6: "a hierarchical JPEG",
    0xC7: "a lossless JPEG",
    0xC9: "a JPEG with arithmetic coding",
    0xCA: "a JPEG with arithmetic coding",
    0xCB: "a lossless JPEG",
    0xCC: "a JPEG with arithmetic coding",
    0xCD: "a hierarchical JPEG",
    0xCE: "a hierarchical JPEG",
    0xCF: "a lossless JPEG",
    0xF7: "a JPEG-LS picture",
}
# Sampling of Y, Cb, Cr that every decoder knows: 4:4:4, 4:2:2, 4:4:0, 4:2:0, 4:1:1.
_USUAL = frozenset([b"\x11\x11\x11", b"\x21\x11\x11", b"\x12\x11\x11", b"\x22\x11\x11", b"\x41\x11\x11"])
_MARKER = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")  # inside of a scan; restarts and stuffed zeros are skipped
_END = b"\xff\xd9"


class Jpeg(NamedTuple):
    """A JPEG that may be decoded."""

    data: bytes  # with its end marker
    size: tuple[int, int]  # (width, height)
    plain: bool  # one or three components of usual sampling, and no EXIF, XMP or colour profile
    has_profile: bool


class _Header(NamedTuple):
    """The markers before the first scan."""

    frame: bytes  # the body of the SOF marker
    progressive: bool
    scan: int  # where the first SOS marker's length is
    parts: frozenset[bytes]  # how those of EXIF, XMP and colour profiles begin that there are
    is_ycc: bool  # as far as the markers say


def check_jpeg(data: bytes) -> Jpeg:
    """Return a JPEG that may be decoded, from its file.

    A missing end marker is added where the pixels are complete: every byte of every scan is there.

    Raises `ImageError` where it is of a kind that is not decoded, or a part of it is missing.
    """
    header = _header(data)
    frame = header.frame
    if not (data.endswith(_END) or data.rfind(_END, header.scan) >= 0):
        data = _with_end(data, header)
    size = int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big")
    usual = (header.is_ycc and _sampling(frame) in _USUAL) or frame[5] == 1
    return Jpeg(data, size, usual and not header.parts, _PROFILE[:4] in header.parts)


def decode_plain(data: bytes, size: tuple[int, int], scale: int) -> npt.NDArray[np.uint8] | None:
    """Decode a plain JPEG of this `(width, height)` to RGB, as Pillow does it.

    Where it is at least 2, 4 or 8 times (`scale`) as large as asked, the codec divides its sides by that (`Image.draft`). None
    where the codec complains.
    """
    factor = next(factor for factor in (8, 4, 2, 1) if scale >= factor or factor == 1)
    width, height = (-(-side // factor) for side in size)
    least = {"min_height": height, "min_width": width, "min_factor": factor} if factor > 1 else {}
    try:
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, **least)
    except ValueError:
        return None
    return pixels if pixels.shape[:2] == (height, width) else None


def is_cut_off(data: bytes) -> bool:
    """Return whether the data of an allowed JPEG end before its last pixel.

    False where that cannot be known, as of unusual sampling.
    """
    frame = _header(data).frame
    if _is_unusual(frame):
        return False
    try:  # at an eighth of the size: all of the data is read, and little is computed
        kind = {1: "GRAY", 3: "RGB"}.get(frame[5], "CMYK")
        simplejpeg.decode_jpeg(_without_extras(data), kind, min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        return "premature end" in str(error).lower()
    return False


def _without_extras(data: bytes) -> bytes:
    """Return a JPEG without what a decoder only warns of.

    The codec names its first warning only. Left out are damaged parts of applications, comments, and bytes between the
    markers of the header.
    """
    kept, after = [b"\xff\xd8"], 2
    for marker, at, end in _markers(data):
        after = end
        if marker < 0xE0 or marker == 0xEE:  # the latter says how colours are stored
            kept.append(bytes((0xFF, marker)) + data[at - 2 : end])
    return b"".join([*kept, data[after:]])


def check_frames(data: bytes) -> None:
    """Raise `ImageError` where a JPEG inside of another file is not supported."""
    _header(data)


def _header(data: bytes) -> _Header:
    """Read the markers before the first scan."""
    frame, progressive, adobe, scan = b"", False, -1, 0
    parts: set[bytes] = set()
    for marker, at, end in _markers(data):
        if marker >= 0xE0:
            if marker == 0xEE and data.startswith(b"Adobe", at) and end >= at + 12:
                adobe = data[at + 11]
            elif data.startswith(_PARTS, at):
                parts.add(data[at : at + 4])
        elif marker <= 0xC2:
            if frame:
                raise ImageError.damaged("it has two headers")
            frame, progressive = data[at:end], marker == 0xC2
        elif marker == _SCAN:
            scan = at - 2
    _check_frame(frame)
    jfif = _JFIF[:4] in parts
    is_ycc = frame[5] == 3 and (adobe == 1 or (adobe < 0 and (jfif or frame[6::3] == b"\1\2\3")))
    return _Header(frame, progressive, scan, frozenset(parts) - {_JFIF[:4]}, is_ycc)


def _markers(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the markers up to the first scan, with where their bodies begin and end.

    They are found as libjpeg finds them: everything that it would decode is seen here. Raises `ImageError` for one that is not
    on the list.
    """
    at, marker = 2, 0
    try:
        while marker != _SCAN:
            if data[at] != 0xFF:
                at = data.index(b"\xff", at)
            while data[at] == 0xFF:
                at += 1
            marker = data[at]
            at += 1
            if marker == 0 or 0xD0 <= marker <= 0xD7:
                continue
            end = at + (data[at] << 8 | data[at + 1])
            if end < at + 2 or marker not in _ALLOWED:
                raise ImageError.unsupported(_KINDS[marker]) if marker in _KINDS else _odd(marker)
            yield marker, at + 2, end
            at = end
    except (IndexError, ValueError):
        raise ImageError.damaged("its header is incomplete") from None


def _odd(marker: int) -> ImageError:
    return ImageError.damaged(f"the marker {marker:#x} in its header is out of place")


def _check_frame(frame: bytes) -> None:
    count = frame[5] if len(frame) > 5 else 0
    if len(frame) != 6 + 3 * count or not count:
        raise ImageError.damaged("its header is incomplete")
    if frame[0] != 8:
        raise ImageError.unsupported(f"a JPEG of {frame[0]} bits")
    if count not in (1, 3, 4):
        raise ImageError.unsupported(f"a JPEG of {count} components")
    if not any(frame[1:3]) or not any(frame[3:5]):
        raise ImageError.damaged("its header says that it has no pixels")
    if any(not 1 <= factor >> 4 <= 4 or not 1 <= factor & 15 <= 4 for factor in _sampling(frame)):
        raise ImageError.damaged("its sampling factors are out of range")


def _sampling(frame: bytes) -> bytes:
    """Return the sampling factors of the components, a byte each."""
    return frame[7::3]


def _with_end(data: bytes, header: _Header) -> bytes:
    """Add the missing end marker. Raises `ImageError` where pixels are missing."""
    whole = data.rstrip(b"\0")  # a download that was interrupted often ends in zeros
    whole = (whole + b"\0" if whole.endswith(b"\xff") else whole) + _END
    if not _has_all_scans(whole, header) or _is_unusual(header.frame) or is_cut_off(whole):
        raise ImageError.damaged("the file ends before the picture does")
    return whole


def _is_unusual(frame: bytes) -> bool:
    return frame[5] == 3 and _sampling(frame) not in _USUAL


def _has_all_scans(data: bytes, header: _Header) -> bool:
    """Return whether the scans give every coefficient to its last bit."""
    missing = {component: set(range(64)) for component in header.frame[6::3]}
    at = header.scan
    while True:
        length, count = data[at] << 8 | data[at + 1], data[at + 2]
        body = data[at + 3 : at + length]
        if len(body) < 2 * count + 3 or length != 6 + 2 * count:
            return False
        first, last, bits = body[2 * count : 2 * count + 3]
        if not header.progressive:
            first, last, bits = 0, 63, 0
        for component in body[: 2 * count : 2]:
            if not bits & 15:
                missing.get(component, set()).difference_update(range(first, last + 1))
        while True:  # the next scan, over the tables between
            found = _MARKER.search(data, at + length)
            if found is None or found.group()[-1] == 0xD9:
                return not any(missing.values())
            at = found.end()
            if at + 3 > len(data):
                return False
            if found.group()[-1] == 0xDA:
                break
            length = data[at] << 8 | data[at + 1]

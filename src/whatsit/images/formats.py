"""Formats of image files, checked by their contents before any decoder reads them.

A decoder is native code: a file that it was not made for can end the process, or cost gigabytes. So there is a list of
what is allowed (format, kind of compression, bits, components, sides), and everything else is refused with the reason.
Text, previews, animation and damaged colour profiles are no reason: they are removed, or ignored.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable
from typing import NamedTuple

from whatsit.errors import ImageError
from whatsit.images.jpeg import check_jpeg
from whatsit.images.png import PNG_START, clean_png
from whatsit.images.pnm import pnm_size
from whatsit.images.tiff import check_tiff

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "PGM", "PBM", "AVIF", "HEIC", "JPEG 2000", "TGA", "ICO")
_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".avif", ".heic", ".heif", ".hif", ".tga", ".ico"),
    *(".jp2", ".j2k", ".jpc", ".j2c", ".jpf", ".jpx"),
)
EXTENSIONS = frozenset(_ENDINGS)
# What browsers call each format.
CONTENT_TYPES = (
    *("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff", "image/x-portable-anymap"),
    *("image/avif", "image/heic", "image/heif", "image/jp2", "image/x-tga", "image/vnd.microsoft.icon"),
)
MAX_SIDE = 65_535  # pixels, of formats whose decoders compute with whole rows

_SAVE_AS = "save the picture as JPEG or PNG"
_EXPORT = f"develop it, or {_SAVE_AS} with the camera's program"
_WINDOW = "export it as PNG with its viewer, at the window that a person would look at"
_PAGES = "save its page as a picture (JPEG or PNG)"
_FRAMES = "take single pictures out of it, such as with: ffmpeg -i FILE %05d.jpg"

# What is recognized and not read, and what to do: where it begins, and how.
_OUTSIDE = {
    ("a PDF document", _PAGES): ((0, b"%PDF"),),
    ("a PostScript drawing", _PAGES): ((0, b"%!PS"), (0, b"\xc5\xd0\xd3\xc6")),
    ("a Photoshop file (PSD)", f"{_SAVE_AS} with Photoshop, GIMP or Krita"): ((0, b"8BPS"),),
    ("a GIMP file (XCF)", "export it as JPEG or PNG with GIMP"): ((0, b"gimp xcf"),),
    ("a DICOM file", _WINDOW): ((128, b"DICM"),),
    ("a camera's raw file (RAF)", _EXPORT): ((0, b"FUJIFILMCCD-RAW"),),
    ("a camera's raw file (CR2)", _EXPORT): ((8, b"CR\x02"),),
    ("a camera's raw file (ORF)", _EXPORT): ((0, b"IIRO"), (0, b"IIRS")),
    ("a camera's raw file (RW2)", _EXPORT): ((0, b"IIU\0"),),
    ("a camera's raw file (CR3)", _EXPORT): ((4, b"ftypcrx "),),
    ("a camera's raw file (X3F)", _EXPORT): ((0, b"FOVb"),),
    ("a JPEG XL picture", _SAVE_AS): ((0, b"\xff\x0a"), (0, b"\0\0\0\x0cJXL ")),
    ("an OpenEXR picture", _SAVE_AS): ((0, b"v/1\x01"),),
    ("a Radiance HDR picture", _SAVE_AS): ((0, b"#?RADIANCE"),),
    ("a DirectX texture (DDS)", _SAVE_AS): ((0, b"DDS "),),
    ("an Apple icon (ICNS)", _SAVE_AS): ((0, b"icns"),),
    ("a QOI picture", _SAVE_AS): ((0, b"qoif"),),
    ("an SGI picture", _SAVE_AS): ((0, b"\x01\xda"),),
    ("a PCX picture", _SAVE_AS): tuple((0, bytes([10, version, 1])) for version in (0, 2, 3, 4, 5)),
    ("a video", _FRAMES): (
        *((0, b"\x1aE\xdf\xa3"), (8, b"AVI "), (0, b"\0\0\x01\xba"), (0, b"\0\0\x01\xb3"), (0, b"FLV\x01")),
        *((4, b"moov"), (4, b"mdat")),
    ),
    ("a zip archive or an office document", "unpack it first"): ((0, b"PK\x03\x04"),),
}
_OUTSIDE_STARTS = tuple((at, start, *words) for words, starts in _OUTSIDE.items() for at, start in starts)
# What to do with such files, by their endings, for those who list folders.
OUTSIDE_ENDINGS = {
    **dict.fromkeys((".svg", ".svgz", ".ai", ".jxl", ".jxr", ".exr", ".hdr", ".dds"), "save as JPEG or PNG"),
    **dict.fromkeys((".pdf", ".ps", ".eps"), "save the pages as JPEG or PNG"),
    **dict.fromkeys(
        (".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".raf", ".raw", ".orf", ".rw2", ".pef", ".srw", ".x3f"),
        "develop, or save as JPEG or PNG with the camera's program",
    ),
    **dict.fromkeys((".dcm", ".dicom"), "export as PNG with their viewer"),
    **dict.fromkeys((".psd", ".psb", ".xcf"), "save as JPEG or PNG with the painting program"),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"), _FRAMES),
}
_HEIC_BRANDS = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"])
_CODESTREAM = b"\xff\x4f\xff\x51"  # of JPEG 2000: its start and size markers
_AVIF_BRANDS = frozenset([b"avif", b"avis"])
_X_WINDOW = re.compile(rb"\s*(/\* XPM \*/|#define\s+\w*width\s+\d+\s+#define\s+\w*height\s)")
_SVG = re.compile(rb"\s*(<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE svg[^>]*>|\s)*<svg[\s>]", re.DOTALL)


class File(NamedTuple):
    """An image file that may be decoded."""

    format: str  # the name of the decoder
    data: bytes  # what the decoder is given
    size: tuple[int, int] | None = None  # (width, height) as the header has it; None where only the decoder knows
    plain: bool = False  # a JPEG of a usual kind with nothing to apply beside its pixels
    has_profile: bool = True  # it may hold a colour profile
    profile: bytes | None = None  # the colour profile, where it was taken out of the file
    ending: str = ""  # such as `.jpg`


def recognize(data: bytes) -> File:
    """Return what a file is by its contents, checked against the list.

    Raises `ImageError` with what the file is and what to do, where it is not on the list.
    """
    if data.startswith(b"\xff\xd8\xff"):
        jpeg = check_jpeg(data)
        return File("JPEG", jpeg.data, jpeg.size, jpeg.plain, jpeg.has_profile, None, ".jpg")
    if data.startswith(PNG_START):
        return _png(data)
    for at, start, what, advice in _OUTSIDE_STARTS:
        if data.startswith(start, at):
            raise ImageError(f"this is {what}, which is not read; {advice}", "format")
    for start, check in _CHECKS.items():
        if data.startswith(start):
            return check(data)
    if data.startswith(b"ftyp", 4):
        return _box_file(data)
    if _may_be_tga(data):
        return _tga(data)
    raise _not_a_picture(data)


def _png(data: bytes) -> File:
    png = clean_png(data)
    return File("PNG", png.data, png.size, False, png.profile is not None, png.profile, ".png")


def _webp(data: bytes) -> File:
    if data[8:12] != b"WEBP":
        raise _not_a_picture(data)
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise ImageError.damaged("its header is incomplete")
    if kind == b"VP8X":  # the size of the canvas, for which memory is taken before anything else is looked at
        size = 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        size = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        size = int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    else:
        raise ImageError.damaged("its first part is of an unknown kind")
    return File("WEBP", data, size, ending=".webp")


def _gif(data: bytes) -> File:
    if len(data) < 13:
        raise ImageError.damaged("its header is incomplete")
    width, height = struct.unpack_from("<HH", data, 6)
    return File("GIF", data, (width, height), has_profile=False, ending=".gif")


def _bmp(data: bytes) -> File:
    if len(data) < 26:
        raise _not_a_picture(data)
    [header] = struct.unpack_from("<I", data, 14)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        packing = 0
    elif header in (16, 40, 52, 56, 64, 108, 124) and len(data) >= 34:
        width, height, _, bits, packing = struct.unpack_from("<iiHHI", data, 18)
    else:
        raise _not_a_picture(data)
    if bits not in (1, 2, 4, 8, 16, 24, 32) or packing not in (0, 1, 2, 3, 6):
        raise ImageError.unsupported(f"a BMP of {bits} bits with the compression {packing}")
    if not 0 < width <= MAX_SIDE or not 0 < abs(height) <= MAX_SIDE:
        raise ImageError.damaged("the sides in its header are impossible")
    return File("BMP", data, (width, abs(height)), has_profile=False, ending=".bmp")


def _tiff(data: bytes) -> File:
    return File("TIFF", data, check_tiff(data), ending=".tiff")


def _pnm(data: bytes) -> File:
    if data[2:3] not in (b" ", b"\t", b"\r", b"\n", b"#"):
        raise _not_a_picture(data)
    size = pnm_size(data)
    ending = {b"P1": ".pbm", b"P4": ".pbm", b"P2": ".pgm", b"P5": ".pgm", b"Pf": ".pfm"}.get(data[:2], ".ppm")
    return File("PNM", data, size, has_profile=False, ending=ending)


def _box_file(data: bytes) -> File:
    """Return an AVIF or HEIC, which begin like an MP4; refuse videos."""
    length = int.from_bytes(data[:4], "big")
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, min(length, 128, len(data)), 4))}
    if brands & _AVIF_BRANDS:
        return File("AVIF", data, ending=".avif")
    if brands & _HEIC_BRANDS:
        return File("HEIF", data, ending=".heic")
    raise ImageError(f"this is a video, which is not read; {_FRAMES}", "format")


def _jpeg2000(data: bytes) -> File:
    at = _codestream(data)
    if len(data) < at + 42:
        raise ImageError.damaged("its header is incomplete")
    right, bottom, left, top, wide, high, first_x, first_y, count = struct.unpack_from(">8IH", data, at + 8)
    parts = data[at + 42 : at + 42 + 3 * count]
    if not 1 <= count <= 4 or len(parts) < 3 * count:
        raise ImageError.unsupported(f"a JPEG 2000 picture of {count} components")
    if any(bits & 0x80 or bits > 15 for bits in parts[::3]) or not set(parts[1::3] + parts[2::3]) <= {1, 2}:
        raise ImageError.unsupported("a JPEG 2000 picture with unusual samples")
    width, height = right - left, bottom - top
    if min(width, height, wide, high) < 1 or first_x > left or first_y > top:
        raise ImageError.damaged("the sides in its header are impossible")
    if -(-(right - first_x) // wide) * -(-(bottom - first_y) // high) > 65_535:
        raise ImageError.damaged("it has more tiles than the format allows")
    return File("JPEG2000", data, (width, height), ending=".jp2")


def _codestream(data: bytes) -> int:
    """Return where the pixels of a JPEG 2000 begin, in one of its boxes or alone."""
    at = 0
    while not data.startswith(_CODESTREAM, at):
        length, kind, inside = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if length == 1:
            length, inside = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        if kind == b"jp2c" and data.startswith(_CODESTREAM, inside):
            return inside
        if kind == b"jp2c" or length < 8 or at + length > len(data):
            raise ImageError.damaged("its pixels are missing")
        at += length
    return at


def _ico(data: bytes) -> File:
    """Return the largest image of an icon: a PNG, or a bitmap as an icon of its own."""
    count = int.from_bytes(data[4:6], "little")
    entries = [data[at : at + 16] for at in range(6, 6 + 16 * count, 16)]
    if not 1 <= count <= 256 or len(entries[-1]) < 16:
        raise ImageError.damaged("its list of pictures is incomplete")
    best = max(entries, key=lambda entry: ((entry[0] or 256) * (entry[1] or 256), entry[6]))
    length, start = struct.unpack_from("<II", best, 8)
    body = data[start : start + length]
    if len(body) < max(length, 40):
        raise ImageError.damaged("its largest picture is incomplete")
    if body.startswith(PNG_START):
        return _png(body)._replace(ending=".ico")
    header, width, height, _, bits, packing = struct.unpack_from("<IiiHHI", body)
    if header != 40 or bits not in (1, 4, 8, 16, 24, 32) or packing or not (0 < width <= 1024 and 0 < height <= 2048):
        raise ImageError.unsupported(
            f"an icon of {width} x {height // 2} pixels with {bits} bits and the compression {packing}"
        )
    alone = b"\0\0\x01\0\x01\0" + best[:12] + struct.pack("<I", 22) + body
    return File("ICO", alone, (width, height // 2), has_profile=False, ending=".ico")


def _may_be_tga(data: bytes) -> bool:
    """Return whether the header may be that of a Truevision image, without signature."""
    if len(data) < 19 or data[17] & 0xC0:
        return False
    colours, kind, depth = data[1], data[2], data[16]
    if kind in (1, 9):
        return colours == 1 and depth == 8 and data[7] in (16, 24, 32)
    allowed = {2: (16, 24, 32), 10: (16, 24, 32), 3: (1, 8, 16), 11: (1, 8, 16)}.get(kind, ())
    return colours == 0 and not any(data[3:8]) and depth in allowed


def _tga(data: bytes) -> File:
    width, height = struct.unpack_from("<HH", data, 12)
    if not width or not height:
        raise ImageError.damaged("the sides in its header are impossible")
    return File("TGA", data, (width, height), has_profile=False, ending=".tga")


def _is_text(start: bytes) -> bool:
    """Return whether a file's first bytes are those of a text in UTF-8."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return bool(text) and all(character.isprintable() or character in "\t\r\n" for character in text)


def _not_a_picture(data: bytes) -> ImageError:
    allowed = ", ".join(FORMATS)
    if _SVG.match(data[:4096]):
        return ImageError(f"this is a drawing (SVG), which is not read; {_SAVE_AS}", "format")
    if _X_WINDOW.match(data[:4096]):
        return ImageError(
            f"this is a picture of the X Window System (XBM, XPM), which is not read; {_SAVE_AS}", "format"
        )
    if _is_text(data[:512]):
        return ImageError("the file holds text, not a picture", "format")
    words = f"the file is not a picture in an allowed format ({allowed}), or its first bytes are damaged"
    return ImageError(words, "format")


_CHECKS: dict[bytes, Callable[[bytes], File]] = {
    b"RIFF": _webp,
    b"GIF87a": _gif,
    b"GIF89a": _gif,
    b"BM": _bmp,
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff),
    **dict.fromkeys((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf"), _pnm),
    **dict.fromkeys((b"\0\0\0\x0cjP  \r\n\x87\n", _CODESTREAM), _jpeg2000),
    b"\0\0\x01\0": _ico,
}

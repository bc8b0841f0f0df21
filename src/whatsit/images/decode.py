"""The only decoder. Training, evaluation, the command line, the API and the apps all read pictures through it.

The rule, which is part of every model (it is written into the bundle as `RESIZE_RULE`):

1. The first frame is decoded. A JPEG at least twice as large as what is wanted, in both directions, is decoded at 1/2,
   1/4 or 1/8 of its size by the codec itself.
2. Transparent pictures are laid on white; palette, grey and CMYK pictures become RGB; 16-bit samples are scaled to 8.
   Colour profiles are ignored.
3. The picture is stretched to the wanted size with an antialiased bilinear filter (Pillow's `BILINEAR`).
4. The EXIF orientation is applied, that of a TIFF before step 3. Malformed EXIF counts as none.
"""

from __future__ import annotations

import io
import stat
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from whatsit.errors import ImageError
from whatsit.images.sources import Readable, readable
from whatsit.images.sources import Source as Source
from whatsit.process import unwarned

Pixels: TypeAlias = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_ENDINGS = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tiff",
}
EXTENSIONS = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"],
)
MAX_PIXELS = 100_000_000
MAX_BYTES = 256 * 1024 * 1024
RESIZE_RULE = "stretch-bilinear-antialias"

_SMALL_FILE = 64 * 1024
_BLOCK = 1 << 20  # samples
_ORIENTATION_TAG = 0x0112
# What begins the chunks of a PNG that may hold an orientation.
_PNG_ORIENTATIONS = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNED = frozenset([5, 6, 7, 8])


def decode(source: Source, size: tuple[int, int] | None = None, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read one picture as RGB.

    Args:
        source: a path, the bytes of a file, an open file, a PIL image (which is left as it was), or an array (see
            `readable`). Formats: `FORMATS`. A PIL image that was opened but not loaded yet counts as its file; of a
            loaded one, and of an array, only the pixels are left, so step 1 of the rule is passed over.
        size: wanted `(height, width)` in pixels; `None` for the picture's own.
        max_pixels: of the whole picture, as its file has it; at most `MAX_PIXELS`.

    Returns:
        uint8 array `(height, width, 3)`, values 0..255, channels red, green, blue; it owns its memory and is writable.

    Raises:
        ImageError: the file is missing, empty, truncated, of another format, or has more than `max_pixels`; or an array
            has another shape or data type.
        TypeError: the source is none of these.
    """
    return _decode(readable(source, MAX_BYTES), size, max_pixels)


@unwarned
def _decode(source: Readable, size: tuple[int, int] | None, max_pixels: int) -> Pixels:
    if isinstance(source, Image.Image):
        data = _unread_file(source)
        if data is None:
            return _convert(source, size, max_pixels, may_draft=False)
    else:
        data = read_file(source) if isinstance(source, str | Path) else source
    if not data:
        raise ImageError("the file is empty (0 bytes)", "empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"the file has {len(data):,} bytes; at most {MAX_BYTES:,} are read", "too_many_bytes")
    pixels = _ready_jpeg(data, size, max_pixels)
    if pixels is not None:
        return pixels
    with _open(data) as image:
        return _convert(image, size, max_pixels, may_draft=True)


def _ready_jpeg(data: bytes, size: tuple[int, int] | None, max_pixels: int) -> Pixels | None:
    """A small JPEG that has the wanted size and nothing to apply, by the codec alone; None for any other.

    The same library as Pillow's, without Pillow's work around it, which for a picture of 32 pixels is five times as
    much as decoding. The pixels are the same to the bit; a test holds that.
    """
    if (
        not data.startswith(b"\xff\xd8\xff")
        or len(data) > _SMALL_FILE
        or b"Exif\0" in data
        or b"ns.adobe.com/xap" in data
    ):
        return None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
        if (
            colors not in ("YCbCr", "Gray")
            or height * width > max_pixels
            or (size or (height, width)) != (height, width)
        ):
            return None
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
    except ValueError:
        return None  # Pillow has the words for what is wrong
    return pixels


def decode_within(data: bytes, side: int) -> Pixels:
    """A file's picture as `decode` gives it, in its own proportions, its longer side at most `side` pixels: for people to see."""
    height, width = picture_size(data)
    scale = min(1.0, side / max(height, width))
    return decode(data, (max(1, round(height * scale)), max(1, round(width * scale))))


@unwarned
def picture_size(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """The `(height, width)` in pixels, upright, that a file's header promises; raises `ImageError` like `decode`."""
    if not data:
        raise ImageError("the file is empty (0 bytes)", "empty")
    with _open(data) as image:
        _require_few_pixels(image, max_pixels)
        # Pillow decodes a PNG to see whether there is an orientation behind the pixels.
        plain = image.format == "PNG" and not any(start in data for start in _PNG_ORIENTATIONS)
        turned = not plain and _orientation(image) in _QUARTER_TURNED
        return (image.width, image.height) if turned else (image.height, image.width)


@unwarned
def ending_of(data: bytes) -> str:
    """The usual ending of a file's name by its contents, such as `.jpg`; raises `ImageError` like `decode`."""
    if not data:
        raise ImageError("the file is empty (0 bytes)", "empty")
    with _open(data) as image:
        return _ENDINGS.get(image.format or "", ".jpg")


def file_of(source: Source) -> bytes:
    """A file that `decode` reads as it reads this source: its own where it has one that was not loaded yet, else a PNG.

    Raises `ImageError` and `TypeError` like `decode`.
    """
    return _file_of(readable(source, MAX_BYTES))


@unwarned
def _file_of(image: Readable) -> bytes:
    if isinstance(image, bytes):
        return image
    if not isinstance(image, Image.Image):
        return read_file(image)
    data = _unread_file(image)
    if data is not None:
        return data
    pixels = _convert(image, None, MAX_PIXELS, may_draft=False, upright=False)
    if not pixels.size:
        raise ImageError("the picture has no pixels", "damaged")
    orientation = _orientation(image)
    turn = Image.Exif()  # `decode` turns pictures after it has resized them
    turn[_ORIENTATION_TAG] = orientation if orientation in _TRANSPOSE else 1
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", exif=turn)
    return file.getvalue()


def read_file(path: str | Path) -> bytes:
    """The bytes of a file; raises `ImageError` in plain words where it cannot be read."""
    path = Path(path)
    try:
        info = path.stat()
        if info.st_size > MAX_BYTES:
            raise ImageError(f"the file has {info.st_size:,} bytes; at most {MAX_BYTES:,} are read", "too_many_bytes")
        if stat.S_ISDIR(info.st_mode):
            raise ImageError("this is a folder, not a picture")
        if not stat.S_ISREG(info.st_mode):
            raise ImageError("this is a device or a pipe, not a picture")
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError("there is no such file") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise _not_a_picture(data) from None
    except Warning:
        raise
    except Image.DecompressionBombError:
        raise ImageError(
            f"the picture is too large; at most {MAX_PIXELS:,} pixels are read", "too_many_pixels"
        ) from None
    except Exception as error:  # a damaged header can raise anything at all in a parser
        raise ImageError(f"the picture is damaged or cut short: {_reason(error)}", "damaged") from None


def _unread_file(image: Image.Image) -> bytes | None:
    """The file of a PIL image that was opened but not loaded; None for any other."""
    file = getattr(image, "fp", None)
    if file is None or not getattr(image, "tile", None) or getattr(file, "closed", False):
        return None
    try:
        place = file.tell()
        file.seek(0)
        data: bytes = file.read(MAX_BYTES + 1)
        file.seek(place)
    except (OSError, ValueError):
        return None
    return data


def _not_a_picture(data: bytes) -> ImageError:
    allowed = ", ".join(FORMATS)
    head = data[:512]
    if b"ftyphei" in head[:16] or b"ftypmif1" in head[:16] or b"ftypavif" in head[:16]:
        return ImageError(f"HEIC and AVIF pictures are not read; save it as one of: {allowed}", "heic")
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return ImageError(f"the file holds text, not a picture; allowed formats: {allowed}", "format")
    words = f"the file is not a picture in an allowed format ({allowed}), or its first bytes are damaged"
    return ImageError(words, "format")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:120]
    return text or type(error).__name__


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow turns these itself, when it loads them
    if image.format in ("JPEG", "WEBP", "GIF", "BMP") and not ("exif" in image.info or "xmp" in image.info):
        return 1  # known from the header already; asking again would cost a quarter of a small picture's time
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Warning:
        raise
    except Exception:  # malformed EXIF: any parser error; the picture itself is fine
        return 1


def _require_few_pixels(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"the picture has {image.width:,} x {image.height:,} pixels; at most {max_pixels:,} in all are read",
            "too_many_pixels",
        )


def _convert(
    image: Image.Image, size: tuple[int, int] | None, max_pixels: int, *, may_draft: bool, upright: bool = True
) -> Pixels:
    _require_few_pixels(image, max_pixels)
    if size is not None and min(size) < 1:
        raise ValueError(f"size must be two positive numbers (height, width), received {size}")
    orientation = _orientation(image)
    try:
        if size is not None:
            height, width = size[::-1] if orientation in _QUARTER_TURNED else size
            if may_draft and image.format == "JPEG" and image.mode in ("RGB", "L"):
                image.draft(None, (width, height))
            image = _to_rgb(image)
            if image.size != (width, height):
                image = image.resize((width, height), Image.Resampling.BILINEAR)
        else:
            image = _to_rgb(image)
        if upright and orientation in _TRANSPOSE:
            image = image.transpose(_TRANSPOSE[orientation])
        # From the packed bytes: three times faster than the array interface, and the copy belongs to the caller.
        return np.frombuffer(bytearray(image.tobytes()), np.uint8).reshape(image.height, image.width, 3)
    except (MemoryError, Warning):
        raise
    except Exception as error:  # a damaged body can raise anything at all in a codec
        raise ImageError(f"the picture is damaged or cut short: {_reason(error)}", "damaged") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return _deep_grey_to_rgb(image)
    if mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        return _on_white(image)
    if mode == "RGB":
        image.load()
        return image
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    image.load()
    result = Image.new("RGB", image.size)
    rows = max(1, _BLOCK // max(1, image.width))
    for top in range(0, image.height, rows):  # in parts, as the whole would be in memory four times
        part = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        paper = Image.new("RGBA", part.size, (255, 255, 255, 255))
        result.paste(Image.alpha_composite(paper, part).convert("RGB"), (0, top))
    return result


def _deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    """16-bit grey: 65535 is white. Other deep samples (32-bit, float): 0..255 where they fit, else their own maximum."""
    deep: npt.NDArray[Any] = np.asarray(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        white = 65535.0
    else:
        white = max(255.0, float(np.nan_to_num(deep).max(initial=0.0)))
    grey = np.empty(deep.shape, np.uint8)
    rows = max(1, _BLOCK // max(1, image.width))
    for top in range(0, len(deep), rows):  # in parts: as a whole, a large picture would take gigabytes of float64
        samples = np.nan_to_num(deep[top : top + rows].astype(np.float64))
        grey[top : top + rows] = np.clip(np.rint(samples * (255.0 / white)), 0, 255)
    return Image.fromarray(grey).convert("RGB")

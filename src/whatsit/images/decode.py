"""The only decoder of images, for training, evaluation, the command line and apps.

The resize rule, which is part of every model (its name is written into the bundle):

1. The first frame is decoded, of an icon its largest image. A JPEG at least twice as large as the requested size, in both
   directions, is decoded at 1/2, 1/4 or 1/8 of its size by the codec itself.
2. Transparent images are composed on white; palette, grey and CMYK images become RGB; 16-bit samples are scaled to 8.
3. The image is stretched to the requested size with an antialiased bilinear filter (`images/resize.py`).
4. Colours of a colour profile become sRGB (`images/colour.py`). A damaged profile is ignored.
5. The EXIF orientation is applied, that of a TIFF before step 3. Malformed EXIF is ignored.

Models of an older rule keep it: of the first two, step 3 is Pillow's `BILINEAR`, which differs by two levels of 255 at
most; the first, `stretch-bilinear-antialias`, has no step 4, and does not recognize grey of 12 bits in 16, nor that of
0.0 to 1.0.
"""

from __future__ import annotations

import functools
import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from whatsit.errors import ImageError
from whatsit.images.colour import transform_of
from whatsit.images.formats import File, recognize
from whatsit.images.jpeg import decode_plain, is_cut_off
from whatsit.images.pnm import read_pnm
from whatsit.images.resize import Pixels as Pixels
from whatsit.images.resize import stretch
from whatsit.images.sources import MAX_BYTES, Readable, readable, require_few_bytes
from whatsit.images.sources import Source as Source
from whatsit.images.sources import read_file as read_file
from whatsit.process import unwarned

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

MAX_PIXELS = 100_000_000
RULES = (  # the newest last
    "stretch-bilinear-antialias",
    "stretch-bilinear-antialias-srgb",
    "stretch-bilinear15-antialias-srgb",
)
RESIZE_RULE = RULES[-1]

_BLOCK = 1 << 20  # samples
_ORIENTATION_TAG = 0x0112
# Keys of Pillow that may hold an orientation.
_ORIENTATION_KEYS = frozenset(["exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp"])
# The mode that a colour profile is for, by an image's own.
_PROFILED = {
    **dict.fromkeys(("RGB", "RGBA", "RGBX", "RGBa", "P", "PA"), "RGB"),
    **dict.fromkeys(("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L"), "L"),
    "CMYK": "CMYK",
}
_TWELVE_BITS = 4095
# Formats whose decoders report the size of the header: another one means that two parsers disagree.
_SIZED = frozenset(["JPEG", "PNG", "WEBP", "JPEG2000"])
_PLUGINS = {"JPEG2000": "Jpeg2K", "WEBP": "WebP"}  # formats whose modules have other names
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

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def as_image_error(error: Exception) -> ImageError:
    """Return what a decoder, a runtime or a library raised as the error of its image."""
    if isinstance(error, ImageError):
        return error
    if isinstance(error, MemoryError):
        return ImageError("the picture needs more memory than there is", "memory")
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return ImageError(
            f"the picture is too large; at most {MAX_PIXELS:,} pixels are read; scale it down", "too_many_pixels"
        )
    if isinstance(error, UnidentifiedImageError):
        return ImageError.damaged("its header cannot be read")
    text = " ".join(str(error).split())[:120]
    if not text or not isinstance(error, OSError | ValueError | SyntaxError | EOFError):
        text = f"{type(error).__name__} {text}".strip()
    return ImageError.damaged(text)


def _image_errors(read: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Raise whatever a decoder raises as an `ImageError`, and ignore its warnings."""
    quiet = unwarned(read)

    @functools.wraps(read)
    def guarded(*given: _Given.args, **named: _Given.kwargs) -> _Result:
        try:
            return quiet(*given, **named)
        except Exception as error:  # damaged files raise anything at all in parsers
            raise as_image_error(error) from None

    return guarded


def decode(
    source: Source,
    size: tuple[int, int] | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    rule: str = RESIZE_RULE,
) -> Pixels:
    """Read one image as RGB.

    Args:
        source: a path, the bytes of a file, an open file, a PIL image (which is not changed), or an array (see `readable`).
            Formats: `formats.FORMATS`. A PIL image that was opened but not loaded yet counts as its file; of a loaded one
            only the pixels and the colour profile are left, of an array the pixels, so step 1 of the rule is skipped.
        size: requested `(height, width)` in pixels; `None` for the image's own.
        max_pixels: of the whole image, as its file has it; at most `MAX_PIXELS`.
        rule: one of `RULES`: that of the model, the newest where there is no model yet.

    Returns:
        uint8 array `(height, width, 3)`, values 0..255, channels red, green, blue; it owns its memory and is writable.

    Raises:
        ImageError: the file is missing, empty, truncated, of another format, or has more than `max_pixels`; or an array
            has another shape or data type.
        TypeError: the source is something else.
    """
    if size is not None and min(size) < 1:
        raise ValueError(f"size must be two positive numbers (height, width), received {size}")
    if rule not in RULES:
        raise ValueError(f"there is no rule '{rule}' for reading pictures; there are {', '.join(RULES)}")
    return _decode(readable(source, MAX_BYTES), size, max_pixels, rule)


@_image_errors
def _decode(source: Readable, size: tuple[int, int] | None, max_pixels: int, rule: str) -> Pixels:
    if isinstance(source, Image.Image):
        data = _unread_file(source)
        if data is None:
            return _convert(source, size, max_pixels, rule)
    else:
        data = read_file(source) if isinstance(source, str | Path) else source
    file = _recognize(data, max_pixels)
    pixels = _plain_jpeg(file, size, rule)
    if pixels is not None:
        return pixels
    with _open(file) as image:
        return _convert(image, size, max_pixels, rule, file)


def _plain_jpeg(file: File, size: tuple[int, int] | None, rule: str) -> Pixels | None:
    """Decode a JPEG with nothing to apply, without Pillow's work around its codec.

    That takes a quarter of a photo's time, and of an image of 32 pixels five times as long as decoding. None where Pillow
    must decode it. The pixels are the same to the bit; a test holds that.
    """
    if not file.plain or not file.size:
        return None
    height, width = wanted = size or file.size[::-1]
    if rule != RESIZE_RULE and wanted != file.size[::-1]:
        return None
    pixels = decode_plain(file.data, file.size, min(file.size[0] // width, file.size[1] // height))
    return pixels if pixels is None or pixels.shape[:2] == wanted else stretch(pixels, wanted)


def decode_within(data: bytes, side: int) -> Pixels:
    """Decode a file in its own proportions, its longer side at most `side` pixels."""
    height, width = picture_size(data)
    scale = min(1.0, side / max(height, width))
    return decode(data, (max(1, round(height * scale)), max(1, round(width * scale))))


@_image_errors
def picture_size(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return the upright `(height, width)` in a file's header. Raises `ImageError`."""
    with _open(_recognize(data, max_pixels)) as image:
        _require_few_pixels(image.size, max_pixels)
        turned = _orientation(image) in _QUARTER_TURNED
        return (image.width, image.height) if turned else (image.height, image.width)


@_image_errors
def ending_of(data: bytes) -> str:
    """Return the ending for a file's contents, such as `.jpg`. Raises `ImageError`."""
    return _recognize(data, MAX_PIXELS).ending


def file_of(source: Source) -> bytes:
    """Return a file that decodes as this source does: its own, or a PNG of its pixels.

    An image that was loaded, and an array, have only their pixels. Raises `ImageError` and `TypeError` as `decode`.
    """
    return _file_of(readable(source, MAX_BYTES))


@_image_errors
def _file_of(image: Readable) -> bytes:
    if isinstance(image, bytes):
        return image
    if not isinstance(image, Image.Image):
        return read_file(image)
    data = _unread_file(image)
    if data is not None:
        return data
    if not image.width or not image.height:
        raise ImageError.damaged("it has no pixels")
    profile = image.info.get("icc_profile")
    kept = _transform(image, profile) is not None and _PROFILED[image.mode] == "RGB"
    pixels = _convert(image, None, MAX_PIXELS, RULES[0] if kept else RESIZE_RULE, upright=False)
    orientation = _orientation(image)
    turn = Image.Exif()  # `decode` turns pictures after it has resized them
    turn[_ORIENTATION_TAG] = orientation if orientation in _TRANSPOSE else 1
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", exif=turn, icc_profile=profile if kept else None)
    return file.getvalue()


def _recognize(data: bytes, max_pixels: int) -> File:
    """Check a file and return what its decoder may read."""
    if not data:
        raise ImageError("the file is empty (0 bytes)", "empty")
    require_few_bytes(len(data))
    file = recognize(data)
    if file.size:
        _require_few_pixels(file.size, max_pixels)
    return file


def _open(file: File) -> Image.Image:
    if file.format == "PNM":
        return read_pnm(file.data)
    if file.format == "HEIF":
        return _open_heif(file.data)
    if file.format not in Image.OPEN:
        importlib.import_module(f"PIL.{_PLUGINS.get(file.format, file.format.title())}ImagePlugin")
    image = Image.open(io.BytesIO(file.data), formats=(file.format,))
    if file.format in _SIZED and image.size != file.size:
        raise ImageError.damaged("it has two headers that differ")
    return image


def _open_heif(data: bytes) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise ImageError(
            "HEIC pictures need the package 'pillow-heif', which is not installed; install it with: pip install "
            "'whatsit[heic]', or save the picture as JPEG or PNG",
            "heic",
        ) from None
    image: Image.Image = HeifImageFile(io.BytesIO(data))
    return image


def _unread_file(image: Image.Image) -> bytes | None:
    """Return the file of a PIL image that was opened but not loaded; None for others."""
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


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow turns these itself, when it loads them
    if image.format and not (image.info.keys() & _ORIENTATION_KEYS):
        return 1  # known from the header already; asking again would cost a quarter of a small picture's time
    try:
        return int(Image.Image.getexif(image).get(_ORIENTATION_TAG, 1))  # that of a PNG would decode the pixels
    except Warning:
        raise
    except Exception:  # malformed EXIF: any parser error; the picture itself is fine
        return 1


def _require_few_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"the picture has {width:,} x {height:,} pixels; at most {max_pixels:,} in all are read; scale it down",
            "too_many_pixels",
        )


def _convert(
    image: Image.Image,
    size: tuple[int, int] | None,
    max_pixels: int,
    rule: str,
    file: File | None = None,
    *,
    upright: bool = True,
) -> Pixels:
    """Return the pixels of an image; `file` is given where it was not loaded yet."""
    _require_few_pixels(image.size, max_pixels)
    orientation = _orientation(image)
    transform = None
    if rule != RULES[0] and (file is None or file.has_profile):
        transform = _transform(image, (file and file.profile) or image.info.get("icc_profile"))
    wanted = None
    if size is not None:
        wanted = size if orientation in _QUARTER_TURNED else size[::-1]
        if file and image.format == "JPEG" and image.mode in ("RGB", "L"):
            image.draft(None, wanted)
    image.load()
    if file and file.format == "JPEG" and _ends_in_grey(image) and is_cut_off(file.data):
        raise ImageError.damaged("the file ends before the picture does")
    if transform is None or image.mode != "CMYK":
        image = _to_rgb(image, rule)
    return _finished(image, wanted, rule, transform, orientation if upright else 1)


def _finished(
    image: Image.Image, size: tuple[int, int] | None, rule: str, transform: ImageCmsTransform | None, orientation: int
) -> Pixels:
    """Apply the steps from 3 on; `size` is `(width, height)`."""
    if size and image.size != size:
        if rule != RESIZE_RULE:
            image = image.resize(size, Image.Resampling.BILINEAR)
        else:
            pixels = stretch(image, size[::-1])
            if transform is None and orientation not in _TRANSPOSE:
                return pixels
            image = Image.frombytes(image.mode, size, pixels.tobytes())
    if transform is not None:
        image = transform.apply(image.getchannel(0) if transform.input_mode == "L" else image)
    if orientation in _TRANSPOSE:
        image = image.transpose(_TRANSPOSE[orientation])
    # From the packed bytes: three times faster than the array interface, and the copy belongs to the caller.
    return np.frombuffer(bytearray(image.tobytes()), np.uint8).reshape(image.height, image.width, 3)


def _transform(image: Image.Image, profile: object) -> ImageCmsTransform | None:
    mode = _PROFILED.get(image.mode)
    return transform_of(profile, mode) if profile and mode else None


def _ends_in_grey(image: Image.Image) -> bool:
    """Return whether the last pixel has the grey that libjpeg fills in for lost data."""
    return image.getpixel((image.width - 1, image.height - 1)) in (128, (128, 128, 128))


def _to_rgb(image: Image.Image, rule: str) -> Image.Image:
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return _deep_grey_to_rgb(image, rule)
    if mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        return _on_white(image)
    return image if mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    result = Image.new("RGB", image.size)
    rows = max(1, _BLOCK // max(1, image.width))
    for top in range(0, image.height, rows):  # in parts, as the whole would be in memory four times
        part = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        paper = Image.new("RGBA", part.size, (255, 255, 255, 255))
        result.paste(Image.alpha_composite(paper, part).convert("RGB"), (0, top))
    return result


def _deep_grey_to_rgb(image: Image.Image, rule: str) -> Image.Image:
    """Convert grey of 16 or 32 bits, or of floats.

    Of 16 bits: 65535 is white, or 4095 where nothing is brighter, as of cameras of 12 bits. Others: 1 is white where
    floats are not above it, 255 where they fit, else their own maximum.
    """
    deep: npt.NDArray[Any] = np.asarray(image)
    most = float(np.nan_to_num(deep).max(initial=0.0))
    guess = rule != RULES[0] and most > 0
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        white = 4095.0 if guess and most <= _TWELVE_BITS and image.format != "JPEG2000" else 65535.0
    else:
        white = 1.0 if guess and image.mode == "F" and most <= 1 else max(255.0, most)
    grey = np.empty(deep.shape, np.uint8)
    rows = max(1, _BLOCK // max(1, image.width))
    for top in range(0, len(deep), rows):  # in parts: as a whole, a large picture would take gigabytes of float64
        samples = np.nan_to_num(deep[top : top + rows]).astype(np.float64)
        grey[top : top + rows] = np.clip(np.rint(samples * (255.0 / white)), 0, 255)
    return Image.fromarray(grey).convert("RGB")

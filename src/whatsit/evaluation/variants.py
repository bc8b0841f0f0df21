"""The same pictures as cameras, scanners and editors save them."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, features

from whatsit.images.decode import Pixels

_ORIENTATION = 0x0112
LARGE = 4000  # pixels of the longer side


def variants(pictures: Sequence[Pixels]) -> Iterator[tuple[str, bytes]]:
    """Save pictures uint8 `[h, w, 3]` in many ways; yield each way and its file."""
    sources = (Image.fromarray(pixels) for pixels in itertools.cycle(pictures))
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        yield f"EXIF orientation {orientation}.jpg", _save(next(sources), "JPEG", quality=90, exif=exif)
    yield "grey.jpg", _save(next(sources).convert("L"), "JPEG", quality=90)
    yield "CMYK.jpg", _save(next(sources).convert("CMYK"), "JPEG", quality=90)
    yield "progressive.jpg", _save(next(sources), "JPEG", quality=90, progressive=True)
    yield "alpha.png", _save(_with_alpha(next(sources)), "PNG")
    coloured, colour = _few_coloured(next(sources))
    yield "transparent colour.png", _save(coloured, "PNG", transparency=colour)
    yield "16-bit.png", _save(_deep(next(sources)), "PNG")
    yield "palette.png", _save(next(sources).quantize(64), "PNG")
    for kind in ("webp", *(["avif"] if features.check("avif") else []), "ppm", "tga", "bmp"):
        yield f"picture.{kind}", _save(next(sources), kind.upper(), quality=90)
    large = next(sources)
    scale = LARGE / max(large.size)
    size = (max(1, round(large.width * scale)), max(1, round(large.height * scale)))
    yield "large.jpg", _save(large.resize(size, Image.Resampling.BICUBIC), "JPEG", quality=85)


def _save(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _with_alpha(image: Image.Image) -> Image.Image:
    """Make an image more and more transparent from left to right."""
    alpha = np.broadcast_to(np.linspace(255, 0, image.width).astype(np.uint8), (image.height, image.width))
    image = image.convert("RGBA")
    image.putalpha(Image.fromarray(np.ascontiguousarray(alpha)))
    return image


def _few_coloured(image: Image.Image) -> tuple[Image.Image, tuple[int, int, int]]:
    """Reduce an image to a few colours; return it with the most common of them."""
    image = image.quantize(8).convert("RGB")
    colours: Any = image.getcolors()
    return image, max(colours)[1]


def _deep(image: Image.Image) -> Image.Image:
    grey = np.asarray(image.convert("L")).astype(np.uint16)
    return Image.fromarray(grey * np.uint16(256) + np.uint16(128))  # between two levels of 8 bits

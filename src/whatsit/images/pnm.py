"""PBM, PGM, PPM and PFM, read by NumPy: Pillow reads most a sample at a time."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from whatsit.errors import ImageError

_NUMBER = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*([+-]?[0-9.eE+-]{1,20})")
_COMMENT = re.compile(rb"#[^\r\n]*")
_CHANNELS = {b"P3": 3, b"P6": 3}


def pnm_size(data: bytes) -> tuple[int, int]:
    """Return the (width, height) in the header. Raises `ImageError`."""
    width, height, _, _ = _header(data)
    return width, height


def read_pnm(data: bytes) -> Image.Image:
    """Return the image: `L` or `RGB`, scaled to 0..255, or `F` of a PFM.

    The formats: netpbm.sourceforge.net/doc (pbm, pgm, ppm); Debevec's PFM, whose rows go from the bottom up. Raises
    `ImageError` where it is damaged or a part of it is missing.
    """
    kind = data[:2]
    width, height, most, at = _header(data)
    channels = _CHANNELS.get(kind, 1)
    count = width * height * channels
    if kind == b"Pf":
        floats = _samples(data, at, count, "<f4" if most < 0 else ">f4").astype(np.float32)
        return Image.fromarray(np.ascontiguousarray(floats.reshape(height, width)[::-1]))
    samples: npt.NDArray[Any]
    if kind == b"P4":  # a bit each, 1 is black, rows begin with a byte
        packed = _samples(data, at, height * ((width + 7) // 8), "u1").reshape(height, -1)
        samples = 1 - np.unpackbits(packed, axis=1, count=width)
    elif kind in (b"P5", b"P6"):
        samples = _samples(data, at, count, "u1" if most < 256 else ">u2")
    else:
        samples = _plain_samples(data[at:], count, one_digit=kind == b"P1")
        samples = 1 - samples if kind == b"P1" else samples
    if most != 255:
        scale = np.rint(np.clip(np.arange(int(samples.max(initial=0)) + 1) * (255.0 / most), 0, 255)).astype(np.uint8)
        samples = scale[samples]
    shape = (height, width, 3) if channels == 3 else (height, width)
    return Image.fromarray(np.ascontiguousarray(samples, np.uint8).reshape(shape))


def _header(data: bytes) -> tuple[int, int, float, int]:
    """Return width, height, largest sample (or scale), and where samples begin."""
    at, numbers = 2, []
    try:
        for _ in range(2 if data[1:2] in b"14" else 3):
            found = _NUMBER.match(data, at)
            if found is None:
                raise ImageError.damaged("its header is incomplete")
            numbers.append(float(found.group(1)))
            at = found.end()
        width, height = (int(number) for number in numbers[:2])
    except (ValueError, OverflowError):
        raise ImageError.damaged("its header holds what is no number") from None
    most = numbers[2] if len(numbers) > 2 else 1.0
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31) or (data[1:2] != b"f" and not 1 <= most <= 65_535):
        raise ImageError.damaged(f"its header says {width} x {height} pixels of 0 to {most:g}")
    return width, height, most, at + 1  # a single white space ends the header


def _samples(data: bytes, at: int, count: int, kind: str) -> npt.NDArray[Any]:
    if len(data) - at < count * np.dtype(kind).itemsize:
        raise ImageError.damaged("the file ends before the picture does")
    return np.frombuffer(data, kind, count, at)


def _plain_samples(text: bytes, count: int, *, one_digit: bool) -> npt.NDArray[Any]:
    """Read decimal samples; those of a bitmap need no white space between them."""
    text = _COMMENT.sub(b" ", text)
    if one_digit:
        digits = np.frombuffer(b"".join(text.split()), np.uint8)[:count] - ord("0")
        samples: npt.NDArray[Any] = digits
    else:
        words = text.split(None, count)[:count]
        if any(len(word) > 5 for word in words):
            raise ImageError.damaged("it holds a sample that is too large")
        samples = np.array(words, dtype="S5").astype(np.int64) if words else np.empty(0, np.int64)
    if len(samples) < count:
        raise ImageError.damaged("the file ends before the picture does")
    if samples.min(initial=0) < 0 or samples.max(initial=0) > (1 if one_digit else 65_535):
        raise ImageError.damaged("it holds what is no sample")
    return samples

"""Sources of images, such as arrays and open files, for the decoder."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from whatsit.errors import ImageError

Source: TypeAlias = bytes | bytearray | memoryview | str | Path | Image.Image | npt.NDArray[Any] | BinaryIO
Readable: TypeAlias = bytes | str | Path | Image.Image

MAX_BYTES = 256 * 1024 * 1024  # of a file
_PART = 1 << 20  # bytes that are read at once


def readable(source: Source, most: int) -> Readable:
    """Return arrays as PIL images and open files as their bytes, at most `most + 1`.

    Arrays are uint8 or bool, `[H, W]` or `[H, W, 1]` (grey), `[H, W, 3]` (RGB) or `[H, W, 4]` (RGB and opacity), 0..255. Files
    are read from where they stand.

    Raises:
        ImageError: an array of another shape or data type, or a file that cannot be read.
        TypeError: anything else, such as a number.
    """
    if isinstance(source, str | Path | Image.Image):
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, np.ndarray | np.generic):
        return _image_of(np.asarray(source))
    if not hasattr(source, "read"):
        raise TypeError(
            "a picture must be a path, bytes, an open file, a PIL image or an array (uint8 [height, width, 3]); "
            f"received {type(source).__name__}"
        )
    return _contents_of(source, most)


def _image_of(array: npt.NDArray[Any]) -> Image.Image:
    channels = 1 if array.ndim == 2 else array.shape[-1] if array.ndim == 3 else 0
    if array.dtype not in (np.uint8, np.bool_) or channels not in (1, 3, 4) or not array.size:
        raise ImageError(
            "an array must be uint8, 0 to 255, of shape [height, width], [height, width, 3] for RGB, or "
            f"[height, width, 4] with opacity; received {array.dtype} {list(array.shape)}",
            "format",
        )
    pixels = array.astype(np.uint8) * np.uint8(255) if array.dtype == np.bool_ else array
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if array.ndim == 3 and channels == 1 else pixels))


def _contents_of(file: BinaryIO, most: int) -> bytes:
    try:
        data = file.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError where it is closed already
        raise ImageError(f"the open file cannot be read: {error}") from None
    if not isinstance(data, bytes):
        raise TypeError("an open file must give bytes; open it with open(path, 'rb')")
    return data


def require_few_bytes(size: int) -> None:
    """Raise `ImageError` for a file of more than `MAX_BYTES`."""
    if size > MAX_BYTES:
        raise ImageError(
            f"the file has {size:,} bytes; at most {MAX_BYTES:,} are read; scale the picture down", "too_many_bytes"
        )


def read_file(path: str | Path) -> bytes:
    """Return the bytes of a file. Raises `ImageError` where it cannot be read."""
    path = Path(path)
    try:
        _require_file(path.stat())
        with open(path, "rb", opener=_without_waiting) as file:
            info = os.fstat(file.fileno())
            _require_file(info)
            return _at_most(file, info.st_size)
    except FileNotFoundError:
        raise ImageError("there is no such file") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _require_file(info: os.stat_result) -> None:
    """Raise `ImageError` for what is no file, or too large a one."""
    require_few_bytes(info.st_size)
    if stat.S_ISDIR(info.st_mode):
        raise ImageError("this is a folder, not a picture")
    if not stat.S_ISREG(info.st_mode):
        raise ImageError("this is a device or a pipe, not a picture")


def _without_waiting(path: str, flags: int) -> int:
    """Open what may be a pipe by now, or a file of the system that waits for news."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _at_most(file: BinaryIO, size: int) -> bytes:
    """Read a file, which may have more bytes than the system says.

    It may grow meanwhile, or be one of the system's own, with 0 bytes and no end. Raises `ImageError`.
    """
    data = file.read(size + 1) or b""
    if len(data) <= size:
        return data
    parts, count = [data], len(data)
    while part := file.read(_PART):
        parts.append(part)
        count += len(part)
        require_few_bytes(count)
    return b"".join(parts)

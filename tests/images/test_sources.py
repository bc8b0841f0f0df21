"""Arrays and open files are read as the same image in a file is."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import encode, shapes
from whatsit.errors import ImageError
from whatsit.images import sources
from whatsit.images.decode import decode, file_of
from whatsit.images.sources import read_file

RGB = np.asarray(shapes("disc", 3))
SIZE = (20, 24)


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "array",
    [RGB, RGB[..., 0], RGB[..., ::-1], RGB[::2, ::-1], np.dstack([RGB, RGB[..., 0]]), RGB[..., 0] > 100],
    ids=["rgb", "grey", "view", "strided", "opacity", "bool"],
)
@pytest.mark.parametrize("size", [None, SIZE])
def test_array_is_read_as_its_file(array: np.ndarray, size: tuple[int, int] | None) -> None:
    before = array.copy()
    pixels = decode(array, size)
    np.testing.assert_array_equal(pixels, decode(png(array), size))
    assert pixels.flags.writeable
    assert not np.shares_memory(pixels, array)
    np.testing.assert_array_equal(array, before)


def test_one_channel_is_grey() -> None:
    np.testing.assert_array_equal(decode(RGB[..., :1]), decode(RGB[..., 0]))


@pytest.mark.parametrize(
    "array",
    [
        RGB.astype(np.float32) / 255,
        RGB.astype(np.float64),
        RGB.astype(np.int64),
        RGB[..., :2],
        RGB[None],
        np.zeros((0, 4, 3), np.uint8),
        np.uint8(7),
        np.array(["cat.jpg"]),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_other_arrays_are_refused_in_one_line_that_says_what_came(array: Any) -> None:
    with pytest.raises(ImageError, match="an array must be uint8") as caught:
        decode(array)
    assert f"received {array.dtype} {list(array.shape)}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_open_files_are_read(tmp_path: Path) -> None:
    data = encode(shapes("rows", 4))
    (tmp_path / "a.png").write_bytes(data)
    with (tmp_path / "a.png").open("rb") as file:
        np.testing.assert_array_equal(decode(file, SIZE), decode(data, SIZE))
    np.testing.assert_array_equal(decode(io.BytesIO(data), SIZE), decode(data, SIZE))
    behind = io.BytesIO(b"head" + data)
    behind.seek(4)
    np.testing.assert_array_equal(decode(behind), decode(data))


def test_closed_file_is_said_to_be_unreadable() -> None:
    file = io.BytesIO(png(RGB))
    file.close()
    with pytest.raises(ImageError, match="the open file cannot be read"):
        decode(file)


@pytest.mark.parametrize(
    ("source", "words"), [(7, "received int"), (None, "received NoneType"), (io.StringIO("x"), "'rb'")]
)
def test_what_is_no_picture_at_all_is_a_mistake(source: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        decode(source)


@pytest.mark.parametrize("source", [RGB, io.BytesIO(png(RGB)), png(RGB)], ids=["array", "open", "bytes"])
def test_file_of_a_source_is_read_like_it(source: Any) -> None:
    np.testing.assert_array_equal(decode(file_of(source)), RGB)


def test_damaged_metadata_does_not_matter_where_warnings_are_errors() -> None:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x40\0cut short")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = decode(file.getvalue(), SIZE)
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            Image.open(file).getexif()
        np.testing.assert_array_equal(decode(file.getvalue(), SIZE), expected)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system has no such files")
def test_file_that_is_larger_than_it_says_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as those of the system, of 0 bytes, some of which have no end."""
    (tmp_path / "a.jpg").symlink_to("/proc/self/maps")
    assert len(read_file(tmp_path / "a.jpg")) > 100
    monkeypatch.setattr(sources, "MAX_BYTES", 100)
    with pytest.raises(ImageError, match="at most 100 are read; scale the picture down"):
        read_file(tmp_path / "a.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_file_that_becomes_a_pipe_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    was = (tmp_path / "a.jpg").stat()
    (tmp_path / "a.jpg").unlink()
    os.mkfifo(tmp_path / "a.jpg")
    monkeypatch.setattr(Path, "stat", lambda path: was)
    with pytest.raises(ImageError, match="this is a device or a pipe"):
        read_file(tmp_path / "a.jpg")

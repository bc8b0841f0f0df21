from __future__ import annotations

import contextlib
import io
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from tests.conftest import encode, shapes
from whatsit.errors import ImageError
from whatsit.images.decode import RULES, decode, decode_within, file_of, picture_size
from whatsit.images.resize import stretch

PICTURE = shapes("disc", 3, 48)[:40]  # 40 high, 48 wide


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_give_the_very_pixels(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decode(encode(PICTURE, kind, **options)), PICTURE)


def test_bytes_path_and_pil_image_give_the_same(tmp_path: Path) -> None:
    data = encode(PICTURE, "JPEG")
    (tmp_path / "a.jpg").write_bytes(data)
    wanted = decode(data, (20, 24))
    assert np.array_equal(decode(tmp_path / "a.jpg", (20, 24)), wanted)
    assert np.array_equal(decode(str(tmp_path / "a.jpg"), (20, 24)), wanted)
    assert np.array_equal(decode(Image.open(io.BytesIO(data)), (20, 24)), wanted)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F"])
def test_file_of_a_pil_image_is_read_as_the_image(mode: str) -> None:
    image = Image.fromarray(PICTURE)
    image = image.convert("L").convert(mode) if mode in ("I", "I;16", "F") else image.convert(mode)
    assert np.array_equal(decode(file_of(image), (20, 24)), decode(image, (20, 24)))


@pytest.mark.parametrize("orientation", [*range(1, 9), 99])
def test_file_of_a_loaded_photo_keeps_its_turning(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.open(io.BytesIO(encode(PICTURE, "JPEG", exif=exif)))
    image.load()
    assert np.array_equal(decode(file_of(image), (20, 24)), decode(image, (20, 24)))


def test_file_of_a_photo_that_was_not_loaded_is_its_own() -> None:
    data = encode(PICTURE, "JPEG")
    assert file_of(Image.open(io.BytesIO(data))) == data


def test_pil_images_without_pixels_are_told() -> None:
    closed = Image.open(io.BytesIO(encode(PICTURE)))
    closed.close()
    for image in (closed, Image.new("RGB", (0, 0))):
        with pytest.raises(ImageError):
            file_of(image)


def test_result_is_writable_and_owned_by_the_caller() -> None:
    data = encode(PICTURE)
    first = decode(data)
    first[:] = 0
    assert np.array_equal(decode(data), PICTURE)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(PICTURE, kind, exif=exif)
    assert np.array_equal(decode(data), turn(PICTURE))
    assert picture_size(data) == turn(PICTURE).shape[:2]


def test_orientation_and_size_go_together() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = np.rot90(PICTURE, -1)
    turned = decode(encode(PICTURE, exif=exif), (24, 18)).astype(int)
    assert turned.shape == (24, 18, 3)
    assert np.abs(turned - decode(encode(np.ascontiguousarray(upright)), (24, 18))).max() <= 1


def test_malformed_exif_is_tolerated() -> None:
    data = encode(PICTURE, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")
    assert decode(data).shape == PICTURE.shape


def test_transparency_is_laid_on_white() -> None:
    half = np.dstack([np.zeros((2, 2, 3), np.uint8), np.array([[0, 255], [128, 64]], np.uint8)])
    assert decode(encode(half))[..., 0].tolist() == [[255, 0], [127, 191]]


def test_palette_with_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=0)
    assert decode(file.getvalue()).tolist() == [[[255, 255, 255], [200, 100, 50]]]


def test_transparent_colour_is_laid_on_white() -> None:
    pixels = np.array([[[10, 20, 30], [200, 100, 50]]], np.uint8)
    assert decode(encode(pixels, transparency=(10, 20, 30))).tolist() == [[[255, 255, 255], [200, 100, 50]]]


def test_grey_becomes_rgb() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    assert np.array_equal(decode(encode(grey)), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(kind: str) -> None:
    deep = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert decode(encode(deep, kind))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_cmyk_becomes_rgb() -> None:
    file = io.BytesIO()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(file, "TIFF")
    assert decode(file.getvalue())[0, 0].tolist() == [255, 0, 0]


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert decode(file.getvalue())[0, 0].tolist() == [255, 0, 0]


def test_large_jpeg_at_reduced_scale_is_close_to_the_full_one() -> None:
    smooth = np.asarray(Image.fromarray(shapes("disc", 5, 32)).resize((640, 480), Image.Resampling.BICUBIC))
    data = encode(np.ascontiguousarray(smooth), "JPEG", quality=95)
    full = np.asarray(Image.open(io.BytesIO(data)).resize((60, 60), Image.Resampling.BILINEAR)).astype(int)
    difference = np.abs(decode(data, (60, 60)) - full)
    assert difference.mean() < 1
    assert difference.max() <= 12


@pytest.mark.parametrize("quality", [5, 50, 75, 95, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_small_jpeg_has_the_very_pixels_that_pillow_gives(
    quality: int, subsampling: int, progressive: bool, grey: bool
) -> None:
    pixels = shapes("disc", quality, 33)[:, :31]
    data = encode(
        pixels[..., 0] if grey else pixels, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive
    )
    wanted = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode(data), wanted)
    assert np.array_equal(decode(data, (33, 31)), wanted)


@pytest.mark.parametrize("size", [(130, 90), (200, 300), (60, 40), (33, 33), (14, 9)])
@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}])
@pytest.mark.parametrize("grey", [False, True])
def test_plain_jpeg_has_the_very_pixels_of_one_that_pillow_decodes(
    size: tuple[int, int], options: dict[str, int], grey: bool
) -> None:
    pixels = shapes("disc", 2, 131)[:, :119]
    pixels = pixels[..., 0] if grey else pixels
    upright = Image.Exif()
    upright[0x0112] = 1
    plain, by_pillow = encode(pixels, "JPEG", **options), encode(pixels, "JPEG", exif=upright, **options)
    assert np.array_equal(decode(plain, size), decode(by_pillow, size))


@pytest.mark.parametrize("rule", RULES[:-1])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_models_of_an_older_rule_keep_the_filter_of_pillow(rule: str, kind: str) -> None:
    data = encode(PICTURE, kind)
    wanted = Image.open(io.BytesIO(data)).resize((31, 30), Image.Resampling.BILINEAR)
    assert np.array_equal(decode(data, (30, 31), rule=rule), np.asarray(wanted))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "loaded", "array"])
def test_every_source_is_stretched_by_the_same_filter(kind: str) -> None:
    data = encode(PICTURE, kind if kind in ("PNG", "JPEG") else "PNG")
    source = {"loaded": Image.fromarray(PICTURE), "array": PICTURE}.get(kind, data)
    assert np.array_equal(decode(source, (30, 31)), stretch(decode(data), (30, 31)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"just some words, named .jpg", "text, not a picture"),
        (b"\x00\x01\x02\x03" * 50, "not a picture in an allowed format (JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM,"),
        (encode(PICTURE, "JPEG")[:400], "damaged or cut short"),
        (encode(PICTURE, "PNG")[:-40], "damaged or cut short"),
        (encode(PICTURE, "PPM")[:-40], "damaged or cut short"),
    ],
)
def test_what_is_no_picture_is_refused_in_plain_words(data: bytes, message: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data, (8, 8))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("side", [11_000, 60_000])
def test_decompression_bomb_is_refused_before_it_is_unpacked(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(bytes(1000)))
        + _chunk(b"IEND", b"")
    )
    for read in (decode, picture_size):
        with pytest.raises(ImageError, match="at most 100,000,000"):
            read(bomb)


def test_size_of_a_png_is_known_without_decoding_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PngImageFile, "load", lambda _: pytest.fail("decoded"))
    assert picture_size(encode(PICTURE)) == PICTURE.shape[:2]


def test_size_is_refused_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _with_exif_behind_the_pixels(encode(PICTURE), 6)
    monkeypatch.setattr(PngImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(
        ImageError, match="the picture has 48 x 40 pixels; at most 1,000 in all are read; scale it down"
    ):
        picture_size(data, max_pixels=1000)


def test_orientation_behind_the_pixels_of_a_png_is_applied() -> None:
    data = _with_exif_behind_the_pixels(encode(PICTURE), 6)
    upright = np.rot90(PICTURE, -1)
    assert np.array_equal(decode(data), upright)
    assert picture_size(data) == upright.shape[:2]


def _with_exif_behind_the_pixels(png: bytes, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return png[:-12] + _chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + png[-12:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("name", ["missing.jpg", "."])
def test_missing_file_and_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match=r"no such file|folder, not a picture"):
        decode(tmp_path / name)


@settings(max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"]), st.data())
def test_damaged_files_raise_nothing_but_image_errors(kind: str, data: st.DataObject) -> None:
    file = bytearray(encode(PICTURE, kind))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ImageError):
        assert decode(bytes(file), (16, 16)).shape == (16, 16, 3)


def test_threads_get_the_same_answer() -> None:
    data = encode(PICTURE, "JPEG")
    wanted = decode(data, (30, 30))
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(np.array_equal(decode(data, (30, 30)), wanted)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


@pytest.mark.parametrize(("shape", "wanted"), [((600, 300), (100, 50)), ((30, 60), (30, 60)), ((1, 5000), (1, 100))])
def test_decode_within_keeps_proportions_and_enlarges_nothing(shape: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert decode_within(encode(np.zeros((*shape, 3), np.uint8)), 100).shape == (*wanted, 3)


def test_decode_within_turns_by_exif() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_within(encode(np.zeros((100, 200, 3), np.uint8), "JPEG", exif=exif), 50).shape == (50, 25, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"words", "format"),
        (encode(np.zeros((90, 90, 3), np.uint8), "JPEG")[:300], "damaged"),
    ],
)
def test_errors_have_a_reason_for_programs(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize("oddity", ["nothing", "revision", "profile", "bytes"])
def test_cut_off_jpeg_is_refused_whatever_else_is_odd_in_it(oddity: str) -> None:
    """The codec names its first warning only."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)).save(file, "JPEG")
    whole = file.getvalue()
    odd = {
        "nothing": lambda data: data,
        "revision": lambda data: data.replace(b"JFIF\0\1", b"JFIF\0\x09", 1),
        "profile": lambda data: data[:2] + b"\xff\xe2\0\x20ICC_PROFILE\0\5\2" + bytes(16) + data[2:],
        "bytes": lambda data: data[:20] + bytes(2) + data[20:],
    }[oddity]
    decode(odd(whole))
    with pytest.raises(ImageError, match="the file ends before the picture does"):
        decode(odd(whole[: len(whole) // 2] + b"\xff\xd9"))


@pytest.mark.parametrize("text", ["words", "แมว 1\r\n" * 99, "\ufeffname,label\n"])
def test_text_is_called_text_without_a_list_of_formats(text: str) -> None:
    with pytest.raises(ImageError, match=r"^the file holds text, not a picture$"):
        decode(text.encode(), (8, 8))


@pytest.mark.parametrize("data", [b"\xff\xfewords", b"\xe0", b"words\x00"])
def test_other_files_are_told_the_allowed_formats(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"not a picture in an allowed format \(JPEG, PNG"):
        decode(data, (8, 8))

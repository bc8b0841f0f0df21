"""What a file may be: hostile, odd and damaged ones, and the formats beside JPEG and PNG."""

from __future__ import annotations

import contextlib
import io
import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageCms, PngImagePlugin, features

from tests.conftest import encode, shapes
from whatsit.errors import ImageError
from whatsit.images.batches import decode_batch
from whatsit.images.decode import RULES, decode, ending_of, picture_size
from whatsit.images.formats import CONTENT_TYPES, EXTENSIONS, FORMATS, OUTSIDE_ENDINGS

ROOT = Path(__file__).parents[2]
PICTURE = shapes("disc", 3, 48)[:40]  # 40 high, 48 wide
SMOOTH = np.asarray(Image.fromarray(shapes("disc", 3, 12)).resize((48, 40), Image.Resampling.BICUBIC))


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def lossless_jpeg(side: int) -> bytes:
    """One grey, in a bit a pixel: what corrupted the heap at half of its size."""
    frame = struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0"
    table = b"\0" + bytes([1, 1] + [0] * 14) + b"\0\1"
    scan = segment(0xDA, b"\1\1\0\1\0\0") + bytes(side * side // 8)
    return b"\xff\xd8" + segment(0xC3, frame) + segment(0xC4, table) + scan + b"\xff\xd9"


def changed_frame(data: bytes, at: int, value: int) -> bytes:
    """A JPEG with one byte of its frame header changed."""
    place = data.index(b"\xff\xc0") + at
    return data[:place] + bytes([value]) + data[place + 1 :]


# Hostile files


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (lossless_jpeg(96), "a lossless JPEG"),
        (encode(PICTURE, "JPEG").replace(b"\xff\xc0", b"\xff\xc9", 1), "a JPEG with arithmetic coding"),
        (encode(PICTURE, "JPEG").replace(b"\xff\xc0", b"\xff\xc5", 1), "a hierarchical JPEG"),
        (changed_frame(encode(PICTURE, "JPEG"), 4, 12), "a JPEG of 12 bits"),
    ],
)
def test_rare_kinds_of_jpeg_never_reach_a_decoder(data: bytes, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("given to a decoder"))
    with pytest.raises(ImageError, match=what) as caught:
        decode(data, (48, 48))
    assert caught.value.reason == "unsupported"


def test_a_hidden_lossless_frame_is_found() -> None:
    data = lossless_jpeg(96)
    note = segment(0xFE, b"\xff\xc0")
    hidden = data[:2] + note + b"filler" + b"\xff\xff" + note + data[2:]
    with pytest.raises(ImageError, match="a lossless JPEG"):
        decode(hidden, (48, 48))


def test_a_lossless_stream_inside_of_a_tiff_is_refused() -> None:
    tiff = bytearray(file_of(Image.fromarray(PICTURE), "TIFF", compression="jpeg"))
    place = tiff.index(b"\xff\xc0")
    tiff[place + 1] = 0xC3
    with pytest.raises(ImageError, match="a lossless JPEG"):
        decode(bytes(tiff))


def test_a_jpeg_with_two_frames_is_refused() -> None:
    data = encode(PICTURE, "JPEG")
    at = data.index(b"\xff\xc0")
    with pytest.raises(ImageError, match="two headers"):
        decode(data[:at] + data[at : at + 19] * 2 + data[at + 19 :])


@pytest.mark.parametrize("factors", [0x14, 0x41, 0x44, 0x31, 0x13, 0x24])
def test_unusual_sampling_is_decoded_or_refused(factors: int) -> None:
    """4:4:1 (a turned 4:1:1 picture) among them, which ended a whole folder."""
    data = changed_frame(encode(PICTURE, "JPEG", subsampling=0), 11, factors)
    batch = decode_batch([encode(PICTURE), data], lambda one: one, (40, 48))
    assert 0 in {place for place in range(2) if place not in batch.errors}


def test_a_441_jpeg_has_its_picture() -> None:
    """Made of a 4:1:1 JPEG of four blocks side by side, which as 4:4:1 lie one below the other."""
    levels = np.array([40, 90, 140, 190], np.uint8)
    beside = np.repeat(np.broadcast_to(levels.repeat(8), (8, 32))[..., None], 3, axis=2)
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(beside), 95, "RGB", "411")
    for at, value in ((6, 32), (8, 8), (11, 0x14)):  # height, width, sampling of Y
        data = changed_frame(data, at, value)
    below = decode(data)
    assert below.shape == (32, 8, 3)
    assert np.abs(below[:, :, 0].astype(int) - levels.repeat(8)[:, None]).max() <= 2  # JPEG rounds
    assert np.abs(decode(data, (16, 4))[2::4].astype(int).mean(axis=(1, 2)) - levels).max() <= 30  # edges are blended


def test_what_reading_raises_costs_one_picture() -> None:
    def read(item: int) -> bytes:
        if item == 1:
            raise KeyError(6)
        return encode(PICTURE)

    batch = decode_batch([0, 1, 2], read, (8, 8))
    assert batch.good == [0, 2]
    assert "KeyError 6" in str(batch.errors[1])


def test_what_a_decoder_raises_is_an_error_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(_: object) -> None:
        raise KeyError(6)

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", odd)
    with pytest.raises(ImageError, match="KeyError 6"):
        decode(encode(PICTURE))


def test_a_flipped_byte_in_a_png_is_refused() -> None:
    data = bytearray(encode(shapes("rows", 1, 96)))
    data[data.index(b"IDAT") + 2000] ^= 0xFF
    for _ in range(2):
        with pytest.raises(ImageError, match="wrong checksum"):
            decode(bytes(data), (32, 32))


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_a_png_that_is_cut_is_refused(kept: float) -> None:
    data = encode(shapes("rows", 1, 96))
    with pytest.raises(ImageError, match="damaged or cut short"):
        decode(data[: int(len(data) * kept)], (32, 32))


# Side data never decide


def _with_text(kind: str) -> bytes:
    text = PngImagePlugin.PngInfo()
    getattr(text, kind)("workflow", "x" * 3_000_000, zip=True)
    return encode(PICTURE, pnginfo=text)


@pytest.mark.parametrize(
    "data",
    [
        _with_text("add_text"),
        _with_text("add_itxt"),
        encode(PICTURE)[:33] + chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(6_000_000))) + encode(PICTURE)[33:],
        encode(PICTURE)[:33] + chunk(b"iCCP", b"p\0\0garbage") + encode(PICTURE)[33:],
        encode(PICTURE)[:33] + chunk(b"tEXt", b"broken")[:-4] + b"crc!" + encode(PICTURE)[33:],
        encode(PICTURE)[:33] + chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff") + encode(PICTURE)[33:],
        encode(PICTURE)[:-12],
        encode(PICTURE)[:-12] + bytes(512),
        encode(PICTURE) + b"behind the end",
        encode(PICTURE, "BMP") + bytes(100),
        encode(PICTURE, "PPM") + bytes(100),
        encode(PICTURE, "TIFF", icc_profile=b"no profile" * 30),
    ],
    ids=["text", "itxt", "profile", "profile?", "crc", "exif", "no end", "zeros", "more", "bmp", "ppm", "tiff"],
)
def test_trouble_beside_the_pixels_does_not_matter(data: bytes) -> None:
    assert np.array_equal(decode(data), PICTURE)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("end", [b"", bytes(512)])
@pytest.mark.parametrize("size", [None, (20, 24), (10, 12)])
def test_a_jpeg_without_its_end_marker_is_whole(progressive: bool, end: bytes, size: tuple[int, int] | None) -> None:
    data = encode(PICTURE, "JPEG", quality=92, progressive=progressive)
    assert np.array_equal(decode(data[:-2] + end, size), decode(data, size))


@pytest.mark.parametrize("kept", [0.5, 0.7, 0.9, 0.97])
# A progressive one with an end marker is whole by its own word, only coarser.
@pytest.mark.parametrize(
    ("progressive", "end"), [(False, b""), (False, bytes(512)), (False, b"\xff\xd9"), (True, b""), (True, bytes(512))]
)
def test_a_jpeg_that_lacks_pixels_is_refused(progressive: bool, kept: float, end: bytes) -> None:
    data = encode(shapes("rows", 1, 96), "JPEG", quality=92, progressive=progressive)
    with pytest.raises(ImageError, match="damaged or cut short"):
        decode(data[: int(len(data) * kept)] + end, (32, 32))


def test_floats_of_0_to_1_and_12_bits_in_16_are_seen() -> None:
    grey = PICTURE[..., 0]
    wanted = np.repeat(grey[..., None], 3, axis=2).astype(int)
    floats = decode(encode((grey / 255).astype(np.float32), "TIFF"))
    twelve = decode(encode(grey.astype(np.uint16) * 16, "TIFF"))
    assert np.array_equal(floats, wanted)
    assert np.abs(twelve - wanted).max() <= 1
    assert decode(encode((grey / 255).astype(np.float32), "TIFF"), rule=RULES[0]).max() <= 1


# Formats


def _dark_to_light(most: int) -> np.ndarray:
    return np.linspace(0, most, 12).round().astype(np.uint16).reshape(3, 4)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"P2 # a note\n4 3\n255\n", b" ".join(b"%d" % value for value in _dark_to_light(255).ravel())),
        (b"P5\n# a note\n4\t3 255\n", _dark_to_light(255).astype(np.uint8).tobytes()),
        (b"P5 4 3 65535\n", (_dark_to_light(255) * 257).astype(">u2").tobytes()),
    ],
)
def test_every_kind_of_pgm_has_its_pixels(head: bytes, body: bytes) -> None:
    assert decode(head + body)[..., 1].tolist() == _dark_to_light(255).tolist()


@pytest.mark.parametrize("data", [b"P1 3 2 101 0\n10", b"P4 3 2\n" + bytes([0b10100000, 0b01000000])])
def test_both_kinds_of_pbm_have_their_pixels(data: bytes) -> None:
    assert decode(data)[..., 0].tolist() == [[0, 255, 0], [255, 0, 255]]


@pytest.mark.parametrize("kind", ["PPM", "TGA", "ICO", "JPEG2000"])
def test_lossless_ones_of_the_other_formats_give_the_very_pixels(kind: str) -> None:
    pixels = PICTURE[:32, :32] if kind == "ICO" else PICTURE
    options = {"sizes": [(32, 32)], "bitmap_format": "bmp"} if kind == "ICO" else {}
    assert np.array_equal(decode(file_of(Image.fromarray(np.ascontiguousarray(pixels)), kind, **options)), pixels)


def test_the_largest_picture_of_an_icon_is_read() -> None:
    image = Image.fromarray(PICTURE).resize((64, 64))
    assert decode(file_of(image, "ICO", sizes=[(16, 16), (64, 64), (32, 32)])).shape == (64, 64, 3)


def test_avif_is_read() -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    assert np.abs(decode(encode(SMOOTH, "AVIF", quality=95)).astype(int) - SMOOTH).mean() < 4  # a lossy codec


def test_heic_is_read_by_the_extra() -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    try:
        heif.from_pillow(Image.fromarray(SMOOTH)).save(file, quality=95)
    except RuntimeError as error:
        pytest.skip(f"it has no encoder here: {error}")
    assert np.abs(decode(file.getvalue()).astype(int) - SMOOTH).mean() < 4  # a lossy codec
    assert ending_of(file.getvalue()) == ".heic"


def test_heic_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"whatsit\[heic\]") as caught:
        decode(b"\0\0\0\x18ftypheic\0\0\0\0" + b"\1" * 40)
    assert caught.value.reason == "heic"


def test_the_first_picture_of_an_mpo_is_read() -> None:
    first, second = Image.fromarray(SMOOTH), Image.new("RGB", (48, 40))
    data = file_of(first, "MPO", save_all=True, append_images=[second])
    assert np.array_equal(decode(data), decode(file_of(first, "JPEG")))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', r"a drawing \(SVG\)"),
        (b"%PDF-1.7\n" + bytes(50), "a PDF document"),
        (b"8BPS\0\1" + bytes(50), "Photoshop"),
        (bytes(128) + b"DICM" + bytes(50), "a DICOM file"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(50), "a camera's raw file"),
        (b"\0\0\0\x18ftypmp42" + bytes(50), "a video"),
        (b"\xff\x0a" + bytes(50), "a JPEG XL picture"),
    ],
)
def test_what_is_not_read_is_named_with_what_to_do(data: bytes, what: str) -> None:
    with pytest.raises(ImageError, match=what + r".*, which is not read; \w+") as caught:
        decode(data)
    assert caught.value.reason == "format"


def test_endings_are_of_formats_that_are_read() -> None:
    assert {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".tga", ".ico", ".heic", ".mpo"} <= EXTENSIONS
    assert not EXTENSIONS & OUTSIDE_ENDINGS.keys()
    assert {"image/jpeg", "image/heic", "image/avif"} <= set(CONTENT_TYPES)
    assert len(set(FORMATS)) == len(FORMATS)


# Colours


def _swapped() -> bytes:
    """A profile whose colours differ from sRGB by much: sRGB with red and green exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {
        bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12)
    }
    red, green = tags[b"rXYZ"] + 4, tags[b"gXYZ"] + 4
    profile[red : red + 8], profile[green : green + 8] = profile[green : green + 8], profile[red : red + 8]
    return bytes(profile)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_colours_of_a_profile_become_srgb(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(np.full((4, 4, 3), (200, 30, 60), np.uint8), kind, icc_profile=_swapped(), **options)
    assert np.abs(decode(data)[0, 0].astype(int) - (30, 200, 60)).max() <= 2  # LittleCMS rounds
    assert decode(data, rule=RULES[0])[0, 0].tolist() == [200, 30, 60]


def test_a_profile_that_is_srgb_by_another_name_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode(encode(PICTURE, icc_profile=profile)), PICTURE)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no rule 'crop'"):
        decode(encode(PICTURE), rule="crop")


# Every format that Pillow writes, in six odd forms


def _written() -> dict[str, bytes]:
    Image.init()
    files = {}
    for kind in sorted(Image.SAVE):
        for mode in ("RGB", "L", "1"):
            try:
                files[kind] = file_of(Image.fromarray(SMOOTH).convert(mode), kind)
                break
            except Exception:  # this mode cannot be written, or the format needs what is not there
                continue
    return files


def _odd_forms(data: bytes) -> dict[str, bytes]:
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(SMOOTH)))
    huge = bytearray(data)
    huge[8:28] = b"\x7f" * min(20, max(0, len(huge) - 8))
    return {
        "cut off": data[: len(data) // 2],
        "empty": b"",
        "text": b"no picture at all\n" * 3,
        "wrong ending": data,
        "huge header": bytes(huge),
        "turned": encode(np.asarray(turned)),
    }


@pytest.mark.parametrize("kind", sorted(_written()))
def test_odd_forms_of_every_format_are_read_or_refused(kind: str) -> None:
    whole = _written()[kind]
    batch = decode_batch(list(_odd_forms(whole).items()), lambda form: form[1], (10, 12))
    read = dict(zip([form for form, _ in batch.good], batch.pixels, strict=True))
    assert "turned" in read
    assert read.keys() <= {"wrong ending", "turned", "cut off", "huge header"}
    assert not any("\n" in str(error) for error in batch.errors.values())
    if "cut off" in read:  # then it is the whole picture
        assert np.abs(read["cut off"].astype(int) - decode(whole, (10, 12))).mean() < 4  # of 255


def test_a_few_seconds_of_damaged_files_end_no_process() -> None:
    """With the C library's own checks of the heap; `make fuzz` is an hour of it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-m", "tests.images.fuzz", "3", "1"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_size_of_every_format_is_that_of_its_pixels() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000"):
        assert picture_size(encode(PICTURE, kind)) == PICTURE.shape[:2], kind


@pytest.mark.skipif(sys.platform == "win32", reason="libtiff is inside of Pillow's own library there")
@pytest.mark.parametrize(
    ("mode", "packing"), [("1", "group4"), ("RGB", "tiff_lzw"), ("RGB", "tiff_adobe_deflate"), ("RGB", "jpeg")]
)
def test_libtiff_says_nothing_of_damaged_files(mode: str, packing: str, capfd: pytest.CaptureFixture[str]) -> None:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert(mode).save(file, "TIFF", compression=packing)
    chance = random.Random(5)
    for _ in range(40):
        data = bytearray(file.getvalue())
        for _ in range(5):
            data[chance.randrange(8, len(data))] = chance.randrange(256)
        with contextlib.suppress(ImageError):
            decode(bytes(data), (32, 32))
    assert capfd.readouterr().err == ""


def test_tiff_of_more_samples_than_are_read_is_refused_without_a_log(caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(file_of(Image.fromarray(PICTURE), "TIFF"))
    place = data.index(struct.pack("<HHI", 277, 3, 1))
    data[place + 8 : place + 10] = struct.pack("<H", 7)
    with pytest.raises(ImageError, match="a TIFF of 7 samples"):
        decode(bytes(data), (32, 32))
    assert caplog.messages == []

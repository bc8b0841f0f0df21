"""The pixels that the web folder's modules give in a browser, against those of `decode`."""

from __future__ import annotations

import base64
import io
import itertools
import random
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, features

import whatsit.bundle
from tests.browser import chromium
from tests.bundle import web_files
from tests.drawn import draw
from tests.images.fuzz import damaged
from whatsit.errors import ImageError
from whatsit.evaluation.variants import variants
from whatsit.images.decode import RESIZE_RULE, RULES, decode

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

WEB = Path(whatsit.bundle.__file__).parent / "web"
HOST = "http://pixels.test/"
OWN = ("jpg", "png", "bmp", "ppm", "tga")  # what is decoded without the browser: to the bit
WIDTH, HEIGHT = 57, 45
ORIENTATION = 0x0112
SAMPLINGS = (
    [(2, 2), (1, 1), (1, 1)],
    [(2, 1), (1, 1), (1, 1)],
    [(1, 2), (1, 1), (1, 1)],
    [(4, 1), (1, 1), (1, 1)],
    [(1, 4), (1, 1), (1, 1)],
    [(3, 1), (1, 1), (1, 1)],
    [(4, 2), (1, 1), (1, 1)],
    [(2, 2), (2, 1), (1, 2)],
    [(1, 1), (2, 1), (1, 2)],
    [(3, 1), (2, 1), (1, 1)],  # which libjpeg refuses
    [(2, 2)],
    [(2, 2), (1, 1), (1, 1), (2, 2)],
)
# What the page does: it reads each file for its target and returns the pixels or the code of the error.
READ = """async ([worker, cases]) => {
  const { pixelsOf } = await import('/pixels.js');
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const textOf = (bytes) => {
    let text = '';
    for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return btoa(text);
  };
  const inWorker = (bytes, target) => new Promise((resolve, reject) => {
    const source = `import { pixelsOf } from '${location.origin}/pixels.js';
      onmessage = ({ data: [bytes, target] }) =>
        pixelsOf(bytes, target).then((pixels) => postMessage({ pixels }), (error) => postMessage({ error: error.code }));
      postMessage({ ready: true });`;
    const other = new Worker(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })), { type: 'module' });
    other.onerror = (event) => reject(event.message);
    other.onmessage = ({ data }) => {
      if (data.ready) return other.postMessage([bytes, target]);
      other.terminate();
      return data.pixels ? resolve(data.pixels) : reject({ code: data.error });
    };
  });
  const results = [];
  for (const [file, width, height, resize] of cases) {
    const bytes = bytesOf(file);
    try {
      const target = { width, height, resize };
      const pixels = worker ? await inWorker(bytes, target) : await pixelsOf(new Blob([bytes]), target);
      results.push(textOf(pixels));
    } catch (error) {
      results.push({ code: error.code || 'exception', message: `${error.name} ${error.message}` });
    }
  }
  return results;
}"""

Pixels = npt.NDArray[np.uint8]


class Case(NamedTuple):
    name: str
    file: bytes
    size: tuple[int, int] = (HEIGHT, WIDTH)  # (height, width)
    rule: str = RESIZE_RULE


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    def serve(route: Route) -> None:
        name = route.request.url.removeprefix(HOST)
        if name:
            route.fulfill(body=(WEB / name).read_bytes(), content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    with chromium(tmp_path_factory.mktemp("no") / "camera.mjpeg") as browser:
        page = browser.new_page()
        page.route(f"{HOST}**", serve)
        page.goto(HOST)
        yield page


def read(page: Page, cases: Sequence[Case], *, worker: bool = False) -> list[Pixels | str]:
    """What the page makes of the files: pixels, or the code of an error."""
    given = [(base64.b64encode(case.file).decode(), *case.size[::-1], case.rule) for case in cases]
    results: list[Any] = page.evaluate(READ, [worker, given])
    assert not [result for result in results if isinstance(result, dict) and result["code"] == "exception"]
    return [
        np.frombuffer(base64.b64decode(result), np.uint8).reshape(*case.size, 3)
        if isinstance(result, str)
        else result["code"]
        for case, result in zip(cases, results, strict=True)
    ]


def differences(page: Page, cases: Sequence[Case], *, worker: bool = False) -> dict[str, int | str]:
    """By how much files differ at most, in levels of 255; only those that do. A refusal by one side alone is a difference."""
    found: dict[str, int | str] = {}
    for case, pixels in zip(cases, read(page, cases, worker=worker), strict=True):
        try:
            wanted = decode(case.file, case.size, rule=case.rule)
        except ImageError as error:
            if not isinstance(pixels, str):
                found[case.name] = f"is read, where decode says {error}"
            continue
        if isinstance(pixels, str):
            found[case.name] = pixels
        elif most := int(np.abs(pixels.astype(int) - wanted).max()):
            found[case.name] = most
    return found


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@cache
def picture(seed: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """A drawn fruit with noise, in whose lower corner no grey is."""
    pixels = np.asarray(draw("mango", seed, size)).astype(np.int16)
    noise = np.random.default_rng(seed).integers(-30, 31, pixels.shape, dtype=np.int16)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def test_every_way_of_saving_a_picture_gives_the_same_pixels(page: Page) -> None:
    pictures = [np.asarray(draw(kind, 1, size)) for kind, size in (("banana", (160, 120)), ("grapes", (90, 131)))]
    files = list(variants(pictures))
    cases = [Case(f"{name} {RESIZE_RULE}", file, (64, 64)) for name, file in files]
    cases += [
        Case(f"{name} {rule}", file, (64, 64), rule) for (name, file), rule in zip(files, itertools.cycle(RULES[:-1]))
    ]
    found = differences(page, cases)
    exact = {name: most for name, most in found.items() if name.split()[-2].rpartition(".")[2] in OWN}
    assert not exact
    assert all(isinstance(most, int) and most <= 2 for most in found.values()), found


def test_jpegs_are_decoded_to_the_bit_at_every_scale_and_sampling(page: Page) -> None:
    rng = np.random.default_rng(0)
    cases = [
        Case(f"{sampling} {size} 1/{scale} {interval}", file, (max(1, size[1] // scale), max(1, size[0] // scale)))
        for sampling, size in itertools.product(SAMPLINGS, ((72, 64), (37, 51), (5, 3)))
        for interval in (0, 3)
        for file in [web_files.jpeg(rng, size, sampling, interval=interval)]
        for scale in (1, 2, 4, 8)
    ]
    assert not differences(page, cases)


def test_progressive_jpegs_are_decoded_to_the_bit(page: Page) -> None:
    cases = [
        Case(f"{mode} {quality} {restarts} 1/{scale}", file, (90 // scale, 121 // scale))
        for mode, options in (
            ("RGB", {"subsampling": 0}),
            ("RGB", {"subsampling": 2}),
            ("L", {}),
            ("CMYK", {"subsampling": 2}),
        )
        for quality, restarts in ((50, 0), (97, 5))
        for file in [
            saved(
                picture(quality, (121, 90)).convert(mode),
                "JPEG",
                quality=quality,
                progressive=True,
                restart_marker_blocks=restarts,
                **options,
            )
        ]
        for scale in (1, 2, 4, 8)
    ]
    assert not differences(page, cases)


def test_a_jpeg_without_its_end_or_tables_is_read_where_nothing_is_missing(page: Page) -> None:
    whole = saved(picture(), "JPEG")
    progressive = saved(picture(), "JPEG", progressive=True)
    files = {
        "no end": whole[:-2],
        "zeros": whole[:-2] + bytes(100),
        "more": whole + b"more",
        "no end, progressive": progressive[:-2],
        "cut": whole[:-40],
        "cut, with an end": whole[: len(whole) * 2 // 3] + b"\xff\xd9",
        "a scan is missing": progressive[: progressive.rindex(b"\xff\xda")],
    }
    assert not differences(page, [Case(name, file) for name, file in files.items()])
    codes = read(page, [Case(name, file) for name, file in files.items() if "cut" in name or "missing" in name])
    assert codes == ["damaged"] * 3


def test_a_file_of_several_pictures_is_never_decoded_smaller(page: Page) -> None:
    whole = saved(picture(1, (300, 220)), "MPO", save_all=True, append_images=[picture(2)], exif=turned(6))
    assert not differences(page, [Case("mpo", whole, (60, 40))])


@pytest.mark.parametrize("kind", [0, 2, 3, 4, 6])
def test_pngs_of_every_kind_are_decoded_to_the_bit(page: Page, kind: int) -> None:
    rng = np.random.default_rng(kind)
    cases = []
    for bits, interlaced, parts in itertools.product((1, 2, 4, 8, 16), (False, True), range(3)):
        if (bits < 8 and kind not in (0, 3)) or (bits == 16 and kind == 3):
            continue
        levels = 1 << bits
        palette = web_files.chunk(
            b"PLTE", rng.integers(0, 256, 3 * (levels if parts else max(1, levels // 2))).astype("u1").tobytes()
        )
        hidden = {
            0: rng.integers(0, levels, 1).astype(">u2"),
            2: rng.integers(0, levels, 3).astype(">u2"),
            3: rng.integers(0, 256, levels).astype("u1") if parts == 1 else np.array([255, 0], "u1"),
        }
        front = palette if kind == 3 else b""
        if parts and kind in hidden:
            front += web_files.chunk(b"tRNS", hidden[kind].tobytes())
        for size in ((WIDTH, HEIGHT), (3, 2)):
            file = web_files.png(rng, size, kind, bits, interlaced=interlaced, parts=front)
            cases.append(Case(f"{bits} bits {interlaced} {parts} {size}", file, (40, 50) if parts == 1 else size[::-1]))
    if kind == 0:
        deep = web_files.png(rng, (WIDTH, HEIGHT), 0, 16, most=4000)
        cases += [Case(f"12 bits {rule}", deep, rule=rule) for rule in RULES]
    assert not differences(page, cases)


def test_webps_are_turned_and_coloured_by_what_they_hold(page: Page) -> None:
    profile = web_files.primaries(*P3, SRGB_CURVE)
    save = partial(saved, picture(), "WEBP")
    files = {
        "lossy": save(quality=60),
        "coloured": save(quality=60, icc_profile=profile),
        "turned, coloured": save(lossless=True, icc_profile=profile, exif=turned(6)),
        "animated": save(save_all=True, append_images=[picture(1)], duration=100),
    }
    found = differences(page, [Case(name, file, size) for name, file in files.items() for size in ((45, 57), (20, 31))])
    assert all(isinstance(most, int) and most <= 2 for most in found.values()), found


def test_orientations_of_every_container_turn_the_picture(page: Page) -> None:
    cases = [
        Case(f"{kind} {orientation}", saved(picture(), kind, exif=turned(orientation), **options), size)
        for kind, options in (("JPEG", {}), ("PNG", {}), ("WEBP", {"lossless": True}))
        for orientation in range(10)
        for size in ((HEIGHT, WIDTH), (20, 31))
    ]
    xmp = b'<x:xmpmeta tiff:Orientation="8"/>'
    cases.append(Case("XMP", saved(picture(), "JPEG", xmp=xmp)))
    assert not differences(page, cases)


def test_bitmaps_are_decoded_to_the_bit(page: Page) -> None:
    rng = np.random.default_rng(4)
    cases = []
    for bits, height in itertools.product((1, 4, 8, 16, 24, 32), (HEIGHT, -HEIGHT)):
        pixels = rng.bytes(((WIDTH * bits + 31) >> 3 & ~3) * HEIGHT)
        palette = rng.bytes(4 << bits) if bits <= 8 else b""
        cases.append(Case(f"{bits} bits {height}", web_files.bitmap((WIDTH, height), bits, pixels, palette=palette)))
    for bits, masks in (
        (16, (0xF800, 0x7E0, 0x1F)),
        (16, (0x7C00, 0x3E0, 0x1F)),
        (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
        (32, (0xFF0000, 0xFF00, 0xFF, 0)),
        (32, (1, 2, 3, 4)),
    ):
        pixels = rng.bytes(((WIDTH * bits + 31) >> 3 & ~3) * HEIGHT)
        named = np.array(masks, "<u4").tobytes()
        cases.append(Case(f"masks {masks}", web_files.bitmap((WIDTH, HEIGHT), bits, pixels, packing=3, masks=named)))
    runs = b"".join(bytes([30, row, 0, 3, 1, 2, 3, 0, 24, 9, 0, 0]) for row in range(HEIGHT)) + b"\0\1"
    cases.append(Case("runs", web_files.bitmap((WIDTH, HEIGHT), 8, runs, packing=1, palette=rng.bytes(1024))))
    assert not differences(page, cases)


def test_gifs_targas_icons_and_portable_maps_are_decoded_to_the_bit(page: Page) -> None:
    rng = np.random.default_rng(5)
    image, few = picture(), picture().quantize(100)
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)))
    icon = clear.resize((40, 40))
    numbers = rng.integers(0, 101, WIDTH * HEIGHT)
    files = {
        "gif": saved(few, "GIF"),
        "gif, interlaced, transparent": saved(few, "GIF", interlace=1, transparency=5),
        "gif, grey": saved(image.convert("L"), "GIF"),
        "gif, animated": saved(few, "GIF", save_all=True, append_images=[picture(1).quantize(9)]),
        **{f"tga {mode}": saved(image.convert(mode), "TGA", compression="tga_rle") for mode in ("L", "RGB")},
        "tga, palette": saved(few, "TGA"),
        "tga, transparent": saved(clear, "TGA", orientation=1),
        "pbm": b"P4 57 45\n" + rng.bytes(8 * HEIGHT),
        "pbm, plain": b"P1 # a comment\n57 45\n" + b"".join(b"%d" % (number % 2) for number in numbers),
        "pgm, plain": b"P2 57 45 100\n" + b" ".join(b"%d" % number for number in numbers),
        "pgm, deep": b"P5 57 45 1000\n" + (numbers * 10).astype(">u2").tobytes(),
        "ppm": saved(image, "PPM"),
        "ico": saved(picture(0, (64, 64)), "ICO", sizes=[(16, 16), (64, 64), (32, 32)]),
        **{
            f"ico, {mode} bitmap": saved(icon.convert(mode), "ICO", sizes=[(40, 40)], bitmap_format="bmp")
            for mode in ("RGBA", "P", "L")
        },
        "pfm": b"Pf\n57 45\n-1.0\n" + (numbers / 100).astype("<f4").tobytes(),
    }
    assert not differences(
        page, [Case(name, file, size) for name, file in files.items() for size in ((HEIGHT, WIDTH), (20, 31))]
    )


def test_transparent_pictures_lie_on_white(page: Page) -> None:
    rng = np.random.default_rng(6)
    levels = rng.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    image = Image.fromarray(levels)
    files = {
        "png": saved(image, "PNG"),
        "grey": saved(image.convert("LA"), "PNG"),
        "webp": saved(image, "WEBP", lossless=True),
    }
    found = differences(page, [Case(name, file) for name, file in files.items()])
    assert found.keys() <= {"webp"}
    assert found.get("webp", 0) in (0, 1)


P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB_CURVE = web_files.parameters(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
POWER = [round(65535 * (level / 1023) ** 1.8) for level in range(1024)]


def _lab_of_inks(inks: web_files.Colours) -> web_files.Colours:
    cyan, magenta, yellow, black = inks.T
    light = (1 - 0.35 * cyan - 0.45 * magenta - 0.08 * yellow) * (1 - 0.88 * black)
    a = 0.5 + (-0.15 * cyan + 0.3 * magenta - 0.02 * yellow) * (1 - black)
    b = 0.5 + (-0.2 * cyan - 0.03 * magenta + 0.37 * yellow) * (1 - black)
    return np.stack([light, a, b], -1) * 65280 / 65535


def _inks_of_lab(lab: web_files.Colours) -> web_files.Colours:
    light = 1 - lab[:, 0]
    return np.stack([light, light, light, light**2], -1) * 0.95


def _lab_of_colours(colours: web_files.Colours) -> web_files.Colours:
    red, green, blue = colours.T
    light = (0.3 * red + 0.6 * green + 0.1 * blue) ** 0.6
    return np.stack([light, 0.5 + 0.3 * (red - green), 0.5 + 0.3 * (green - blue)], -1) * 65280 / 65535


def test_colours_of_screens_become_srgb_to_the_bit(page: Page) -> None:
    profiles = {
        "Display P3": web_files.primaries(*P3, SRGB_CURVE),
        "Adobe RGB": web_files.primaries(*ADOBE, web_files.curve(563)),
        "a curve of points": web_files.primaries(*ADOBE, web_files.curve(*POWER)),
        "linear": web_files.primaries(*P3, web_files.curve()),
        "sRGB by another name": web_files.primaries(
            (0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141), SRGB_CURVE
        ),
        "damaged": web_files.primaries(*P3, SRGB_CURVE)[:200],
        "of grey": web_files.profile(b"GRAY", {b"kTRC": web_files.curve(256)}),
    }
    image = Image.fromarray(np.random.default_rng(7).integers(0, 256, (90, 121, 3), dtype=np.uint8))
    cases = [
        Case(f"{name} {kind} {rule}", saved(image, kind, icc_profile=profile), size, rule)
        for (name, profile), kind in itertools.product(profiles.items(), ("PNG", "JPEG"))
        for size, rule in (((90, 121), RESIZE_RULE), ((40, 30), RULES[1]), ((40, 30), RULES[0]))
    ]
    assert not differences(page, cases)


def test_colours_of_greys_presses_and_scanners_become_srgb_within_a_level(page: Page) -> None:
    press = {b"A2B0": web_files.table(4, 3, 6, _lab_of_inks), b"B2A0": web_files.table(3, 4, 9, _inks_of_lab)}
    profiles = {
        "L": web_files.profile(b"GRAY", {b"kTRC": web_files.curve(461)}),
        "CMYK": web_files.profile(b"CMYK", press, connection=b"Lab ", device=b"prtr"),
        "CMYK 4": web_files.profile(b"CMYK", press, connection=b"Lab ", device=b"prtr", version=4),
        "RGB": web_files.profile(
            b"RGB ", {b"A2B0": web_files.table(3, 3, 17, _lab_of_colours)}, connection=b"Lab ", device=b"scnr"
        ),
    }
    image = picture(3, (121, 90))
    cases = [
        Case(f"{name} {kind}", saved(image.convert(name.split()[0]), kind, icc_profile=profile), (40, 50))
        for name, profile in profiles.items()
        for kind in (("JPEG",) if name.startswith("CMYK") else ("PNG", "JPEG"))
    ]
    found = differences(page, cases)
    assert all(most == 1 for most in found.values()), found


def test_what_is_no_picture_is_refused_with_its_reason(page: Page) -> None:
    huge = web_files.chunk(b"IHDR", b"\0\0\xff\xff\0\0\xff\xff\x08\2\0\0\0")
    files = {
        "empty": b"",
        "format": b"This is a letter, and no picture at all.\n" * 20,
        "format ": saved(picture(), "TIFF"),
        "format  ": b"%PDF-1.7\n" + bytes(100),
        "damaged": saved(picture(), "PNG")[:300],
        "damaged ": saved(picture(), "GIF")[:300],
        "damaged  ": saved(picture(), "BMP")[:300],
        "too-large": b"\x89PNG\r\n\x1a\n" + huge + web_files.chunk(b"IDAT", bytes(9)),
        "too-large ": saved(picture(), "GIF")[:6] + b"\xff\xff\xff\xff" + bytes(30),
        "too-large  ": saved(picture(), "JPEG").replace(b"\0\x2d\0\x39", b"\xff\xff\xff\xff", 1),
    }
    assert read(page, [Case(name, file) for name, file in files.items()]) == [name.strip() for name in files]


def test_damaged_files_are_refused_where_decode_refuses_them(page: Page) -> None:
    """But for one in a hundred: libjpeg smooths what a lost scan leaves, and of CMYK `decode` does not notice that it ends."""
    chance = random.Random(8)
    save = partial(saved, picture())
    originals = [
        save("JPEG"),
        save("JPEG", progressive=True),
        save("JPEG", restart_marker_blocks=3),
        saved(picture().convert("L"), "JPEG"),
        save("PNG"),
        saved(picture().quantize(50), "PNG"),
        saved(picture().quantize(50), "GIF"),
        save("BMP"),
        save("PPM"),
        save("TGA", compression="tga_rle"),
    ]
    cases = []
    for number in range(400):
        file = originals[number % len(originals)]
        cut = file[: chance.randrange(1, len(file))] if number % 7 == 0 else damaged(file, chance)
        cases.append(Case(str(number), cut, chance.choice([(HEIGHT, WIDTH), (24, 32), (11, 14)])))
    found = differences(page, cases)
    refusals = [name for name, most in found.items() if isinstance(most, str)]
    assert len(refusals) <= 4, found


def test_worker_reads_pictures_as_the_page_does(page: Page) -> None:
    files = {
        "jpeg": saved(picture(), "JPEG"),
        "png": saved(picture(), "PNG"),
        "webp": saved(picture(), "WEBP", lossless=True),
    }
    if features.check("avif"):
        files["avif"] = saved(picture(), "AVIF")
    found = differences(page, [Case(name, file, (30, 40)) for name, file in files.items()], worker=True)
    assert found.keys() <= {"avif"}
    assert found.get("avif", 0) in (0, 1, 2)
    assert read(page, [Case("text", b"text")], worker=True) == ["format"]


@pytest.mark.parametrize("rule", RULES)
def test_frame_of_a_video_is_stretched_as_an_array_is(page: Page, rule: str) -> None:
    frame = np.random.default_rng(9).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    result: list[int] = page.evaluate(
        """async ([data, width, height, target]) => {
          const { pixelsOfFrame } = await import('/pixels.js');
          return Array.from(pixelsOfFrame({ data: Uint8ClampedArray.from(data), width, height }, target));
        }""",
        [frame.ravel().tolist(), WIDTH, HEIGHT, {"width": 31, "height": 20, "resize": rule}],
    )
    assert np.array_equal(np.array(result, np.uint8).reshape(20, 31, 3), decode(frame, (20, 31), rule=rule))

"""One file of each format that Pillow writes, each in odd forms, for the whole of whatsit to tell the truth about.

`python -m tests.images.odd_files [FOLDER]` writes them, takes them through `explore`, `train`, `predict` and the service, each
as a process of its own, prints every line that comes out, and ends with 1 where one of them crashed, hung or contradicts
what is known of a file. The test takes a sample of the formats, in its own process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import encode, shapes
from tests.images.fuzz import with_checksums
from whatsit.errors import ImageError
from whatsit.images.decode import decode
from whatsit.images.formats import EXTENSIONS

WIDTH, HEIGHT = 57, 45
SPOT = (
    slice(4, 14),
    slice(6, 20),
)  # rows and columns of a dark spot near a corner, which tells how a picture is turned
FORMS = ("whole", "cut", "empty", "text", "wrong", "huge", "turned")
TRUE = {  # what a message about each form may say
    "cut": ("damaged or cut short",),
    "empty": ("is empty",),
    "text": ("holds text, not a picture",),
    "huge": ("pixels; at most", "damaged or cut short", "very large"),
}
READ = {
    "AVIF",
    "BMP",
    "GIF",
    "ICO",
    "JPEG",
    "JPEG2000",
    "MPO",
    "PNG",
    "PPM",
    "TGA",
    "TIFF",
    "WEBP",
}  # of Pillow's formats
OUTSIDE = ("which is not read", "is not a picture in an allowed format")
USUAL = {"JPEG": ".jpg", "PPM": ".ppm", "ICO": ".ico"}
LITTLE = {"BMP", "DDS", "DIB", "GIF", "TGA", "WEBP", "PCX", "BLP"}  # least significant byte first
LONGEST = 300  # seconds for any verb


def picture() -> Image.Image:
    """Return a bright picture with a dark spot; its noise keeps any half of a file from being the whole."""
    pixels = np.random.default_rng(7).integers(150, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[SPOT] //= 8
    return Image.fromarray(pixels)


def formats() -> dict[str, tuple[str, str]]:
    """Return the formats that this Pillow writes: name -> (mode, the most usual ending)."""
    Image.init()
    found = {}
    for kind in sorted(Image.SAVE):
        ends = [ending for ending, of in Image.registered_extensions().items() if of == kind]
        read = [ending for ending in ends if ending in EXTENSIONS]
        for mode in ("RGB", "L", "P", "1"):
            with contextlib.suppress(Exception):  # a kind that needs a program, or cannot hold this mode
                _saved(kind, mode)
                found[kind] = (mode, USUAL.get(kind) or (read or ends or [f".{kind.lower()}"])[0])
                break
    return found


def odd_forms(kind: str, mode: str, ending: str) -> dict[str, bytes]:
    """Return the files of one format by their names, such as `png-cut.png`."""
    whole = _saved(kind, mode)
    other = ".jpg" if ending not in (".jpg", ".jpeg", ".jfif", ".jpe") else ".png"
    files = {
        f"whole{ending}": whole,
        f"cut{ending}": whole[: len(whole) * 6 // 10],
        f"empty{ending}": b"",
        f"text{ending}": b"This is a letter, and no picture at all.\n" * 20,
        f"wrong{other}": whole,
        f"huge{ending}": _huge(kind, whole),
    }
    with contextlib.suppress(Exception):  # a format that cannot say how it is turned
        exif = Image.Exif()
        exif[0x0112] = 6  # a viewer turns it to the right
        turned = _saved(kind, mode, exif=exif)
        if Image.open(io.BytesIO(turned)).getexif().get(0x0112) == 6:
            files[f"turned{ending}"] = turned
    return {f"{kind.lower().replace(' ', '')}-{name}": data for name, data in files.items()}


def _saved(kind: str, mode: str, **options: object) -> bytes:
    file = io.BytesIO()
    if kind == "ICO":
        options["sizes"] = [(WIDTH, HEIGHT)]
    picture().convert(mode).save(file, kind, **options)
    return file.getvalue()


def _huge(name: str, data: bytes) -> bytes:
    """The file whose header says that it is 60,000 pixels wide and high, in the first way of saying it that is found."""
    for text in ("{} {}", "#define im_width {}\n#define im_height {}", "{}*{}"):
        if (said := text.format(WIDTH, HEIGHT).encode()) in data:
            return data.replace(said, text.format(60000, 60000).encode(), 1)
    order = "<" if name in LITTLE else ">"
    for kind in (f"{order}2I", f"{order}2H"):
        for sides in ((WIDTH, HEIGHT), (HEIGHT, WIDTH)):
            if (said := struct.pack(kind, *sides)) in data:
                return with_checksums(data.replace(said, struct.pack(kind, 60000, 60000), 1))
    for order in "<>":  # of a TIFF: tags of one short or long number each
        for number in (3, 4):
            for tag in (256, 257):
                entry = struct.pack(f"{order}HHI", tag, number, 1)
                if (place := data.find(entry)) >= 0:
                    value = struct.pack(f"{order}{'HI'[number - 3]}", 60000)
                    data = data[: place + 8] + value + data[place + 8 + len(value) :]
    return data


def truth(name: str, data: bytes) -> str | None:
    """Return the message of the error that a file gets, or None where it is read, having looked whether that is true.

    Raises `AssertionError` for what is untrue.
    """
    kind, _, form = Path(name).stem.rpartition("-")
    try:
        pixels = decode(data)
    except ImageError as error:
        message = str(error)
    else:
        _check_pixels(name, form, pixels)
        return None
    assert message.isprintable(), f"{name}: {message!r} is no line"
    outside = kind.upper() not in READ and any(words in message for words in OUTSIDE)
    said = outside if form in ("whole", "wrong", "turned") else any(words in message for words in TRUE[form])
    assert said or (outside and form in ("cut", "huge")), f"{name}: {message}"
    return message


def _check_pixels(name: str, form: str, pixels: np.ndarray) -> None:
    assert form not in ("cut", "empty", "text"), f"{name} was read"
    assert pixels.shape[:2] == ((WIDTH, HEIGHT) if form == "turned" else (HEIGHT, WIDTH)), f"{name}: {pixels.shape}"
    upright = np.rot90(pixels, 1) if form == "turned" else pixels
    spot, rest = upright[SPOT].mean(), upright[SPOT[0].stop :].mean()
    assert spot + 60 < rest, f"{name}: the spot is not where it was ({spot:.0f}, {rest:.0f})"


def write(folder: Path, kinds: Iterable[str] | None = None) -> dict[str, str | None]:
    """Write the files, in a class folder of their own beside two of good pictures. Returns the truth about each, by its path."""
    known = formats()
    told: dict[str, str | None] = {}
    for kind in known if kinds is None else [kind for kind in kinds if kind in known]:
        for name, data in odd_forms(kind, *known[kind]).items():
            told[f"odd/{name}"] = truth(name, data)
            _write(folder / "odd" / name, data)
    for label in ("disc", "rows"):
        for number in range(16):
            told[f"{label}/{number:02d}.png"] = None
            _write(folder / label / f"{number:02d}.png", encode(shapes(label, number)))
    return told


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _run(*words: object) -> subprocess.CompletedProcess[str]:
    """A verb as a process; every line is printed. It must end by itself, by an exit code of ours, without a traceback."""
    command = [sys.executable, "-m", "whatsit", *map(str, words)]
    print(f"\n$ whatsit {' '.join(map(str, words))}", flush=True)
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, env={**os.environ, **_HEAP})
    print(done.stdout + done.stderr, flush=True)
    assert done.returncode in (0, 1), f"exit code {done.returncode}"
    assert "Traceback" not in done.stderr
    return done


_HEAP = {"MALLOC_CHECK_": "3", "TF_CPP_MIN_LOG_LEVEL": "2"}


def check(told: dict[str, str | None], found: dict[str, str | None], who: str) -> int:
    """Print where a verb says otherwise of a file than `decode` does; how often."""
    wrong = [name for name in found if (found[name] is None) != (told[name] is None)]
    for name in wrong:
        print(f"UNTRUE by {who}: {name}: {found[name]!r}, where decode says {told[name]!r}")
    return len(wrong)


def main(folder: Path) -> int:
    """Write the files, and ask every verb about them."""
    told = write(folder / "data")
    for name, message in told.items():
        if name.startswith("odd/"):
            print(f"{name:32s} {message or 'is read'}")
    listed = {name for name in told if Path(name).suffix in EXTENSIONS}
    _run("explore", folder / "data", "--out", folder / "explored")
    explored = json.loads((folder / "explored" / "explore.json").read_text(encoding="utf-8"))
    unreadable = {
        one["images"][0]: one.get("reason", "") for one in explored["findings"] if one["kind"] == "unreadable"
    }
    wrong = check(told, {name: unreadable.get(name) for name in listed}, "explore")
    _run("train", folder / "data", "--recipe", "baseline", "--set", "epochs=2", "--out", folder / "run")
    _run("evaluate", folder / "run", folder / "data")
    every = [folder / "data" / name for name in told]
    lines = [json.loads(line) for line in _run("predict", folder / "run", *every, "--json").stdout.splitlines()]
    answered = {str(Path(one["image"]).relative_to(folder / "data")): one.get("error") for one in lines}
    assert set(answered) == set(told), "predict forgot some"
    wrong += check(told, answered, "predict")
    _run("predict", folder / "run", folder / "data" / "odd")
    with _service(folder / "run") as address:
        wrong += check(told, {name: _asked(address, folder / "data" / name) for name in told}, "the service")
        assert _asked(address, folder / "data" / "disc" / "00.png") is None, "the service does not answer any more"
    print(f"\n{len(told)} files, {wrong} untrue words")
    return int(wrong > 0)


@contextlib.contextmanager
def _service(run: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "whatsit", "serve", str(run), "--port", "18941"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **_HEAP}) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                print(line, end="")
                if "http://" in line:
                    break
            yield "http://127.0.0.1:18941/v1/predict"
        finally:
            process.terminate()
            print(process.stderr.read() if process.stderr else "")


def _asked(address: str, path: Path) -> str | None:
    """The error of the service, or None where it answers."""
    request = urllib.request.Request(
        address, data=path.read_bytes(), headers={"Content-Type": "application/octet-stream"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert "label" in answer.read().decode()
            return None
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        print(f"{path.name:28s} {error.code} {text[:300]}")
        if not 400 <= error.code < 500:
            raise AssertionError(f"{path.name}: {error.code} {text[:200]}") from None
        return text


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(main(Path(scratch)))

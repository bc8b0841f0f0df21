"""Damages pictures of many kinds, at random but knowing where their structure lies, for `decode` to survive.

`python -m tests.images.fuzz SECONDS [SEED]` runs in the process itself, with MALLOC_CHECK_=3 where the C library has it; the
test starts it as a child. What kills a decoder is left in a file that is named beforehand, with the seed.
"""

from __future__ import annotations

import io
import os
import random
import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path

from PIL import Image

from whatsit.errors import ImageError
from whatsit.images.decode import RULES, decode, picture_size

_KINDS: list[tuple[str, str, dict[str, object]]] = [
    ("JPEG", "RGB", {}),
    ("JPEG", "L", {"progressive": True}),
    ("JPEG", "CMYK", {"subsampling": 2}),
    ("PNG", "RGBA", {}),
    ("PNG", "P", {}),
    ("PNG", "I;16", {}),
    ("TIFF", "RGB", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "jpeg"}),
    ("TIFF", "L", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "F", {}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("GIF", "P", {}),
    ("BMP", "RGB", {}),
    ("BMP", "P", {}),
    ("PPM", "RGB", {}),
    ("TGA", "RGB", {"compression": "tga_rle"}),
    ("ICO", "RGBA", {"bitmap_format": "bmp"}),
    ("JPEG2000", "RGB", {}),
    ("AVIF", "RGB", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}),
]


def originals() -> list[bytes]:
    """One small file of each kind."""
    files = []
    noise = Image.effect_noise((57, 45), 80)
    for kind, mode, options in _KINDS:
        image = noise.convert("L").convert(mode) if mode in ("I;16", "F") else noise.convert("RGB").convert(mode)
        file = io.BytesIO()
        try:
            image.save(file, kind, **options)
        except (OSError, KeyError):  # a Pillow without this codec
            continue
        files.append(file.getvalue())
    return files


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The file with some of its bytes, numbers or parts changed; most changes are near its beginning."""
    file = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = (
            min(int(chance.expovariate(1 / 80)), len(file) - 5)
            if chance.random() < 0.7
            else chance.randrange(len(file))
        )
        how = chance.randrange(8)
        if how == 0:
            file[at] = chance.randrange(256)
        elif how == 1:
            file[at] ^= 1 << chance.randrange(8)
        elif how in (2, 3):  # a number of two or four bytes that is at the edge of something
            kind = chance.choice("HI")
            number = chance.choice([0, 1, 2, 255, 256, 32767, 65535, *([65536, 2**31 - 1, 2**32 - 1] * (kind == "I"))])
            file[at : at + struct.calcsize(kind)] = struct.pack(chance.choice("<>") + kind, number)
        elif how == 4:
            del file[at : at + chance.randint(1, 40)]
        elif how == 5:
            file[at:at] = file[at : at + chance.randint(1, 40)]
        elif how == 6:
            del file[chance.randrange(len(file)) :]
        elif (place := file.find(b"\xff", at)) >= 0:  # of a JPEG: another marker
            file[place + 1 : place + 2] = bytes([chance.choice([*range(0xC0, 0xD0), 0xD8, 0xD9, 0xDA, 0xF7])])
        if len(file) < 8:
            return bytes(file)
    return with_checksums(bytes(file)) if chance.random() < 0.8 else bytes(file)


def with_checksums(data: bytes) -> bytes:
    """A PNG whose checksums are right, so that what was changed reaches the decoder."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    file, at = bytearray(data), 8
    while at + 12 <= len(file):
        end = at + 12 + int.from_bytes(file[at : at + 4], "big")
        if end > len(file):
            break
        file[end - 4 : end] = struct.pack(">I", zlib.crc32(file[at + 4 : end - 4]))
        at = end
    return bytes(file)


def main(seconds: float, seed: int) -> int:
    """Damage and decode until the time is over; 1 where something else than an `ImageError` came of it."""
    chance = random.Random(seed)
    files = originals()
    last = Path(tempfile.gettempdir()) / f"whatsit-fuzz-{seed}.bin"
    print(f"seed {seed}; the last file is kept in {last}", flush=True)
    end, count, read, slowest = time.monotonic() + seconds, 0, 0, 0.0
    while time.monotonic() < end:
        data = damaged(chance.choice(files), chance)
        last.write_bytes(data)
        started = time.monotonic()
        try:
            picture_size(data)
            size = chance.choice([None, (16, 16), (5, 90)])
            pixels = decode(data, size, rule=chance.choice(RULES), max_pixels=2_000_000)
            assert pixels.shape[2] == 3
            read += 1
        except ImageError:
            pass
        except BaseException as error:
            print(f"picture {count}: {error!r}", flush=True)
            return 1
        slowest = max(slowest, time.monotonic() - started)
        count += 1
    last.unlink()
    print(f"{count} pictures, {read} of them decoded, the slowest in {slowest:.2f} s")
    return 0


if __name__ == "__main__":
    if "MALLOC_CHECK_" not in os.environ:  # it is read when a process starts
        os.environ["MALLOC_CHECK_"] = "3"
        if sys.platform == "linux":
            os.environ["LD_PRELOAD"] = "libc_malloc_debug.so.0"  # where glibc keeps these checks since 2.34
        os.execv(sys.executable, [sys.executable, "-m", "tests.images.fuzz", *sys.argv[1:]])
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**31)))

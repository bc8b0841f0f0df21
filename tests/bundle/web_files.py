"""Files of pictures that Pillow does not write: JPEGs of any sampling, PNGs of every kind, colour profiles, bitmaps."""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Random = np.random.Generator
# The usual tables of codes for luma (ITU T.81, K.3), as a DHT marker has them.
_DC_COUNTS = bytes.fromhex("00010501010101010100000000000000")
_AC_COUNTS = bytes.fromhex("0002010303020403050504040000017d")
_AC_SYMBOLS = bytes.fromhex(
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a43"
    "4445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2"
    "b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
)
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG, by its colour type


def jpeg(rng: Random, size: tuple[int, int], sampling: Sequence[tuple[int, int]], *, interval: int = 0) -> bytes:
    """A baseline JPEG of random coefficients with these sampling factors (horizontal, vertical) of its components."""
    width, height = size
    count = len(sampling)
    most_h, most_v = (max(factors) for factors in zip(*sampling, strict=True))
    frame = struct.pack(">BHHB", 8, height, width, count)
    frame += b"".join(bytes([index + 1, h << 4 | v, 0]) for index, (h, v) in enumerate(sampling))
    scan = bytes([count, *itertools.chain.from_iterable((index + 1, 0) for index in range(count)), 0, 63, 0])
    dc, ac = _codes(_DC_COUNTS, bytes(range(12))), _codes(_AC_COUNTS, _AC_SYMBOLS)
    grid = math.ceil(width / (8 * most_h)), math.ceil(height / (8 * most_v))
    if count == 1:  # not interleaved: a block is a unit, whatever the factors are
        grid, sampling = (math.ceil(width / 8), math.ceil(height / 8)), [(1, 1)]
    parts, bits, before = [], "", [0] * count
    for unit in range(grid[0] * grid[1]):
        if interval and unit and unit % interval == 0:
            parts.append(_packed(bits) + bytes([0xFF, 0xD0 + (unit // interval - 1) % 8]))
            bits, before = "", [0] * count
        for index, (h, v) in enumerate(sampling):
            for _ in range(h * v):
                level = int(rng.integers(-100, 100))
                bits += _block(level - before[index], rng, dc, ac)
                before[index] = level
    tables = b"\0" + _DC_COUNTS + bytes(range(12)) + b"\x10" + _AC_COUNTS + _AC_SYMBOLS
    divisors = b"\0" + bytes(min(255, 6 + index) for index in range(64))
    markers = [(0xDB, divisors), (0xC0, frame), (0xC4, tables), (0xDD, struct.pack(">H", interval)), (0xDA, scan)]
    head = b"".join(struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body for kind, body in markers)
    return b"\xff\xd8" + head + b"".join(parts) + _packed(bits) + b"\xff\xd9"


def _codes(counts: bytes, symbols: bytes) -> dict[int, str]:
    codes, code, left = {}, 0, iter(symbols)
    for bits, count in enumerate(counts, 1):
        for _ in range(count):
            codes[next(left)] = format(code, f"0{bits}b")
            code += 1
        code <<= 1
    return codes


def _block(difference: int, rng: Random, dc: dict[int, str], ac: dict[int, str]) -> str:
    bits = dc[difference.bit_length()] + _value(difference)
    place = 0
    for _ in range(int(rng.integers(0, 5))):
        skipped, value = int(rng.integers(0, 12)), int(rng.choice([-9, -3, -1, 1, 2, 7]))
        if place + skipped + 1 > 63:
            break
        place += skipped + 1
        bits += ac[skipped << 4 | value.bit_length()] + _value(value)
    return bits + ("" if place == 63 else ac[0])


def _value(value: int) -> str:
    size = value.bit_length()
    return format(value if value >= 0 else value + (1 << size) - 1, f"0{size}b") if size else ""


def _packed(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return int(bits or "1" * 8, 2).to_bytes(max(1, len(bits) // 8), "big").replace(b"\xff", b"\xff\0")


def png(
    rng: Random,
    size: tuple[int, int],
    kind: int,
    bits: int,
    *,
    interlaced: bool = False,
    parts: bytes = b"",
    most: int = 0,
) -> bytes:
    """A PNG of random samples below `most` and random filters."""
    width, height = size
    samples = rng.integers(0, most or 1 << bits, (height, width, CHANNELS[kind]))
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    pieces = [samples[top::down, left::right] for left, top, right, down in passes]
    packed = zlib.compress(
        b"".join(_filtered(rng, piece, bits) for piece in pieces if piece.size), int(rng.integers(0, 10))
    )
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlaced)
    half = len(packed) // 2
    body = chunk(b"IHDR", header) + parts + chunk(b"IDAT", packed[:half]) + chunk(b"IDAT", packed[half:])
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _filtered(rng: Random, samples: npt.NDArray[np.int64], bits: int) -> bytes:
    step = max(1, bits * samples.shape[2] // 8)
    lines, above = b"", np.zeros(0, np.int64)
    for row in samples:
        if bits == 16:
            packed = row.astype(">u2").tobytes()
        else:
            digits = np.unpackbits(row.astype(np.uint8).reshape(-1, 1), axis=1)[:, 8 - bits :]
            packed = np.packbits(digits).tobytes()
        line = np.frombuffer(packed, np.uint8).astype(np.int64)
        above = above if above.size else np.zeros_like(line)
        left, corner = (np.concatenate([np.zeros(step, np.int64), of])[: len(line)] for of in (line, above))
        guess = left + above - corner
        far, near, diagonal = abs(guess - left), abs(guess - above), abs(guess - corner)
        predicted = np.where((far <= near) & (far <= diagonal), left, np.where(near <= diagonal, above, corner))
        number = int(rng.integers(0, 5))
        guessed = (0 * line, left, above, (left + above) // 2, predicted)[number]
        lines += bytes([number]) + ((line - guessed) & 255).astype(np.uint8).tobytes()
        above = line
    return lines


def bitmap(
    size: tuple[int, int], bits: int, pixels: bytes, *, packing: int = 0, palette: bytes = b"", masks: bytes = b""
) -> bytes:
    """A BMP; a negative height counts from the top."""
    header = 56 if len(masks) == 16 else 40
    fields = struct.pack("<IiiHHIIiiII", header, *size, 1, bits, packing, len(pixels), 0, 0, len(palette) // 4, 0)
    start = 14 + len(fields) + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + fields + masks + palette + pixels


def profile(
    space: bytes,
    tags: dict[bytes, bytes],
    *,
    connection: bytes = b"XYZ ",
    device: bytes = b"mntr",
    version: int = 2,
) -> bytes:
    """A colour profile (ICC.1) of these tags."""
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for tag, content in tags.items():
        padded = content + b"\0" * (-len(content) % 4)
        table += tag + struct.pack(">II", start + len(body), len(padded))
        body += padded
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", version << 24, device, space, connection)
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + _fixed(0.9642, 1, 0.8249) + b"\0" * 48
    return head + struct.pack(">I", len(tags)) + table + body


def primaries(red: Sequence[float], green: Sequence[float], blue: Sequence[float], curve: bytes) -> bytes:
    """A profile of a screen: where its primaries lie, as XYZ, and the curve of all three."""
    named = zip((b"rXYZ", b"gXYZ", b"bXYZ"), (red, green, blue), strict=True)
    places = {tag: b"XYZ \0\0\0\0" + _fixed(*xyz) for tag, xyz in named}
    return profile(b"RGB ", places | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def parameters(kind: int, *numbers: float) -> bytes:
    """A curve by its formula."""
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + _fixed(*numbers)


def curve(*levels: int) -> bytes:
    """A curve by its levels of 16 bits; a single one is a power with 8 bits after the point."""
    return b"curv\0\0\0\0" + struct.pack(f">I{len(levels)}H", len(levels), *levels)


Colours = npt.NDArray[np.float64]


def table(ins: int, outs: int, points: int, convert: Callable[[Colours], Colours]) -> bytes:
    """A table of colours (lut16Type), 0 to 1 on both sides."""
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, points)] * ins, indexing="ij"), -1).reshape(-1, ins)
    values = np.clip(np.rint(convert(grid) * 65535), 0, 65535).astype(">u2").tobytes()
    straight = struct.pack(">2H", 0, 65535)
    head = (
        b"mft2\0\0\0\0" + bytes([ins, outs, points, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">HH", 2, 2)
    )
    return head + straight * ins + values + straight * outs


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))

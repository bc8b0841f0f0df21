"""Pictures of fruit drawn by Pillow. Lengths: the shorter side is 1, the middle of the picture is (0, 0), y is down."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from functools import partial
from itertools import product
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

KINDS = ("banana", "grapes", "mango", "mangosteen", "watermelon")
THAI = {"banana": "กล้วย", "grapes": "องุ่น", "mango": "มะม่วง", "mangosteen": "มังคุด", "watermelon": "แตงโม"}
STRANGE = ("teapot", "bicycle")

Array = NDArray[Any]
Colour = str | Sequence[float] | Array
Place = tuple[float, float] | Array
Tile = tuple[int, int, Image.Image]  # where on the picture a mask belongs, and the mask
Spot = tuple[Place, float, Colour]  # a soft patch of another colour: its middle, its radius, the colour


def draw(kind: str, seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """RGB, (width, height) `size`; the same picture for the same arguments."""
    zoom = min(max(1.5, 320 / max(size)), 1600 / max(size))  # what is larger than 1600 is resized up
    scene = _Scene((max(48, round(size[0] * zoom)), max(48, round(size[1] * zoom))), kind, seed)
    painters = (_banana, _grapes, _mango, _mangosteen, _watermelon, _teapot, _bicycle)
    painters[(KINDS + STRANGE).index(kind)](scene)
    return scene.finish().resize(size, Image.Resampling.LANCZOS if zoom > 1 else Image.Resampling.BICUBIC)


def photos(count: int, kinds: Sequence[str] = KINDS, *, thai: bool = True) -> dict[str, bytes]:
    """`count` JPEG files of each kind: {"กล้วย/001.jpg": bytes, ...}."""
    files: dict[str, bytes] = {}
    for kind, number in product(kinds, range(1, count + 1)):
        draw(kind, number).save(buffer := io.BytesIO(), "JPEG", quality=88)
        files[f"{THAI.get(kind, kind) if thai else kind}/{number:03}.jpg"] = buffer.getvalue()
    return files


def _vec(values: Colour) -> Array:
    return np.array(ImageColor.getrgb(values) if isinstance(values, str) else values, np.float32)


def _picture(pixels: Array, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)


def _turn(points: Any, angle: float = 0, scale: float = 1, at: Place = (0, 0)) -> Array:  # clockwise
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    return np.add(np.asarray(points, np.float32) @ _vec(np.array([[c, s], [-s, c]])), _vec(at))


def _arc(rx: float, ry: float, x: float = 0, y: float = 0, start: Any = 0, end: float = 2 * np.pi) -> Array:
    angles = np.linspace(start, end, 64) if np.ndim(start) == 0 else start
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1)


def _band(line: Array, low: Array | float, high: Array | float) -> Array:  # along a line
    dx, dy = np.gradient(line, axis=0).T
    across = np.stack([-dy, dx] / np.hypot(dx, dy), 1)
    return np.concatenate([line + across * np.c_[low], (line + across * np.c_[high])[::-1]])


def _curve(*corners: Place) -> Array:  # a Bézier curve of 40 points
    t, n = np.linspace(0, 1, 40)[:, None], len(corners) - 1
    return _vec(np.array([comb(n, i) * t**i * (1 - t) ** (n - i) * _vec(at) for i, at in enumerate(corners)]).sum(0))


class _Scene:  # a tabletop, the light on it, and the brushes
    def __init__(self, size: tuple[int, int], kind: str, seed: int) -> None:
        self.random = np.random.default_rng([zlib.crc32(kind.encode()), seed & 0xFFFFFFFF])
        self.size, self.unit, self.wide = size, min(size), float(np.clip(size[0] / size[1], 0.75, 1.35))
        side = self.between(0.6, 0.95) * self.random.choice([-1, 1])
        self.light = _vec([0.66 * np.sin(side), -0.66 * np.cos(side), 0.75])
        self.pose()
        surface = "wall" if kind in STRANGE else str(self.random.choice(["wood", "linen", "slate", "paper"]))
        self.image = _picture(_surface(self, surface, ((size[1] + 1) // 2, (size[0] + 1) // 2)), size)
        self.random = np.random.default_rng([zlib.crc32(kind.encode()), seed & 0xFFFFFFFF, 1])  # the same at any size

    def between(self, low: float, high: float) -> float:
        return float(self.random.uniform(low, high))

    def pick(self, colours: str) -> Array:  # nearly one of these colours
        return _vec(_vec(str(self.random.choice(colours.split()))) * self.random.normal(1, 0.03, 3)).clip(0, 255)

    def noise(self, across: float, down: float, shape: tuple[int, int]) -> Array:  # smooth, in so many cells
        cells = _vec(self.random.normal(0, 1, (max(2, round(down)), max(2, round(across)))))
        return _vec(np.asarray(Image.fromarray(cells).resize(shape[::-1], Image.Resampling.BICUBIC)))

    def pose(self, angle: float = 0, scale: float = 1, at: Place = (0, 0), flip: float = 1) -> None:  # of what follows
        self.px, self.frame, self.flip = self.unit * scale, (angle, scale, at), (flip, 1)

    def pixels(self, points: Any) -> Array:
        return _vec(_turn(np.multiply(points, self.flip), *self.frame) * self.unit + _vec(self.size) / 2)

    def tile(self, points: Any, width: float = 0.0) -> Tile:  # the mask of a closed shape, or of a line `width` wide
        pixels, margin = self.pixels(points), width / 2 * self.px + 2
        left, top = np.floor(pixels.min(0) - margin).astype(int).tolist()
        wide, high = (np.ceil(pixels.max(0) + margin).astype(int) - (left, top)).tolist()
        pen = ImageDraw.Draw(mask := Image.new("L", (wide * 2, high * 2)))
        corners = ((pixels - (left, top)) * 2).ravel().tolist()
        shape = partial(pen.line, width=max(2, round(width * self.px * 2)), joint="curve") if width else pen.polygon
        shape(corners, 255)
        return left, top, mask.reduce(2)

    def stain(self, tile: Tile, colour: Colour, opacity: float, blur: float = 0, within: Tile | None = None) -> None:
        """Lays a flat, soft colour through a mask, cut to another mask."""
        pixels, (left, top, mask) = blur * self.px, tile
        if pad := int(pixels * 2.5):
            left, top, step = left - pad, top - pad, max(1.0, pixels / 2)
            mask = mask.crop((-pad, -pad, mask.width + pad, mask.height + pad))
            small = mask.resize((round(mask.width / step) + 1, round(mask.height / step) + 1), Image.Resampling.BOX)
            mask = small.filter(ImageFilter.GaussianBlur(pixels / step)).resize(mask.size, Image.Resampling.BILINEAR)
        if within:
            x, y = left - within[0], top - within[1]
            mask = ImageChops.multiply(mask, within[2].crop((x, y, x + mask.width, y + mask.height)))
        mask = mask.point((np.arange(256) * opacity).astype(int).tolist()) if opacity < 1 else mask
        self.image.paste(tuple(_vec(colour).astype(int).tolist()), (left, top), mask)

    def body(self, tile: Tile, ink: Colour, depth: float, shadow: float = 0, gloss: float = 0.3, *spots: Spot) -> Tile:
        """A rounded body with its shadow; `depth` is how far the rounding reaches inwards from the outline."""
        left, top, mask = tile
        for reach, blur, strength in ((1.3, 0.75, 0.5), (0.35, 0.22, 0.4)) if shadow else ():
            dx, dy = (self.light[:2] * -shadow * reach * self.px).astype(int).tolist()
            self.stain((left + dx, top + dy, mask), "#20141e", strength, shadow * blur)
        step = max(1.0, (reach := max(float(depth) * self.px, 0.8)) / 2.4)
        wide, high = (max(2, round(side / step)) for side in mask.size)
        small = mask.resize((wide, high), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(reach / step))
        gy, gx = np.gradient(_vec(np.asarray(small)) * np.float32(-4.3 / 255 * reach / step))
        base = np.broadcast_to(_vec(ink), (high, wide, 3))
        ys, xs = np.linspace(0, mask.height, high)[:, None] + top, np.linspace(0, mask.width, wide) + left
        for at, radius, other in spots:
            x, y = self.pixels([at])[0]
            near = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (radius * self.px) ** 2)
            base = base + (_vec(other) - base) * _vec(near)[..., None]
        nz = 1 / np.sqrt(gx * gx + gy * gy + 1)
        lit = (gx * self.light[0] + gy * self.light[1] + self.light[2]) * nz
        glint = np.clip((lit + nz) / np.sqrt(2 + 2 * self.light[2]), 0, 1)
        tone = ((lit - 0.62) * 1.15 + 0.45 * (1 - nz) ** 2)[..., None]
        base = base + (255 - base) * np.clip(tone, 0, 1) * _vec([0.5, 0.45, 0.36])
        base = base - base * np.clip(-tone, 0, 0.85) * _vec([0.64, 0.84, 0.78])
        base = base + (255 - base) * (gloss * (glint**60 + 0.25 * glint**12 * (1 - nz)))[..., None]
        self.image.paste(_picture(base, mask.size), (left, top), mask)
        return tile

    def layout(self, count: int, radius: float, plate: float) -> list[tuple[float, float]]:  # perhaps on a plate
        if plated := self.random.random() < plate:
            self.body(self.tile(_arc(0.48, 0.48)), self.pick("#f6f3ec #cedee2 #f0ded4"), 0.014, 0.03)
            self.stain(self.tile(_arc(0.35, 0.35), 0.012), "#786e6e", 0.35, 0.008)
        far, wide = radius if count > 1 else 0.02, 0.9 if plated else self.wide
        turns = (self.random.normal(self.between(0, 7), 0.12) + np.arange(count)) * 2 * np.pi / count
        places = ((far * np.sin(a) * 0.85, far * np.cos(a) * wide) for a in turns)
        return [(x, y) for y, x in sorted(places)]

    def finish(self) -> Image.Image:  # the light falls off over the picture, and is a little warm or cool
        ys, xs = np.mgrid[-1:1:24j, -1:1:32j]
        fall = 236 + 20 * (xs * self.light[0] + ys * self.light[1]) - 24 * (xs**2 + ys**2) ** 1.2
        veil = _picture(fall[..., None] * (1 + self.random.normal(0, 0.015) * _vec([1, 0.1, -1])), self.size)
        return ImageChops.multiply(self.image, veil).point([min(255, int(level * 1.15)) for level in range(256)] * 3)


def _surface(scene: _Scene, what: str, shape: tuple[int, int]) -> Array:
    ys, xs = _vec(np.linspace(0, 1, high := shape[0]))[:, None], _vec(np.linspace(0, 1, wide := shape[1]))
    fine = scene.noise(wide / 1.5, high / 1.5, shape)
    if what == "wood":
        planks = int(scene.random.integers(3, 6))
        shift = _vec(scene.random.normal(0, 1, (planks + 1, 1)))[(ys[:, 0] * planks).astype(int)]
        value = 0.045 * np.sin(scene.noise(3, planks * 3, shape) * 9 + shift * 9 + ys * planks * 28) + 0.05 * shift
        value = value + 0.035 * scene.noise(7, high / 2, shape) + 0.04 * scene.noise(14, 40, shape)
        edge = np.abs(ys * planks - np.round(ys * planks)) * high / planks
        value = value + 0.06 * np.exp(-(((edge - 3) / 1.5) ** 2)) - 0.45 * np.exp(-((edge / 1.2) ** 2))
        return scene.pick("#cea474 #ac7c54 #e0d0ba #b0beba #be9268") * _vec(1 + value[..., None] * [0.85, 1, 1.15])
    if what == "linen":
        weave = scene.noise(wide / 14, high / 1.6, shape) + scene.noise(wide / 1.6, high / 14, shape)
        cloth = scene.pick("#ece2d0 #ced6d8 #dec8be #c0ccb6 #f4f0e8") * (1 + 0.03 * weave)[..., None]
        cell = 3 * scene.between(5, 8) / min(shape)  # perhaps with a check
        down, across = (np.clip(np.sin(way * way.size * cell) * 9, -1, 1) + 1 for way in (ys, xs))
        ink = (1 - scene.pick("#ce5c54 #5c88b2 #709870 #deb25c") / 255) * 0.2 * scene.random.integers(2)
        return _vec(cloth * (1 - (down + across)[..., None] * _vec(ink)))
    if what == "slate":
        fine = fine * 0.06 + scene.noise(4, 3, shape) * 0.07 + scene.noise(5, 60, shape) * 0.05
        return scene.pick("#586068 #707678 #4e6068 #5c6a64") * _vec(1 + fine)[..., None]
    first, second = (_vec(scene.pick("#fad6cd #cde4f0 #d6ecd6 #fcecc4 #e2d6f2 #fce0e8")) for _ in "ab")
    mix = ((xs * scene.random.choice([-1, 1]) + ys) / 2 + 0.25)[..., None]
    floor = np.interp(ys, [0.70, 0.73], [0, what == "wall"])[..., None]
    return _vec((first + (second - first) * mix + fine[..., None]) * (1 - floor * _vec([0.08, 0.11, 0.13])))


def _leaf(scene: _Scene, at: Place, angle: float, size: float, lobed: bool) -> None:
    a = np.linspace(-np.pi, np.pi, 120)
    if lobed:  # of a vine
        edge = 0.72 + 0.28 * np.cos(5 * a) * (0.6 + 0.4 * np.cos(a)) + 0.035 * np.abs(np.sin(17 * a))
        outline = np.stack([edge * np.cos(a) + 0.62, edge * np.sin(a)], 1)
        veins = [[(0.1, 0), (0.5, 0), (0.62 + 0.8 * np.cos(b), 0.8 * np.sin(b))] for b in np.arange(-2, 3) * 1.26]
    else:
        outline = np.stack([0.5 - 0.5 * np.cos(a), 0.2 * np.sin(a) * (1 + 0.3 * np.cos(a))], 1)
        veins = [[(0, 0), (1, 0)]] + [[(x, 0), (x + 0.2, y)] for x in np.arange(0.1, 0.8, 0.12) for y in (-0.2, 0.2)]
    tile, dark = scene.tile(_turn(outline, angle, size, at)), (at, size * 0.6, "#427032")
    body = scene.body(tile, scene.pick("#609242 #528a3e"), 0.016, 0.02, 0.1, dark)
    for vein in veins:
        scene.stain(scene.tile(_turn(_curve(*vein), angle, size, at), 0.004), "#d0dc96", 0.6, 0, body)


def _banana(scene: _Scene) -> None:
    (count, ripe), yellow = scene.random.integers((2, 0), (6, 15)), scene.pick("#fad440")
    t, gap = np.linspace(0, 1, 60), scene.between(0.15, 0.2)
    half = np.interp(t, [0, 0.07, 0.13, 0.22, 0.3, 0.7, 0.8, 0.9, 1], _vec([15, 17, 29, 56, 64, 64, 56, 33, 9]) / 1000)
    turns = (np.arange(count) - count / 2) * gap - 0.1
    lines = [_turn(_arc(1, 1, 0, 1, t * scene.between(1.35, 1.6) - 1.57), turn, 0.465) for turn in turns]
    middle = (np.min(lines, (0, 1)) + np.max(lines, (0, 1))) / 2
    scene.pose(scene.between(-0.5, 0.5), scene.between(1.2, 1.4), (0.03 * gap, 0.02), scene.random.choice([-1, 1]))
    for line in lines - middle:
        green, tip = (line[4], 0.12, "#acbc48"), (line[56], 0.05, "#cebe54")
        body = scene.body(scene.tile(_band(line, -half, half)), yellow, 0.026, 0.03, 0.12, green, tip)
        scene.stain(scene.tile(_band(line, half * 0.35, half)), "#b47014", 0.33, 0.003, body)
        scene.stain(scene.tile(_band(line, half * -0.5, half * 0.3)), "#fff096", 0.4, 0.005, body)
        for x, y in line[scene.random.integers(16, 52, ripe)] + scene.random.normal(0, 0.02, (ripe, 2)):
            scene.stain(scene.tile(_arc(0.004, 0.0035, x, y)), "#784a1e", 0.6, 0, body)
        scene.body(scene.tile(_band(line[57:], half[57:] * -1.3, half[57:] * 1.3)), "#4a3626", 0.008)
    scene.body(scene.tile([(-0.05, -0.012) - middle, (0.02, 0) - middle], 0.045), "#867a38", 0.014, 0.01)


def _grapes(scene: _Scene) -> None:
    scene.layout(1, 0, 0.2)
    berry, skin = scene.between(0.06, 0.072), scene.pick("#70387c #702c4c #a4be54 #a4be54 #4a4282")
    scene.pose(scene.between(-0.5, 0.5), scene.between(0.93, 1.03), (0, 0.04))
    scene.body(scene.tile(_curve((0, -0.2), (0.03, -0.45), (0.06, -0.47)), 0.022), "#80703e", 0.007, 0.015)
    _leaf(scene, (-0.06, -0.32), scene.between(2.7, 3.5), 0.22, lobed=True)
    _leaf(scene, (0.07, -0.32), scene.between(-0.5, 0.3), scene.between(0.12, 0.2), lobed=True)
    places, berries = [], []
    for layer, shrink in enumerate((1, 0.9, 0.6)):
        for y in np.arange(-0.26, 0.34, berry * 1.55) + layer * berry * 0.4:
            half = shrink * 0.29 * np.sin(np.pi * np.clip((y + 0.42) / 0.86, 0.02, 1)) ** 0.8 * (1 - 0.5 * max(0, y))
            for i in range(number := max(1, round(half / berry * 1.15))):
                dx, dy, dz = scene.random.normal(0, berry * 0.14, 3)
                places.append((layer * 0.05 + dz * 2, dx + (i - number / 2 + 0.5) * berry * 1.72, y + dy))
    for radius in np.linspace(0.9, 1.1, 5) * berry:  # drawn once each, where the others will hide them
        (near, far), glow = _turn(np.outer([0.65, -1], radius * scene.light[:2]), -scene.frame[0]), skin * 0.75 + 64
        tint, spots = skin * scene.between(0.85, 1.05), ((far, radius * 0.8, glow), (near, radius * 0.2, "white"))
        left, top, mask = scene.body(scene.tile(_arc(radius, radius)), tint, radius * 0.42, 0, 0.6, *spots)
        berries.append((left, top, mask, scene.image.crop((left, top, left + mask.width, top + mask.height))))
    for _, x, y in sorted(places):
        left, top, mask, picture = berries[scene.random.integers(5)]
        dx, dy = (scene.pixels([(x, y)]) - scene.pixels([(0, 0)]))[0].astype(int).tolist()
        far = scene.light[:2] * -0.35 * berry * scene.px
        scene.stain((left + dx + int(far[0]), top + dy + int(far[1]), mask), "#180c1a", 0.5, 0.011)
        scene.image.paste(picture, (left + dx, top + dy), mask)


def _mango(scene: _Scene) -> None:
    count, lean = int(scene.random.integers(1, 4)), scene.between(0, 7)
    size, skin = (1.2, 0.94, 0.78)[count - 1] * scene.between(0.93, 1.05), scene.pick("#fcbe3a #fab036 #f4ca4e")
    blush, a = scene.pick("#ec5c34 #dc4c3a #f68030 #a8b446"), np.linspace(0, 2 * np.pi, 90)
    x = 0.3 * np.cos(a) - 0.012 * np.exp(-(((a - np.pi - 0.25) / 0.25) ** 2))
    edge = np.stack([x, 0.22 * np.sin(a) * (1 + 0.13 * np.cos(a)) - 0.3 * x**2 + 0.02], 1)
    for i, at in enumerate(scene.layout(count, 0.24, 0.3)):
        scene.pose(lean + i * 0.7 + scene.between(-0.4, 0.4), size, at)
        if i == 0 or scene.random.random() < 0.35:
            _leaf(scene, (0.29, -0.02), scene.between(-0.9, 0.9), 0.34, lobed=False)
        scene.body(scene.tile(_curve((0.26, -0.02), (0.32, -0.03), (0.35, -0.06)), 0.024), "#745c3a", 0.007, 0.015)
        red, gold, stem = ((0.17, -0.08), 0.2, blush), ((-0.2, 0.05), 0.1, "#fed65c"), ((0.29, -0.02), 0.07, "#b2b046")
        scene.body(scene.tile(edge), skin, 0.1, 0.06, 0.5, red, gold, stem)


def _mangosteen(scene: _Scene) -> None:
    count, skin = int(scene.random.integers(1, 5)), scene.pick("#662846 #562244 #702a3c")
    opened, size, green = scene.random.integers(4), (1.5, 1.1, 0.95, 0.82)[count - 1], scene.pick("#8ea858")
    for i, at in enumerate(scene.layout(count, 0.19 + 0.02 * count, 0.3)):
        scene.pose(scene.between(-0.5, 0.5), size * scene.between(0.92, 1.03), at)
        if i == opened and count > 1:
            scene.body(scene.tile(_arc(0.205, 0.2)), skin, 0.03, 0.05)
            scene.body(scene.tile(_arc(0.183, 0.178)), "#ba425a", 0.008, 0, 0)
            scene.stain(scene.tile(_arc(0.145, 0.141)), "#741c38", 0.9, 0.006)
            pieces, x = int(scene.random.integers(5, 8)), np.linspace(0, 1, 40)
            half = 0.143 * np.sin(np.pi / pieces) * x**0.8 * np.sqrt(1 - x**5)
            piece = _band(np.stack([0.008 + 0.126 * x, x * 0], 1), -half, half)
            for turn in np.arange(pieces) * 2 * np.pi / pieces:
                scene.body(scene.tile(_turn(piece, turn)), "#f6f1ea", 0.02, 0.01, 0.6)
            continue
        scene.body(scene.tile(_arc(0.205, 0.197)), skin, 0.1, 0.055, 0.5, ((0, 0.19), 0.1, "#8c3e4e"))
        for turn in np.array((0, 2, 1, 3)) * np.pi / 2 + scene.between(0, 1.5):
            sepal = _turn(_arc(0.07, 0.068, 0.07), turn) * (1, 0.82) - (0, 0.045)
            scene.body(scene.tile(sepal), green, 0.012, 0.01, 0.1, ((0, -0.045), 0.06, "#687a3a"))
        scene.body(scene.tile(_curve((0, -0.045), (0.004, -0.075), (0.02, -0.1)), 0.036), "#7a6e3e", 0.011, 0.012)


def _watermelon(scene: _Scene) -> None:
    count, flesh = int(scene.random.integers(1, 4)), scene.pick("#ec464a #e43a3e #f05852 #ec464a #e43a3e #f8c84c")
    size, lean = (1.3, 0.95, 0.8)[count - 1] * scene.between(0.93, 1.03), scene.between(-0.4, 0.4)
    for x, y in scene.layout(count, 0.24, 0.25):
        half = float(scene.random.choice([np.pi / 2, 0.62, 0.5]))  # half the angle of its point; the rind is below
        grow, down, pips = (0.36, 0.15, 9) if half > 1 else (0.5, 0.27, 4)
        scene.pose(lean + scene.between(-0.5, 0.5), size, (x, y + 0.04))
        rim = _arc(grow, grow, 0, 0, np.pi / 2 - half, np.pi / 2 + half)
        face = np.concatenate([rim, [(0, 0)]])
        skin = scene.tile(np.concatenate([rim - (0, down - 0.05), rim[::-1] - (0, down)]))
        rind = scene.body(skin, "#2c683a", 0.02, 0.045)
        for a in np.arange(-half, half, 0.15):
            mark = _arc(0.012, 0.04, grow * np.sin(a), grow * np.cos(a) - down + 0.03)
            scene.stain(scene.tile(mark), "#1a4a2c", 0.6, 0, rind)
        cut = scene.body(scene.tile(face - (0, down)), "#428646", 0.006, 0, 0)
        for part, colour in ((0.965, "#cee2a0"), (0.925, "#f7f3e0"), (0.885, flesh * 0.5 + 115)):
            scene.stain(scene.tile(face * part - (0, down)), colour, 1, 0.005, cut)
        scene.body(scene.tile(face * 0.855 - (0, down)), flesh, 0.016, 0, 0.1, ((0, -0.08), 0.2, flesh * 0.9))
        for far, number in ((0.68, pips), (0.44, pips // 2)):
            for turn in np.linspace(-half, half, number + 2)[1:-1] + scene.random.normal(0, 0.04, number):
                pip = _turn(_arc(0.021, 0.012, (far + scene.between(-0.05, 0.05)) * grow), np.pi / 2 + turn)
                scene.stain(scene.tile(pip - (0, down)), "#2e1e1e", 0.95)


def _teapot(scene: _Scene) -> None:
    glaze = scene.pick("#5c96a6 #de7868 #789e78 #e8e2d6 #e2b25a")
    scene.pose(0, scene.between(0.95, 1.15), (scene.between(-0.06, 0.06), 0.09), scene.random.choice([-1, 1]))
    scene.stain(scene.tile(_arc(0.2, 0.03, 0, 0.19)), "#3c2832", 0.6, 0.02)
    scene.body(scene.tile(_curve((-0.2, -0.1), (-0.46, -0.2), (-0.42, 0.17), (-0.2, 0.13)), 0.045), glaze, 0.013)
    half, spout = np.linspace(0.075, 0.024, 40), _curve((0.17, 0.1), (0.36, 0.08), (0.29, -0.1), (0.41, -0.15))
    scene.body(scene.tile(_band(spout, -half, half)), glaze, 0.025)
    scene.body(scene.tile(_arc(0.26, 0.2)), glaze, 0.085, 0, 0.6)
    for x, turn in product(np.linspace(-0.186, 0.186, 5), np.arange(5) * 1.257 - 0.3):
        scene.stain(scene.tile(_turn(_arc(0.014, 0.01, 0.016), turn, 1, (x, 0.02 - x * x / 4))), "#fffaf0", 0.8)
    scene.body(scene.tile(_arc(0.135, 0.062, 0, -0.165, np.pi)), glaze, 0.03)
    scene.body(scene.tile([(-0.14, -0.165), (0.14, -0.165)], 0.02), glaze, 0.006, 0.006)
    scene.body(scene.tile(_arc(0.03, 0.03, 0, -0.245)), glaze, 0.013)
    scene.stain(scene.tile(_curve((0.43, -0.2), (0.5, -0.3), (0.36, -0.3), (0.46, -0.44)), 0.02), "white", 0.6, 0.015)


def _bicycle(scene: _Scene) -> None:
    paint, dark, steel, leather = scene.pick("#d65448 #468a96 #eca844 #688c60"), "#3a363a", "#a6a6ac", "#704632"
    scene.pose(0, scene.between(1.0, 1.15), (scene.between(-0.04, 0.04), 0.03), scene.random.choice([-1, 1]))
    scene.stain(scene.tile(_arc(0.46, 0.02, 0, 0.268)), "#3c2832", 0.5, 0.016)
    rear, front, crank, seat, head = (-0.27, 0.1), (0.27, 0.1), (-0.04, 0.11), (-0.11, -0.13), (0.18, -0.13)
    for hub in (rear, front):
        for turn in np.arange(9) * np.pi / 9 + 0.1:
            scene.stain(scene.tile(_turn([(-0.155, 0), (0.155, 0)], turn, 1, hub), 0.003), steel, 0.8)
        for far, width, colour in ((0.165, 0.026, dark), (0.167, 0.006, "#6a666a"), (0.15, 0.006, "#e2e0dc")):
            scene.stain(scene.tile(_arc(far, far, *hub), width), colour, 1)
    bar, fork = _curve((0.16, -0.15), (0.15, -0.28), (0.26, -0.23)), _curve((0.16, -0.18), (0.21, 0), front)
    frame = ((rear, crank), (rear, seat), (crank, seat), (crank, head), (seat, head), fork)
    tubes: list[tuple[Any, float, Any]] = [(paint, 0.02, line) for line in frame] + [(steel, 0.014, bar)]
    tubes += [(leather, 0.022, bar[30:]), (leather, 0.034, _curve((-0.21, -0.21), (-0.12, -0.24), (-0.05, -0.2)))]
    tubes += [(steel, 0.014, [seat, (-0.13, -0.2)]), (dark, 0.012, _arc(0.038, 0.038, *crank))]
    for tint, width, line in [*tubes, (steel, 0.012, [crank, (0, 0.19)]), (dark, 0.016, [(-0.03, 0.19), (0.03, 0.19)])]:
        scene.body(scene.tile(line, width), tint, width * 0.3, 0, 0.4)

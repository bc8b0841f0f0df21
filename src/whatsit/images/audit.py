"""Data audit: size, lightness, sharpness and colour of images, and their faults.

Dark and bright are absolute. Blurred, odd, tiny and grey are relative to the other images of the data set: photos of fog are
no faults where all are of fog.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field, fields
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageStat

from whatsit.arrays import Float32, Float64, Int64
from whatsit.cache import cache_folder
from whatsit.errors import ImageError
from whatsit.files import DiskError
from whatsit.images.decode import Pixels, decode_within, picture_size
from whatsit.images.pictures import Picture, Pictures
from whatsit.images.row_cache import SHARD, RowCache
from whatsit.images.scan import Dataset
from whatsit.images.stored_arrays import keep_rows, new_array, pieces, release

SIDE = 256  # pixels of the longer side at which an image is measured
THUMB = 32  # pixels of the thumbnails by which near-duplicates are found

DARK = 45.0  # of the brightest twentieth, of 255: below it nothing is seen on a screen by day
BRIGHT = 225.0  # of the darkest twentieth, where also hardly anything differs
FLAT = 12.0  # standard deviation of the luminance of a picture without content
TINY = 1 / 4  # of the side of the middle picture
ODD = 2.5  # times the proportions of the middle picture
BLUR = 4.0  # robust standard deviations below the middle sharpness, of its logarithm
GREY = 3.0  # mean distance of the channels, of 255; at least this times as much in the middle picture
_LEVELS = np.arange(256.0)
_ROW = np.dtype([("measures", "<f8", (9,)), ("thumb", "u1", (THUMB, THUMB))])
_KEY = f"2-{SIDE}-{THUMB}"  # goes up whenever `measure` gives other values
_MAD = 1.4826  # makes the median absolute deviation of a normal distribution its standard deviation


@dataclass(frozen=True)
class Measures:
    """The measurements of one image."""

    height: int
    width: int
    bytes: int
    brightness: float  # mean luminance, 0 to 255
    darkest: float  # the 5th percentile of it
    brightest: float  # the 95th
    contrast: float  # its standard deviation
    sharpness: float  # of its edges beside its contrast, above 0; no unit
    colour: float  # mean distance between the largest and the smallest channel, 0 to 255


@dataclass(frozen=True)
class Audit:
    """The measurements of all readable images of a data set, in order."""

    pictures: Pictures
    values: Float64  # [N, 9], the measures in their order
    thumbs: Pixels  # [N, THUMB, THUMB] luminance
    unreadable: list[tuple[str, str]] = field(default_factory=list)  # (name, reason)

    @property
    def sides(self) -> list[int]:
        """Return the shorter side of each image, in pixels."""
        sides: list[int] = self.values[:, :2].min(axis=1).astype(int).tolist()
        return sides

    def measures(self, place: int) -> Measures:
        """Return the measures of one image."""
        height, width, size, *others = self.values[place].tolist()
        return Measures(int(height), int(width), int(size), *others)


def measure(data: bytes) -> tuple[Measures, Pixels]:
    """Return a file's measures and thumbnail, luminance uint8 `[THUMB, THUMB]`.

    Raises `ImageError`.
    """
    height, width = picture_size(data)
    image = Image.fromarray(decode_within(data, SIDE))
    grey = image.convert("L")
    shares = np.array(grey.histogram(), float) / (grey.width * grey.height)
    darkest, brightest = np.searchsorted(shares.cumsum(), (0.05, 0.95))
    brightness = float(shares @ _LEVELS)
    contrast = float(np.sqrt(shares @ np.square(_LEVELS - brightness)))
    measures = Measures(
        height,
        width,
        len(data),
        brightness,
        float(darkest),
        float(brightest),
        contrast,
        _sharpness(np.asarray(grey, np.float32)) / (contrast + 4.0),
        _colour(image),
    )
    return measures, np.asarray(grey.resize((THUMB, THUMB), Image.Resampling.BOX))


def measured_row(data: bytes) -> bytes:
    """Return `measure` of a file as a row of the cache. Raises `ImageError`."""
    row = np.zeros(1, _ROW)
    measures, thumb = measure(data)
    row[0] = (astuple(measures), thumb)
    return row.tobytes()


def _sharpness(grey: Float32) -> float:
    """Return the deviation of the Laplacian (Pech-Pacheco et al. 2000, its square)."""
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return float(laplacian.std())


def _colour(image: Image.Image) -> float:
    red, green, blue = image.split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    least = ImageChops.darker(ImageChops.darker(red, green), blue)
    return float(ImageStat.Stat(ImageChops.subtract(most, least)).mean[0])


def audit_cache(folder: Path) -> RowCache:
    """Return the cache of `measured_row` of files, in the part `rows`."""
    return RowCache(folder / "audit" / _KEY, _ROW.itemsize, np.uint8)


def audit(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> Audit:
    """Measure every image; the unreadable ones are listed, after those of the scan.

    Measurements are cached by file contents (see `images/row_cache.py`), so that only new images are measured the next time.
    """
    cache = audit_cache(cache_folder())
    pictures, total = dataset.pictures, len(dataset.pictures)
    rows = new_array((total, _ROW.itemsize), np.uint8)
    there = cache.fill("rows", pictures.keys, rows)
    failed: dict[int, str] = {}

    def report(before: int, done: int) -> None:
        if progress:
            progress(int(there.sum()) + before + done, total)

    missing = np.flatnonzero(~there)
    for start in range(0, len(missing), SHARD):
        some = missing[start : start + SHARD]
        failed |= _measure_all(dataset, some, rows, cache, partial(report, start))
        release(rows)
    report(len(missing), 0)
    unreadable = [*dataset.unreadable, *((pictures[place].name, reason) for place, reason in failed.items())]
    good = np.delete(np.arange(total), [*failed])
    table = keep_rows(rows, good).view(_ROW)[:, 0]
    values = np.concatenate([np.empty((0, 9)), *(some["measures"] for some in pieces(table))])
    return Audit(pictures.take(good), values, table["thumb"], unreadable)


def _measure_all(
    dataset: Dataset, missing: Int64, rows: Pixels, cache: RowCache, progress: Callable[[int], None]
) -> dict[int, str]:
    """Measure some images into their rows, and return the reasons for those that fail."""
    pictures = dataset.pictures.take(missing)
    failed: dict[int, str] = {}
    table = rows.view(_ROW)[:, 0]

    def measured(picture: Picture) -> tuple[Measures, Pixels] | ImageError:
        try:
            return measure(dataset.read(picture))
        except ImageError as error:
            return error

    with ThreadPoolExecutor(2, thread_name_prefix="audit") as pool:
        places = missing.tolist()
        for done, (place, found) in enumerate(zip(places, pool.map(measured, pictures), strict=True), 1):
            if isinstance(found, ImageError):
                failed[place] = str(found)
            else:
                table[place] = (astuple(found[0]), found[1])
            if done % 200 == 0:
                progress(done)
    new = ~np.isin(missing, [*failed])
    if new.any():
        with contextlib.suppress(DiskError):  # they are measured again the next time
            cache.add("rows", pictures.take(new).keys, rows[missing[new]])
    return failed


def faults(values: Float64) -> dict[str, list[int]]:
    """Return the numbers of the images with each fault, worst first.

    `values` are their measures, `[N, 9]`.
    """
    if not len(values):
        return {name: [] for name in ("dark", "bright", "blurred", "odd", "tiny", "grey")}
    table = {field.name: column for field, column in zip(fields(Measures), values.T, strict=True)}
    dark = table["brightest"] < DARK
    bright = (table["darkest"] > BRIGHT) & (table["contrast"] < FLAT)
    seen = ~dark & ~bright & (table["contrast"] >= FLAT / 3)  # the sharpness of others means nothing
    proportion = np.log(table["width"] / table["height"])
    side = np.minimum(table["width"], table["height"])
    odd = np.abs(proportion - np.median(proportion))
    return {
        "dark": _worst(dark, table["brightest"]),
        "bright": _worst(bright, -table["darkest"]),
        "blurred": _blurred(table["sharpness"], seen),
        "odd": _worst(odd > np.log(ODD), -odd),
        "tiny": _worst(side < TINY * np.median(side), side),
        "grey": _grey(table["colour"]),
    }


def _blurred(sharpness: npt.NDArray[np.float64], seen: npt.NDArray[np.bool_]) -> list[int]:
    if seen.sum() < 10:
        return []
    logs = np.log(sharpness + 1e-6)
    middle = np.median(logs[seen])
    spread = _MAD * np.median(np.abs(logs[seen] - middle))
    limit = middle - max(BLUR * spread, np.log(2.0))
    limit = max(limit, middle - np.log(4.0)) if spread < np.log(4.0) / 2 else limit
    return _worst(seen & (logs < limit), logs)


def _grey(colour: npt.NDArray[np.float64]) -> list[int]:
    """Return grey images where most are colourful: in X-rays grey is right."""
    if np.median(colour) < 4 * GREY:
        return []
    return _worst(colour < GREY, colour)


def _worst(where: npt.NDArray[np.bool_], order: npt.NDArray[np.float64]) -> list[int]:
    found = np.flatnonzero(where)
    return [int(place) for place in found[np.argsort(order[found], kind="stable")]]

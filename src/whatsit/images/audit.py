"""What can be seen of a picture without knowing what is on it: how large, dark, bright, sharp and colourful it is.

Dark and bright are absolute. Blurred, odd, tiny and grey are said of pictures that are so beside the others of their data
set: photos of fog are no faults where all are of fog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from whatsit.errors import ImageError
from whatsit.images.decode import Pixels, decode, picture_size
from whatsit.images.scan import Dataset, Picture

SIDE = 256  # pixels of the longer side at which a picture is measured
THUMB = 32  # pixels of the thumbnails that near-duplicates are told by

DARK = 45.0  # of the brightest twentieth, of 255: below it nothing is seen on a screen by day
BRIGHT = 225.0  # of the darkest twentieth, where also hardly anything differs
FLAT = 12.0  # standard deviation of the luminance of a picture without content
TINY = 1 / 4  # of the side of the middle picture
ODD = 2.5  # times the proportions of the middle picture
BLUR = 4.0  # robust standard deviations below the middle sharpness, of its logarithm
GREY = 3.0  # mean distance of the channels, of 255; at least this times as much in the middle picture
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
_MAD = 1.4826  # makes the median absolute deviation of a normal distribution its standard deviation

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Measures:
    """One picture, measured."""

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
    """All pictures of a data set that could be read, measured, in order."""

    pictures: list[Picture]
    measures: list[Measures]
    thumbs: Pixels  # [N, THUMB, THUMB] luminance
    mean: Floats  # [THUMB, THUMB, 3], the mean picture, 0 to 255
    unreadable: list[tuple[str, str]] = field(default_factory=list)  # (name, reason)


def measure(data: bytes) -> tuple[Measures, Pixels]:
    """A file's measures and its thumbnail, uint8 `[THUMB, THUMB, 3]`. Raises `ImageError`."""
    height, width = picture_size(data)
    scale = min(1.0, SIDE / max(height, width))
    pixels = decode(data, (max(1, round(height * scale)), max(1, round(width * scale))))
    grey = pixels.astype(np.float32) @ _LUMINANCE
    darkest, brightest = np.percentile(grey, (5, 95))
    contrast = float(grey.std())
    spread = pixels.max(axis=2).astype(np.int16) - pixels.min(axis=2)
    measures = Measures(
        height,
        width,
        len(data),
        float(grey.mean()),
        float(darkest),
        float(brightest),
        contrast,
        _sharpness(grey) / (contrast + 4.0),
        float(spread.mean()),
    )
    thumb = Image.fromarray(pixels).resize((THUMB, THUMB), Image.Resampling.BOX)
    return measures, np.asarray(thumb)


def _sharpness(grey: Floats) -> float:
    """Standard deviation of the Laplacian (Pech-Pacheco et al. 2000, its square)."""
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return float(laplacian.std())


def audit(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> Audit:
    """Measure every picture; those that cannot be read are listed with the reason, beside those of the scan."""
    pictures: list[Picture] = []
    measures: list[Measures] = []
    thumbs = np.empty((len(dataset.pictures), THUMB, THUMB), np.uint8)
    total = np.zeros((THUMB, THUMB, 3))
    unreadable = list(dataset.unreadable)
    for done, (picture, found) in enumerate(_each(dataset), 1):
        if isinstance(found, ImageError):
            unreadable.append((picture.name, str(found)))
        else:
            thumbs[len(pictures)] = np.rint(found[1].astype(np.float32) @ _LUMINANCE)
            total += found[1]
            pictures.append(picture)
            measures.append(found[0])
        if progress and (done % 200 == 0 or done == len(dataset.pictures)):
            progress(done, len(dataset.pictures))
    mean = (total / max(len(pictures), 1)).astype(np.float32)
    return Audit(pictures, measures, thumbs[: len(pictures)], mean, unreadable)


def _each(dataset: Dataset) -> Iterator[tuple[Picture, tuple[Measures, Pixels] | ImageError]]:
    def look(picture: Picture) -> tuple[Measures, Pixels] | ImageError:
        try:
            return measure(dataset.read(picture))
        except ImageError as error:
            return error

    with ThreadPoolExecutor(2, thread_name_prefix="audit") as pool:
        for start in range(0, len(dataset.pictures), 512):
            lot = dataset.pictures[start : start + 512]
            yield from zip(lot, pool.map(look, lot, chunksize=16), strict=True)


def faults(measures: Sequence[Measures]) -> dict[str, list[int]]:
    """The numbers of the pictures that are `dark`, `bright`, `blurred`, `odd`, `tiny` or `grey`, worst first."""
    if not measures:
        return {name: [] for name in ("dark", "bright", "blurred", "odd", "tiny", "grey")}
    table = {
        name: np.array([getattr(one, name) for one in measures], float)
        for name in ("height", "width", "brightness", "darkest", "brightest", "contrast", "sharpness", "colour")
    }
    dark = table["brightest"] < DARK
    bright = (table["darkest"] > BRIGHT) & (table["contrast"] < FLAT)
    seen = ~dark & ~bright & (table["contrast"] >= FLAT / 3)  # of others sharpness says nothing
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
    """Only where most are colourful: in a data set of X-rays grey is right."""
    if np.median(colour) < 4 * GREY:
        return []
    return _worst(colour < GREY, colour)


def _worst(where: npt.NDArray[np.bool_], order: npt.NDArray[np.float64]) -> list[int]:
    found = np.flatnonzero(where)
    return [int(place) for place in found[np.argsort(order[found], kind="stable")]]

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.drawn import photos
from whatsit.images.audit import faults, measure
from whatsit.images.near import are_near, near_duplicates


def save(image: Image.Image, quality: int = 85) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def thumb(data: bytes) -> np.ndarray:
    return measure(data)[1]


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Drawn photos that are all different."""
    return [Image.open(io.BytesIO(data)).convert("RGB") for data in photos(6).values()]


def test_pictures_saved_again_or_resized_are_found_and_no_others(pictures: list[Image.Image]) -> None:
    again = [save(pictures[0], 30), save(pictures[1].resize((90, 70)))]
    found = near_duplicates(np.stack([thumb(data) for data in [*map(save, pictures), *again]]))
    assert found == [[0, len(pictures)], [1, len(pictures) + 1]]


@pytest.mark.parametrize("share", [0.95, 0.9, 0.8, 0.7])
def test_cut_is_near(pictures: list[Image.Image], share: float) -> None:
    width, height = pictures[2].size
    cut = pictures[2].crop(
        (int(0.02 * width), int(0.02 * height), int((share + 0.02) * width), int((share + 0.02) * height))
    )
    assert are_near(thumb(save(pictures[2]))[None], thumb(save(cut))[None]).all()
    assert not are_near(thumb(save(pictures[3]))[None], thumb(save(cut))[None]).any()


def test_features_lead_to_cuts(pictures: list[Image.Image]) -> None:
    width, height = pictures[0].size
    files = [*map(save, pictures), save(pictures[0].crop((0, 0, int(0.8 * width), int(0.8 * height))))]
    features = np.random.default_rng(0).normal(size=(len(files), 16))
    features[-1] = features[0] + 0.1
    assert near_duplicates(np.stack([thumb(data) for data in files]), features) == [[0, len(files) - 1]]


def test_pictures_without_content_are_not_said_to_be_alike() -> None:
    assert near_duplicates(np.full((3, 32, 32), 7, np.uint8)) == []


def test_dark_bright_blurred_and_odd_pictures_are_found(pictures: list[Image.Image]) -> None:
    from PIL import ImageFilter

    files = [save(image) for image in pictures * 2]
    dark = save(pictures[0].point(lambda value: value * 0.12))
    bright = save(Image.new("RGB", (100, 100), (250, 250, 250)))
    blurred = save(pictures[1].filter(ImageFilter.GaussianBlur(6)))
    odd = save(pictures[2].crop((0, 0, pictures[2].width, pictures[2].height // 6)))
    tiny = save(pictures[3].resize((16, 12)))
    grey = save(pictures[4].convert("L"))
    found = faults([measure(data)[0] for data in [*files, dark, bright, blurred, odd, tiny, grey]])
    first = len(files)
    for place, kind in enumerate(("dark", "bright", "blurred", "odd", "tiny", "grey")):
        assert first + place in found[kind], kind
        assert all(number >= first for number in found[kind]), kind


def test_pixels_made_large_are_not_compared() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (2, 8, 8), np.uint8)
    thumbs = np.concatenate([small, small]).repeat(4, axis=1).repeat(4, axis=2)
    assert near_duplicates(thumbs) == []


def test_small_pictures_are_not_compared(pictures: list[Image.Image]) -> None:
    thumbs = np.stack([thumb(data) for data in [*map(save, pictures), save(pictures[0], 40)]])
    assert near_duplicates(thumbs, sides=[200] * len(thumbs)) == [[0, len(pictures)]]
    assert near_duplicates(thumbs, sides=[20] * len(thumbs)) == []

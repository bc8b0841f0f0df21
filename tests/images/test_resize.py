from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from whatsit.images import resize
from whatsit.images.resize import stretch

WAYS = [
    pytest.param(
        True, marks=pytest.mark.skipif(resize.package is None, reason="cykooz-resizer is not built for this machine")
    ),
    False,
]
SIZES = [
    ((375, 500), (224, 224)),
    ((224, 224), (224, 100)),
    ((100, 224), (224, 224)),
    ((33, 47), (96, 128)),
    ((20, 300), (64, 64)),
    ((300, 20), (64, 64)),
    ((1, 1), (5, 7)),
    ((90, 70), (1, 1)),
    ((3000, 3), (2, 9)),
    ((2, 5000), (4, 11)),
]


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.skipif(resize.package is None, reason="cykooz-resizer is not built for this machine")
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("have", "want"), SIZES)
def test_package_and_numpy_give_the_same_pixels(have: tuple[int, int], want: tuple[int, int], channels: int) -> None:
    for pixels in (noise(*have, channels), np.where(noise(*have, channels) > 99, 255, 0).astype(np.uint8)):
        assert np.array_equal(stretch(pixels, want), stretch(pixels, want, use_package=False))


@pytest.mark.parametrize("use_package", WAYS)
@pytest.mark.parametrize(("have", "want"), SIZES)
def test_pixels_are_those_of_pillow_but_for_two_levels(
    have: tuple[int, int], want: tuple[int, int], use_package: bool
) -> None:
    pixels = noise(*have)
    pillow = np.asarray(Image.fromarray(pixels).resize(want[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(stretch(pixels, want, use_package=use_package) - pillow).max() <= 2


@pytest.mark.parametrize("use_package", WAYS)
@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_a_plain_surface_stays_as_it_is(level: int, use_package: bool) -> None:
    for have, want in SIZES:
        found = stretch(np.full((*have, 3), level, np.uint8), want, use_package=use_package)
        assert found.shape == (*want, 3)
        assert (found == level).all(), (have, want)


@pytest.mark.parametrize("use_package", WAYS)
@pytest.mark.parametrize("have", [(1200, 1000), (1000, 1200)])
@pytest.mark.parametrize("want", [(50, 60), (1300, 40)])
def test_a_large_picture_is_stretched_in_bands_to_the_same_pixels(
    have: tuple[int, int], want: tuple[int, int], use_package: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = noise(*have)
    found = stretch(pixels, want, use_package=use_package)
    assert np.array_equal(stretch(Image.fromarray(pixels), want, use_package=use_package), found)
    monkeypatch.setattr(resize, "BAND", pixels.size)
    assert np.array_equal(stretch(pixels, want, use_package=use_package), found)


@pytest.mark.parametrize("have", [(1, 100_000), (100_000, 1)])
def test_a_strip_takes_no_more_memory_than_itself_and_its_weights(have: tuple[int, int]) -> None:
    pixels = np.zeros((*have, 3), np.uint8)
    tracemalloc.start()
    stretch(pixels, (224, 224), use_package=False)
    assert tracemalloc.get_traced_memory()[1] < 16e6  # the other order would take 67 MB
    tracemalloc.stop()


def test_cmyk_keeps_its_channels() -> None:
    assert stretch(Image.new("CMYK", (9, 9), (1, 2, 3, 4)), (4, 5))[0, 0].tolist() == [1, 2, 3, 4]


def test_result_is_writable() -> None:
    stretch(noise(9, 9), (4, 4))[:] = 0

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from whatsit.evaluation import data_plots
from whatsit.images.scan import Dataset, scan


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), int)


def share_of(png: bytes, colour: tuple[int, int, int]) -> float:
    """How much of a picture is about that colour."""
    return float((np.abs(pixels(png) - colour).max(axis=2) < 12).mean())


def test_bars_are_as_long_as_there_are_pictures_also_for_odd_names() -> None:
    blue = (0x00, 0x72, 0xB2)
    few = share_of(data_plots.class_counts({"": {"$x_2$": 100, "ส้มตำ": 10, "_a\n": 10}}), blue)
    many = share_of(data_plots.class_counts({"": {"$x_2$": 100, "ส้มตำ": 100, "_a\n": 100}}), blue)
    assert 2 < many / few < 3


def test_sizes_of_one_and_of_many_kinds_are_drawn() -> None:
    for sizes in ([(32, 32)] * 5, [(10, 400), (400, 10), (3000, 4000)]):
        assert share_of(data_plots.sizes(sizes), (255, 255, 255)) < 0.99


def test_samples_show_the_pictures(shapes_folder: Path) -> None:
    dataset: Dataset = scan(shapes_folder)
    assert pixels(data_plots.samples(dataset)).shape[0] > 300
    assert data_plots.grid(dataset, [("gone", ["nowhere.png"])], "Nothing")

from __future__ import annotations

import numpy as np
import pytest

from whatsit.images.views import apply_view, asked_views, places_in

PICTURE = np.arange(12, dtype=np.uint8).reshape(1, 3, 4, 1).repeat(3, axis=3)


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        ("original", [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
        ("flip", [[3, 2, 1, 0], [7, 6, 5, 4], [11, 10, 9, 8]]),
        ("original+1", [[0, 0, 1, 2], [0, 0, 1, 2], [4, 4, 5, 6]]),
        ("flip-1", [[6, 5, 4, 4], [10, 9, 8, 8], [10, 9, 8, 8]]),
    ],
)
def test_a_view_is_mirrored_then_moved_down_and_right(view: str, shown: list[list[int]]) -> None:
    assert apply_view(PICTURE, view)[0, :, :, 0].tolist() == shown


def test_places_are_those_of_the_picture() -> None:
    rows, columns = places_in("flip+2", 3, 4)
    assert (rows.tolist(), columns.tolist()) == ([1, 0, 0], [2, 3, 3, 2])


def test_views_of_a_test() -> None:
    assert asked_views(32, flip=False, shift=0.0) == ("original",)
    assert asked_views(32, flip=True, shift=0.0) == ("original", "flip")
    assert asked_views(64, flip=True, shift=1 / 32) == ("original", "flip-2", "flip+2")
    assert asked_views(16, flip=False, shift=0.01) == ("original", "original-1", "original+1")

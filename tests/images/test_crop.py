"""Parts of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from whatsit.errors import ImageError, UsageError
from whatsit.images.crop import Crop

PIXELS = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3).astype(np.uint8)


@pytest.mark.parametrize("text", ["30,10,15,20", "50%,25%,25%,50%", "50%,10,25%,20"])
def test_pixels_and_percents_name_the_same_part(text: str) -> None:
    assert (Crop(text).cut(PIXELS) == PIXELS[10:30, 30:45]).all()


def test_whole_picture_in_thirds_loses_nothing_to_rounding() -> None:
    assert Crop("66.7%,0%,33.3%,100%").cut(np.zeros((7, 7, 3), np.uint8)).shape == (7, 2, 3)
    assert Crop("50%,0%,50%,100%").cut(np.zeros((7, 7, 3), np.uint8)).shape == (7, 3, 3)


def test_part_outside_the_picture_is_an_error_of_the_picture() -> None:
    with pytest.raises(ImageError, match="does not lie inside the picture, which has 60 x 40 pixels"):
        Crop("50,0,20,20").cut(PIXELS)


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "-1,0,5,5", "0.5,0,5,5", "a,b,c,d", "0,0,0,5", "1e3%,0,5,5"]
)
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--crop"):
        Crop(text)

from __future__ import annotations

import numpy as np
import pytest

from whatsit.evaluation.variants import variants
from whatsit.images.decode import decode


@pytest.mark.parametrize("shape", [(40, 30), (20, 400), (512, 8), (1, 1)])
def test_pictures_of_any_shape_can_be_read_in_every_kind(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    files = dict(variants([picture]))
    assert {
        "EXIF orientation 6.jpg",
        "CMYK.jpg",
        "alpha.png",
        "transparent colour.png",
        "16-bit.png",
        "large.jpg",
    } <= files.keys()
    for data in files.values():
        assert decode(data, (32, 32)).shape == (32, 32, 3)

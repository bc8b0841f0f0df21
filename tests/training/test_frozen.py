"""Which of the heads on a frozen network ships."""

from __future__ import annotations

import numpy as np
import pytest

from whatsit.training.frozen import takes_probe


def right(count: int) -> np.ndarray:
    """Of 100 images, that many predicted right."""
    return np.arange(100) < count


@pytest.mark.parametrize(
    ("probe", "head", "easily", "taken"),
    [
        (91, 90, True, True),
        (90, 90, True, False),
        (91, 90, False, False),  # of uneven classes it may be the rare ones that it does not find
        (96, 90, False, True),
    ],
)
def test_a_probe_is_taken_where_it_is_right_more_often(probe: int, head: int, easily: bool, taken: bool) -> None:
    assert takes_probe(right(probe), right(head), easily=easily) == taken

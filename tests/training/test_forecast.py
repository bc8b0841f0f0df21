from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from whatsit.training.forecast import LIMITS, Pace, more_time


def right(mistakes: int, images: int = 200) -> np.ndarray:
    return np.arange(images) >= mistakes


@pytest.mark.parametrize(("mistakes", "images"), [(0, 200), (3, 200), (9, 1000)])
def test_few_mistakes_are_no_reason_for_more_time(mistakes: int, images: int) -> None:
    assert more_time(right(mistakes, images), lambda: 0.005, 1000, unlike=False) is None


def test_many_mistakes_are_told_with_the_points_that_are_usual() -> None:
    found = more_time(right(40), lambda: 0.005, 1000, unlike=False)
    assert found
    assert found.points == (3, 9)  # 15 to 45 of every 100 mistakes
    assert found.sentence == "fine-tuning; 3 to 9 points more are usual where 20% of the validation images are wrong"


def test_images_unlike_those_of_the_network_gain_more() -> None:
    found = more_time(right(40), lambda: 0.005, 1000, unlike=True)
    assert found
    assert found.points == (5, 11)
    assert found.sentence.endswith("are wrong and middle layers do better than the last")


PACES = (0.0001, 0.005, 0.05, 5.0)


def test_the_limit_follows_the_machine_and_the_images() -> None:
    limits = [more_time(right(40), partial(float, pace), 1000, unlike=False) for pace in PACES]
    minutes = [found.minutes for found in limits if found]
    assert minutes == sorted(minutes)
    assert (minutes[0], minutes[-1]) == (2, LIMITS[-1])


def test_time_to_read_counts_once_an_image_and_that_of_features_for_each_view() -> None:
    assert Pace(0.5, 0.1).look(10, 2) == pytest.approx(7.0)

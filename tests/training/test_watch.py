from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from whatsit.training.trained import Outcome, signs_of_trouble


def epoch(number: int, loss: float, accuracy: float = 0.9) -> dict[str, Any]:
    return {"epoch": number, "loss": loss, "accuracy": accuracy, "val_accuracy": accuracy}


LABELS = np.repeat([0, 1, 2], [20, 5, 5])
GOOD = Outcome((epoch(1, 1.0), epoch(2, 0.4)), epoch(2, 0.4), LABELS.copy(), LABELS, ("cat", "dog", "owl"), probe=0.95)


def test_a_sound_training_has_no_sign() -> None:
    assert signs_of_trouble(GOOD) == ()


def test_rising_training_loss() -> None:
    (sign,) = signs_of_trouble(replace(GOOD, epochs=(epoch(1, 0.5), epoch(2, 0.4), epoch(3, 1.9))))
    assert "rose from 0.500 to 1.900" in sign
    assert "learning rate" in sign


def test_tiny_loss_that_rises_a_little_is_no_sign() -> None:
    assert signs_of_trouble(replace(GOOD, epochs=(epoch(1, 0.002), epoch(2, 0.03)))) == ()


def test_no_better_than_always_the_largest_class() -> None:
    sign = signs_of_trouble(replace(GOOD, predicted=np.zeros(30, int)))[0]
    assert "always saying 'cat' would be for 66.7%" in sign


def test_a_handful_of_validation_images_says_nothing_of_what_was_learned() -> None:
    """20 + 20 pictures of two classes: every one of 6 called 'lily' may be luck, as a test accuracy of 100 % showed."""
    few = np.repeat([0, 1], 3)
    told = replace(GOOD, predicted=np.zeros(6, int), labels=few, classes=("lily", "tulip"))
    assert signs_of_trouble(told) == ()
    many = np.repeat([0, 1], 10)
    assert len(signs_of_trouble(replace(told, predicted=np.zeros(20, int), labels=many))) == 2


def test_right_for_every_image_of_a_hopeless_share_is_no_sign() -> None:
    labels = np.repeat([0, 1], [999, 1])
    assert signs_of_trouble(replace(GOOD, predicted=labels, labels=labels, classes=("a", "b"))) == ()


def test_class_that_is_never_predicted_is_named() -> None:
    predicted = np.where(LABELS == 2, 1, LABELS)
    (sign,) = signs_of_trouble(replace(GOOD, predicted=predicted))
    assert sign.startswith("'owl' is never predicted")


def test_class_with_hardly_any_validation_image_is_not_judged() -> None:
    labels = np.repeat([0, 1, 2], [20, 6, 4])
    assert signs_of_trouble(replace(GOOD, predicted=np.where(labels == 2, 1, labels), labels=labels)) == ()


def test_of_many_missing_classes_a_few_are_named() -> None:
    labels = np.repeat(np.arange(8), [20, *[5] * 7])
    sign = signs_of_trouble(
        replace(GOOD, labels=labels, predicted=np.where(labels > 1, 1, labels), classes=tuple("abcdefgh"))
    )[0]
    assert sign.startswith("'c', 'd', 'e' and 3 more classes are never predicted")


@pytest.mark.parametrize(("accuracy", "held", "signs"), [(0.8, 0.8, 1), (0.9, 0.8, 0), (0.8, 0.97, 0)])
def test_training_accuracy_far_below_the_probe(accuracy: float, held: float, signs: int) -> None:
    best = epoch(2, 0.4, accuracy) | {"val_accuracy": held}
    assert len(signs_of_trouble(replace(GOOD, best=best))) == signs

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from whatsit.evaluation.examination import Examination


def examination(right: int, n: int, recipe: str, probe: float = 1.0) -> Examination:
    """One whose model is right for so many of n test pictures; what the probe's alarm does not need is missing."""
    probabilities = np.full((n, 2), (0.9, 0.1), np.float32)
    exam = object.__new__(Examination)
    parts: dict[str, Any] = {
        "bundle": SimpleNamespace(provenance={"recipe": {"name": recipe}}),
        "test": SimpleNamespace(probabilities=probabilities, labels=(np.arange(n) >= right).astype(int)),
        "curve": SimpleNamespace(accuracy=(probe,)),
    }
    for name, part in parts.items():
        object.__setattr__(exam, name, part)
    return exam


@pytest.mark.parametrize(
    ("recipe", "advice"),
    [
        ("fast", "try --recipe finetune"),
        ("finetune", "try --recipe fast"),
        ("scratch", "try --recipe fast or --recipe finetune"),
        ("best", "try another --backbone"),
    ],
)
def test_only_other_recipes_than_the_one_used_are_proposed(recipe: str, advice: str) -> None:
    (alarm,) = examination(40, 100, recipe).probe_alarms
    assert "is right for 100.0% of the test images, this model for 40.0%: something went wrong in training" in alarm
    assert alarm.endswith(f"; {advice}")


def test_a_handful_of_test_pictures_tells_nobody_what_went_wrong() -> None:
    (alarm,) = examination(1, 4, "fast").probe_alarms
    assert "this model for 25.0%: 4 test pictures are too few to tell" in alarm
    assert "bring more pictures first" in alarm
    assert "--recipe" not in alarm


def test_probe_within_the_interval_is_no_alarm() -> None:
    assert examination(3, 4, "fast", probe=0.9).probe_alarms == ()

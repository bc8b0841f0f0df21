from __future__ import annotations

import pytest

from whatsit.apps.cli.output import answer_line
from whatsit.runtime.predictor import Prediction


@pytest.mark.parametrize(("probability", "shown"), [(0.99996, ">99.9%"), (1.0, "100.0%"), (0.9812, "98.1%")])
def test_answer_is_certain_only_where_it_is(probability: float, shown: str) -> None:
    answer = Prediction("mango", probability, False, (("mango", probability), ("banana", 1 - probability)))
    assert answer_line(answer) == f"mango {shown}"

from __future__ import annotations

from whatsit.runtime.predictor import Overruled, Prediction
from whatsit.runtime.suggestion import Suggestion


def test_two_classes_are_named_where_costs_overrule_the_most_probable() -> None:
    top = (("edible", 0.85), ("poisonous", 0.15))
    answer = Prediction("poisonous", 0.15, False, top, overruled=Overruled("edible", 0.85, 1.0, 0.5))
    assert Suggestion("a.jpg", answer).why == "unsure: poisonous or edible"

"""What a watched folder's answers say after a restart."""

from __future__ import annotations

from whatsit.runtime.predictor import Overruled, Prediction
from whatsit.runtime.watch_state import Message
from whatsit.runtime.watching import Told


def test_recorded_answer_still_says_why_another_class_is_answered() -> None:
    top = (("edible", 0.9), ("poisonous", 0.1))
    found = Prediction("poisonous", 0.1, False, top, overruled=Overruled("edible", 0.9, 10.0, 0.9))
    told = Told("1", "a.jpg", "", "2026-01-01T00:00:00.000Z", found)
    assert Told.of(Message("1", "a.jpg", told.body(), False)) == told

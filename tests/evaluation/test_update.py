"""What an update changed, and whether it is better."""

from __future__ import annotations

import pytest

from whatsit.evaluation.paired import ModelComparison, Paired
from whatsit.evaluation.update import DataChanges, Update

CHANGES = DataChanges(90, 10, 0, 0, ("daisy",), ())


@pytest.mark.parametrize(
    ("lost", "won", "other", "better"),
    [
        ((0, 0), (0, 0), (0, 9), True),  # only the new class is won
        ((3, 0), (4, 0), (0, 9), True),
        ((0, 0), (0, 0), (0, 0), False),  # nothing is
        ((15, 0), (0, 9), (0, 30), False),  # one of the known classes is clearly worse
    ],
)
def test_better_is_more_right_and_no_class_clearly_worse(
    lost: tuple[int, int], won: tuple[int, int], other: tuple[int, int], better: bool
) -> None:
    per_class = {str(k): Paired(100, 0.5, 0.5, lost[k], won[k]) for k in range(2)}
    known = ModelComparison(("before", "now"), Paired(200, 0.5, 0.5, sum(lost), sum(won)), per_class, 0.9, (0, 0), [])
    overall = Paired(230, 0.5, 0.5, sum(lost) + other[0], sum(won) + other[1])
    assert Update("run", CHANGES, overall, known, {"daisy": (other[1], 30)}).better is better

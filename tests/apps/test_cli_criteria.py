from __future__ import annotations

import pytest

from whatsit.apps.cli.output import criteria_rows, print_pairs
from whatsit.evaluation.criteria import Check

MET = Check("accuracy", "test accuracy", "> 60 %", "85.0 %", True)
MISSED = Check("class_recall", "recall in every class", "> 70 %", "40.0 % in class 'rose'", False)
SLOW = Check("seconds_per_picture", "time for one picture on this machine", "< 1 s", "1.20 s", False)
UNTOLD = Check("f1", "F1", "> 70 %", "cannot be told: no test pictures of 'x'", False, untested=("x",))


def test_verdict_comes_first_and_each_criterion_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_pairs(criteria_rows([MET, MISSED, SLOW, UNTOLD]))
    assert capsys.readouterr().out.splitlines() == [
        "Criteria:       2 of 4 not met, 1 of 4 cannot be told:",
        "                recall in every class > 70 %, found 40.0 % in class 'rose'",
        "                time for one picture on this machine < 1 s, found 1.20 s",
        "                F1 cannot be told: no test pictures of 'x'",
    ]


def test_only_what_cannot_be_told() -> None:
    assert [value for _, value in criteria_rows([MET, UNTOLD])] == [
        "1 of 2 cannot be told:",
        "F1 cannot be told: no test pictures of 'x'",
    ]


def test_all_met_and_none() -> None:
    assert criteria_rows([MET, MET]) == [("Criteria", "all 2 met")]
    assert criteria_rows([]) == [("Criteria", "none applies")]

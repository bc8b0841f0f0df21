from __future__ import annotations

import pytest

from whatsit.training.clock import Afterwards, Clock, Pace, Plan, duration, parse_duration


def clock(limit: float | None, told: list[str] | None = None) -> Clock:
    return Clock(limit, (told if told is not None else []).append)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("60 min", 3600), ("2H", 7200)]
)
def test_durations_are_understood(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "ten minutes", "-5m", "5d", "m"])
def test_other_texts_are_not(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_duration(text)


@pytest.mark.parametrize(("seconds", "text"), [(3.21, "3.2 s"), (45, "45 s"), (420, "7 min"), (4800, "1 h 20 min")])
def test_durations_are_told(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_without_a_limit_the_plan_is_the_recipe_s() -> None:
    told: list[str] = []
    assert clock(None, told).plan("scratch", 22, 100, Pace(0.5, 10.0)) == Plan(22, 100)
    assert told == ["Training (scratch): about 22 min on this machine (22 epochs, 60 s each)"]


def test_no_epoch_is_said_to_take_no_time() -> None:
    told: list[str] = []
    clock(None, told).plan("head", 24, 1, Pace(0.02, 0.01))
    clock(None, told).plan("head", 1, 1, Pace(0.002, 0.001))
    assert told == [
        "Training (head): about 0.7 s on this machine (24 epochs, less than 0.1 s each)",
        "Training (head): about 0.1 s on this machine (1 epoch, less than 0.1 s each)",
    ]


def test_fewer_epochs_where_time_is_short() -> None:
    told: list[str] = []
    plan = clock(600, told).plan("scratch", 22, 100, Pace(0.5, 10.0))
    assert plan.epochs == 10
    assert 570 <= plan.epochs * (plan.steps * 0.5 + 10.0) <= 600  # nothing is left over
    assert "10 epochs of the 22 that the recipe wants, 58 s each, in each 96% of the pictures" in told[0]


def test_shorter_epochs_where_hardly_one_fits() -> None:
    plan = clock(60).plan("scratch", 22, 100, Pace(0.5, 5.0))
    assert plan.epochs == 3
    assert 50 <= 3 * (plan.steps * 0.5 + 5.0) <= 60


def test_what_follows_training_has_its_time() -> None:
    kept = Clock(600, lambda text: None, afterwards=Afterwards(pictures=1000, fixed=100.0))
    kept.reserve(0.2)
    assert kept.left() == pytest.approx(282, abs=1)
    kept.reserve(0.2, first=300)
    assert kept.left() == pytest.approx(222, abs=1)


def test_slower_than_foreseen_ends_sooner() -> None:
    plan = wanted = Plan(10, 100)
    assert clock(600).replan(plan, wanted, 2, Pace(0.5, 10.0)) == plan
    slower = clock(600).replan(plan, wanted, 2, Pace(1.0, 20.0))
    assert slower.epochs == 7  # 5 more, each a little shorter
    assert 0.95 * 582 <= 5 * (slower.steps * 1.0 + 20.0) <= 582
    assert clock(600).replan(Plan(2, 100), wanted, 1, Pace(5.9, 10.0)) == Plan(2, 96)  # what is left is not given away
    assert clock(600).replan(plan, wanted, 2, Pace(1.0, 590.0)) == Plan(2, 100)


def test_faster_than_foreseen_does_more_of_what_is_wanted() -> None:
    wanted = Plan(22, 100)
    faster = clock(600).replan(Plan(6, 95), wanted, 2, Pace(0.5, 10.0))
    assert faster.epochs == 12  # 10 more, each a little shorter, in the time of four
    assert 0.95 * 582 <= 10 * (faster.steps * 0.5 + 10.0) <= 582
    assert clock(600).replan(Plan(6, 95), Plan(9, 100), 2, Pace(0.5, 10.0)) == Plan(9, 100)
    assert clock(600).replan(Plan(11, 97), wanted, 2, Pace(0.5, 10.0)) == Plan(11, 97)  # not for less than an epoch
    assert clock(None).replan(wanted, wanted, 2, Pace(0.5, 10.0)) == wanted


def test_part_of_the_time() -> None:
    assert clock(1000).part(0.1).left() == pytest.approx(97, abs=1)
    assert not clock(None).part(0.1).limited


def test_report_is_left_out_once() -> None:
    parts = Afterwards(pictures=100, fixed=10.0, report=Afterwards(pictures=500, fixed=40.0))
    short = Clock(600, lambda text: None, afterwards=parts)
    short.reserve(0.1)
    assert (short.reserved, short.without_report) == (pytest.approx(110), False)
    assert short.leave_out_report()
    assert (short.reserved, short.without_report) == (pytest.approx(20), True)
    assert not short.leave_out_report()

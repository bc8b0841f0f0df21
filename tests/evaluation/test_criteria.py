from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import whatsit
from whatsit.bundle.format import Bundle, InputSpec
from whatsit.errors import BundleError, UsageError
from whatsit.evaluation.criteria import check_criteria, load_criteria
from whatsit.run.record import Run


def bundle(accuracy: float = 0.9, lowest: float = 0.8, model: str = "vgg16", weights: str = "auto") -> Bundle:
    per_class = {label: {"precision": share, "recall": share, "n": 9} for label, share in (("a", 0.95), ("b", lowest))}
    test = {"accuracy": accuracy, "loss": 0.3, "ece": 0.02, "n": 18, "macro": {"f1": 0.8}, "per_class": per_class}
    recipe = {"model": model, "weights": weights}
    return Bundle(("a", "b"), InputSpec(8, 8, ""), b"", test=test, provenance={"recipe": recipe})


def passed(limits: dict[str, float], of: Bundle, seconds: float = 0.01, megabytes: float = 5.0) -> dict[str, bool]:
    return {check.name: check.passed for check in check_criteria(limits, of, seconds, megabytes)}


def test_classic_criteria_are_the_default() -> None:
    assert load_criteria() == {
        "baseline_accuracy": 0.60,
        "transfer_accuracy": 0.85,
        "class_precision": 0.70,
        "class_recall": 0.70,
        "seconds_per_picture": 1.0,
    }


@pytest.mark.parametrize(
    ("of", "name", "met"),
    [
        (bundle(0.86), "transfer_accuracy", True),
        (bundle(0.85), "transfer_accuracy", False),
        (bundle(0.61, model="simple-cnn"), "baseline_accuracy", True),
        (bundle(0.59, model="simple-cnn"), "baseline_accuracy", False),
        (bundle(0.61, model="modern-cnn"), "baseline_accuracy", True),
        (bundle(0.61, weights="none"), "baseline_accuracy", True),
    ],
)
def test_each_kind_of_network_has_its_own_accuracy(of: Bundle, name: str, met: bool) -> None:
    found = passed(load_criteria(), of)
    assert found[name] is met
    assert len(found) == 4


def test_worst_class_decides_and_is_named() -> None:
    checks = {check.name: check for check in check_criteria(load_criteria(), bundle(lowest=0.65), 0.01, 5.0)}
    assert not checks["class_recall"].passed
    assert checks["class_recall"].found == "65.0 % in class 'b'"


def lacking(lowest: float = 0.8) -> Bundle:
    """A model that knows a class, 'c', of which the test had no picture."""
    whole = bundle(lowest=lowest)
    per_class = {**whole.test["per_class"], "c": {"precision": 0.0, "recall": 0.0, "n": 0}}
    return replace(whole, classes=("a", "b", "c"), test={**whole.test, "per_class": per_class})


def test_class_without_test_pictures_is_not_passed_for_want_of_looking() -> None:
    checks = {check.name: check for check in check_criteria({**load_criteria(), "macro_f1": 0.5}, lacking(), 0.01, 5.0)}
    for name in ("class_precision", "class_recall", "macro_f1"):
        assert checks[name].found == "cannot be told: no test pictures of 'c'"
        assert (checks[name].passed, checks[name].missed, checks[name].untested) == (False, False, ("c",))
    assert checks["transfer_accuracy"].passed


def test_class_that_the_figures_do_not_name_is_not_tested_either() -> None:
    whole = replace(bundle(), classes=("a", "b", "c"))
    [check] = check_criteria({"class_recall": 0.5}, whole, 0.01, 5.0)
    assert check.untested == ("c",)


def test_what_a_tested_class_misses_is_missed_whatever_was_not_tested() -> None:
    [check] = check_criteria({"class_recall": 0.7}, lacking(lowest=0.6), 0.01, 5.0)
    assert (check.passed, check.missed, check.found) == (False, True, "60.0 % in class 'b'")
    assert check.note == "no test pictures of 'c'"


def test_many_untested_classes_are_counted() -> None:
    many = replace(bundle(), classes=("a", "b", *"cdefghij"))
    [check] = check_criteria({"class_recall": 0.5}, many, 0.01, 5.0)
    assert check.found == "cannot be told: no test pictures of 'c', 'd', 'e', 'f', 'g' and 3 more classes"


def test_slow_and_large_models_fail() -> None:
    limits = {"seconds_per_picture": 1.0, "model_mb": 4.0, "loss": 0.5, "macro_f1": 0.7, "test_pictures": 10}
    assert passed(limits, bundle(), seconds=1.2) == {
        "seconds_per_picture": False, "model_mb": False, "loss": True, "macro_f1": True, "test_pictures": True,
    }  # fmt: skip


def test_limit_of_one_is_met_by_one() -> None:
    assert passed({"accuracy": 1.0}, bundle(accuracy=1.0)) == {"accuracy": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acuracy = 0.5", "unknown criterion 'acuracy'; did you mean 'accuracy'?"),
        ("accuracy = 85", "'accuracy' must be a number from 0 to 1, received '85'"),
        ("accuracy = true", "must be a number from 0 to 1"),
        ("accuracy = nan", "must be a number from 0 to 1"),
        ("accuracy", "the criteria cannot be read"),
        ("", "there is no criterion in it"),
        ("accuracy = 0x" + "F" * 5000, "must be a number from 0 to 1, received a huge number"),
        ("a = " + "[" * 100_000, "the criteria cannot be read"),
    ],
)
def test_wrong_criteria_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_criteria(tmp_path / "c.toml")
    assert message in str(caught.value)


def test_criteria_for_the_other_kind_only_do_not_pass_unchecked(baseline_run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("transfer_accuracy = 0.1")
    with pytest.raises(UsageError, match="no criterion applies to this model, which is trained from scratch"):
        whatsit.check(baseline_run.model, tmp_path / "c.toml")


def test_figure_whose_interval_crosses_the_limit_is_not_certain() -> None:
    of = bundle(0.9)
    of.test["accuracy_ci95"] = (0.8, 0.95)
    [check] = check_criteria({"accuracy": 0.85}, of, 0.1, 1.0)
    assert check.passed
    assert check.note == "not certain: its 95 % interval begins at 80.0 %"


@pytest.mark.parametrize(
    ("limits", "accuracy", "found"),
    [
        ({"accuracy": 0.85}, 0.85, "exactly 85 %"),
        ({"accuracy": 0.85}, 0.84971, "84.971 %"),
        ({"accuracy": 0.85}, 0.85 - 1e-16, "exactly 85 %"),  # a mean whose last digit is rounded
        ({"accuracy": 0.85}, 0.84, "84.0 %"),
        ({"accuracy": 1.0}, 1.0, "100.0 %"),
        ({"model_mb": 5.02}, 0.9, "5 MB"),
    ],
)
def test_figure_that_looks_like_the_limit_shows_how_it_differs(
    limits: dict[str, float], accuracy: float, found: str
) -> None:
    [check] = check_criteria(limits, bundle(accuracy), 0.01, 5.0)
    assert check.found == found


def test_model_without_figures_cannot_be_checked() -> None:
    with pytest.raises(BundleError, match="holds no test metrics"):
        check_criteria(load_criteria(), Bundle(("a", "b"), InputSpec(8, 8, ""), b""), 0.1, 1.0)
    with pytest.raises(BundleError, match="metrics lack what the criterion 'top5_accuracy' needs"):
        check_criteria({"top5_accuracy": 0.5}, bundle(), 0.1, 1.0)

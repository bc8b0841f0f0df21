"""Pass or fail: limits from a TOML file against the measured metrics of a model."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whatsit.bundle.format import Bundle
from whatsit.errors import BundleError, UsageError, suggest
from whatsit.evaluation.prices import CostMetrics
from whatsit.models.cnn import SCRATCH_MODELS
from whatsit.runtime.wording import duration, percent

DEFAULT = Path(__file__).parent.parent / "recipes" / "criteria.toml"


@dataclass(frozen=True)
class Check:
    """One criterion, met or not."""

    name: str  # its key in the file
    what: str  # in words
    wanted: str  # such as "> 85 %"
    found: str
    passed: bool
    note: str = ""  # why a pass is not certain, or which classes a miss did not count
    untested: tuple[str, ...] = ()  # classes without test pictures that leave it undecided: not passed

    @property
    def missed(self) -> bool:
        """Return whether it was measured and not met."""
        return not self.passed and not self.untested


@dataclass(frozen=True)
class _Criterion:
    what: str
    unit: str  # one of _UNITS
    at_least: bool
    key: str = ""  # of the metric
    of: str = ""  # the part of the test metrics that it is in; `per_class`: the worst class decides
    highest: float = 1.0  # a limit is from 0 to this


_CRITERIA: dict[str, _Criterion] = {
    "baseline_accuracy": _Criterion("test accuracy of a network trained from scratch", "percent", True, "accuracy"),
    "transfer_accuracy": _Criterion("test accuracy of a pretrained network", "percent", True, "accuracy"),
    "accuracy": _Criterion("test accuracy", "percent", True, "accuracy"),
    "top5_accuracy": _Criterion("top-5 accuracy", "percent", True, "top5_accuracy"),
    "macro_f1": _Criterion("F1, every class counting alike", "percent", True, "f1", "macro"),
    "weighted_f1": _Criterion("F1, weighted by pictures", "percent", True, "f1", "weighted"),
    "class_precision": _Criterion("precision in every class", "percent", True, "precision", "per_class"),
    "class_recall": _Criterion("recall in every class", "percent", True, "recall", "per_class"),
    "loss": _Criterion("test loss", "number", False, "loss", highest=1e6),
    "calibration_error": _Criterion("calibration error", "percent", False, "ece"),
    "seconds_per_picture": _Criterion("time for one picture on this machine", "seconds", False, highest=1e6),
    "expected_cost": _Criterion("cost of mistakes per test picture", "number", False, "cost", "costs", highest=1e6),
    "model_mb": _Criterion("model size", "MB", False, highest=1e6),
    "test_pictures": _Criterion("pictures it was tested on", "number", True, "n", highest=1e12),
}


def load_criteria(path: str | Path | None = None) -> dict[str, float]:
    """Read the limits of a TOML file, by default our own. Raises `UsageError`."""
    path = Path(path) if path else DEFAULT
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file of criteria") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)[:200]
        raise UsageError(f"{path}: the criteria cannot be read: {reason}") from None
    for key, value in values.items():
        if key not in _CRITERIA:
            raise UsageError(f"{path}: unknown criterion '{key[:50]}'{suggest(key[:50], _CRITERIA)}")
        highest = _CRITERIA[key].highest
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
            too_long = isinstance(value, int) and abs(value) > 10**15
            received = "a huge number" if too_long else f"'{str(value)[:50]}'"
            raise UsageError(f"{path}: '{key}' must be a number from 0 to {highest:g}, received {received}")
    if not values:
        raise UsageError(f"{path}: there is no criterion in it; known ones: {', '.join(_CRITERIA)}")
    return values


def check_criteria(criteria: Mapping[str, float], bundle: Bundle, seconds: float, megabytes: float) -> list[Check]:
    """Compare a bundle's test metrics with limits for its kind of network.

    Args:
        criteria: limits by name, as `load_criteria` returns them. "More than" is strict, but a limit of 1 is met by 1.
        bundle: with its test metrics.
        seconds: for one picture, measured on this machine.
        megabytes: the size of the bundle's file.

    Raises:
        BundleError: the bundle has no test metrics, or not the one that is needed.
    """
    if not bundle.test:
        raise BundleError("this model holds no test metrics, so there is nothing to check")
    untested = untested_classes(bundle)
    skipped = "transfer_accuracy" if is_from_scratch(bundle) else "baseline_accuracy"
    checks = []
    for name, limit in criteria.items():
        if name == skipped:
            continue
        try:
            measured = _measured(name, bundle.test, seconds, megabytes)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise BundleError(f"this model's test metrics lack what the criterion '{name}' needs") from None
        checks.append(_check(name, limit, measured, untested))
    return [*checks, *_check_promises(bundle)]


def _check_promises(bundle: Bundle) -> list[Check]:
    """Compare what a model promises not to miss with its test pictures."""
    if bundle.costs is None or not bundle.test or "costs" not in bundle.test:
        return []
    try:
        kept = CostMetrics.from_json(bundle.test["costs"]).promises
    except ValueError:
        raise BundleError("this model's test metrics lack what its promises need") from None
    checks = []
    for one in kept:
        what, wanted = f"missed pictures of '{one.label}'", f"<= {100 * one.limit:g} %"
        found = f"{percent(one.share)} ({one.missed:,} of {one.n:,})"
        if not one.n:
            note = f"no test pictures of '{one.label}'"
            checks.append(
                Check(f"never_miss.{one.label}", what, wanted, f"cannot be told: {note}", False, untested=(one.label,))
            )
            continue
        note = "" if one.state == "shown" else f"not certain: its 95 % interval ends at {percent(one.missed_ci95[1])}"
        if not one.made:
            note = (
                f"too few validation pictures to promise it; {note}"
                if note
                else "too few validation pictures to promise it"
            )
        checks.append(
            Check(
                f"never_miss.{one.label}",
                what,
                wanted,
                found,
                one.state != "broken",
                "" if one.state == "broken" else note,
            )
        )
    return checks


@dataclass(frozen=True)
class _Measured:
    value: float
    low: float | None = None  # the lower end of its 95 % interval
    label: str = ""  # the class in which it was found
    high: float | None = None  # the upper end of its interval


def _check(name: str, limit: float, measured: _Measured, untested: tuple[str, ...]) -> Check:
    kind, value = _CRITERIA[name], measured.value
    unit = _UNITS[kind.unit]
    passed = bool(value > limit or value == limit == kind.highest if kind.at_least else value < limit)
    wanted, found = f"{'>' if kind.at_least else '<'} {unit.limit(limit)}", unit.show(value)
    if math.isclose(value, limit, rel_tol=1e-9):
        found = found if passed else f"exactly {unit.limit(limit)}"
    elif found == unit.show(limit):  # rounding must not hide the difference
        found = unit.limit(value)
    where = f" in class '{measured.label}'" if measured.label else ""
    note = ""
    if untested and kind.of in ("per_class", "macro"):
        note = f"no test pictures of {name_some(untested)}"
        if passed:  # by the tested classes only
            return Check(name, kind.what, wanted, f"cannot be told: {note}", False, untested=untested)
    if passed and kind.at_least and measured.low is not None and measured.low < limit:
        note = f"not certain: its 95 % interval begins at {unit.show(measured.low)}"
    if passed and not kind.at_least and measured.high is not None and measured.high > limit:
        note = f"not certain: its 95 % interval ends at {unit.show(measured.high)}"
    return Check(name, kind.what, wanted, found + where, passed, note)


def _measured(name: str, test: Mapping[str, Any], seconds: float, megabytes: float) -> _Measured:
    if name in ("seconds_per_picture", "model_mb"):
        return _Measured(seconds if name == "seconds_per_picture" else megabytes)
    kind, label = _CRITERIA[name], ""
    row = test[kind.of] if kind.of else test
    if kind.of == "per_class":
        present = {label: metrics for label, metrics in row.items() if metrics["n"]}
        label = min(present, key=lambda label: float(present[label][kind.key]))
        row = present[label]
    value, interval = float(row[kind.key]), row.get(f"{kind.key}_ci95")
    if not math.isfinite(value):
        raise ValueError(kind.key)
    return _Measured(value, float(interval[0]) if interval else None, label, float(interval[1]) if interval else None)


def untested_classes(bundle: Bundle) -> tuple[str, ...]:
    """Return the classes without test pictures. Raises `BundleError`."""
    try:
        counts = {str(label): int(row["n"]) for label, row in (bundle.test or {})["per_class"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise BundleError("this model's test metrics lack how many pictures of each class were tested") from None
    return tuple(label for label in bundle.classes if not counts.get(label))


def name_some(labels: Sequence[str], count: int = 5) -> str:
    """Name some labels, such as `'a', 'b' and 3 more classes`."""
    more = f" and {len(labels) - count} more classes" if len(labels) > count else ""
    return ", ".join(f"'{label}'" for label in labels[:count]) + more


def is_from_scratch(bundle: Bundle) -> bool:
    """Return whether its network began with random weights, by its provenance."""
    recipe: Any = bundle.provenance.get("recipe")
    return isinstance(recipe, Mapping) and (recipe.get("model") in SCRATCH_MODELS or recipe.get("weights") == "none")


@dataclass(frozen=True)
class _Unit:
    limit: Callable[[float], str]  # as short as the user wrote it
    show: Callable[[float], str]


_UNITS = {
    "percent": _Unit(lambda limit: f"{100 * limit:g} %", percent),
    "number": _Unit(lambda limit: f"{limit:g}", lambda value: f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"),
    "seconds": _Unit(lambda limit: f"{limit:g} s", duration),
    "MB": _Unit(lambda limit: f"{limit:g} MB", lambda value: f"{value:.1f} MB"),
}

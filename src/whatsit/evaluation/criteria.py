"""Pass or fail: what a model must reach, from a TOML file, against what it was measured to do."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whatsit.bundle.format import Bundle
from whatsit.errors import BundleError, UsageError, suggest
from whatsit.evaluation.wording import duration, percent
from whatsit.models.cnn import SCRATCH_MODELS

DEFAULT = Path(__file__).parent.parent / "recipes" / "criteria.toml"


@dataclass(frozen=True)
class Check:
    """One criterion, met or not."""

    name: str  # its key in the file
    what: str  # in words
    wanted: str  # such as "> 85 %"
    found: str
    passed: bool
    note: str = ""  # where it was met by a figure that is not certain, or missed by one of part of the classes
    untested: tuple[str, ...] = ()  # classes without test pictures, for want of which it cannot be told: not passed

    @property
    def missed(self) -> bool:
        """Whether it was measured and not met."""
        return not self.passed and not self.untested


@dataclass(frozen=True)
class _Criterion:
    what: str
    unit: str  # percent, number, seconds or MB
    at_least: bool
    key: str  # of the figure
    of: str = ""  # the part of the test figures that it is in; `per_class`: the worst class decides
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
    "seconds_per_picture": _Criterion("time for one picture on this machine", "seconds", False, "", highest=1e6),
    "model_mb": _Criterion("model size", "MB", False, "", highest=1e6),
    "test_pictures": _Criterion("pictures it was tested on", "number", True, "n", highest=1e12),
}


def load_criteria(path: str | Path | None = None) -> dict[str, float]:
    """The limits of a TOML file, by default the classic ones. Raises `UsageError`."""
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
            raise UsageError(f"{path}: '{key}' must be a number from 0 to {highest:g}, received {_received(value)}")
    if not values:
        raise UsageError(f"{path}: there is no criterion in it; known ones: {', '.join(_CRITERIA)}")
    return values


def check_criteria(criteria: Mapping[str, float], bundle: Bundle, seconds: float, megabytes: float) -> list[Check]:
    """Hold a bundle's test figures against the limits; those for the other kind of network are passed over.

    Args:
        criteria: limits by name, as `load_criteria` gives them. "More than" is meant strictly, but a limit of 1 is met by 1.
        bundle: with its test figures.
        seconds: for one picture, measured on this machine.
        megabytes: the size of the bundle's file.

    Raises:
        BundleError: the bundle has no test figures, or not the one that is needed.
    """
    if not bundle.test:
        raise BundleError("this model holds no test figures, so there is nothing to check")
    untested = untested_classes(bundle)
    other = "transfer_accuracy" if is_from_scratch(bundle) else "baseline_accuracy"
    checks = []
    for name, limit in criteria.items():
        if name == other:
            continue
        kind = _CRITERIA[name]
        try:
            figure = _figure(name, bundle.test, seconds, megabytes)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise BundleError(f"this model's test figures lack what the criterion '{name}' needs") from None
        value, show = figure.value, _UNITS[kind.unit]
        passed = value > limit or value == limit == kind.highest if kind.at_least else value < limit
        found, wanted = show(value), _limit(limit, kind.unit)
        if found == show(limit) and value != limit:  # rounding is not to hide the difference
            found = f"{100 * value:.6g} %" if kind.unit == "percent" else f"{value:.6g}"
        where = f" in class '{figure.label}'" if figure.label else ""
        note = ""
        if untested and _every_class_counts(kind):
            lack = f"no test pictures of {name_some(untested)}"
            if passed:  # by the others, which say nothing of these
                wanted = f"> {wanted}"
                checks.append(Check(name, kind.what, wanted, f"cannot be told: {lack}", False, untested=untested))
                continue
            note = lack
        if passed and kind.at_least and figure.low is not None and figure.low < limit:
            note = f"not certain: its 95 % interval begins at {show(figure.low)}"
        checks.append(
            Check(name, kind.what, f"{'>' if kind.at_least else '<'} {wanted}", found + where, bool(passed), note)
        )
    return checks


def _every_class_counts(kind: _Criterion) -> bool:
    return kind.of in ("per_class", "macro")


def untested_classes(bundle: Bundle) -> tuple[str, ...]:
    """The classes of which the test had no picture. Raises `BundleError` where the test figures do not say."""
    try:
        counts = {str(label): int(row["n"]) for label, row in (bundle.test or {})["per_class"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise BundleError("this model's test figures lack how many pictures of each class were tested") from None
    return tuple(label for label in bundle.classes if not counts.get(label))


def name_some(labels: Sequence[str], count: int = 5) -> str:
    """`'a', 'b' and 3 more classes`."""
    more = f" and {len(labels) - count} more classes" if len(labels) > count else ""
    return ", ".join(f"'{label}'" for label in labels[:count]) + more


def _received(value: object) -> str:
    too_long = isinstance(value, int) and abs(value) > 10**15
    return "a huge number" if too_long else f"'{str(value)[:50]}'"


def is_from_scratch(bundle: Bundle) -> bool:
    """Whether its network began with random weights, by its provenance."""
    recipe: Any = bundle.provenance.get("recipe")
    return isinstance(recipe, Mapping) and (recipe.get("model") in SCRATCH_MODELS or recipe.get("weights") == "none")


@dataclass(frozen=True)
class _Figure:
    value: float
    low: float | None = None  # where its 95 % interval begins
    label: str = ""  # the class in which it was found


def _figure(name: str, test: Mapping[str, Any], seconds: float, megabytes: float) -> _Figure:
    if name == "seconds_per_picture":
        return _Figure(seconds)
    if name == "model_mb":
        return _Figure(megabytes)
    kind, label = _CRITERIA[name], ""
    figures = test[kind.of] if kind.of else test
    if kind.of == "per_class":
        present = {label: row for label, row in figures.items() if row["n"]}
        label = min(present, key=lambda label: float(present[label][kind.key]))
        figures = present[label]
    value, interval = float(figures[kind.key]), figures.get(f"{kind.key}_ci95")
    if not math.isfinite(value):
        raise ValueError(kind.key)
    return _Figure(value, float(interval[0]) if interval else None, label)


def _limit(limit: float, unit: str) -> str:
    """As short as it was written."""
    if unit == "percent":
        return f"{100 * limit:g} %"
    return f"{limit:g}{'' if unit == 'number' else ' s' if unit == 'seconds' else ' MB'}"


_UNITS: dict[str, Callable[[float], str]] = {
    "percent": percent,
    "number": lambda value: f"{value:,.4g}" if value < 1000 else f"{value:,.0f}",
    "seconds": duration,
    "MB": lambda value: f"{value:.1f} MB",
}

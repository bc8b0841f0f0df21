"""Pass or fail: what a model must reach, from a TOML file, against what it was measured to do."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whatsit.bundle.format import Bundle
from whatsit.errors import BundleError, UsageError, suggest

DEFAULT = Path(__file__).parent.parent / "recipes" / "criteria.toml"


@dataclass(frozen=True)
class Check:
    """One criterion, met or not."""

    name: str  # its key in the file
    what: str  # in words
    wanted: str  # such as "> 85 %"
    found: str
    passed: bool


@dataclass(frozen=True)
class _Criterion:
    what: str
    unit: str  # percent, number, seconds or MB
    at_least: bool
    highest: float = 1.0  # a limit is from 0 to this


_CRITERIA: dict[str, _Criterion] = {
    "baseline_accuracy": _Criterion("test accuracy of a network trained from scratch", "percent", True),
    "transfer_accuracy": _Criterion("test accuracy of a pretrained network", "percent", True),
    "accuracy": _Criterion("test accuracy", "percent", True),
    "top5_accuracy": _Criterion("top-5 accuracy", "percent", True),
    "macro_f1": _Criterion("F1, every class counting alike", "percent", True),
    "weighted_f1": _Criterion("F1, weighted by pictures", "percent", True),
    "class_precision": _Criterion("precision in every class", "percent", True),
    "class_recall": _Criterion("recall in every class", "percent", True),
    "loss": _Criterion("test loss", "number", False, 1e6),
    "calibration_error": _Criterion("calibration error", "percent", False),
    "seconds_per_picture": _Criterion("time for one picture on this machine", "seconds", False, 1e6),
    "model_mb": _Criterion("model size", "MB", False, 1e6),
    "test_pictures": _Criterion("pictures it was tested on", "number", True, 1e12),
}


def load_criteria(path: str | Path | None = None) -> dict[str, float]:
    """The limits of a TOML file, by default the classic ones. Raises `UsageError`."""
    path = Path(path) if path else DEFAULT
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file of criteria") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: the criteria cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for key, value in values.items():
        if key not in _CRITERIA:
            raise UsageError(f"{path}: unknown criterion '{key}'{suggest(key, _CRITERIA)}")
        highest = _CRITERIA[key].highest
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
            raise UsageError(f"{path}: '{key}' must be a number from 0 to {highest:g}, received {str(value)[:50]!r}")
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
        BundleError: the bundle has no test figures.
    """
    if not bundle.test:
        raise BundleError("this model holds no test figures, so there is nothing to check")
    other = "transfer_accuracy" if is_from_scratch(bundle) else "baseline_accuracy"
    checks = []
    for name, limit in criteria.items():
        if name == other:
            continue
        kind = _CRITERIA[name]
        try:
            value, where = _found(name, bundle.test, seconds, megabytes)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BundleError(f"this model's test figures lack what the criterion '{name}' needs") from None
        passed = value > limit or value == limit == kind.highest if kind.at_least else value < limit
        show = _UNITS[kind.unit]
        checks.append(
            Check(name, kind.what, f"{'>' if kind.at_least else '<'} {show(limit)}", show(value) + where, bool(passed))
        )
    return checks


def is_from_scratch(bundle: Bundle) -> bool:
    """Whether its network began with random weights, by its provenance."""
    recipe: Any = bundle.provenance.get("recipe")
    return isinstance(recipe, Mapping) and (recipe.get("model") == "simple-cnn" or recipe.get("weights") == "none")


def _found(name: str, test: Mapping[str, Any], seconds: float, megabytes: float) -> tuple[float, str]:
    """The figure, and in which class it was found."""
    if name.startswith("class_"):
        figure = name.removeprefix("class_")
        per_class = {label: float(f[figure]) for label, f in test["per_class"].items() if f["n"]}
        worst = min(per_class, key=lambda label: per_class[label])
        return per_class[worst], f" ({worst})"
    if name == "seconds_per_picture":
        return seconds, ""
    if name == "model_mb":
        return megabytes, ""
    if name in ("macro_f1", "weighted_f1"):
        return float(test[name.removesuffix("_f1")]["f1"]), ""
    key = {"calibration_error": "ece", "test_pictures": "n", "top5_accuracy": name, "loss": name}.get(name, "accuracy")
    return float(test[key]), ""


_UNITS: dict[str, Callable[[float], str]] = {
    "percent": lambda value: f"{100 * value:.4g} %",
    "number": lambda value: f"{value:,.4g}" if value < 1000 else f"{value:,.0f}",
    "seconds": lambda value: f"{value:.2g} s" if value >= 0.1 else f"{1000 * value:.2g} ms",
    "MB": lambda value: f"{value:.1f} MB",
}

"""`whatsit check`: compare a model with criteria."""

from __future__ import annotations

from pathlib import Path

from whatsit.bundle.read import find_bundle, read_bundle
from whatsit.errors import UsageError
from whatsit.evaluation.criteria import Check, check_criteria, is_from_scratch, load_criteria
from whatsit.evaluation.speed import measure_speed, megabytes
from whatsit.runtime.predictor import Predictor


def check(model: str | Path, criteria: str | Path | None = None) -> list[Check]:
    """Compare a model's metrics, size and speed with criteria from a TOML file.

    `recipes/criteria.toml` by default. `passed` must be true for every criterion.

    Args:
        model: a run folder or a `.whatsit` file.
        criteria: a TOML file such as `recipes/criteria.toml`, which is the default.

    Returns:
        A `Check` for each criterion: what it is about, what is wanted, what was found.

    Raises:
        BundleError: the model cannot be read, or lacks the metrics or pictures that are needed.
        UsageError: the criteria are wrong, or none applies to this kind of model.
    """
    limits = load_criteria(criteria)
    bundle = read_bundle(model)
    seconds = measure_speed(Predictor(bundle)).median if "seconds_per_picture" in limits else 0.0
    checks = check_criteria(limits, bundle, seconds, megabytes(find_bundle(model)))
    if not checks:  # else it would pass unchecked
        made = "trained from scratch" if is_from_scratch(bundle) else "pretrained"
        raise UsageError(f"no criterion applies to this model, which is {made}; add accuracy = ... to the criteria")
    return checks

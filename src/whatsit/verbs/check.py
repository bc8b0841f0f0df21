"""`whatsit check`: does this model reach what is asked of it?"""

from __future__ import annotations

from pathlib import Path

from whatsit.bundle.read import find_bundle, read_bundle
from whatsit.errors import UsageError
from whatsit.evaluation.criteria import Check, check_criteria, is_from_scratch, load_criteria
from whatsit.evaluation.speed import measure_speed, megabytes
from whatsit.runtime.predictor import Predictor


def check(model: str | Path, criteria: str | Path | None = None) -> list[Check]:
    """Hold the model's own test figures, its size, and its speed on this machine against criteria from a TOML file.

    The classic ones by default: `recipes/criteria.toml`. Every entry's `passed` must be true.

    Raises:
        BundleError: the model cannot be read, or lacks the figures or pictures that are needed.
        UsageError: the criteria are wrong, or none applies to this kind of model.
    """
    limits = load_criteria(criteria)
    bundle = read_bundle(model)
    seconds = measure_speed(Predictor(bundle)).median if "seconds_per_picture" in limits else 0.0
    checks = check_criteria(limits, bundle, seconds, megabytes(find_bundle(model)))
    if not checks:  # to pass without having been checked would be a lie
        made = "trained from scratch" if is_from_scratch(bundle) else "pretrained"
        raise UsageError(f"no criterion applies to this model, which is {made}; add accuracy = ... to the criteria")
    return checks

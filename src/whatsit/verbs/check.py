"""`whatsit check`: does this model reach what is asked of it?"""

from __future__ import annotations

from pathlib import Path

from whatsit.bundle.read import find_bundle, read_bundle
from whatsit.errors import BundleError
from whatsit.evaluation.criteria import Check, check_criteria, load_criteria
from whatsit.runtime.predictor import Predictor
from whatsit.verbs.examine import megabytes, time_one_picture


def check(model: str | Path, criteria: str | Path | None = None) -> list[Check]:
    """Hold the model's own test figures, its size, and its speed on this machine against criteria from a TOML file.

    The classic ones by default: `recipes/criteria.toml`. Every entry's `passed` must be true.

    Raises:
        BundleError: the model cannot be read, or holds no test figures or golden pictures. UsageError: the criteria are wrong.
    """
    limits = load_criteria(criteria)
    bundle = read_bundle(model)
    if not bundle.golden:
        raise BundleError(f"{model}: this model holds no golden pictures, so its speed cannot be measured")
    return check_criteria(
        limits, bundle, time_one_picture(Predictor(bundle), bundle).median, megabytes(find_bundle(model))
    )

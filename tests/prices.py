"""Prices that overrule answers whatever a training came to: of a model that is very sure, only very high ones do."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import whatsit


def overruling(model: Path, label: str, pictures: list[bytes]) -> dict[str, Any]:
    """Return costs by which at least half of the pictures of other classes are called `label`.

    A picture is called so where the price is more than its odds against `label`; ten times what half of them need is a
    margin for exports in other precisions.
    """
    predictor = whatsit.load(model)
    found = predictor.predict(pictures, top=len(predictor.classes))
    shares = [dict(one.top)[label] for one in found if one.label != label]
    return {"default": 1, "prices": {f"{label} -> *": 10 / statistics.median_low(shares)}}

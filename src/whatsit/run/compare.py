"""The differences between two runs: in data, recipe, versions and metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whatsit.bundle.format import Bundle
from whatsit.bundle.read import read_bundle, run_folder
from whatsit.errors import UsageError
from whatsit.evaluation.metrics import Interval, Metrics, wilson_interval
from whatsit.run.record import splits_of

Rows = dict[str, tuple[Any, Any]]  # of each key, the values of both runs

_OTHER_TEST = "They were tested on different pictures: their metrics cannot be compared"


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side; of data, recipe and versions only what differs."""

    runs: tuple[str, str]
    data: Rows
    recipe: Rows
    versions: Rows
    metrics: Rows
    same_test: bool  # whether they were tested on the same images
    verdict: str  # for people

    @property
    def parts(self) -> dict[str, Rows]:
        """The rows by their heading."""
        return {"data": self.data, "recipe": self.recipe, "versions": self.versions, "figures": self.metrics}


def compare(first: str | Path, second: str | Path) -> Comparison:
    """Compare two run folders or `.whatsit` files.

    Raises:
        BundleError: a model cannot be read. UsageError: one was never tested.
    """
    a, b = read_bundle(first), read_bundle(second)
    metrics = _metrics_of(first, a), _metrics_of(second, b)
    same = _have_same_test(first, second, a, b)
    return Comparison(
        (str(first), str(second)),
        _differences(_data_of(a), _data_of(b)),
        _differences(_table(a, "recipe"), _table(b, "recipe")),
        _differences(_table(a, "versions"), _table(b, "versions")),
        _side_by_side(*map(_shown, metrics)),
        same,
        _verdict(str(first), str(second), *metrics) if same else _OTHER_TEST,
    )


def _metrics_of(name: str | Path, bundle: Bundle) -> Metrics:
    try:
        return Metrics.from_json(bundle.test or {})
    except ValueError:
        raise UsageError(f"{name}: this model has no test metrics to compare") from None


def _side_by_side(first: Mapping[str, Any], second: Mapping[str, Any]) -> Rows:
    return {key: (first.get(key), second.get(key)) for key in dict.fromkeys([*first, *second])}


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> Rows:
    return {key: (a, b) for key, (a, b) in _side_by_side(first, second).items() if a != b}


def _table(bundle: Bundle, key: str) -> Mapping[str, Any]:
    found = bundle.provenance.get(key)
    return found if isinstance(found, dict) else {}


def _data_of(bundle: Bundle) -> dict[str, Any]:
    data = _table(bundle, "data")
    pictures = data.get("pictures")
    counts = {
        f"{split} pictures": sum(count for count in by_class.values() if isinstance(count, int))
        for split, by_class in (pictures if isinstance(pictures, dict) else {}).items()
        if isinstance(by_class, dict)
    }
    fingerprint = str(data.get("fingerprint", ""))[:16]
    return {"source": data.get("source"), "fingerprint": fingerprint, "classes": ", ".join(bundle.classes)} | counts


def _shown(metrics: Metrics) -> dict[str, Any]:
    whole = {
        "accuracy": metrics.accuracy,
        "loss": metrics.loss,
        "calibration error": metrics.ece,
        "pictures": metrics.n,
    }
    return whole | {f"{label}: F1": one.f1 for label, one in metrics.per_class.items()}


def _have_same_test(first: str | Path, second: str | Path, a: Bundle, b: Bundle) -> bool:
    splits = [splits_of(folder) if folder else {} for folder in (run_folder(first), run_folder(second))]
    if all(splits):
        tests = [{digest for digest, split in by_digest.items() if split == "test"} for by_digest in splits]
        return tests[0] == tests[1]
    known = _table(a, "data").get("fingerprint")
    return known is not None and known == _table(b, "data").get("fingerprint")


def _verdict(first: str, second: str, a: Metrics, b: Metrics) -> str:
    low, high = difference_interval((round(a.accuracy * a.n), a.n), (round(b.accuracy * b.n), b.n))
    difference = b.accuracy - a.accuracy
    found = f"{100 * difference:+.2f} points of test accuracy (95 % interval {100 * low:+.2f} to {100 * high:+.2f})"
    if low <= 0 <= high:
        return f"No clear difference between them: {found}"
    return f"{second if difference > 0 else first} is better: {found}, second against first"


def difference_interval(first: tuple[int, int], second: tuple[int, int]) -> Interval:
    """Return the 95 % interval of the second share minus the first (Newcombe 1998).

    Each share is (right, all). The samples are taken as independent: for two models tested on the same images the interval is
    wider than it need be.
    """
    (p, (low_p, high_p)), (q, (low_q, high_q)) = (
        (right / count, wilson_interval(right, count)) for right, count in (first, second)
    )
    difference = q - p
    return difference - math.hypot(q - low_q, high_p - p), difference + math.hypot(high_q - q, p - low_p)

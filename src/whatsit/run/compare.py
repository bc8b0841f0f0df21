"""What differs between two runs: in data, recipe, versions and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whatsit.bundle.format import Bundle
from whatsit.bundle.read import read_bundle, run_folder
from whatsit.errors import UsageError
from whatsit.evaluation.metrics import Figures, Interval, wilson_interval
from whatsit.run.record import splits_of

Rows = dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Comparison:
    """Two runs beside each other. Of data, recipe and versions there is only what differs."""

    runs: tuple[str, str]
    data: Rows
    recipe: Rows
    versions: Rows
    figures: Rows
    same_test: bool  # whether they were tested on the same pictures
    verdict: str  # for people

    @property
    def parts(self) -> dict[str, Rows]:
        """The rows by their heading."""
        return {"data": self.data, "recipe": self.recipe, "versions": self.versions, "figures": self.figures}


def compare(first: str | Path, second: str | Path) -> Comparison:
    """Compare two run folders (or `.whatsit` files). Raises `BundleError`; `UsageError` for one that was never tested."""
    a, b = read_bundle(first), read_bundle(second)
    figures = _tested(first, a), _tested(second, b)
    same = _same_test(first, second, a, b)
    return Comparison(
        (str(first), str(second)),
        _differences(_data_of(a), _data_of(b)),
        _differences(_mapping(a, "recipe"), _mapping(b, "recipe")),
        _differences(_mapping(a, "versions"), _mapping(b, "versions")),
        _beside(*figures),
        same,
        _verdict(str(first), str(second), *figures) if same else _OTHERS,
    )


def _tested(name: str | Path, bundle: Bundle) -> Figures:
    try:
        return Figures.from_json(bundle.test or {})
    except ValueError:
        raise UsageError(f"{name}: this model has no test figures to compare") from None


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> Rows:
    return {
        key: (first.get(key), second.get(key))
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key)
    }


def _mapping(bundle: Bundle, key: str) -> Mapping[str, Any]:
    found = bundle.provenance.get(key)
    return found if isinstance(found, dict) else {}


def _data_of(bundle: Bundle) -> dict[str, Any]:
    told = _mapping(bundle, "data")
    pictures = told.get("pictures")
    counts = {
        f"{split} pictures": sum(count for count in by_class.values() if isinstance(count, int))
        for split, by_class in (pictures if isinstance(pictures, dict) else {}).items()
        if isinstance(by_class, dict)
    }
    fingerprint = str(told.get("fingerprint", ""))[:16]
    return {"source": told.get("source"), "fingerprint": fingerprint, "classes": ", ".join(bundle.classes)} | counts


def _beside(a: Figures, b: Figures) -> Rows:
    def of(figures: Figures) -> dict[str, Any]:
        plain = {
            "accuracy": figures.accuracy,
            "loss": figures.loss,
            "calibration error": figures.ece,
            "pictures": figures.n,
        }
        return plain | {f"{label}: F1": one.f1 for label, one in figures.per_class.items()}

    first, second = of(a), of(b)
    return {key: (first.get(key), second.get(key)) for key in dict.fromkeys([*first, *second])}


def _same_test(first: str | Path, second: str | Path, a: Bundle, b: Bundle) -> bool:
    folders = [run_folder(first), run_folder(second)]
    if all(folder and (folder / "split.csv").is_file() for folder in folders):
        tests = [{d for d, split in splits_of(folder).items() if split == "test"} for folder in folders if folder]
        return tests[0] == tests[1]
    known = _mapping(a, "data").get("fingerprint")
    return known is not None and known == _mapping(b, "data").get("fingerprint")


_OTHERS = "They were tested on different pictures: their figures cannot be compared"


def _verdict(first: str, second: str, a: Figures, b: Figures) -> str:
    low, high = difference_interval((round(a.accuracy * a.n), a.n), (round(b.accuracy * b.n), b.n))
    difference = b.accuracy - a.accuracy
    found = f"{100 * difference:+.2f} points of test accuracy (95 % interval {100 * low:+.2f} to {100 * high:+.2f})"
    if low <= 0 <= high:
        return f"No clear difference between them: {found}"
    return f"{second if difference > 0 else first} is better: {found}, second against first"


def difference_interval(first: tuple[int, int], second: tuple[int, int]) -> Interval:
    """The 95 % interval of the second share less the first, each (right, of so many), as of independent samples (Newcombe 1998).

    Of two models tested on the same pictures it is wider than it need be.
    """
    (p, (low_p, high_p)), (q, (low_q, high_q)) = (
        (right / count, wilson_interval(right, count)) for right, count in (first, second)
    )
    difference = q - p
    return (
        difference - math.hypot(q - low_q, high_p - p),
        difference + math.hypot(high_q - q, p - low_p),
    )

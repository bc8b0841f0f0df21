"""Runs beside each other."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from whatsit.bundle.read import read_bundle
from whatsit.bundle.write import write_bundle
from whatsit.errors import UsageError
from whatsit.evaluation.metrics import compute_metrics
from whatsit.run.compare import compare, difference_interval
from whatsit.run.record import Run
from whatsit.run.summary import list_runs


@pytest.fixture(scope="module")
def other(baseline_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run once more, with another recipe and worse figures in its bundle."""
    folder = shutil.copytree(baseline_run.folder, tmp_path_factory.mktemp("runs") / "other")
    bundle = read_bundle(folder)
    told = json.loads(json.dumps(dict(bundle.provenance)))
    told["recipe"]["dropout"] = 0.1
    told["versions"]["keras"] = "1.0"
    labels = np.arange(9) % 3
    wrong = compute_metrics(
        labels, np.eye(3)[(labels + 1) % 3] * 0.8 + 0.1 * (1 - np.eye(3)[(labels + 1) % 3]), bundle.classes
    )
    write_bundle(replace(bundle, provenance=told, test=wrong.to_json()), folder / "model.whatsit")
    return folder


def test_only_what_differs_is_told_of_recipe_and_versions(baseline_run: Run, other: Path) -> None:
    found = compare(baseline_run.folder, other)
    assert found.recipe == {"dropout": (0.5, 0.1)}
    assert found.versions.keys() == {"keras"}
    assert found.data == {}
    assert found.metrics["accuracy"] == (baseline_run.test.accuracy, 0.0)
    assert found.same_test


def test_difference_is_told_with_its_interval(baseline_run: Run, other: Path) -> None:
    assert f"{baseline_run.folder} is better: " in compare(baseline_run.folder, other).verdict
    assert "No clear difference" in compare(baseline_run.folder, baseline_run.folder).verdict


def test_other_test_pictures_cannot_be_compared(baseline_run: Run, hostile_run: Run) -> None:
    assert "tested on different pictures" in compare(baseline_run.folder, hostile_run.folder).verdict


def test_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe (1998), table II, (a): 56/70 and 48/80, method 10.
    low, high = difference_interval((48, 80), (56, 70))
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_runs_are_sorted_by_what_is_asked_for(baseline_run: Run, tmp_path: Path) -> None:
    for name, accuracy, seconds in (("a", 0.5, 3.0), ("b", 0.9, 9.0), ("c", 0.7, 1.0)):
        folder = shutil.copytree(baseline_run.folder, tmp_path / name)
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["test"]["accuracy"] = accuracy
        metrics["seconds"] = seconds
        (folder / "metrics.json").write_text(json.dumps(metrics))
    assert [run.name for run in list_runs(tmp_path, "accuracy")] == ["b", "c", "a"]
    assert [run.name for run in list_runs(tmp_path, "seconds")] == ["c", "a", "b"]
    with pytest.raises(UsageError, match="did you mean 'accuracy'"):
        list_runs(tmp_path, "acuracy")

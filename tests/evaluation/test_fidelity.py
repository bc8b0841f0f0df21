"""A run whose graph does not say what the fitted network says must not count as finished."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import whatsit
from whatsit.errors import ModelError
from whatsit.evaluation.fidelity import require_alike
from whatsit.graph import merge
from whatsit.models import classifier
from whatsit.run.record import Run

QUICK = {"epochs": 1, "batch_size": 8, "dropout": 0.1}
ALIKE = np.full((3, 4), 0.25)
NAMES = ["a.png", "b.png", "c.png"]


def broken(export: Callable[..., onnx.ModelProto]) -> Callable[..., onnx.ModelProto]:
    """An exporter that gets the first kernel a little wrong."""

    def wrong(*arguments: Any, **more: Any) -> onnx.ModelProto:
        model = export(*arguments, **more)
        for place, tensor in enumerate(model.graph.initializer):
            value = numpy_helper.to_array(tensor)
            if value.ndim == 4:
                model.graph.initializer[place].CopyFrom(numpy_helper.from_array(1.2 * value[::-1].copy(), tensor.name))
                return model
        raise AssertionError("there is no kernel to be got wrong")

    return wrong


def test_run_of_a_broken_exporter_fails_in_one_line_and_is_finished_once_it_is_mended(
    shapes_folder: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "to_onnx", broken(classifier.to_onnx))
        with pytest.raises(ModelError) as caught:
            whatsit.train(shapes_folder, recipe="baseline", out=tmp_path / "run", settings=QUICK, report=False)
    line = "; ".join([str(caught.value), *caught.value.__notes__])  # what the command line prints, with exit code 1
    assert "the exported graph does not say what the network that was fitted says" in line
    assert "a probability differs by 0." in line
    assert line.endswith("resume with the same command and --resume")
    assert "\n" not in line
    assert [path.name for path in tmp_path.iterdir()] == ["run.unfinished"]
    assert not (tmp_path / "run.unfinished" / "model.whatsit").exists()
    assert not (tmp_path / "run.unfinished" / "metrics.json").exists()
    assert whatsit.runs(tmp_path) == []
    run = whatsit.train(shapes_folder, out=tmp_path / "run", resume=True, report=False)
    assert run.model.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.isa
@pytest.mark.parametrize("settings", [{"test_time_flip": True, "test_time_shift": 0.05}, {}], ids=["views", "one view"])
def test_graph_of_every_kind_is_that_of_the_fitted_network(
    shapes_folder: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    run = whatsit.train(
        shapes_folder,
        recipe="scratch",
        out=tmp_path / "run",
        settings={**QUICK, "filters": [8, 16], **settings},
        report=False,
    )
    assert run.model.is_file()


def test_ensemble_whose_graph_is_not_the_mean_of_its_members_is_not_made(
    baseline_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copytree(baseline_run.folder, tmp_path / "other")
    monkeypatch.setattr(merge, "merge", broken(merge.merge))
    with pytest.raises(ModelError, match="the graph of the ensemble does not say what its members say"):
        whatsit.ensemble([baseline_run.folder, other], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_what_differs_by_less_than_the_bound_is_alike() -> None:
    require_alike("one", "the other", NAMES, ALIKE + 0.9e-4, ALIKE)


@pytest.mark.parametrize(
    ("value", "told"), [(0.2503, "on b.png a probability differs by 0.0003"), (np.nan, "no number")]
)
def test_largest_difference_is_named(value: float, told: str) -> None:
    found = ALIKE.copy()
    found[0, 0], found[1, 2] = 0.2502, value
    with pytest.raises(ModelError, match=told):
        require_alike("one", "the other", NAMES, found, ALIKE)


def test_other_classes_are_not_alike() -> None:
    with pytest.raises(ModelError, match=r"one gives probabilities of the shape \(3, 3\), the other of \(3, 4\)"):
        require_alike("one", "the other", NAMES, ALIKE[:, :3], ALIKE)


def test_what_a_picture_may_differ_by_is_its_own() -> None:
    found, allowed = ALIKE.copy(), np.array([1e-4, 1e-4, 1e-2])
    found[2, 0] += 0.005
    require_alike("one", "the other", NAMES, found, ALIKE, allowed)
    found[0, 0] += 0.001
    with pytest.raises(ModelError, match=r"on a\.png a probability differs by 0\.001, 0\.0001 is allowed"):
        require_alike("one", "the other", NAMES, found, ALIKE, allowed)

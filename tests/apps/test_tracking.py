"""Runs in MLflow and TensorBoard."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import whatsit
from tests.conftest import encode, shapes
from whatsit.apps.tracking import Tracked, _load_pyfunc, require_mlflow
from whatsit.errors import UsageError
from whatsit.run.record import Run


@pytest.fixture(scope="module")
def runs(baseline_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tracked") / "runs"
    shutil.copytree(baseline_run.folder, folder / "shapes")
    return folder


@pytest.fixture(scope="module")
def tracked(runs: Path) -> Iterator[Tracked]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield whatsit.track(runs / "shapes")


def test_run_lies_in_a_sqlite_file_beside_the_runs(tracked: Tracked, runs: Path, baseline_run: Run) -> None:
    from mlflow import MlflowClient

    assert (runs / "mlflow.db").is_file()
    assert not Path("mlruns").exists()
    client = MlflowClient(tracked.address)
    run = client.get_run(tracked.run_id)
    assert run.info.run_name == "shapes"
    assert run.data.params["learning_rate"] == str(baseline_run.recipe.learning_rate)
    assert run.data.metrics["test_accuracy"] == baseline_run.test.accuracy
    epochs = client.get_metric_history(tracked.run_id, "scratch/val_loss")
    assert [one.step for one in epochs] == list(range(1, len(epochs) + 1))
    assert len(epochs) >= 3
    assert run.info.artifact_uri.startswith((runs / "mlflow-artifacts").as_uri())
    files = {one.path for one in client.list_artifacts(tracked.run_id)}
    assert files >= {"report.html", "recipe.toml", "plots"}


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_model_answers_through_mlflow_as_it_does_here(tracked: Tracked, runs: Path) -> None:
    import mlflow
    import pandas as pd

    mlflow.set_tracking_uri(tracked.address)
    try:
        model = mlflow.pyfunc.load_model(tracked.model)
    finally:
        mlflow.set_tracking_uri(None)
    pictures = [encode(shapes(kind, 7)) for kind in ("disc", "rows")]
    found = model.predict(pd.DataFrame({"image": [*pictures, b"no picture"]}))
    answers = whatsit.load(runs / "shapes").predict(pictures)
    assert list(found["label"][:2]) == [answer.label for answer in answers]
    assert list(found["probability"][:2]) == pytest.approx([answer.probability for answer in answers])
    assert "not a picture" in found["error"][2]


def test_model_opens_no_files(runs: Path) -> None:
    import pandas as pd

    found = _load_pyfunc(str(runs / "shapes" / "model.whatsit")).predict(
        pd.DataFrame({"image": ["/etc/passwd", None, 7]})
    )
    assert all("takes bytes" in error for error in found["error"])


def test_place_that_mlflow_cannot_take_is_told(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(runs / "shapes", tmp_path / "a?b" / "shapes")
    with pytest.raises(UsageError, match="takes no path with"):
        whatsit.track(tmp_path / "a?b" / "shapes")
    shutil.copytree(runs / "shapes", tmp_path / "runs" / "shapes")
    (tmp_path / "runs" / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(UsageError, match="MLflow cannot write there"):
        whatsit.track(tmp_path / "runs" / "shapes")


def test_run_that_is_there_is_left_as_it_is(tracked: Tracked, runs: Path) -> None:
    again = whatsit.track(runs / "shapes")
    assert (again.run_id, again.new) == (tracked.run_id, False)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this is no finished run"):
        whatsit.track(tmp_path)


def test_epochs_are_events_for_tensorboard(shapes_folder: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = {"epochs": 2, "size": 64, "features": "last", "views": ["original"]}
    run = whatsit.train(shapes_folder, out=tmp_path / "run", settings=settings, report=False, tensorboard=True)
    events = EventAccumulator(str(run.folder / "tensorboard" / "validation"))
    events.Reload()
    # A linear probe is a stage of its own where it ships.
    assert {f"head-last/{tag}" for tag in ("loss", "accuracy", "calibrated_loss")} <= set(events.Tags()["tensors"])
    assert [event.step for event in events.Tensors("head-last/loss")] == [1, 2]


def test_mlflow_opens_for_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MLflow asks for the home as it is imported; here a stand-in does."""
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "__init__.py").write_text("import os\nHOME = os.environ['HOME']\n")
    (tmp_path / "mlflow" / "pyfunc.py").touch()
    for name in [name for name in sys.modules if name.split(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("WHATSIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user whom passwd does not know
    require_mlflow()
    assert str(tmp_path / "cache") == sys.modules["mlflow"].HOME
    assert "HOME" not in os.environ
    for name in ("mlflow", "mlflow.pyfunc"):
        monkeypatch.delitem(sys.modules, name)

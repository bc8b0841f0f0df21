"""The verbs about many runs, on the command line."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from whatsit.apps.cli import app
from whatsit.run.record import Run

SMALL = ["--set", "epochs=2", "--set", "size=64", "--set", "features=last", "--set", "views=original", "--no-report"]


def whatsit(*arguments: object) -> str:
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.usefixtures("instant")
def test_tune_says_what_it_chose_and_what_is_next(shapes_folder: Path, tmp_path: Path) -> None:
    text = whatsit("tune", shapes_folder, "--out", tmp_path / "tune", "--trials", 2, "--search", "hidden=8,16", *SMALL)
    assert "Trials:         2 (2 done)" in text
    assert "Test accuracy:" in text
    assert f"Next: whatsit predict {tmp_path / 'tune'} PICTURE..." in text
    document = json.loads(whatsit("tune", shapes_folder, "--out", tmp_path / "tune", "--resume", "--json"))
    assert document["trials"] == 2
    assert document["best"]["values"]["hidden"] in (8, 16)
    assert 0 <= document["test"]["accuracy"] <= 1


def test_two_runs_beside_each_other(baseline_run: Run, hostile_run: Run) -> None:
    text = whatsit("runs", "diff", baseline_run.folder, hostile_run.folder)
    assert "versions: the same" in text
    assert "epochs" in text
    assert "They were tested on different pictures" in text
    document = json.loads(whatsit("runs", "diff", baseline_run.folder, hostile_run.folder, "--json"))
    assert document["recipe"]["epochs"] == [12, 3]
    assert document["same_test_pictures"] is False


def test_runs_with_the_same_test_pictures_are_compared_picture_by_picture(baseline_run: Run, tmp_path: Path) -> None:
    other = shutil.copytree(baseline_run.folder, tmp_path / "other")
    text = whatsit("runs", "diff", baseline_run.folder, other)
    assert "They name 100.0% of the pictures the same" in text
    data = json.loads((other / "metrics.json").read_text())["data"]
    assert f"Next: whatsit compare {baseline_run.folder} {other} {data} --out compare.html, a page" in text
    assert "No clear difference on these 9 pictures: +0.00 points" in text
    found = json.loads(whatsit("runs", "diff", baseline_run.folder, other, "--json"))
    assert found["pictures"]["overall"]["n"] == baseline_run.test.n
    assert found["pictures"]["differing"] == []
    quick = whatsit("runs", "diff", baseline_run.folder, other, "--no-pictures")
    assert "They name" not in quick


def test_runs_whose_pictures_are_gone_are_compared_by_their_metrics(baseline_run: Run, tmp_path: Path) -> None:
    folders = []
    for name in ("one", "two"):
        folders.append(shutil.copytree(baseline_run.folder, tmp_path / name))
        metrics = json.loads((folders[-1] / "metrics.json").read_text())
        (folders[-1] / "metrics.json").write_text(json.dumps({**metrics, "data": str(tmp_path / "gone")}))
    text = whatsit("runs", "diff", *folders)
    assert "No clear difference between them" in text
    assert f"Not compared picture by picture: {tmp_path / 'gone'}" in text
    assert f"Next: whatsit compare {folders[0]} {folders[1]} DATA, picture by picture" in text


def test_runs_are_sorted(baseline_run: Run, tmp_path: Path) -> None:
    for name, accuracy in (("worse", 0.1), ("better", 0.9)):
        folder = shutil.copytree(baseline_run.folder, tmp_path / name)
        metrics = json.loads((folder / "metrics.json").read_text())
        metrics["test"]["accuracy"] = accuracy
        (folder / "metrics.json").write_text(json.dumps(metrics))
    found = json.loads(whatsit("runs", tmp_path, "--sort", "accuracy", "--json"))
    assert [run["name"] for run in found] == ["better", "worse"]


@pytest.mark.usefixtures("instant")
def test_run_is_repeated(baseline_run: Run, tmp_path: Path) -> None:
    """With the same pictures and recipe; that the figures are the same then, `run/test_repeat.py` has trained to see."""
    again = tmp_path / "again"
    text = whatsit("train", "--from-run", baseline_run.folder, "--out", again, "--no-report", "--json")
    document = json.loads(text)
    assert Path(document["run"]) == again
    assert document["test"]["n"] == baseline_run.test.n
    recipes = [tomllib.loads((folder / "recipe.toml").read_text()) for folder in (again, baseline_run.folder)]
    assert recipes[0] == recipes[1]
    assert (again / "split.csv").read_text() == (baseline_run.folder / "split.csv").read_text()


def test_run_is_tracked_and_mlflow_says_nothing(
    baseline_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(baseline_run.folder, tmp_path / "runs" / "shapes")
    [tracked] = json.loads(whatsit("track", tmp_path / "runs" / "shapes", "--json"))
    assert tracked["new"] is True
    assert capfd.readouterr() == ("", "")
    assert "is there already" in whatsit("track", tmp_path / "runs" / "shapes")

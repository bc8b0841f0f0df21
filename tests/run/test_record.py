"""The record of a run: what 0.1.0 wrote is read, what a newer whatsit wrote is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

import whatsit
from tests.conftest import Listener
from whatsit.errors import DataError, UsageError
from whatsit.images.pictures import Picture
from whatsit.run.record import FORMAT, Run, read_history, read_metrics, read_split, splits_of
from whatsit.run.repeat import run_to_repeat
from whatsit.run.summary import list_runs, read_run
from whatsit.training.resolve import tuned_epochs, tuned_layers, working_shift

# As whatsit 0.1.0 wrote it: without a format. The recipe in its flat form lies beside this file.
METRICS = {
    "created": "2026-11-28T09:45:19+00:00",
    "data": "digits",
    "recipe": "baseline",
    "model": "simple-cnn",
    "seconds": 9.71,
    "time_limit": None,
    "temperature": 0.93,
    "best_epoch": {"stage": "scratch", "epoch": 2, "loss": 0.01, "accuracy": 1.0, "val_loss": 0.3, "seconds": 7.2},
    "test": {"accuracy": 0.925, "accuracy_ci95": [0.80, 0.97], "loss": 0.166, "ece": 0.07, "n": 40},
    "leakage": {"pictures": 0, "note": ""},
    "speed": {"median": 0.02, "p99": 0.07, "rounds": 23, "runtime": "openvino"},
    "model_mb": 20.53,
    "unreadable": 0,
    "warnings": [],
    "examination": None,
}
HISTORY = """stage,epoch,loss,accuracy,val_loss,val_accuracy,val_calibrated_loss,learning_rate,seconds
scratch,1,2.59,0.19,1.83,0.3,1.83,0.0003,5.1
scratch,2,0.01,1.0,0.3,0.9,0.29,0.0001,7.2
"""


@pytest.fixture
def old_run(shape_files: dict[str, bytes], tmp_path: Path) -> Path:
    """A folder of runs of 0.1.0 with one run, of the shapes."""
    folder = tmp_path / "runs" / "old"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(METRICS), encoding="utf-8")
    (folder / "history.csv").write_text(HISTORY, encoding="utf-8")
    shutil.copy(Path(__file__).with_name("recipe-0.1.0.toml"), folder / "recipe.toml")
    rows = ["path,label,split,sha256"]
    for name, data in shape_files.items():
        number = int(Path(name).stem)
        split = "train" if number < 14 else "validation" if number < 17 else "test"
        rows.append(f"{name},{name.split('/')[0]},{split},{hashlib.sha256(data).hexdigest()}")
    (folder / "split.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def _newer(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    (folder / "metrics.json").write_text(json.dumps(metrics | {"format": FORMAT + 1}), encoding="utf-8")


def test_run_of_the_first_version_is_read(old_run: Path) -> None:
    [listed] = list_runs(old_run.parent)
    assert (listed.name, listed.accuracy, listed.n) == ("old", 0.925, 40)
    assert read_metrics(old_run) == METRICS
    assert [row["val_loss"] for row in read_history(old_run)] == [1.83, 0.3]
    record = read_run(old_run)
    assert (record.best_epoch, len(record.history)) == (2, 2)
    rows = read_split(old_run)
    assert (rows[0].name, rows[0].label, rows[0].split) == ("columns/00.png", "columns", "train")
    assert sorted(set(splits_of(old_run).values())) == ["test", "train", "validation"]
    repeated = run_to_repeat(old_run, None)
    assert (repeated.data, repeated.recipe.name, repeated.recipe.seed) == ("digits", "baseline", 7)


@pytest.mark.usefixtures("instant")
def test_run_of_the_first_version_is_repeated(old_run: Path, shapes_folder: Path, tmp_path: Path) -> None:
    run = whatsit.train(shapes_folder, from_run=old_run, out=tmp_path / "again", report=False)
    assert (run.folder / "split.csv").read_text() == (old_run / "split.csv").read_text()
    assert run.recipe.filters == (4, 8)
    assert read_metrics(run.folder)["format"] == FORMAT


def test_run_of_a_newer_version_is_refused(old_run: Path, tmp_path: Path) -> None:
    _newer(old_run)
    message = rf"metrics\.json: format {FORMAT + 1} is newer than this whatsit reads \({FORMAT}\); run: pip install"
    for read in (read_metrics, read_split, splits_of, lambda folder: run_to_repeat(folder, None)):
        with pytest.raises(UsageError, match=message):
            read(old_run)
    with pytest.raises(UsageError, match=message):
        whatsit.train(from_run=old_run, out=tmp_path / "again")


def test_run_of_a_newer_version_is_not_listed_and_that_is_warned_of(old_run: Path) -> None:
    shutil.copytree(old_run, old_run.with_name("new"))
    _newer(old_run.with_name("new"))
    listener = Listener()
    assert [run.name for run in list_runs(old_run.parent, reporter=listener)] == ["old"]
    [warning] = listener.warned
    assert "new/metrics.json: format" in warning


@pytest.mark.parametrize("number", ["x", None, [1]])
def test_format_that_is_no_number_is_damage(old_run: Path, number: object) -> None:
    (old_run / "metrics.json").write_text(json.dumps(METRICS | {"format": number}), encoding="utf-8")
    with pytest.raises(UsageError, match=r"metrics\.json: this file is damaged"):
        read_metrics(old_run)


@pytest.mark.parametrize("line", ["a.png,,test,00", "a.png,x,test,00", f"a.png,x,exam,{'0' * 64}", "a.png,x"])
def test_damaged_row_of_a_split_is_said(tmp_path: Path, line: str) -> None:
    (tmp_path / "split.csv").write_text(f"path,label,split,sha256\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"split\.csv: this file is damaged"):
        read_split(tmp_path)


def test_split_that_spreadsheets_may_open_keeps_its_names(baseline_run: Run, tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text(
        f"path,label,split,sha256\n'=a.png,'-x,test,{bytes(range(32)).hex()}\n", encoding="utf-8"
    )
    assert read_split(tmp_path) == [Picture("=a.png", "-x", "test", bytes(range(32)))]
    assert read_metrics(baseline_run.folder)["format"] == FORMAT


@pytest.mark.parametrize(("start", "epochs", "shift"), [(5000, 2, 0.0), (10, 20, 0.2)])
def test_repeated_run_of_the_first_version_is_fine_tuned_as_long_as_it_was(
    old_run: Path, start: int, epochs: int, shift: float
) -> None:
    """In 0.1.0 some layers (of 42 images, fewer than 5,000) and all layers had epochs and shift of their own."""
    values = {"finetune_layers": 20, "finetune_all_from": start, "finetune_epochs": 2, "shift": 0.0}
    values |= {"finetune_all_epochs": 20, "finetune_all_shift": 0.2}
    (old_run / "recipe.toml").write_text(
        "\n".join(["model = 'efficientnet-lite0'", *(f"{key} = {value}" for key, value in values.items())])
    )
    recipe = run_to_repeat(old_run, None).recipe
    whole = tuned_layers(recipe, 42) == "all"
    assert (tuned_epochs(recipe, whole=whole), working_shift(recipe, whole=whole)) == (epochs, shift)

"""`whatsit train --update`: the run before and the one that takes its place."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import whatsit
from tests import command
from tests.conftest import SEED, Listener, draw_shapes, encode, shapes, write_files
from whatsit.apps.cli.training import print_update
from whatsit.bundle.read import read_bundle
from whatsit.errors import DataError, UsageError
from whatsit.evaluation.update import DataChanges, Update
from whatsit.run.record import read_split
from whatsit.run.request import Request
from whatsit.training.recipe import load

SETTINGS = {"size": 32, "epochs": 8, "features": "last", "views": ["original"], "hidden": 0}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures of two classes, and the run of them."""
    folder = tmp_path_factory.mktemp("update")
    two = {f"{label}/{i}.png": encode(shapes(label, i)) for label in ("disc", "rows") for i in range(20)}
    write_files(folder / "data", two)
    whatsit.train(folder / "data", out=folder / "run", seed=SEED + 3, settings=SETTINGS, report=False)
    return folder


@pytest.fixture
def place(before: Path, tmp_path: Path) -> Path:
    """A copy of these."""
    return shutil.copytree(before, tmp_path / "copy")


def _add_columns(place: Path) -> None:
    write_files(place / "data", {f"columns/{i}.png": encode(shapes("columns", 100 + i)) for i in range(10)})


def test_class_is_added_and_test_pictures_stay_test_pictures(place: Path) -> None:
    _add_columns(place)
    shutil.move(place / "data/disc/0.png", place / "data/rows/moved.png")
    listener = Listener()
    run = whatsit.train(place / "data", update=place / "run", report=False, reporter=listener)
    assert run.folder == place / "run"
    assert any(
        "10 new, 0 gone, 1 with another label, 39 as before; new class: columns" in text for text in listener.said
    )
    now = {one.digest: one.split for one in read_split(place / "run")}
    was = {one.digest: one.split for one in read_split(place / "run-before")}
    assert was.items() <= now.items()
    assert read_bundle(place / "run").classes == ("columns", "disc", "rows")
    assert read_bundle(place / "run-before").classes == ("disc", "rows")
    update = json.loads((place / "run" / "metrics.json").read_text())["update"]
    assert update["before"] == str(place / "run-before")
    assert set(update["new_classes"]) == {"columns"}
    assert update["known"]["overall"]["n"] == sum(split == "test" for split in was.values())


@pytest.mark.usefixtures("instant")
def test_report_shows_what_changed(place: Path) -> None:
    _add_columns(place)
    run = whatsit.train(place / "data", update=place / "run")
    page = (run.folder / "report.html").read_text()
    assert "What the update changed" in page
    assert "10 new, 0 gone" in page


@pytest.mark.usefixtures("instant")
def test_costs_of_the_run_are_kept_and_must_fit(place: Path) -> None:
    _add_columns(place)
    run = whatsit.train(place / "data", update=place / "run", costs={"prices": {"columns -> disc": 9}}, report=False)
    bundle = read_bundle(run.model)
    assert bundle.costs
    shutil.rmtree(place / "data" / "columns")
    with pytest.raises(UsageError, match="its costs are about a class that is gone; give others with --costs"):
        whatsit.train(place / "data", update=run.folder)


def test_another_folder_and_recipe_are_taken_where_they_are_asked_for(place: Path) -> None:
    run = whatsit.train(update=place / "run", out=place / "second", settings={"epochs": 5}, report=False)
    assert (run.recipe.epochs, run.recipe.size, run.recipe.seed) == (5, 32, SEED + 3)
    assert run.folder == place / "second"
    assert run.update
    assert run.update.kept_as == str(place / "run")
    assert not (place / "run-before").exists()


def test_another_recipe_keeps_the_seed_of_the_run(place: Path) -> None:
    spec = Request(None, update=place / "run", recipe="scratch").check()
    assert (spec.recipe.model, spec.recipe.seed) == (load("scratch").model, SEED + 3)


def test_wholly_other_pictures_are_refused(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = draw_shapes(tmp_path_factory.mktemp("other"), 12, first=500)
    with pytest.raises(DataError, match="so there is nothing to update; train without --update"):
        whatsit.train(other, update=place / "run")
    assert not (place / "run.unfinished").exists()


@pytest.mark.usefixtures("instant")
def test_interrupted_update_is_resumed_as_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*_: object) -> None:
        raise KeyboardInterrupt

    _add_columns(place)
    with monkeypatch.context() as patch:
        patch.setattr("whatsit.evaluation.shipping.choose_references", stops)
        with pytest.raises(KeyboardInterrupt):
            whatsit.train(place / "data", update=place / "run", report=False)
    with pytest.raises(UsageError, match="started as an update of"):
        whatsit.train(
            place / "data", update=shutil.copytree(place / "run", place / "other"), out=place / "run", resume=True
        )
    run = whatsit.train(place / "data", out=place / "run", resume=True, report=False)
    assert run.update
    assert run.update.kept_as == str(place / "run-before")
    was = {one.digest: one.split for one in read_split(place / "run-before")}
    assert was.items() <= {one.digest: one.split for one in read_split(place / "run")}.items()


def test_model_that_is_not_better_does_not_take_the_place(place: Path) -> None:
    old = (place / "run" / "model.whatsit").read_bytes()
    done = command.whatsit("train", place / "data", "--update", place / "run", "--only-if-better", "--no-report")
    assert done.returncode == 1  # the same pictures and recipe: as good at most
    assert "there is nothing to update" in done.stderr
    assert f"Earlier run: {place / 'run'}\n" in done.stdout
    assert f"New run:     {place / 'run-not-better'}\n" in done.stdout
    assert (place / "run" / "model.whatsit").read_bytes() == old


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"only_if_better": True}, "--only-if-better needs --update RUN"),
        ({"update": "nothing", "from_run": "run"}, "give one of them"),
        ({"update": "nothing"}, "nothing: this is no run folder; --update takes a folder that whatsit train made"),
    ],
)
def test_wrong_use_is_refused(asked: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        whatsit.train(draw_shapes(tmp_path, 9), **asked)


@pytest.mark.parametrize(
    ("files", "options"),
    [
        (("web/model.onnx", "web.html", "model.tflite", "labels.txt"), "--format tflite,web"),
        (("web.html",), "--format web --single-file"),
        (("labels.txt",), "--format FMT"),
        ((), ""),
    ],
)
def test_update_says_where_the_exported_files_of_the_earlier_model_went(
    files: tuple[str, ...], options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, earlier = tmp_path / "run", tmp_path / "run-before"
    update = Update(str(run), DataChanges(1, 0, 0, 0, (), ()), None, None, {}, kept_as=str(earlier))
    write_files(earlier / "export", dict.fromkeys(files, b"."))
    print_update(SimpleNamespace(folder=run), update)
    said = capsys.readouterr().out
    export = f"The exported files of {run} are of the earlier model, and are now in {earlier / 'export'}\n"
    export += f"Next: whatsit export {run} {options}\n"
    assert export in said if files else "export" not in said
    print_update(SimpleNamespace(folder=tmp_path / "new"), replace(update, kept_as=str(run)))  # it took no place
    assert "export" not in capsys.readouterr().out

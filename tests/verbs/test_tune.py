"""Tuning: trials over the one way of training, judged without the test pictures."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whatsit
from tests.command import whatsit as command_line
from tests.conftest import made_once
from whatsit.bundle.read import read_bundle
from whatsit.errors import RecipeError, UsageError, WhatsitError
from whatsit.run.summary import list_runs
from whatsit.training import train as training
from whatsit.training.knobs import Choice, Span
from whatsit.training.loop import TrainingError
from whatsit.training.recipe import written_in
from whatsit.tuning.study import Study
from whatsit.verbs.tune import Tuning

ROOT = Path(__file__).parents[2]
REALLY = training.train_by_recipe
SMALL = {"epochs": 4, "size": 64, "features": "last", "views": ["original"], "test_time_flip": False}
SEARCH = ("hidden=256,16,32", "dropout=0.0..0.5", "learning_rate=1e-4..1e-2")


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def tell(folder: Path, **about: object) -> None:
    """Write something else into a study's `study.json`."""
    file = folder / "study.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | about))


@pytest.fixture(scope="module")
def tuned(shapes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuning:
    def make(out: Path) -> Tuning:
        folder = out / "shapes? ส้ม #1 100%"
        return whatsit.tune(shapes_folder, out=folder, trials=4, seed=3, settings=SMALL, search=SEARCH, report=False)

    return made_once(tmp_path_factory, "tuned", make)


def test_study_ends_with_a_run_of_its_best_recipe(tuned: Tuning) -> None:
    assert {path.name for path in tuned.folder.iterdir()} >= {
        "study.db", "study.json", "trials.csv", "trials", "recipe.toml", "plots", "best",
    }  # fmt: skip
    recipe = written_in(str(tuned.folder / "recipe.toml"))
    shipped = read_bundle(tuned.folder).provenance["recipe"]
    assert {key: recipe[key] for key in tuned.best.values} == dict(tuned.best.values)
    assert {key: shipped[key] for key in tuned.best.values} == dict(tuned.best.values)
    assert recipe["hidden"] in (256, 16, 32)
    assert recipe["name"] == "fast-tuned"


def test_trials_are_told_as_a_table(tuned: Tuning) -> None:
    rows = list(csv.DictReader((tuned.folder / "trials.csv").read_text().splitlines()))
    assert [int(row["trial"]) for row in rows] == [0, 1, 2, 3]
    assert float(rows[tuned.best.number]["val_calibrated_loss"]) == pytest.approx(tuned.best.loss, rel=1e-5)


def tried(losses: dict[int, np.ndarray], instant: Callable[..., Any], folder: Path, data: Path) -> Tuning:
    """A study of two recipes, the recipe as it is (256 units) and another, whose losses of each picture are handed in."""

    def train_by_recipe(context: Any) -> Any:
        trained, each = instant(context), losses[context.recipe.hidden]
        return replace(trained, losses=each)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train_by_recipe", train_by_recipe)
        return whatsit.tune(data, out=folder, trials=2, settings=SMALL, search=["hidden=256,16"], report=False)


def test_recipe_that_chance_made_the_best_is_not_chosen(instant: Any, shapes_folder: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 3, 9)  # the pictures' losses differ far more than the trials
    losses = {256: np.full(9, 5.0), 16: 4.9 + noise - noise.mean()}
    assert tried(losses, instant, tmp_path / "tune", shapes_folder).best.values["hidden"] == 256


def test_recipe_that_is_clearly_better_is_chosen(instant: Any, shapes_folder: Path, tmp_path: Path) -> None:
    losses = {256: np.full(9, 0.9), 16: np.full(9, 0.1)}
    assert tried(losses, instant, tmp_path / "tune", shapes_folder).best.values["hidden"] == 16


def test_best_run_is_as_good_in_validation_as_its_trial(tuned: Tuning) -> None:
    rows = list(csv.DictReader((tuned.folder / "best" / "history.csv").read_text().splitlines()))
    trial = list(csv.DictReader((tuned.folder / "trials" / f"{tuned.best.number:04d}.csv").read_text().splitlines()))
    key = "val_calibrated_loss"
    # Trials have no linear probe, which ships from the best run where it is better still.
    assert [float(row[key]) for row in rows if row["stage"] != "probe"] == pytest.approx(
        [float(row[key]) for row in trial], abs=1e-3
    )


def test_study_is_a_model_and_its_run_is_listed(tuned: Tuning, shapes_folder: Path) -> None:
    [answer] = whatsit.load(tuned.folder).predict([shapes_folder / "disc" / "00.png"])
    assert answer.label in ("columns", "disc", "rows")
    assert [run.name for run in list_runs(tuned.folder.parent)] == ["shapes? ส้ม #1 100%/best"]


def test_test_pictures_are_not_seen_by_trials(
    instant: Any, shapes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def listening(context: Any) -> Any:
        seen.append(bool(context.dataset.of("test")))
        return instant(context)

    monkeypatch.setattr(training, "train_by_recipe", listening)
    whatsit.tune(shapes_folder, out=tmp_path / "tune", trials=2, settings=SMALL, search=SEARCH, report=False)
    assert seen == [False, False, True]  # two trials, and the best run


@pytest.mark.usefixtures("instant")
def test_more_trials_prolong_a_study(tuned: Tuning, shapes_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tuned.folder, tmp_path / "longer")
    longer = whatsit.tune(shapes_folder, out=folder, resume=True, trials=6, report=False)
    assert len(longer.trials) == 6
    assert longer.trials[:4] == tuned.trials
    assert longer.run is not None
    assert read_bundle(folder).provenance["recipe"]["hidden"] == longer.best.values["hidden"]


@pytest.mark.usefixtures("instant")
def test_more_trials_of_a_study_whose_time_is_over_have_no_limit(
    tuned: Tuning, shapes_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tuned.folder, tmp_path / "over")
    tell(folder, time_limit=1.0, used=1.0)
    assert len(whatsit.tune(shapes_folder, out=folder, resume=True, trials=5, report=False).trials) == 5


def test_begun_best_run_is_gone_on_with_before_anything_else(
    instant: Any, tuned: Tuning, shapes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(tuned.folder, tmp_path / "ending")
    shutil.rmtree(folder / "best")
    tell(folder, time_limit=600.0, trials=None, made=None)
    monkeypatch.setattr("whatsit.tuning.budget.Budget.left", lambda self: 0.0)
    monkeypatch.setattr(training, "train_by_recipe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        whatsit.tune(shapes_folder, out=folder, resume=True, report=False)
    monkeypatch.setattr(training, "train_by_recipe", instant)
    monkeypatch.setattr("whatsit.tuning.budget.Budget.left", lambda self: 600.0)
    another = len(tuned.trials) + 1
    tell(folder, trials=another)  # would be made else
    assert whatsit.tune(shapes_folder, out=folder, resume=True, report=False).trials == tuned.trials


@pytest.mark.usefixtures("instant")
def test_begun_best_run_does_not_keep_a_study_from_being_prolonged(
    tuned: Tuning, shapes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(tuned.folder, tmp_path / "prolonged")
    tell(folder, time_limit=600.0, made=None, ending=True)
    with monkeypatch.context() as patch:
        patch.setattr("whatsit.tuning.trials.Trials.make", interrupted)
        with pytest.raises(KeyboardInterrupt):  # the same command goes on with it
            whatsit.tune(shapes_folder, out=folder, resume=True, trials=5, report=False)
    assert len(whatsit.tune(shapes_folder, out=folder, resume=True, trials=5, report=False).trials) == 5


def test_finished_study_is_not_trained_again(tuned: Tuning, shapes_folder: Path) -> None:
    before = (tuned.folder / "best" / "model.whatsit").stat().st_mtime_ns
    again = whatsit.tune(shapes_folder, out=tuned.folder, resume=True, report=False)
    assert again.trials == tuned.trials
    assert (tuned.folder / "best" / "model.whatsit").stat().st_mtime_ns == before


@pytest.mark.usefixtures("instant")
def test_killed_study_goes_on_with_the_trial_that_was_cut_off(shapes_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tune"
    command = [sys.executable, "-m", "tests.waiting", "tune", str(shapes_folder), "--out", str(folder), "--trials", "2"]
    command += [part for text in SEARCH for part in ("--search", text)]
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        assert process.stdout
        assert process.stdout.readline() == "training\n"
        process.kill()
    done = whatsit.tune(shapes_folder, out=folder, resume=True, report=False)
    assert done.trials[0].number == 0
    assert len(done.trials) == 2
    assert (done.trials[0].values["hidden"], done.trials[0].values["dropout"]) == (256, 0.5)  # the recipe as it is


def test_two_processes_work_on_one_study(tuned: Tuning, shapes_folder: Path, tmp_path: Path) -> None:
    """This one joins in once the other is in the middle of its first trial."""
    folder = shutil.copytree(tuned.folder, tmp_path / "tune")
    options = ["tune", str(shapes_folder), "--out", str(folder), "--resume", "--trials", "7", "--no-report", "--json"]
    command = [sys.executable, "-m", "whatsit.apps.cli", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as other:
        try:
            while not list(folder.glob("trials/*/")):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    raise AssertionError(f"it ended with {other.wait(0.1)}: {other.communicate()}")
            this = command_line(*options)
            out, err = other.communicate()
        finally:
            other.kill()
    assert (this.returncode, other.returncode) == (0, 0), (this.stderr, err)
    assert any(json.loads(text)["test"] for text in (this.stdout, out))
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    assert [int(row["trial"]) for row in rows[:7]] == list(range(7))
    assert not list(folder.glob("trials/*/"))


def test_trial_of_a_process_that_died_is_made_again_and_one_of_a_living_is_not(tmp_path: Path) -> None:
    space = {"hidden": Choice((1, 2))}
    first = [{"hidden": 2}, {"hidden": 1}]
    one, two = (Study(tmp_path, space, seed=0, warmup=0, first=first) for _ in range(2))
    with one.working():
        asked = one.ask()
        assert two.requeue_dead() == 1
    assert two.requeue_dead() == 0  # `one` has gone and told nothing
    with two.working():
        later, again = two.ask(), two.ask()
        assert (asked.number, later.number, again.number) == (0, 1, 0)
        assert again.values == asked.values == {"hidden": 2}
        two.tell(again, 0.5, 1.0)
        two.tell(later, 0.7, 1.0)
    assert [(row.number, row.loss) for row in two.rows()] == [(0, 0.5), (1, 0.7)]


def test_trial_that_ends_every_process_is_given_up(tmp_path: Path) -> None:
    for attempt in range(3):  # each a process of its own
        study = Study(tmp_path, {"hidden": Choice((1, 2))}, seed=0, warmup=0, first=[{"hidden": 2}])
        assert study.requeue_dead() == 0
        if attempt < 2:
            with study.working():
                study.ask()
    [row] = study.rows()
    assert (row.state, row.values) == ("failed", {"hidden": 2})
    assert "too little memory" in row.error


def test_trial_that_is_interrupted_again_and_again_is_made_in_the_end(tmp_path: Path) -> None:
    for _ in range(3):
        study = Study(tmp_path, {"hidden": Choice((1, 2))}, seed=0, warmup=0, first=[{"hidden": 2}])
        with contextlib.suppress(KeyboardInterrupt), study.working():
            asked = study.ask()
            raise KeyboardInterrupt
        assert (asked.number, asked.values, study.rows()) == (0, {"hidden": 2}, [])


def test_trial_that_fails_otherwise_every_time_is_given_up(tmp_path: Path) -> None:
    for attempt in range(3):  # each a process of its own
        study = Study(tmp_path, {"hidden": Choice((1, 2))}, seed=0, warmup=0, first=[{"hidden": 2}])
        study.requeue_dead()
        if attempt < 2:
            with contextlib.suppress(RuntimeError), study.working():
                study.ask()
                raise RuntimeError("no such kernel")
    assert [row.state for row in study.rows()] == ["failed"]


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    first = [{"hidden": 128}]
    asked = Study(tmp_path, {"hidden": Span(32, 128, whole=True)}, seed=0, warmup=0, first=first).ask()
    assert (asked.values["hidden"], type(asked.values["hidden"])) == (128, int)


def test_trials_of_another_search_are_refused(tmp_path: Path) -> None:
    study = Study(tmp_path, {"hidden": Choice((1, 2))}, seed=0, warmup=0, first=[])
    study.tell(study.ask(), 0.5, 1.0)
    with pytest.raises(UsageError, match="made for another search"):
        Study(tmp_path, {"hidden": Choice((3, 4))}, seed=0, warmup=0, first=[])


@pytest.mark.usefixtures("instant")
def test_nothing_is_tried_twice(shapes_folder: Path, tmp_path: Path) -> None:
    tuned = whatsit.tune(
        shapes_folder, out=tmp_path / "tune", time_limit="10m", settings=SMALL, search=["hidden=8,16"], report=False
    )
    assert sorted(row.values["hidden"] for row in tuned.trials if row.seconds) == [8, 16]


def test_study_whose_trials_all_fail_says_why(
    shapes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def failing(*_: object, **__: object) -> None:
        made.append(1)
        raise TrainingError("the loss became infinite")

    monkeypatch.setattr(training, "train_by_recipe", failing)
    with pytest.raises(WhatsitError, match="no trial came to its end: the loss became infinite"):
        whatsit.tune(shapes_folder, out=tmp_path / "tune", time_limit="1h", report=False)
    assert len(made) == 3


def test_same_command_goes_on_and_another_does_not(tuned: Tuning, shapes_folder: Path) -> None:
    again = whatsit.tune(
        shapes_folder, out=tuned.folder, trials=4, settings=SMALL, search=SEARCH, report=False, resume=True
    )
    assert again.trials == tuned.trials
    before = (tuned.folder / "study.json").read_bytes()
    with pytest.raises(UsageError, match="begun with epochs = 4, now 5 is asked for"):
        whatsit.tune(shapes_folder, out=tuned.folder, settings=SMALL | {"epochs": 5}, trials=9, resume=True)
    with pytest.raises(UsageError, match="searches otherwise"):
        whatsit.tune(shapes_folder, out=tuned.folder, settings=SMALL, search=["hidden=1,2"], trials=9, resume=True)
    with pytest.raises(UsageError, match="searches otherwise"):
        whatsit.tune(shapes_folder, out=tuned.folder, settings=SMALL | {"hidden": 256}, resume=True)
    with pytest.raises(UsageError, match="begun with seed = 3, now 7 is asked for"):
        whatsit.tune(shapes_folder, out=tuned.folder, settings=SMALL | {"seed": 7}, resume=True)
    assert (tuned.folder / "study.json").read_bytes() == before


def test_search_need_not_be_said_again(tuned: Tuning, shapes_folder: Path) -> None:
    again = whatsit.tune(shapes_folder, out=tuned.folder, settings=SMALL, report=False, resume=True)
    assert again.trials == tuned.trials


def test_trials_with_tuned_layers_are_judged_as_they_would_answer(
    instant: Callable[..., Any], shapes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the best run comes to is not asked."""
    monkeypatch.setattr(training, "train_by_recipe", lambda context: (REALLY if context.brief else instant)(context))
    monkeypatch.setattr("whatsit.training.trained.clearly_less", lambda *_, **__: True)  # than the head's
    settings = SMALL | {"size": 32, "finetune_layers": 2, "finetune_epochs": 1}
    del settings["test_time_flip"]
    tuned = whatsit.tune(
        shapes_folder, out=tmp_path / "tune", trials=2, settings=settings, search=["test_time_flip=false,true"],
        report=False,
    )  # fmt: skip
    one, two = tuned.trials
    assert one.loss != two.loss


@pytest.mark.usefixtures("instant")
def test_best_run_cut_off_before_it_was_begun_is_made(tuned: Tuning, shapes_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tuned.folder, tmp_path / "cut")
    shutil.rmtree(folder / "best")
    (folder / f"best-{tuned.best.number:04d}.unfinished").mkdir()
    assert whatsit.tune(shapes_folder, out=folder, resume=True, report=False).run
    assert (folder / "best" / "model.whatsit").is_file()


def test_pictures_that_changed_are_told(tuned: Tuning, shapes_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tuned.folder, tmp_path / "tune")
    data = shutil.copytree(shapes_folder, tmp_path / "data")
    (data / "disc" / "03.png").unlink()
    tell(folder, data=str(data))
    with pytest.raises(UsageError, match="the pictures have changed since the study"):
        whatsit.tune(data, out=folder, resume=True)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": []},
        {"used": 10**400},
        {"space": {"dropout": {"low": 0.1}}},
        {"trials": "x"},
        {"space": {"no": {"values": [1, 2]}}},
    ],
)
def test_tampered_study_is_refused(
    change: dict[str, object], tuned: Tuning, shapes_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tuned.folder, tmp_path / "tampered")
    tell(folder, **change)
    with pytest.raises(UsageError, match="this study cannot be resumed"):
        whatsit.tune(shapes_folder, out=folder, resume=True)


def test_study_among_the_pictures_is_refused(shapes_folder: Path) -> None:
    with pytest.raises(UsageError, match="is inside DATA"):
        whatsit.tune(shapes_folder, out=shapes_folder / "tune")


def test_scratch_networks_are_tuned_by_short_trials(shapes_folder: Path, tmp_path: Path) -> None:
    settings = {"epochs": 5, "flip": False, "rotation": 0.0, "zoom": 0.0, "shear": 0.0}
    tuned = whatsit.tune(
        shapes_folder, recipe="baseline", out=tmp_path / "tune", trials=2, settings=settings, report=False,
        search=["filters=4,8;8,8", "batch_norm=false,true"],
    )  # fmt: skip
    trial = (tmp_path / "tune" / "trials" / "0000.csv").read_text().splitlines()
    whole = (tmp_path / "tune" / "best" / "history.csv").read_text().splitlines()
    assert (len(trial) - 1, len(whole) - 1) == (3, 5)
    assert tuned.best.values["filters"] in ((4, 8), (8, 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "--trials must be at least 1"),
        ({"recipe": "best"}, "tune one such as fast or finetune"),
        ({"settings": {"hidden": 5}, "search": ["hidden=1,2"]}, "'hidden' is both set and searched"),
        ({"search": ["filters=1,2;3,4"]}, "'filters' has no effect on the recipe 'fast'"),
        ({"search": ["size=1..64"]}, "works at 32 pixels and more"),
        ({"search": ["weights=auto,/no/such"]}, "there is no such weights file"),
        ({"resume": True}, "no study is there"),
    ],
)
def test_wrong_use_makes_nothing(options: dict[str, object], message: str, shapes_folder: Path, tmp_path: Path) -> None:
    with pytest.raises((UsageError, RecipeError), match=message):
        whatsit.tune(shapes_folder, out=tmp_path / "tune", **options)
    assert not (tmp_path / "tune").exists()


def test_damaged_study_says_so(tuned: Tuning, shapes_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tuned.folder, tmp_path / "damaged")
    (folder / "study.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(UsageError, match=r"study\.db: the study cannot be opened"):
        whatsit.tune(shapes_folder, out=folder, resume=True)


def test_study_of_other_pictures_is_not_gone_on_with(tuned: Tuning, shapes_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tuned.folder, tmp_path / "moved")
    with pytest.raises(UsageError, match=r"this study is of .*shapes, not of digits"):
        whatsit.tune("digits", out=folder, resume=True)

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from whatsit.apps.model_files import Entry, find_models
from whatsit.apps.streamlit_app import model_registry
from whatsit.apps.streamlit_app.model_registry import Key, ModelRegistry, OpenModel, summarize
from whatsit.errors import BundleError, MissingBundleError, UsageError
from whatsit.run.record import Run


@pytest.fixture
def folder(baseline_run: Run, tmp_path: Path) -> Path:
    """Two runs, a single model, and a folder that is neither."""
    for name in ("old", "new"):
        shutil.copytree(baseline_run.folder, tmp_path / "runs" / name)
    os.utime(tmp_path / "runs" / "old" / "model.whatsit", (1, 1))
    shutil.copy(baseline_run.model, tmp_path / "runs" / "single.whatsit")
    os.utime(tmp_path / "runs" / "single.whatsit", (0, 0))
    (tmp_path / "runs" / "notes").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def models() -> ModelRegistry:
    return ModelRegistry()


def names(*paths: Path) -> list[str]:
    return [entry.name for entry in find_models(paths)]


def test_folder_of_models_gives_all_the_newest_first(folder: Path) -> None:
    assert names(folder) == ["new", "old", "single"]


def test_study_goes_by_its_own_name(folder: Path, baseline_run: Run) -> None:
    shutil.copytree(baseline_run.folder, folder / "food-tune" / "best")
    os.utime(folder / "food-tune" / "best" / "model.whatsit", (2, 2))
    assert names(folder) == ["new", "food-tune", "old", "single"]
    assert names(folder / "food-tune") == ["food-tune"]


def test_run_folder_its_model_and_a_single_file(folder: Path) -> None:
    assert names(folder / "old", folder / "single.whatsit") == ["old", "single"]
    assert names(folder / "old" / "model.whatsit") == ["old"]


def test_equal_names_are_told_apart(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "old", tmp_path / "elsewhere" / "old")
    assert sorted(names(folder / "old", tmp_path / "elsewhere" / "old")) == ["old", "old (2)"]


@pytest.mark.skipif(sys.platform == "win32", reason="file names are Unicode there")
def test_name_that_is_not_unicode_can_be_shown(folder: Path) -> None:
    odd = os.fsdecode(os.fsencode(folder) + b"/bad\xff")
    (folder / "old").rename(odd)
    assert names(Path(odd)) == ["bad\\udcff"]


def test_path_that_cannot_be_looked_at_holds_no_model(folder: Path) -> None:
    assert names(Path("a" * 5000), folder / "new") == ["new"]


def test_numbers_stay_with_their_paths_whichever_is_newer(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "old", tmp_path / "elsewhere" / "old")
    paths = (tmp_path / "elsewhere", folder)
    before = {entry.name: entry.path for entry in find_models(paths)}
    os.utime(folder / "old" / "model.whatsit")
    assert {entry.name: entry.path for entry in find_models(paths)} == before


def test_path_without_a_model_is_refused(models: ModelRegistry, folder: Path) -> None:
    with pytest.raises(MissingBundleError, match="there is no such model; train one with: whatsit train DATA"):
        models.offer([folder, folder / "none"])
    with pytest.raises(UsageError, match="there is no model in this folder"):
        models.offer([folder / "notes"])


def test_models_named_by_the_environment(models: ModelRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHATSIT_MODELS", os.pathsep.join([str(folder / "new"), str(folder / "old")]))
    assert [entry.name for entry in models.entries()] == ["new", "old"]


def test_model_is_opened_once_and_again_when_its_file_changed(models: ModelRegistry, folder: Path) -> None:
    [entry] = find_models([folder / "new"])
    first = models.open(entry)
    assert models.open(entry) is first
    os.utime(folder / "new" / "model.whatsit", (5, 5))
    assert models.open(entry) is not first


def test_damaged_or_vanished_model_is_an_error_of_its_own(models: ModelRegistry, folder: Path) -> None:
    (folder / "single.whatsit").write_bytes(b"nonsense")
    single, new = (find_models([folder / name])[0] for name in ("single.whatsit", "new"))
    with pytest.raises(BundleError, match="not a whole"):
        models.open(single)
    shutil.rmtree(folder / "new")
    with pytest.raises(MissingBundleError, match="not there any more"):
        models.open(new)


def test_open_model_knows_its_checks_and_its_run(models: ModelRegistry, folder: Path, baseline_run: Run) -> None:
    opened = models.open(find_models([folder / "new"])[0])
    assert {check.name for check in opened.checks} >= {"class_recall", "seconds_per_picture"}
    assert opened.record.best_epoch is not None
    assert opened.explainer.predictor is opened.predictor


def test_name_that_a_page_has_shown_is_found_without_listing_the_disk(
    models: ModelRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHATSIT_MODELS", str(folder))
    models.entries()
    monkeypatch.setattr(model_registry, "find_models", lambda paths: pytest.fail("the disk was listed"))
    assert models.find("old").path == folder / "old"


def test_name_that_is_not_there_lists_the_disk_once_a_second_at_most(
    models: ModelRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[object] = []
    monkeypatch.setattr(model_registry, "find_models", lambda paths: listed.append(paths) or [])
    monkeypatch.setattr(model_registry.time, "monotonic", iter([100.0, 100.0, 100.5, 101.5, 101.5]).__next__)
    models.entries()
    assert [models.find("none") for _ in range(3)] == [None] * 3
    assert len(listed) == 3


def test_model_that_comes_later_is_found_by_its_name(
    models: ModelRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHATSIT_MODELS", str(folder))
    models.entries()
    shutil.copy(folder / "single.whatsit", folder / "late.whatsit")
    monkeypatch.setattr(model_registry, "_LIST_INTERVAL", 0.0)
    assert models.find("late").path == folder / "late.whatsit"


def test_opening_one_model_holds_up_nobody_else_and_is_done_once(
    models: ModelRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()
    opened: list[str] = []

    def slow(entry: Entry, key: Key) -> OpenModel:
        opened.append(entry.name)
        if entry.name == "old":
            began.set()
            assert go_on.wait(20)
        return OpenModel(entry, key)

    monkeypatch.setattr(model_registry, "OpenModel", slow)
    [old], [new] = find_models([folder / "old"]), find_models([folder / "new"])
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(models.open, old) for _ in range(2)]
        assert began.wait(20)
        assert models.opened(old) is None
        assert models.open(new).entry is new  # while the other is not open yet
        go_on.set()
        assert waiting[0].result() is waiting[1].result() is models.opened(old)
    assert opened == ["old", "new"]


def test_model_that_could_not_be_opened_is_tried_again(models: ModelRegistry, folder: Path, baseline_run: Run) -> None:
    [single] = find_models([folder / "single.whatsit"])
    whole = single.path.read_bytes()
    single.path.write_bytes(bytes(len(whole)))
    info = single.path.stat()
    with pytest.raises(BundleError):
        models.open(single)
    single.path.write_bytes(whole)
    os.utime(single.path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert models.open(single).predictor.classes


def test_few_models_are_open_at_once(models: ModelRegistry, folder: Path) -> None:
    entries = []
    for number in range(4):
        shutil.copy(folder / "single.whatsit", folder / f"{number}.whatsit")
        entries += find_models([folder / f"{number}.whatsit"])
    for entry in entries:
        models.open(entry)
    assert [models.opened(entry) is not None for entry in entries] == [False, True, True, True]


def test_summary_of_a_run(baseline_run: Run) -> None:
    summary = summarize(baseline_run.load().bundle)
    assert summary.metrics == baseline_run.test
    assert (summary.source, summary.network, summary.recipe) == ("shapes", "simple-cnn", "baseline")
    assert summary.pictures is not None
    assert sum(summary.pictures["test"].values()) == baseline_run.test.n


@pytest.mark.parametrize(
    "changed",
    [
        {"test": {}},
        {"test": {"accuracy": "high"}},
        {"test": None},
        {"provenance": {}},
        {"provenance": {"data": 3, "recipe": [], "created": {}}},
        {"provenance": {"data": {"source": 7, "pictures": {"train": 3}}}},
    ],
)
def test_damaged_parts_count_as_missing(baseline_run: Run, changed: dict[str, Any]) -> None:
    summary = summarize(dataclasses.replace(baseline_run.load().bundle, **changed))
    if "test" in changed:
        assert summary.metrics is None
    else:
        assert (summary.source, summary.created, summary.pictures) == ("", "", None)


def test_metrics_of_other_classes_count_as_missing(baseline_run: Run) -> None:
    bundle = baseline_run.load().bundle
    assert summarize(dataclasses.replace(bundle, classes=("a", "b", "c"))).metrics is None

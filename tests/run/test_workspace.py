from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

import whatsit
from whatsit.bundle.read import read_bundle
from whatsit.errors import BundleError, DataError, UsageError
from whatsit.run.workspace import beside, finish_replacing, new_run, unfinished_run


def test_place_of_a_process_killed_before_it_began_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "run.unfinished").mkdir()
    (tmp_path / "run.unfinished" / ".job.json.abc.part").write_text("{")
    with new_run(tmp_path / "run", "data", "fast") as place:
        (place.path / "model.whatsit").write_text("m")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["model.whatsit"]


def test_place_that_a_process_has_just_taken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run.unfinished").mkdir()
    with (
        FileLock(tmp_path / "run.unfinished" / ".lock"),
        pytest.raises(UsageError, match="another run is being made"),
        new_run(tmp_path / "run", "data", "fast"),
    ):
        pass


def test_what_a_killed_process_was_writing_is_not_in_the_run(tmp_path: Path) -> None:
    place = tmp_path / "run.unfinished"
    (place / "mistakes").mkdir(parents=True)
    (place / "job.json").write_text('{"recipe": {}}')
    (place / "mistakes" / ".01.jpg.abc.part").write_text("half")
    with unfinished_run(tmp_path / "run", "data", None):
        pass
    assert not list((tmp_path / "run").rglob("*.part"))


@pytest.mark.parametrize("root", ["/", "/proc"])
def test_root_of_a_disk_is_no_run_folder(root: str) -> None:
    if not os.path.ismount(root):
        pytest.skip(f"{root} is no mount here")
    with pytest.raises(UsageError, match="is the root of a disk"), new_run(root, "data", "fast"):
        pass


def test_root_of_a_disk_is_not_being_replaced() -> None:
    finish_replacing(Path("/"))  # as a training into it asks first


def test_run_among_the_pictures_is_refused(shapes_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="is inside DATA"):
        whatsit.train(shapes_folder, out=shapes_folder / "run")
    monkeypatch.chdir(shapes_folder)
    with pytest.raises(UsageError, match="is inside DATA"):
        whatsit.train(".")


def test_test_pictures_that_cannot_be_read_are_told_before_training(
    shape_files: dict[str, bytes], tmp_path: Path
) -> None:
    for name, data in shape_files.items():
        kind, file = name.split("/")
        split = ("train", "validation", "test")[0 if int(file[:2]) < 12 else 1 if int(file[:2]) < 16 else 2]
        path = tmp_path / "data" / split / kind / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if split != "test" else data[:60])
    with pytest.raises(DataError, match="none of 12 test pictures can be read"):
        whatsit.train(tmp_path / "data", recipe="baseline", out=tmp_path / "run")
    assert not list(tmp_path.glob("run*"))


@pytest.mark.parametrize(
    "left", [[], [".lock"], [".job.json.abc.part", ".lock"], ["history.csv", "checkpoints/head.npz"]]
)
def test_run_killed_before_it_was_described_is_begun_anew_and_resuming_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (Path("run.unfinished"), Path("runs", "data-fast.unfinished")):
        for name in left:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text("x")
        place.mkdir(parents=True, exist_ok=True)
    for out in ("run", None):
        with (
            pytest.raises(
                UsageError, match="before it had done anything; start it with the same command without --resume"
            ),
            unfinished_run(out, "data", None),
        ):
            pass
        with new_run(out, "data", "fast") as place:
            assert [path.name for path in place.path.iterdir()] == [".lock"]


def test_resuming_what_another_process_has_just_begun_says_so(tmp_path: Path) -> None:
    (tmp_path / "run.unfinished").mkdir()
    with (
        FileLock(tmp_path / "run.unfinished" / ".lock"),
        pytest.raises(UsageError, match="another process is working on this run"),
        unfinished_run(tmp_path / "run", "data", None),
    ):
        pass


def test_run_that_is_replaced_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.whatsit").write_text("old")
    (tmp_path / "run-before").mkdir()
    with new_run(tmp_path / "run", "data", "fast", replaces=True) as place:
        (place.path / "model.whatsit").write_text("new")
        place.before = beside(place.folder, "before")
    assert (tmp_path / "run" / "model.whatsit").read_text() == "new"
    assert (tmp_path / "run-before-2" / "model.whatsit").read_text() == "old"


def test_run_stays_where_its_replacement_fails(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.whatsit").write_text("old")
    with pytest.raises(DataError):
        _fail_to_replace(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "model.whatsit").read_text() == "old"


def _fail_to_replace(run: Path) -> None:
    with new_run(run, "data", "fast", replaces=True) as place:
        place.before = beside(place.folder, "before")
        raise DataError("bad pictures")


def test_run_whose_place_was_empty_when_its_process_was_killed_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two renames of an update, of which the first takes the earlier run away."""
    run, at_that_moment, replace = tmp_path / "run", tmp_path / "copy", Path.replace

    def copying(self: Path, target: Path) -> Path:
        if self.name == "run.unfinished":
            shutil.copytree(tmp_path, at_that_moment)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", copying)
    run.mkdir()
    (run / "model.whatsit").write_text("old")
    with new_run(run, "data", "fast", replaces=True) as place:
        place.save_job({"recipe": {}})
        (place.path / "model.whatsit").write_text("new")
        place.before = tmp_path / "run-before"
    run = at_that_moment / "run"
    with pytest.raises(BundleError, match=f"end it with: whatsit train --update {run} --resume"):
        read_bundle(run)
    monkeypatch.undo()
    finish_replacing(run)
    files = {path.name: [file.name for file in path.iterdir()] for path in at_that_moment.iterdir()}
    assert files == {"run": ["model.whatsit"], "run-before": ["model.whatsit"]}
    assert (run / "model.whatsit").read_text() == "new"


def test_name_beside_a_run_is_beside_the_folder_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "run" / "plots").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "runs" / "run")
    monkeypatch.chdir(tmp_path / "runs" / "run")
    assert beside(Path(), "before") == tmp_path / "runs" / "run-before"
    assert beside(tmp_path / "link", "before") == tmp_path / "runs" / "run-before"
    assert beside(Path("../run"), "before") == Path("../run-before")
    monkeypatch.chdir("plots")
    assert beside(Path(".."), "before") == tmp_path / "runs" / "run-before"
    (tmp_path / "runs" / "run-before").symlink_to("nowhere")
    assert beside(Path(".."), "before") == tmp_path / "runs" / "run-before-2"

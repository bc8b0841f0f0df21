from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import encode, shapes
from whatsit.apps import training_log
from whatsit.apps.streamlit_app import classroom
from whatsit.apps.streamlit_app.classroom import Classroom
from whatsit.apps.trainer import Taught
from whatsit.errors import WhatsitError


class FakeTrainer:
    """Writes what a training would, at once."""

    def __init__(self) -> None:
        self.problem = ""

    def train(self, data: Path, out: Path, progress: Callable[[str], None]) -> Taught:
        progress("Computing features")
        if self.problem:
            raise WhatsitError(self.problem)
        out.mkdir(parents=True)
        (out / "model.whatsit").write_bytes(b"model")
        return Taught(out, 0.9, 0.8, 0.95, 20, {"disc": 1.0, "rows": 0.8}, ("rows", "disc", 2), 3, 1.5)


@pytest.fixture
def room(tmp_path: Path) -> Classroom:
    """Two classes of four pictures."""
    room = Classroom(tmp_path / "taught", FakeTrainer())
    for number, label in enumerate(("disc", "rows")):
        for seed in range(4):
            room.collection.add(label, encode(shapes(label, 10 * number + seed)))
    return room


def train(room: Classroom) -> None:
    thread = room.begin()
    assert thread
    thread.join(20)


def test_it_is_ready_once_two_classes_have_enough(tmp_path: Path) -> None:
    room = Classroom(tmp_path / "taught", FakeTrainer())
    for label in ("disc", "rows"):
        assert not room.is_ready
        for seed in range(3):
            room.collection.add(label, encode(shapes(label, seed)))
    assert room.is_ready


def test_result_is_there_after_a_restart(room: Classroom) -> None:
    train(room)
    again = Classroom(room.collection.folder, FakeTrainer())
    taught, changed = again.result()
    assert (taught.accuracy, taught.mixed, changed) == (0.9, ("rows", "disc", 2), False)
    assert taught.run.name == "taught-1"


def test_next_training_has_the_next_number_and_new_pictures_are_noticed(room: Classroom) -> None:
    train(room)
    room.collection.add("disc", encode(shapes("disc", 99)))
    assert room.result()[1]
    train(room)
    assert room.result()[0].run.name == "taught-2"


def test_failure_is_told_and_the_old_model_stays(room: Classroom) -> None:
    train(room)
    room.trainer.problem = "the class 'disc' is odd"
    train(room)
    assert (room.failed, room.doing) == ("the class 'disc' is odd", "")
    assert room.result()[0].run.name == "taught-1"


def test_damaged_result_is_passed_over(room: Classroom) -> None:
    train(room)
    (room.models / "taught-1" / "taught.json").write_text("[")
    assert room.result() is None


def test_advice_names_what_is_mixed_up_and_what_is_too_much_alike(room: Classroom) -> None:
    train(room)
    picture = shapes("rows", 5)
    for seed in range(9):
        room.collection.add("rows", encode(picture + (seed % 3) * (picture < 200).astype("uint8") + seed // 3))
    advice = room.advice(room.result()[0])
    assert advice[0].key == "teach.mixed"
    assert advice[0].values == {"label": "rows", "other": "disc", "count": 2}
    assert [one.values["label"] for one in advice if one.key == "teach.fewest"] == ["disc"]
    assert [one.values["label"] for one in advice if one.key == "teach.similar"] == ["rows"]


def test_killed_training_and_odd_folder_names_stand_in_nobodys_way(tmp_path: Path) -> None:
    room = Classroom(tmp_path / "[x]", FakeTrainer())
    for label in ("disc", "rows"):
        for seed in range(3):
            room.collection.add(label, encode(shapes(label, seed)))
    (room.models / "[x]-1.unfinished").mkdir(parents=True)
    train(room)
    assert room.result()[0].run.name == "[x]-2"


def test_what_nobody_foresaw_is_shown_and_written_down(room: Classroom, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: Path, out: Path, progress: Callable[[str], None]) -> Taught:
        raise RuntimeError("the disc is square")

    monkeypatch.setattr(room.trainer, "train", fail)
    train(room)
    assert (room.failed, room.is_logged, room.doing) == ("RuntimeError: the disc is square", True, "")
    log = (room.models / "training.log").read_text(encoding="utf-8")
    assert "Traceback" in log
    assert "RuntimeError: the disc is square" in log


def test_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_log, "MOST", 100)
    log = training_log.TrainingLog(tmp_path / "new" / "training.log")
    for number in range(50):
        log.write(f"line {number}\nand more")
    assert sorted(path.name for path in log.path.parent.iterdir()) == ["training.log", "training.log.old"]
    assert sum(path.stat().st_size for path in log.path.parent.iterdir()) < 400
    assert "line 49" in log.path.read_text()


def test_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    training_log.TrainingLog(tmp_path / "file" / "training.log").write("words")


def test_class_is_judged_once_until_its_pictures_change(room: Classroom, monkeypatch: pytest.MonkeyPatch) -> None:
    train(room)
    taught = room.result()[0]
    before = room.advice(taught)
    monkeypatch.setattr(classroom, "_thumbs", lambda paths: pytest.fail("a class was judged again"))
    assert room.advice(taught) == before
    judged: list[int] = []
    monkeypatch.setattr(classroom, "_thumbs", lambda paths: judged.append(len(paths)) or [])
    room.collection.add("disc", encode(shapes("disc", 99)))
    for _ in range(2):
        room.advice(taught)
    assert judged == [5]  # the other class is as it was


def test_other_things_among_the_models_are_no_runs(room: Classroom) -> None:
    for name in (".taught-7", "taught-8.old", "other-9"):
        (room.models / name).mkdir(parents=True)
    (room.models / "taught-10").write_bytes(b"a file")
    train(room)
    assert room.result()[0].run.name == "taught-1"

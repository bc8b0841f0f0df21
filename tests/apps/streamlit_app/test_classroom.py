from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import encode, shapes
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

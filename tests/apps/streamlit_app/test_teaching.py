from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import encode, shapes
from whatsit.apps.streamlit_app import teaching as teaching_module
from whatsit.apps.streamlit_app.teaching import Teaching, TrainingLog
from whatsit.apps.trainer import TrainingResult
from whatsit.errors import ImageError, WhatsitError


class FakeTrainer:
    """Writes what a training would, at once."""

    def __init__(self) -> None:
        self.problem = ""

    def train(self, data: Path, out: Path, show: Callable[[str], None]) -> TrainingResult:
        show("Computing features")
        if self.problem:
            raise WhatsitError(self.problem)
        out.mkdir(parents=True)
        (out / "model.whatsit").write_bytes(b"model")
        return TrainingResult(out, 0.9, 0.8, 0.95, 20, {"disc": 1.0, "rows": 0.8}, ("rows", "disc", 2), 3, 1.5)


@pytest.fixture
def teaching(tmp_path: Path) -> Teaching:
    """Two classes of four pictures."""
    teaching = Teaching(tmp_path / "taught", FakeTrainer())
    for number, label in enumerate(("disc", "rows")):
        for seed in range(4):
            teaching.collection.add(label, encode(shapes(label, 10 * number + seed)))
    return teaching


def train(teaching: Teaching) -> None:
    thread = teaching.train()
    assert thread
    thread.join(20)


def test_it_is_ready_once_two_classes_have_enough(tmp_path: Path) -> None:
    teaching = Teaching(tmp_path / "taught", FakeTrainer())
    for label in ("disc", "rows"):
        assert not teaching.is_ready
        for seed in range(3):
            teaching.collection.add(label, encode(shapes(label, seed)))
    assert teaching.is_ready


def test_result_is_there_after_a_restart(teaching: Teaching) -> None:
    train(teaching)
    again = Teaching(teaching.collection.folder, FakeTrainer())
    taught, changed = again.result()
    assert (taught.accuracy, taught.mixed, changed) == (0.9, ("rows", "disc", 2), False)
    assert taught.run.name == "taught-1"


def test_next_training_has_the_next_number_and_new_pictures_are_noticed(teaching: Teaching) -> None:
    train(teaching)
    teaching.collection.add("disc", encode(shapes("disc", 99)))
    assert teaching.result()[1]
    train(teaching)
    assert teaching.result()[0].run.name == "taught-2"


def test_failure_is_told_and_the_old_model_stays(teaching: Teaching) -> None:
    train(teaching)
    teaching.trainer.problem = "the class 'disc' is odd"
    train(teaching)
    assert (teaching.error, teaching.stage) == ("the class 'disc' is odd", "")
    assert teaching.result()[0].run.name == "taught-1"


def test_damaged_result_is_passed_over(teaching: Teaching) -> None:
    train(teaching)
    (teaching.models / "taught-1" / "taught.json").write_text("[")
    assert teaching.result() is None


def test_advice_names_what_is_mixed_up_and_what_is_too_much_alike(teaching: Teaching) -> None:
    train(teaching)
    picture = shapes("rows", 5)
    for seed in range(9):
        teaching.collection.add("rows", encode(picture + (seed % 3) * (picture < 200).astype("uint8") + seed // 3))
    advice = teaching.advice(teaching.result()[0])
    assert advice[0].key == "teach.mixed"
    assert advice[0].values == {"label": "rows", "other": "disc", "count": 2}
    assert [one.values["label"] for one in advice if one.key == "teach.fewest"] == ["disc"]
    assert [one.values["label"] for one in advice if one.key == "teach.similar"] == ["rows"]


def test_killed_training_and_odd_folder_names_stand_in_nobodys_way(tmp_path: Path) -> None:
    teaching = Teaching(tmp_path / "[x]", FakeTrainer())
    for label in ("disc", "rows"):
        for seed in range(3):
            teaching.collection.add(label, encode(shapes(label, seed)))
    (teaching.models / "[x]-1.unfinished").mkdir(parents=True)
    train(teaching)
    assert teaching.result()[0].run.name == "[x]-2"


def test_what_nobody_foresaw_is_shown_and_written_down(teaching: Teaching, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: Path, out: Path, show: Callable[[str], None]) -> TrainingResult:
        raise RuntimeError("the disc is square")

    monkeypatch.setattr(teaching.trainer, "train", fail)
    train(teaching)
    assert (teaching.error, teaching.is_logged, teaching.stage) == ("RuntimeError: the disc is square", True, "")
    log = (teaching.models / "training.log").read_text(encoding="utf-8")
    assert "Traceback" in log
    assert "RuntimeError: the disc is square" in log


def test_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching_module, "MAX_LOG", 100)
    log = TrainingLog(tmp_path / "new" / "training.log")
    for number in range(50):
        log.write(f"line {number}\nand more")
    assert sorted(path.name for path in log.path.parent.iterdir()) == ["training.log", "training.log.old"]
    assert sum(path.stat().st_size for path in log.path.parent.iterdir()) < 400
    assert "line 49" in log.path.read_text()


def test_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    TrainingLog(tmp_path / "file" / "training.log").write("words")


def test_class_is_compared_once_until_its_pictures_change(teaching: Teaching, monkeypatch: pytest.MonkeyPatch) -> None:
    train(teaching)
    taught = teaching.result()[0]
    before = teaching.advice(taught)
    monkeypatch.setattr(teaching_module, "measure", lambda data: pytest.fail("a class was compared again"))
    assert teaching.advice(taught) == before
    compared: list[bytes] = []

    def measure(data: bytes) -> None:
        compared.append(data)
        raise ImageError("none", "format")

    monkeypatch.setattr(teaching_module, "measure", measure)
    teaching.collection.add("disc", encode(shapes("disc", 99)))
    for _ in range(2):
        teaching.advice(taught)
    assert len(compared) == 5  # the other class is as it was


def test_other_things_among_the_models_are_no_runs(teaching: Teaching) -> None:
    for name in (".taught-7", "taught-8.old", "other-9"):
        (teaching.models / name).mkdir(parents=True)
    (teaching.models / "taught-10").write_bytes(b"a file")
    train(teaching)
    assert teaching.result()[0].run.name == "taught-1"

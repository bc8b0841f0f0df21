"""What kills or holds up the child costs one image."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import encode, shapes
from whatsit.images.manifest import ImageRow
from whatsit.images.places import PlaceError
from whatsit.run.record import Run
from whatsit.scale.supervise import Supervisor, Task, WorkerError

FAULTY = (sys.executable, str(Path(__file__).with_name("faulty_child.py")))


@pytest.fixture
def task(baseline_run: Run, tmp_path: Path) -> Task:
    return Task("predict", {"model": str(baseline_run.model), "top": 3, "runtime": "auto"}, str(tmp_path))


def write(folder: Path, names: list[str]) -> list[ImageRow]:
    for number, name in enumerate(names):
        (folder / name).write_bytes(encode(shapes("disc", number)))
    return [ImageRow(name) for name in names]


def test_images_that_kill_are_errors_and_the_others_are_answered_to_the_bit(task: Task, tmp_path: Path) -> None:
    rows = write(tmp_path, [f"{number}.png" for number in range(20)])
    with Supervisor(task) as supervisor:
        wanted = supervisor.answer(rows)
    for place, name in ((3, "poison.png"), (12, "exit.png")):
        rows[place] = write(tmp_path, [name])[0]
    with Supervisor(task, command=FAULTY) as supervisor:
        found = supervisor.answer(rows)
    assert [place for place, one in enumerate(found) if one.error] == [3, 12]
    assert "killed (signal 9)" in found[3].error
    assert "code 7" in found[12].error
    assert [one.answer for place, one in enumerate(found) if place not in (3, 12)] == [
        one.answer for place, one in enumerate(wanted) if place not in (3, 12)
    ]


def test_image_that_holds_up_is_an_error(task: Task, tmp_path: Path) -> None:
    rows = write(tmp_path, ["a.png", "hang.png", "z.png"])
    with Supervisor(task, command=FAULTY, stall=2.0) as supervisor:
        found = supervisor.answer(rows)
    assert [bool(one.error) for one in found] == [False, True, False]
    assert "took more than 2 seconds" in found[1].error


def test_damaged_empty_and_missing_images_are_errors_with_reasons(task: Task, tmp_path: Path) -> None:
    rows = write(tmp_path, ["good.png", "cut.png", "empty.png"])
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    (tmp_path / "empty.png").write_bytes(b"")
    with Supervisor(task) as supervisor:
        found = supervisor.answer([*rows, ImageRow("missing.png")])
    assert [one.reason for one in found] == ["", "damaged", "empty", "missing"]


def test_model_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    missing = Task("predict", {"model": str(tmp_path / "no.whatsit"), "top": 1, "runtime": "auto"}, str(tmp_path))
    with Supervisor(missing) as supervisor, pytest.raises(WorkerError, match=r"no\.whatsit: there is no such model"):
        supervisor.answer([ImageRow("a.png")])


def test_child_that_ends_at_once_is_told(task: Task) -> None:
    command = (sys.executable, "-c", "import sys; sys.exit('no room at the inn')")
    with Supervisor(task, command=command) as supervisor, pytest.raises(WorkerError, match="no room at the inn"):
        supervisor.answer([ImageRow("a.png")])


def test_child_that_is_stuck_at_its_start_can_be_ended(task: Task) -> None:
    supervisor = Supervisor(task, command=(sys.executable, "-c", "import time; time.sleep(3600)"))
    errors: list[BaseException] = []

    def answer() -> None:
        try:
            supervisor.answer([ImageRow("a.png")])
        except WorkerError as error:
            errors.append(error)

    thread = threading.Thread(target=answer)
    thread.start()
    while not psutil.Process().children():
        time.sleep(0.01)
    supervisor.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(errors) == 1


def test_shard_of_which_nothing_is_there_is_no_answer(task: Task) -> None:
    rows = [ImageRow(f"{number}.png") for number in range(9)]
    with (
        Supervisor(task) as supervisor,
        pytest.raises(PlaceError, match=r"none of 9 pictures in a row is there, from 0\.png"),
    ):
        supervisor.answer(rows)


def test_images_that_are_gone_among_others_are_errors(task: Task, tmp_path: Path) -> None:
    rows = [*(ImageRow(f"gone{number}.png") for number in range(16)), *write(tmp_path, ["a.png"])]
    with Supervisor(task) as supervisor:
        assert [one.reason for one in supervisor.answer(rows)] == ["missing"] * 16 + [""]

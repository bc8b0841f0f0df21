"""A watched folder, from the file that arrives to its answer. The clock is the tests' own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import whatsit
from tests.command import whatsit as command_line
from tests.conftest import Listener
from tests.runtime.test_webhook import service
from tests.verbs.killed import MOMENTS
from whatsit.errors import UsageError
from whatsit.files import DiskError
from whatsit.run.record import Run
from whatsit.runtime.watch_state import WatchState
from whatsit.runtime.watching import Told


class EndedError(Exception):
    """Ends a watch, as Ctrl-C does."""


class Watch:
    """Watches a folder, whose every pause is the next step of a test."""

    def __init__(self, run: Run, tmp_path: Path) -> None:
        self.run, self.now = run, 0.0
        self.folder, self.state = tmp_path / "in", tmp_path / "state.sqlite"
        self.folder.mkdir(exist_ok=True)
        self.told: list[Told] = []
        self.listener = Listener()

    def __call__(self, *steps: Callable[[], Any] | float, **options: Any) -> list[tuple[str, str]]:
        """Do a step in each pause, or let seconds pass; return the (file, answer) that were told meanwhile."""
        left, before = list(steps), len(self.told)

        def pause(_seconds: float) -> None:
            self.now += 1.0
            if not left:
                raise EndedError
            step = left.pop(0)
            if isinstance(step, float):
                self.now += step - 1.0
            else:
                step()

        with pytest.raises(EndedError):
            whatsit.watch(
                self.run.folder,
                self.folder,
                state=self.state,
                told=self.told.append,
                reporter=self.listener,
                pause=pause,
                clock=lambda: self.now,
                **options,
            )
        return [(one.file, getattr(one.found, "label", "error")) for one in self.told[before:]]


@pytest.fixture
def watch(baseline_run: Run, tmp_path: Path) -> Watch:
    return Watch(baseline_run, tmp_path)


@pytest.fixture
def put(watch: Watch, shapes_folder: Path) -> Callable[..., Callable[[], None]]:
    """Put a picture of a class under a name."""
    files = {kind: sorted((shapes_folder / kind).glob("*.png")) for kind in ("disc", "rows", "columns")}

    def put(name: str, kind: str = "disc", number: int = 0) -> Callable[[], None]:
        def do() -> None:
            path = watch.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.part")
            part.write_bytes(files[kind][number].read_bytes())
            part.replace(path)

        return do

    return put


def nothing() -> None:
    pass


def test_new_files_are_answered_and_those_that_were_there_are_not(watch: Watch, put: Any, tmp_path: Path) -> None:
    put("old.png")()
    found = watch(
        put("a.png"), put("cam/b.png", "rows"), 1.0, table=tmp_path / "rows.jsonl", sort_into=tmp_path / "out"
    )
    assert found == [("a.png", "disc"), ("cam/b.png", "rows")]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [(row["image"], row["label"], row["crop"]) for row in rows] == [
        ("a.png", "disc", ""),
        ("cam/b.png", "rows", ""),
    ]
    assert rows[0]["time"] == watch.told[0].time
    assert (tmp_path / "out" / "disc" / "a.png").is_file()
    assert watch.listener.said[0].startswith("1 pictures are there already and are not answered")


def test_answers_are_the_predictors_own(watch: Watch, put: Any, baseline_run: Run) -> None:
    put("a.png")()
    watch(1.0, existing=True, top=2)
    assert watch.told[0].found == whatsit.load(baseline_run.folder).predict([watch.folder / "a.png"], top=2)[0]


def test_restart_answers_what_came_meanwhile_and_nothing_twice(watch: Watch, put: Any, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    assert watch(put("a.png"), 1.0, table=table) == [("a.png", "disc")]
    put("b.png", "rows")()
    os.utime(watch.folder / "a.png", (1, 1))  # another time, the same contents
    assert watch(1.0, 1.0, table=table) == [("b.png", "rows")]
    assert watch(1.0, 1.0, table=table) == []
    assert len(table.read_text("utf-8").splitlines()) == 3


def test_old_files_of_a_stick_whose_clock_changed_to_summer_time_are_not_answered(watch: Watch, put: Any) -> None:
    put("old.png")()
    put("touched.png", "rows")()
    watch(1.0)
    for name, hours in (("old.png", 1.0), ("touched.png", 0.3)):
        path, info = watch.folder / name, (watch.folder / name).stat()
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns + int(hours * 3600 * 10**9)))
    assert watch(1.0, 1.0) == [("touched.png", "rows")]


def test_user_without_a_home_is_asked_for_a_place(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, baseline_run: Run
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", lambda path: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(UsageError, match="--state FILE"):
        whatsit.watch(baseline_run.folder, watch.folder)


def test_file_that_is_written_anew_is_answered_again(watch: Watch, put: Any) -> None:
    assert watch(put("now.png"), 1.0, put("now.png", "rows"), 1.0) == [("now.png", "disc"), ("now.png", "rows")]


def test_slow_writer_is_waited_for_and_a_cut_file_becomes_an_error_in_time(watch: Watch, put: Any) -> None:
    put("whole.png")()
    data = (watch.folder / "whole.png").read_bytes()
    (watch.folder / "whole.png").unlink()

    def write(share: float) -> Callable[[], Any]:
        return lambda: (watch.folder / "slow.png").write_bytes(data[: int(share * len(data))])

    found = watch(write(0.1), 30.0, write(0.5), 50.0, write(1), 1.0, patience=60)
    assert found == [("slow.png", "disc")]
    assert watch(lambda: (watch.folder / "cut.png").write_bytes(data[:300]), 1.0, 30.0, patience=60) == []
    assert watch(1.0, 1.0, 60.0, patience=60) == [("cut.png", "error")]
    assert watch(1.0, 60.0, 60.0, patience=60) == []
    assert watch(lambda: (watch.folder / "cut.png").write_bytes(data), 1.0, patience=60) == [("cut.png", "disc")]


def test_file_whose_space_was_taken_before_it_is_written_is_waited_for(watch: Watch, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    half = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    path = watch.folder / "a.jpg"
    assert watch(lambda: path.write_bytes(half), 1.0, 1.0, 5.0) == []
    [(name, answer)] = watch(lambda: path.write_bytes(data), 1.0)
    assert (name, answer != "error") == ("a.jpg", True)


def test_file_that_goes_before_it_is_read_is_nothing(watch: Watch, put: Any) -> None:
    assert watch(put("a.png"), lambda: (watch.folder / "a.png").unlink(), 1.0, 60.0) == []


def test_link_to_nothing_is_an_error_row_after_the_time(watch: Watch, tmp_path: Path) -> None:
    (watch.folder / "a.png").symlink_to(tmp_path / "nothing.png")
    assert watch(1.0, 60.0, existing=True) == [("a.png", "error")]
    assert "the file that it leads to is missing" in str(watch.told[0].found)


def test_folder_that_goes_and_comes_back_is_waited_for(watch: Watch, put: Any, tmp_path: Path) -> None:
    pocket = tmp_path / "pocket"
    steps = [
        put("a.png"),
        1.0,
        lambda: shutil.move(watch.folder, pocket),
        1.0,
        lambda: shutil.move(pocket, watch.folder),
    ]
    assert watch(*steps, put("b.png", "rows"), 1.0, 1.0) == [("a.png", "disc"), ("b.png", "rows")]
    assert len([text for text in watch.listener.warned if "waiting until it comes back" in text]) == 1
    assert f"{watch.folder} is there again" in watch.listener.said
    shutil.move(watch.folder, pocket)
    assert (
        watch(1.0, lambda: shutil.move(pocket, watch.folder), 1.0, 1.0) == []
    )  # also where it is not there at the start


def test_look_that_was_held_up_once_does_not_make_the_next_wait_for_long(watch: Watch) -> None:
    times, pauses = iter([0.0, 10.0, 10.0, 10.0]), list[float]()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise EndedError

    with pytest.raises(EndedError):
        whatsit.watch(watch.run.folder, watch.folder, state=watch.state, pause=pause, clock=lambda: next(times))
    assert pauses == [10.0, pytest.approx(0.5, abs=0.5)]


def test_thousand_at_once_are_all_answered_once(watch: Watch, put: Any, tmp_path: Path) -> None:
    put("0.png")()
    for number in range(1, 1000):
        (watch.folder / f"{number}.png").write_bytes((watch.folder / "0.png").read_bytes())
    assert len(watch(1.0, 1.0, existing=True, table=tmp_path / "a.csv")) == 1000
    assert len((tmp_path / "a.csv").read_text("utf-8").splitlines()) == 1001


def test_sorting_by_moving_takes_files_out_of_the_watched_folder(watch: Watch, put: Any) -> None:
    options: dict[str, Any] = {"sort_into": watch.folder / "sorted", "way": "move"}
    assert watch(put("a.png"), 1.0, put("a.png", "disc", 1), 1.0, 1.0, **options) == [("a.png", "disc")] * 2
    assert sorted(path.name for path in (watch.folder / "sorted" / "disc").iterdir()) == ["a-2.png", "a.png"]
    assert not (watch.folder / "a.png").exists()


@pytest.mark.parametrize("way", ["copy", "move"])
def test_file_that_changes_between_its_answer_and_its_sorting_is_answered_again(
    watch: Watch, put: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    record, changes = WatchState.record, iter([put("a.png", "rows")])

    def changing(state: WatchState, *given: Any) -> None:
        record(state, *given)
        next(changes, nothing)()

    put("a.png")()
    monkeypatch.setattr(WatchState, "record", changing)
    found = watch(1.0, 1.0, 1.0, existing=True, sort_into=tmp_path / "out", way=way)
    assert found == [("a.png", "disc"), ("a.png", "rows")]
    assert [path.parent.name for path in (tmp_path / "out").glob("*/*.png")] == ["rows"]


def test_each_crop_has_an_answer_of_its_own(watch: Watch, put: Any, tmp_path: Path, baseline_run: Run) -> None:
    crops = ["0,0,32,32", "0%,0%,50%,50%", "20,20,30,30"]
    watch(put("a.png", "rows"), 1.0, crops=crops, table=tmp_path / "a.jsonl")
    assert [one.crop for one in watch.told] == crops
    whole = whatsit.load(baseline_run.folder).predict([watch.folder / "a.png"])[0]
    assert watch.told[0].found == whole
    assert "does not lie inside the picture" in str(watch.told[2].found)
    assert [json.loads(line)["crop"] for line in (tmp_path / "a.jsonl").read_text().splitlines()] == crops


def test_steady_answer_is_posted_once_for_each_camera_also_over_a_restart(watch: Watch, put: Any) -> None:
    def some(camera: str, kind: str, *numbers: int) -> list[Any]:
        return [step for one in numbers for step in (put(f"{camera}/{kind}{one}.png", kind, one), 1.0)]

    with service() as (url, got):
        options: dict[str, Any] = {"to": url, "steady": 3}
        watch(*some("one", "disc", 0, 1), *some("two", "rows", 0, 1, 2, 3), **options)
        watch(*some("one", "disc", 2, 3), *some("one", "rows", 0), *some("one", "disc", 4, 5, 6), **options)
        wait_for(got, 2)
    assert sorted(json.loads(body)["file"] for _, _, body in got) == ["one/disc2.png", "two/rows2.png"]
    assert [one.file for one in watch.told if one.is_new] == ["two/rows2.png", "one/disc2.png"]


def wait_for(got: list[Any], count: int) -> None:
    """Wait for a thread of the service; the messages are sent after the pause that ends a watch, at the next start."""
    for _ in range(2000):
        if len(got) >= count:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{len(got)} messages came instead of {count}")


def test_posted_answer_has_the_form_of_the_api_with_file_time_and_id(watch: Watch, put: Any) -> None:
    with service() as (url, got):
        watch(put("a.png"), 1.0, lambda: wait_for(got, 1), to=f"{url}/hook")
    about = json.loads(got[0][2])
    assert {key: about[key] for key in watch.told[0].found.to_json()} == watch.told[0].found.to_json()  # type: ignore[union-attr]
    assert (about["file"], about["time"]) == ("a.png", watch.told[0].time)
    assert about["id"] == got[0][1]["idempotency-key"]


def test_undelivered_answer_is_sent_after_a_restart_under_the_same_id(watch: Watch, put: Any) -> None:
    with service("reset", "reset") as (url, got):
        watch(put("a.png"), 1.0, lambda: wait_for(watch.listener.warned, 1), to=url)
    assert any("is kept" in text for text in watch.listener.warned)
    with service() as (url, again):
        watch(lambda: wait_for(again, 1), to=url)
        watch(1.0, to=url)
    assert [headers["idempotency-key"] for _, headers, _ in again] == [got[0][1]["idempotency-key"]]


def test_answer_that_could_not_be_written_is_written_after_a_restart(
    watch: Watch, put: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "disk")

    options: dict[str, Any] = {"table": tmp_path / "a.csv", "sort_into": tmp_path / "out"}
    put("a.png")()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", full)
        with pytest.raises(DiskError, match="the disk is full"):
            watch(1.0, existing=True, **options)
    assert watch(1.0, **options) == []  # it is not answered again
    assert (tmp_path / "out" / "disc" / "a.png").is_file()
    assert len((tmp_path / "a.csv").read_text("utf-8").splitlines()) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_nothing_is_lost_and_nothing_answered_twice(
    watch: Watch, put: Any, tmp_path: Path, moment: str
) -> None:
    for number in range(3):
        put(f"{number}.png", "disc", number)()
    table, out = tmp_path / "a.csv", tmp_path / "out"
    with service() as (url, got):
        command = [sys.executable, "-m", "tests.verbs.killed", moment, *map(str, (watch.run.folder, watch.folder))]
        killed = subprocess.run([*command, *map(str, (watch.state, table, out)), url], capture_output=True, text=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        before = len(got)
        watch(1.0, 1.0, lambda: wait_for(got, 3 + before), table=table, sort_into=out, to=url, existing=True)
        watch(1.0, 1.0, table=table, sort_into=out, to=url)
    assert len(table.read_text("utf-8").splitlines()) == 4
    assert sorted(path.name for path in (out / "disc").iterdir()) == ["0.png", "1.png", "2.png"]
    keys = {json.loads(body)["file"]: headers["idempotency-key"] for _, headers, body in got}
    assert len({headers["idempotency-key"] for _, headers, _ in got}) == len(keys) == 3
    assert len(got) - 3 <= (1 if before else 0)  # the one that was being sent may come twice, under the same key


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_clean_and_says_what_to_type(watch: Watch, put: Any, number: int) -> None:
    put("a.png")()
    command = [
        sys.executable,
        "-m",
        "whatsit",
        "watch",
        watch.run.folder,
        watch.folder,
        "--state",
        watch.state,
        "--existing",
    ]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert "a.png: disc" in process.stdout.readline()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said.splitlines()[-2:] == [
        "Stopped. Pictures answered: 1 (disc 1); unreadable: 0",
        "Next: the same command continues; only what is new is answered",
    ]


def test_wrong_use_is_refused_in_a_line(baseline_run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for arguments, message in [
        ([tmp_path / "none"], "there is no such folder to watch"),
        ([tmp_path / "in", "--csv", "a.parquet"], "a Parquet file cannot be continued"),
        ([tmp_path / "in", "--move"], "--move needs --sort-into DIR"),
        ([tmp_path / "in", "--crop", "1,2,3"], "--crop takes x,y,w,h in pixels"),
        ([tmp_path / "in", "--to", "other.org/secret"], "--to takes an address"),
        ([tmp_path / "in", "--sort-into", tmp_path / "in"], "is the watched folder itself"),
        ([tmp_path / "in", "--sort-into", "x", "--crop", "1,1,5,5", "--crop", "1,1,9,9"], "takes at most one --crop"),
    ]:
        done = command_line("watch", baseline_run.folder, *arguments, "--state", tmp_path / "state.sqlite")
        assert (done.returncode, message in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
        assert "secret" not in done.stderr
    with pytest.raises(UsageError, match="--steady"):
        whatsit.watch(baseline_run.folder, tmp_path / "in", steady=0)

"""Answers of shards: the same bytes, whatever happens on the way."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import encode, shapes
from tests.scale.conftest import contents
from whatsit.errors import DataError, UsageError, WhatsitError
from whatsit.files import DiskError
from whatsit.images.places import PlaceError, open_place
from whatsit.run.record import Run
from whatsit.runtime.predictor import Predictor
from whatsit.scale.answers import read_answers
from whatsit.scale.job import part_name, parts
from whatsit.verbs.answers import answers
from whatsit.verbs.predict_shards import predict_shards
from whatsit.verbs.shard import shard


def once(place: Path, count: int, do: Callable[[], object]) -> threading.Thread:
    """Do something when so many parts are there."""

    def wait() -> None:
        while len(contents(place)) < count:
            time.sleep(0.002)
        do()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children(recursive=True) if "whatsit.scale.child" in one.cmdline()]


def test_answers_are_the_predictors(baseline_run: Run, images: Path, undisturbed: Path) -> None:
    predictor = Predictor(baseline_run.folder)
    rows = [row for part in read_answers(open_place(undisturbed)) for row in zip(*part.values(), strict=True)]
    assert [row[0] for row in rows] == sorted(str(path.relative_to(images)) for path in images.rglob("*.png"))
    for uri, label, probability, unknown, score, top, error, expected in rows:
        assert expected == uri.partition("/")[0]
        if "broken" in uri:
            assert label is None
            assert "damaged" in error
            continue
        [wanted] = predictor.predict([images / uri])
        assert (label, unknown, [one["label"] for one in top]) == (
            wanted.label,
            wanted.unknown,
            [n for n, _ in wanted.top],
        )
        assert probability == pytest.approx(wanted.probability, abs=1e-4)
        assert score is not None


def test_two_workers_write_the_same_bytes(baseline_run: Run, manifest: Path, undisturbed: Path, tmp_path: Path) -> None:
    predict_shards(baseline_run.folder, manifest, tmp_path, workers=2)
    assert contents(tmp_path) == contents(undisturbed)


def test_killed_and_stopped_children_change_nothing(
    baseline_run: Run, manifest: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whatsit.scale.schedulers.STALL", 2.0)
    signals = iter((signal.SIGKILL, signal.SIGSTOP))
    for count in (1, 3):
        once(tmp_path, count, lambda: [one.send_signal(next(signals)) for one in children()[:1]])
    predict_shards(baseline_run.folder, manifest, tmp_path, workers=1)
    assert contents(tmp_path) == contents(undisturbed)


def test_what_is_there_is_not_made_again(baseline_run: Run, manifest: Path, undisturbed: Path, tmp_path: Path) -> None:
    place = tmp_path / "answers"
    shutil.copytree(undisturbed, place)
    (place / "part-000002.parquet").unlink()
    before = {path: path.stat().st_mtime_ns for path in place.glob("part-*")}
    summary = predict_shards(baseline_run.folder, manifest, place, workers=1)
    assert summary.complete
    assert contents(place) == contents(undisturbed)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_killed_driver_leaves_no_process_and_goes_on(
    baseline_run: Run, manifest: Path, undisturbed: Path, tmp_path: Path
) -> None:
    place = tmp_path / "answers"
    command = [
        sys.executable,
        "-m",
        "whatsit",
        "predict",
        baseline_run.folder,
        manifest,
        "--out",
        place,
        "--workers",
        "1",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as driver:
        once(place, 2, lambda: None).join(60)
        started = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
    assert not psutil.wait_procs(started, timeout=10)[1]
    predict_shards(baseline_run.folder, manifest, place, workers=1)
    assert contents(place) == contents(undisturbed)


def test_two_drivers_at_once_agree(baseline_run: Run, manifest: Path, undisturbed: Path, tmp_path: Path) -> None:
    other = threading.Thread(target=lambda: predict_shards(baseline_run.folder, manifest, tmp_path, workers=1))
    other.start()
    predict_shards(baseline_run.folder, manifest, tmp_path, workers=1)
    other.join()
    assert contents(tmp_path) == contents(undisturbed)


def test_shares_are_all_shards_once(baseline_run: Run, manifest: Path, undisturbed: Path, tmp_path: Path) -> None:
    summaries = [predict_shards(baseline_run.folder, manifest, tmp_path, part=f"{i}/3", workers=1) for i in range(3)]
    assert [summary.complete for summary in summaries] == [True, True, True]
    assert contents(tmp_path) == contents(undisturbed)


@pytest.mark.parametrize("part", ["3/3", "1", "-1/3", "a/b", "0/0"])
def test_share_out_of_range_is_refused(baseline_run: Run, manifest: Path, tmp_path: Path, part: str) -> None:
    with pytest.raises(UsageError, match=r"--shard must be i/n"):
        predict_shards(baseline_run.folder, manifest, tmp_path, part=part)


def test_answers_of_another_model_manifest_or_setting_are_refused(
    baseline_run: Run, fruit_run: Run, manifest: Path, undisturbed: Path, images: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="answers of another model"):
        predict_shards(fruit_run.folder, manifest, undisturbed)
    with pytest.raises(UsageError, match="answers with other settings"):
        predict_shards(baseline_run.folder, manifest, undisturbed, top=1)
    shard(images, tmp_path / "other", rows=10)
    with pytest.raises(UsageError, match="answers of another manifest"):
        predict_shards(baseline_run.folder, tmp_path / "other", undisturbed)


def test_answers_of_another_version_are_refused(
    baseline_run: Run, manifest: Path, undisturbed: Path, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    job = json.loads((tmp_path / "job.json").read_text())
    (tmp_path / "job.json").write_text(json.dumps({**job, "whatsit": "9.9.9"}))
    with pytest.raises(UsageError, match=r"by another version of whatsit \(9\.9\.9; this is"):
        predict_shards(baseline_run.folder, manifest, tmp_path)


def test_folder_with_other_files_is_refused(baseline_run: Run, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        predict_shards(baseline_run.folder, manifest, tmp_path)


def test_manifest_that_was_changed_is_refused(baseline_run: Run, manifest: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(manifest / "manifest.parquet")
    kept = table.schema.metadata
    place = tmp_path / "changed"
    place.mkdir()
    writer = pq.ParquetWriter(place / "manifest.parquet", table.schema)
    writer.write_table(table.slice(1), row_group_size=9)
    writer.add_key_value_metadata(pq.ParquetFile(manifest / "manifest.parquet").metadata.metadata)
    writer.close()
    assert kept is None or b"whatsit" not in kept
    with pytest.raises(DataError, match="was changed since it was cut"):
        predict_shards(baseline_run.folder, place, tmp_path / "answers")


def test_place_that_cannot_be_written_is_told(baseline_run: Run, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WhatsitError, match=r"file/answers.*: Not a directory"):
        predict_shards(baseline_run.folder, manifest, tmp_path / "file" / "answers")


def test_full_disk_is_told_and_continued_from(
    baseline_run: Run, manifest: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whatsit.images.places import FolderPlace

    plain, left = FolderPlace.write, iter(range(3))

    def write(self: FolderPlace, key: str, data: bytes) -> None:
        if next(left, None) is None:
            raise DiskError(f"{self.folder / key}: the disk is full; free some space and try again")
        plain(self, key, data)

    with monkeypatch.context() as patch:
        patch.setattr(FolderPlace, "write", write)
        with pytest.raises(DiskError, match="disk is full"):
            predict_shards(baseline_run.folder, manifest, tmp_path, workers=2)
    assert len(contents(tmp_path)) == 2
    predict_shards(baseline_run.folder, manifest, tmp_path, workers=1)
    assert contents(tmp_path) == contents(undisturbed)


def test_folder_of_pictures_is_cut_on_the_way(baseline_run: Run, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        (pictures / f"{number}.png").write_bytes(encode(shapes("rows", number)))
    for _ in range(2):  # the second time the list is there
        summary = predict_shards(baseline_run.folder, pictures, tmp_path / "answers", workers=1)
    assert (summary.images, summary.errors, summary.expected) == (3, 0, 0)


def test_answers_are_summed_up_and_written_as_csv(undisturbed: Path, tmp_path: Path) -> None:
    summary = answers(undisturbed, tmp_path / "answers.csv")
    assert (summary.images, summary.errors, summary.expected, summary.complete) == (61, 1, 60, True)
    assert sum(summary.labels.values()) == 60
    lines = (tmp_path / "answers.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "uri,label,probability,unknown,score,error,expected"
    assert len(lines) == 62


def test_no_answers_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no answers; make them with: whatsit predict"):
        answers(tmp_path)


def test_source_that_is_gone_is_no_answer(baseline_run: Run, tmp_path: Path) -> None:
    pictures, place, out = tmp_path / "pictures", tmp_path / "place", tmp_path / "answers"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(encode(shapes("rows", 1)))
    shard(pictures, place)
    pictures.rename(tmp_path / "away")
    with pytest.raises(DataError, match=r"the pictures were in .*pictures, which is no longer there"):
        predict_shards(baseline_run.folder, place, out)
    (tmp_path / "away").rename(pictures)
    assert predict_shards(baseline_run.folder, place, out, workers=1).errors == 0


def test_archive_that_was_replaced_is_no_answer(baseline_run: Run, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", encode(shapes("rows", 1)))
    shard(tmp_path / "a.zip", tmp_path / "place")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("b.png", encode(shapes("rows", 1)))
    with pytest.raises(PlaceError, match="the archive no longer holds it"):
        predict_shards(baseline_run.folder, tmp_path / "place", tmp_path / "answers", workers=1)
    assert contents(tmp_path / "answers") == {}


def test_other_pictures_of_the_same_names_are_another_job(baseline_run: Run, tmp_path: Path) -> None:
    for name, kind in (("a", "rows"), ("b", "disc")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(encode(shapes(kind, 1)))
        (tmp_path / name / "list.txt").write_text("x.png")
        shard(tmp_path / name / "list.txt", tmp_path / f"place-{name}")
    predict_shards(baseline_run.folder, tmp_path / "place-a", tmp_path / "answers", workers=1)
    with pytest.raises(UsageError, match="answers of another manifest"):
        predict_shards(baseline_run.folder, tmp_path / "place-b", tmp_path / "answers", workers=1)


def test_answers_about_one_folder_are_not_those_about_another(baseline_run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(encode(shapes("rows", 1)))
    predict_shards(baseline_run.folder, tmp_path / "a", tmp_path / "answers", workers=1)
    with pytest.raises(UsageError, match=r"holds answers about .*/a; give another folder"):
        predict_shards(baseline_run.folder, tmp_path / "b", tmp_path / "answers", workers=1)


@pytest.mark.parametrize("wrong", [{"part": ""}, {"part": "9"}, {"runtime": "none"}, {"ray": " "}, {"workers": 0}])
def test_wrong_arguments_leave_nothing(
    baseline_run: Run, manifest: Path, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        predict_shards(baseline_run.folder, manifest, tmp_path / "answers", **wrong)
    assert not (tmp_path / "answers").exists()


def test_module_of_the_current_folder_is_not_run(
    baseline_run: Run, manifest: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("raise RuntimeError('mine')")
    monkeypatch.chdir(tmp_path)
    predict_shards(baseline_run.folder, manifest, tmp_path / "answers", workers=1)
    assert contents(tmp_path / "answers") == contents(undisturbed)


@pytest.mark.parametrize("csv", ["", "s3://bucket/a.csv", "ANSWERS/part-000000.parquet"])
def test_csv_never_replaces_an_answer(undisturbed: Path, csv: str) -> None:
    before = contents(undisturbed)
    with pytest.raises(UsageError, match="--csv"):
        answers(undisturbed, csv.replace("ANSWERS", str(undisturbed)))
    assert contents(undisturbed) == before


def test_there_may_be_more_than_a_million_shards(tmp_path: Path) -> None:
    (tmp_path / part_name(1_234_567)).touch()
    assert list(parts(open_place(tmp_path))) == [1_234_567]


def test_job_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    place = open_place(tmp_path)
    place.write_new("job.json", b"first")
    place.write_new("job.json", b"second")
    assert [(key, place.read(key)) for key, _ in place.list()] == [("job.json", b"first")]
    assert [path.name for path in tmp_path.iterdir()] == ["job.json"]

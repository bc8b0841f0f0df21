from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import whatsit
from tests.verbs.test_train import Listener
from whatsit.engines import available
from whatsit.errors import UsageError
from whatsit.evaluation.benchmark import Benchmark, Row, advice, draw
from whatsit.evaluation.cost import Cost
from whatsit.evaluation.gate import Gate
from whatsit.run.record import Run
from whatsit.verbs.benchmark import drawing_path

COST = Cost(load=0.1, p50=0.002, p99=0.003, rounds=100, pictures_per_second=500.0, peak_mb=90.0)


@pytest.fixture(scope="module")
def result(baseline_run: Run) -> Benchmark:
    return whatsit.benchmark(baseline_run.folder, formats="onnx,tflite,openvino-int8,keras", seconds=0.05)


def test_every_format_is_measured_by_every_runtime(result: Benchmark) -> None:
    served = [f"whatsit ({runtime})" for runtime in available()]
    files = [f"onnx ({runtime})" for runtime in available()]
    keras = ["keras", "keras, stock model.predict"]  # the same file
    assert [row.name for row in result.rows] == [*served, *files, "tflite", "openvino-int8", *keras]
    for row in result.rows:
        assert 0 < row.cost.p50 <= row.cost.p99
        assert row.cost.load > 0
        assert row.cost.pictures_per_second > 0
        assert row.cost.peak_mb > 20
        assert row.megabytes > 0


def test_accuracy_is_that_of_the_test_pictures(result: Benchmark, baseline_run: Run) -> None:
    with (baseline_run.folder / "split.csv").open(encoding="utf-8") as file:
        assert result.pictures == sum(row["split"] == "test" for row in csv.DictReader(file))
    assert [row.name for row in result.rows if row.int8] == ["openvino-int8"]
    for row in [row for row in result.rows if not row.int8]:
        assert row.gate.accuracy == pytest.approx(baseline_run.test.accuracy)
        assert row.gate.agreement == 1.0


def test_it_is_drawn_beside_the_model(result: Benchmark, baseline_run: Run, tmp_path: Path) -> None:
    assert drawing_path(baseline_run.folder, None) == baseline_run.folder / "benchmark.png"
    path = drawing_path(tmp_path / "mine.whatsit", None)
    assert path == tmp_path / "mine-benchmark.png"
    draw(result, path)
    assert np.asarray(Image.open(path)).std() > 10


def test_a_file_that_cannot_be_run_is_told_and_passed_over(baseline_run: Run, tmp_path: Path) -> None:
    run = shutil.copytree(baseline_run.folder, tmp_path / "run")
    whatsit.export(run, "tflite")
    (run / "export" / "model.tflite").write_bytes(b"no model")
    listener = Listener()
    result = whatsit.benchmark(run, formats="tflite", seconds=0.05, reporter=listener)
    assert [row.name for row in result.rows] == [f"whatsit ({runtime})" for runtime in available()]
    assert "model.tflite could not be measured: " in listener.warned[0]


def test_a_model_alone_asks_for_pictures(baseline_run: Run, tmp_path: Path) -> None:
    model = shutil.copy(baseline_run.model, tmp_path / "mine.whatsit")
    with pytest.raises(UsageError, match="give them with --data"):
        whatsit.benchmark(model)


def test_pictures_that_cannot_be_read_are_told(baseline_run: Run, shapes_folder: Path, tmp_path: Path) -> None:
    def unreadable(data: Path) -> bytes:
        return data.read_bytes()[:60]

    data = shutil.copytree(shapes_folder, tmp_path / "shapes")
    run = shutil.copytree(baseline_run.folder, tmp_path / "run")
    with (run / "split.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    victim = next(row for row in rows if row["split"] == "test")
    (data / victim["path"]).write_bytes(unreadable(data / victim["path"]))
    victim["sha256"] = hashlib.sha256((data / victim["path"]).read_bytes()).hexdigest()
    with (run / "split.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    listener = Listener()
    result = whatsit.benchmark(run, formats="onnx", data=data, seconds=0.05, reporter=listener)
    assert result.pictures == baseline_run.test.n - 1
    assert listener.warned == ["1 test pictures cannot be read and were left out"]


def test_advice_leaves_out_what_answers_otherwise() -> None:
    def row(name: str, agreement: float, megabytes: float, *, int8: bool, difference: float = 0.0) -> Row:
        return Row(name, Gate(0.9, 0.9, agreement, difference, 100), megabytes, COST, int8)

    rows = [
        row("whatsit", 1.0, 5.0, int8=False),
        row("small", 0.99, 2.0, int8=True, difference=0.1),
        row("wrong", 0.9, 1.0, int8=True),
        row("stale", 0.99, 1.5, int8=False, difference=0.01),
    ]
    said = list(advice(rows))
    assert said[2] == "A phone or a small device: small, 2.0 MB"
    assert said[3].startswith("Not wrong: it agrees with the model on 90.0% of the pictures and is right for 90.0%")
    assert said[4].startswith("Not stale")

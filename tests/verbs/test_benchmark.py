from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import whatsit
from tests.verbs.test_train import Listener
from whatsit.engines import available
from whatsit.errors import UsageError
from whatsit.evaluation.contender import Measured
from whatsit.verbs.benchmark import Benchmark, Row, advice, draw
from whatsit.verbs.train import Run

COST = Measured(load=0.1, p50=0.002, p99=0.003, rounds=100, pictures_per_second=500.0, peak_mb=90.0)


@pytest.fixture(scope="module")
def result(baseline_run: Run) -> Benchmark:
    return whatsit.benchmark(baseline_run.folder, formats="onnx,tflite,openvino-int8", seconds=0.05)


def test_every_format_is_measured_by_every_runtime(result: Benchmark) -> None:
    served = [f"whatsit ({runtime})" for runtime in available()]
    files = [f"onnx ({runtime})" for runtime in available()]
    assert [row.name for row in result.rows] == [*served, *files, "tflite", "openvino-int8"]
    for row in result.rows:
        assert 0 < row.measured.p50 <= row.measured.p99
        assert row.measured.load > 0
        assert row.measured.pictures_per_second > 0
        assert row.measured.peak_mb > 20
        assert row.megabytes > 0


def test_accuracy_is_that_of_the_test_pictures(result: Benchmark, baseline_run: Run) -> None:
    with (baseline_run.folder / "split.csv").open(encoding="utf-8") as file:
        assert result.pictures == sum(row["split"] == "test" for row in csv.DictReader(file))
    for row in result.rows[:-1]:
        assert row.accuracy == pytest.approx(baseline_run.test.accuracy)
        assert row.agreement == 1.0


def test_stock_predict_is_measured_with_the_keras_file(baseline_run: Run) -> None:
    result = whatsit.benchmark(baseline_run.folder, formats="keras", pictures=4, seconds=0.05)
    assert [row.name for row in result.rows][-2:] == ["keras", "keras, stock model.predict"]
    assert result.pictures == 4


def test_it_is_drawn_beside_the_model(result: Benchmark, baseline_run: Run, tmp_path: Path) -> None:
    model = shutil.copy(baseline_run.model, tmp_path / "mine.whatsit")
    assert draw(result, model) == tmp_path / "mine-benchmark.png"
    assert np.asarray(Image.open(tmp_path / "mine-benchmark.png")).std() > 10


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
    with pytest.raises(UsageError, match="say where they are with --data"):
        whatsit.benchmark(model)


def test_advice_leaves_out_what_answers_otherwise() -> None:
    def row(name: str, agreement: float, megabytes: float) -> Row:
        return Row(name, 0.9, agreement, megabytes, COST)

    said = list(advice([row("whatsit", 1.0, 5.0), row("small", 0.99, 2.0), row("wrong", 0.9, 1.0)]))
    assert said[2] == "A phone or a small device: small, 2.0 MB"
    assert said[3].startswith("Not wrong: it agrees with the model on 90.0% of the pictures only")

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import whatsit
from tests.conftest import Listener
from whatsit.bundle.read import read_bundle
from whatsit.engines import EngineError
from whatsit.errors import UsageError
from whatsit.evaluation.parity import Parity, make_proof
from whatsit.run.record import Run
from whatsit.runtime.predictor import Answer, Prediction, Predictor
from whatsit.verbs.verify import Entry, EntryPoint, verify


@pytest.fixture(scope="module")
def run(baseline_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with two exports in it."""
    folder = shutil.copytree(baseline_run.folder, tmp_path_factory.mktemp("runs") / "run")
    whatsit.export(folder, "onnx,openvino-int8")
    return folder


def by_way(results: Sequence[Parity]) -> dict[str, Parity]:
    """By the way's name, in which a number of files is "all"."""
    return {re.sub(r", \d+ files", ", all files", result.way): result for result in results}


def opening(answer: Entry) -> EntryPoint:
    """A way that needs nothing to be opened."""
    return lambda model: nullcontext(answer)


@pytest.mark.isa
@pytest.mark.openvino
def test_runtimes_exports_and_entry_points_are_all_proven(run: Path) -> None:
    results = by_way(whatsit.verify(run))
    assert {way.split(",")[0] for way in results} == {
        *("onnxruntime", "openvino"),
        *("model.onnx", "openvino_int8/model.xml"),
        *("Python", "whatsit predict", "web app", "service", "Gradio"),
    }
    assert all(result.passed for result in results.values())
    assert results["model.onnx, batches of 32"].max_difference <= 1e-4
    assert results["whatsit predict, all files"].pictures == results["onnxruntime, one by one"].pictures >= 24


def test_the_pictures_come_in_every_kind_of_file(run: Path) -> None:
    proof = make_proof(read_bundle(run))
    for kind in (
        "EXIF orientation 6.jpg",
        "CMYK.jpg",
        "grey.jpg",
        "alpha.png",
        "transparent colour.png",
        "16-bit.png",
        "palette.png",
        "large.jpg",
    ):
        assert kind in proof.names
    assert len(proof.files) == len(proof.wanted) == len(proof.pixels)


def test_an_entry_point_that_answers_otherwise_fails(run: Path) -> None:
    predictor = Predictor(run)

    def lazy(files: Sequence[Path]) -> list[Prediction]:
        """Forgets to turn pictures by their EXIF orientation."""
        pictures = [Image.fromarray(np.asarray(Image.open(file).convert("RGB"))) for file in files]
        return predictor.predict(pictures, top=len(predictor.classes))

    results = by_way(verify(run, entry_points={"lazy app": opening(lazy)}))
    assert not results["lazy app, all files"].passed
    assert results["onnxruntime, one by one"].passed


def test_an_entry_point_that_loses_a_picture_fails(run: Path) -> None:
    results = by_way(verify(run, entry_points={"forgetful": opening(lambda files: [])}))
    assert (results["forgetful, all files"].passed, results["forgetful, all files"].top1_agreement) == (False, 0.0)


def test_an_entry_point_that_forgets_what_is_unknown_fails(run: Path) -> None:
    predictor = Predictor(run)

    def trusting(files: Sequence[Path]) -> list[Prediction]:
        return [replace(one, unknown=False) for one in predictor.predict(files, top=len(predictor.classes))]

    results = by_way(verify(run, entry_points={"trusting": opening(trusting)}))
    assert results["trusting, all files"].top1_agreement == 1.0
    assert not results["trusting, all files"].passed


def test_an_entry_point_that_breaks_fails_and_is_told(run: Path) -> None:
    def broken(files: Sequence[Path]) -> list[Prediction]:
        raise EngineError("no more")

    listener = Listener()
    results = by_way(verify(run, entry_points={"broken": opening(broken)}, reporter=listener))
    assert not results["broken"].passed
    assert listener.warned == ["broken: no more"]


def test_a_damaged_export_fails_and_is_named(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run / "export", tmp_path / "export")
    (folder / "model.onnx").write_bytes(b"no model")
    results = by_way(verify(run, exports=folder))
    assert not results["model.onnx"].passed
    assert results["openvino_int8/model.xml, one by one"].passed


@pytest.mark.parametrize("name", ["labels.txt", "preprocess.json"])
def test_other_labels_or_another_rule_beside_the_exports_fail(name: str, run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run / "export", tmp_path / "export")
    (folder / name).write_text("\n".join(reversed((folder / name).read_text(encoding="utf-8").splitlines())))
    results = by_way(verify(run, exports=folder))
    assert not results[name].passed
    assert results["model.onnx, one by one"].passed


def test_a_folder_of_exports_that_is_not_there_is_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder of exported files"):
        verify(run, exports=tmp_path / "none")


def test_an_export_of_another_model_fails(run: Path, hostile_run: Run, tmp_path: Path) -> None:
    whatsit.export(hostile_run.folder, "onnx", out=tmp_path)
    results = by_way(verify(run, exports=tmp_path))
    assert not results["model.onnx, one by one"].passed


def test_an_export_of_a_model_of_another_size_fails(run: Path, fruit_run: Run, tmp_path: Path) -> None:
    whatsit.export(fruit_run.folder, "onnx", out=tmp_path)
    results = by_way(verify(run, exports=tmp_path))
    assert not results["model.onnx"].passed


def test_a_runtime_that_loses_its_scores_for_strangers_fails(run: Path) -> None:
    proof = make_proof(read_bundle(run))
    answers = [replace(one, ood_score=math.nan) for one in proof.wanted]
    assert not proof.compare("a runtime", answers).passed
    assert proof.compare("a file", answers, scores=False).passed


@pytest.mark.parametrize(("wrong", "passed"), [(0, True), (1, True), (2, False)])
def test_int8_may_change_one_label_of_the_golden_pictures(run: Path, wrong: int, passed: bool) -> None:
    proof = make_proof(read_bundle(run))
    answers = [
        Answer(np.roll(one.probabilities, 1) if place < wrong else one.probabilities, math.nan)
        for place, one in enumerate(proof.wanted)
    ]
    assert proof.compare("int8", answers, int8=True, scores=False).passed is passed
    assert proof.compare("float", answers, scores=False).passed is (wrong == 0)


def test_folder_without_exported_files_proves_nothing(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no exported file in this folder"):
        verify(run, exports=tmp_path)

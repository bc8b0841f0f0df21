"""Costs in a finished model: every way answers what costs least, and they can be taken out again."""

from __future__ import annotations

import csv
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whatsit
from tests.command import whatsit as command
from tests.prices import overruling
from whatsit.bundle.read import read_bundle
from whatsit.bundle.write import write_bundle
from whatsit.engines import open_engine
from whatsit.errors import BundleError, UsageError
from whatsit.graph.costs import with_costs
from whatsit.verbs.costs import put_costs
from whatsit.verbs.verify import verify

# Calling a disc anything else costs much.
CAREFUL: dict[str, Any] = {"default": 1, "prices": {"disc -> *": 1000}}


@pytest.fixture(scope="module")
def careful(baseline_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("careful") / "careful.whatsit"
    costs = overruling(baseline_run.model, "disc", pictures_of(baseline_run.model))
    put_costs(baseline_run.folder, costs, out)
    return out


def pictures_of(model: Path) -> list[bytes]:
    return [reference.data for reference in read_bundle(model).references]


def price_of(model: Path) -> float:
    """The price of calling a disc anything else."""
    costs = read_bundle(model).costs
    assert costs is not None
    return costs.given.prices["disc", "*"]


def test_the_answer_is_the_one_that_costs_least(careful: Path) -> None:
    predictor = whatsit.load(careful)
    costs = predictor.bundle.costs
    assert costs is not None
    found = predictor.predict(pictures_of(careful), top=3)
    shares = np.array([[dict(one.top)[label] for label in predictor.classes] for one in found])
    assert [one.label for one in found] == [predictor.classes[number] for number in costs.answers(shares)]
    assert any(one.overruled for one in found)


def test_an_overruled_class_is_named_with_what_it_would_cost(careful: Path) -> None:
    found = whatsit.load(careful).predict(pictures_of(careful), top=3)
    for one in found:
        if one.overruled is None:
            assert one.top[0] == (one.label, one.probability)
            assert "overruled" not in one.to_json()
        else:
            assert (one.overruled.label, one.overruled.probability) == one.top[0]
            assert one.overruled.cost > one.overruled.answer_cost
            assert one.to_json()["overruled"] == vars(one.overruled)
        assert dict(one.top)[one.label] == one.probability


def test_probabilities_stay_the_calibrated_ones(careful: Path, baseline_run) -> None:
    pictures = pictures_of(careful)
    plain, priced = (whatsit.load(model).predict(pictures, top=3) for model in (baseline_run.model, careful))
    assert [one.top for one in priced] == [one.top for one in plain]
    assert [one.unknown for one in priced] == [one.unknown for one in plain]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_graph_says_it_too(careful: Path, runtime: str) -> None:
    predictor = whatsit.load(careful)
    pixels = np.random.default_rng(0).integers(0, 256, (5, *predictor.size, 3), np.uint8)
    probabilities, costs = open_engine(
        predictor.bundle.graph, ["probabilities", "expected_costs"], runtime=runtime
    ).run(pixels)
    assert predictor.bundle.costs is not None
    assert costs == pytest.approx(predictor.bundle.costs.expected(probabilities), rel=1e-4, abs=1e-4)


def test_metrics_are_of_the_answers_with_costs(careful: Path) -> None:
    test = read_bundle(careful).test
    assert test is not None
    assert test["per_class"]["disc"]["recall"] == 1.0
    assert test["costs"]["changed"] > 0
    assert test["costs"]["accuracy"] == test["accuracy"]
    named = list(test["per_class"])
    wrong = sum(sum(row) - row[place] for place, row in enumerate(test["confusion"]) if named[place] != "disc")
    assert test["costs"]["cost"] == pytest.approx(wrong / test["n"])


def test_taken_out_the_model_is_what_it_was(careful: Path, baseline_run, tmp_path: Path) -> None:
    put_costs(careful, None, tmp_path / "plain.whatsit", data=baseline_run_data(baseline_run))
    plain, before = read_bundle(tmp_path / "plain.whatsit"), read_bundle(baseline_run.model)
    assert plain.costs is None
    assert plain.graph == before.graph


def baseline_run_data(run: Any) -> str:
    return json.loads((run.folder / "metrics.json").read_text())["data"]


def test_an_older_whatsit_refuses_a_model_with_costs(careful: Path, baseline_run) -> None:
    def format_of(model: Path) -> int:
        with zipfile.ZipFile(model) as archive:
            return int(json.loads(archive.read("bundle.json"))["format"])

    assert (format_of(baseline_run.model), format_of(careful)) == (1, 2)


def test_a_model_without_costs_is_written_as_before(baseline_run, tmp_path: Path) -> None:
    write_bundle(read_bundle(baseline_run.model), tmp_path / "again.whatsit")
    assert (tmp_path / "again.whatsit").read_bytes() == baseline_run.model.read_bytes()
    assert b'"costs"' not in baseline_run.model.read_bytes()


def test_training_takes_costs(instant, shapes_folder: Path, tmp_path: Path) -> None:
    table = {**CAREFUL, "never_miss": {"rows": "1 in 2"}}
    run = whatsit.train(shapes_folder, recipe="baseline", out=tmp_path / "run", costs=table, report=False)
    bundle = read_bundle(run.model)
    assert bundle.costs is not None
    assert bundle.costs.given.prices == {("disc", "*"): 1000.0}
    assert [promise.label for promise in bundle.costs.promises] == ["rows"]
    assert "Mistakes have prices" in bundle.card
    again = whatsit.train(from_run=run.folder, out=tmp_path / "again", report=False)
    assert read_bundle(again.model).costs == bundle.costs
    run.model.unlink()
    with pytest.raises(UsageError, match="prices of its mistakes are lost, give them with --costs"):
        whatsit.train(from_run=run.folder, out=tmp_path / "third", report=False)


def test_the_report_says_what_mistakes_cost(shapes_folder: Path, tmp_path: Path) -> None:
    table = {"prices": {"disc -> rows": 30}, "never_miss": {"disc": "1 in 5"}}
    settings = {"epochs": 1, "filters": [4, 8], "batch_size": 16}
    run = whatsit.train(shapes_folder, recipe="baseline", out=tmp_path / "run", costs=table, settings=settings)
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "<h2>What mistakes cost</h2>" in page
    assert "Calling &#39;disc&#39; &#39;rows&#39; costs 30" in page
    assert "missed pictures of &#39;disc&#39;" in page
    assert json.loads((run.folder / "metrics.json").read_text())["costs"]["promises"][0]["label"] == "disc"


def test_wrong_costs_are_refused_before_training(shapes_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the model has no class 'disk'; did you mean 'disc'"):
        whatsit.train(shapes_folder, out=tmp_path / "run", costs={"prices": {"disk -> rows": 5}})
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "run.unfinished").exists()


def test_an_interrupted_run_keeps_its_costs(instant, shapes_folder: Path, tmp_path: Path, monkeypatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("whatsit.evaluation.shipping.choose_references", stop)
        with pytest.raises(KeyboardInterrupt):
            whatsit.train(shapes_folder, recipe="baseline", out=tmp_path / "run", costs=CAREFUL)
    run = whatsit.train(shapes_folder, out=tmp_path / "run", resume=True, report=False)
    costs = read_bundle(run.model).costs
    assert costs is not None
    assert costs.given.prices == {("disc", "*"): 1000.0}


def test_check_judges_promises_and_costs(careful: Path, baseline_run, tmp_path: Path) -> None:
    promised = tmp_path / "promised.whatsit"
    put_costs(baseline_run.folder, {"never_miss": {"rows": "1 in 4"}}, promised)
    [check] = [one for one in whatsit.check(promised) if one.name == "never_miss.rows"]
    assert check.what == "missed pictures of 'rows'"
    assert check.wanted == "<= 25 %"
    assert check.passed
    (tmp_path / "criteria.toml").write_text("expected_cost = 0.0001\n")
    [cost] = whatsit.check(careful, tmp_path / "criteria.toml")
    assert (cost.name, cost.passed) == ("expected_cost", False)


def test_a_limit_on_costs_needs_a_model_with_costs(baseline_run, tmp_path: Path) -> None:
    (tmp_path / "criteria.toml").write_text("expected_cost = 1\n")
    with pytest.raises(BundleError, match="lack what the criterion 'expected_cost' needs"):
        whatsit.check(baseline_run.model, tmp_path / "criteria.toml")


def test_exported_files_answer_alike_by_their_own_costs(careful: Path, tmp_path: Path) -> None:
    whatsit.export(careful, "onnx,tflite,keras,saved-model", out=tmp_path / "export")
    results = verify(careful, exports=tmp_path / "export")
    assert all(one.passed for one in results), [one for one in results if not one.passed]
    assert sum("answers by expected_costs" in one.way for one in results) >= 5
    rule = json.loads((tmp_path / "export" / "preprocess.json").read_text())
    costs = read_bundle(careful).costs
    assert costs is not None
    assert rule["costs"] == [list(row) for row in costs.matrix]


def test_mediapipe_gets_the_costs_as_a_second_head(careful: Path, tmp_path: Path) -> None:
    mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe (400 MB with OpenCV) is not installed")
    from mediapipe.tasks.python import BaseOptions, vision

    [exported] = whatsit.export(careful, "tflite", out=tmp_path / "export")
    predictor = whatsit.load(careful)
    pixels = np.random.default_rng(0).integers(0, 256, (*predictor.size, 3), np.uint8)
    [wanted] = predictor.predict([pixels])
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=str(exported.path)))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        found = classifier.classify(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels))
    assert [head.head_name for head in found.classifications] == ["probabilities", "expected_costs"]
    costs = {one.category_name: one.score for one in found.classifications[1].categories}
    assert min(costs, key=costs.__getitem__) == wanted.label


def test_an_exported_file_with_other_costs_fails_verification(careful: Path, tmp_path: Path) -> None:
    whatsit.export(careful, "onnx", out=tmp_path / "export")
    path = tmp_path / "export" / "model.onnx"
    path.write_bytes(with_costs(path.read_bytes(), [[0, 1, 1], [1, 0, 1], [1, 1, 0]]))
    results = verify(careful, exports=tmp_path / "export")
    assert [one.way for one in results if not one.passed] == ["model.onnx, answers by expected_costs"]


def test_members_of_an_ensemble_have_the_same_costs(careful: Path, baseline_run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="have different costs; take them out first"):
        whatsit.ensemble([baseline_run.folder, careful], tmp_path / "both")


def test_a_table_names_the_other_classes_after_the_answer(careful: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for reference in read_bundle(careful).references:
        (folder / reference.file).write_bytes(reference.data)
    whatsit.predict_files(careful, [str(folder)], table=tmp_path / "table.csv", top=3)
    with (tmp_path / "table.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(len({row["label"], row["label_2"], row["label_3"]}) == 3 for row in rows)
    assert any(float(row["probability"]) < float(row["probability_2"]) for row in rows)


def test_a_promise_is_kept_on_the_validation_pictures(baseline_run, tmp_path: Path) -> None:
    made = put_costs(baseline_run.folder, {"never_miss": {"rows": "1 in 4"}}, tmp_path / "model.whatsit")
    assert made.costs is not None
    [promise] = made.costs.promises
    assert promise.is_made
    assert promise.missed + 1 <= promise.limit * (promise.n + 1)
    assert made.measured is not None
    assert made.measured.promises[0].label == "rows"


def test_a_promise_that_the_pictures_cannot_prove_is_said_to_be_none(baseline_run, tmp_path: Path) -> None:
    made = put_costs(baseline_run.folder, {"never_miss": {"rows": "1 in 1000"}}, tmp_path / "model.whatsit")
    assert made.costs is not None
    [promise] = made.costs.promises
    assert not promise.is_made
    assert "cannot be promised by" in promise.sentence
    assert "(999 are needed)" in promise.sentence


def test_every_runtime_and_entry_point_answers_alike(careful: Path) -> None:
    results = whatsit.verify(careful)
    assert all(one.passed for one in results), [one for one in results if not one.passed]
    assert any("expected_costs" in one.way for one in results)


def test_a_graph_with_other_costs_fails_verification(careful: Path, tmp_path: Path) -> None:
    bundle = read_bundle(careful)
    assert bundle.costs is not None
    other = replace(bundle, costs=replace(bundle.costs, matrix=tuple(zip(*bundle.costs.matrix, strict=True))))
    write_bundle(other, tmp_path / "other.whatsit")
    assert not all(one.passed for one in verify(tmp_path / "other.whatsit"))


def test_names_of_classes_change_in_costs_too(careful: Path, tmp_path: Path) -> None:
    whatsit.rename(careful, {"disc": "จาน"}, tmp_path / "thai.whatsit")
    costs = read_bundle(tmp_path / "thai.whatsit").costs
    assert costs is not None
    assert costs.given.prices == {("จาน", "*"): price_of(careful)}


def test_merging_classes_with_prices_is_refused(careful: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="merged classes have no prices yet"):
        whatsit.rename(careful, {"disc": "rows"}, tmp_path / "merged.whatsit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["costs.toml"], "--out is missing"),
        (["-o", "x.whatsit"], "COSTS is missing"),
        (["costs.toml", "--remove", "-o", "x.whatsit"], "leave out COSTS"),
        (["--remove", "-o", "x.whatsit"], "has no costs to take out"),
        (["missing.toml", "-o", "x.whatsit"], "there is no such file of costs"),
        (["costs.toml", "-o", "x.zip"], "the new model is a .whatsit file"),
    ],
)
def test_wrong_use_is_a_line(baseline_run, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "costs.toml").write_text('[prices]\n"disc -> rows" = 10\n')
    done = command("costs", baseline_run.folder, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_command_line_names_the_overruled_class(careful: Path, tmp_path: Path) -> None:
    for reference in read_bundle(careful).references:
        (tmp_path / reference.file).write_bytes(reference.data)
    done = command("predict", careful, tmp_path, "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    overruled = [line for line in lines if "overruled" in line]
    assert overruled
    assert overruled[0]["label"] == "disc"
    said = command("predict", careful, tmp_path)
    assert f"most probable: {overruled[0]['overruled']['label']}" in said.stdout


def test_costs_of_a_model_are_shown(careful: Path) -> None:
    done = command("costs", careful)
    assert f"calling 'disc' any class costs {price_of(careful):g}" in done.stdout

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import whatsit
from tests.conftest import SEED, encode, shapes
from whatsit.bundle.read import read_bundle
from whatsit.bundle.write import write_bundle
from whatsit.errors import DataError, UsageError
from whatsit.images.decode import RULES
from whatsit.run.record import Run
from whatsit.verbs.ensemble import Ensemble


@pytest.fixture(scope="module")
def other_run(shapes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Another network on the same split as `baseline_run`."""
    out = tmp_path_factory.mktemp("runs") / "modern"
    settings = {"epochs": 4, "batch_size": 8, "filters": [8, 16], "test_time_flip": True}
    return whatsit.train(shapes_folder, recipe="scratch", out=out, seed=1 + SEED, settings=settings, report=False)


@pytest.fixture(scope="module")
def made(baseline_run: Run, other_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    return whatsit.ensemble([baseline_run.folder, other_run.folder], tmp_path_factory.mktemp("runs") / "both")


@pytest.mark.isa
def test_it_is_an_ordinary_model(made: Ensemble, tmp_path: Path) -> None:
    bundle = read_bundle(made.model)
    assert (bundle.unknown is not None, bundle.conformal is not None, len(bundle.references) > 0) == (True, True, True)
    assert bundle.test
    assert bundle.test["accuracy"] == made.test.accuracy
    assert "recipe `ensemble`" in bundle.card
    picture = tmp_path / "disc.png"
    picture.write_bytes(encode(shapes("disc", 7)))
    [answer] = whatsit.load(made.model).predict([picture], coverage=0.9)
    assert answer.label in (answer.labels or ())
    explanation, _ = whatsit.explain(made.model, str(picture), tmp_path / "out.png")
    assert explanation.prediction == whatsit.load(made.model).predict([picture])[0]


@pytest.mark.isa
@pytest.mark.usefixtures("predict_here")
def test_it_is_proven_and_exported_like_any_other(made: Ensemble, tmp_path: Path) -> None:
    formats = ["onnx", "h5", "tflite", *(["openvino"] if importlib.util.find_spec("openvino") else [])]
    whatsit.export(made.model, ",".join(formats), out=tmp_path)
    assert all(result.passed for result in whatsit.verify(made.model, exports=tmp_path))


def test_it_has_the_pictures_of_its_members(made: Ensemble, baseline_run: Run) -> None:
    splits = []
    for folder in (made.model, baseline_run.folder):
        with (folder / "split.csv").open(encoding="utf-8") as file:
            splits.append({row["sha256"]: row["split"] for row in csv.DictReader(file)})
    assert splits[0] == splits[1]
    assert [row.seconds > 0 for row in whatsit.runs(made.model.parent)] == [True]


def test_members_and_their_votes_are_told(made: Ensemble, baseline_run: Run) -> None:
    assert sum(vote.weight for vote in made.members) == pytest.approx(1.0)
    assert made.members[0].accuracy == pytest.approx(baseline_run.test.accuracy)
    members = json.loads((made.model / "metrics.json").read_text())["members"]
    assert [member["weight"] for member in members] == [vote.weight for vote in made.members]


def test_it_can_be_one_file(baseline_run: Run, other_run: Run, made: Ensemble, tmp_path: Path) -> None:
    again = whatsit.ensemble([baseline_run.folder, other_run.folder], tmp_path / "both.whatsit")
    assert again.model == tmp_path / "both.whatsit"
    assert [path.name for path in tmp_path.iterdir()] == ["both.whatsit"]
    assert again.test == made.test


def test_pictures_that_one_member_was_trained_on_test_nobody(baseline_run: Run, other_run: Run, tmp_path: Path) -> None:
    run = shutil.copytree(other_run.folder, tmp_path / "run")
    with (run / "split.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    turned = {"train": "test", "test": "train", "validation": "validation"}
    with (run / "split.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows([row | {"split": turned[row["split"]]} for row in rows])
    with pytest.raises(
        DataError, match=r"0 pictures are left to test on, of .* Train the members with the same --seed"
    ):
        whatsit.ensemble([baseline_run.folder, run], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_models_that_do_not_belong_together_are_refused(
    baseline_run: Run, other_run: Run, hostile_run: Run, made: Ensemble, tmp_path: Path
) -> None:
    alone = shutil.copy(other_run.model, tmp_path / "alone.whatsit")
    for models, message in (
        ([baseline_run.folder], "takes two or more different models"),
        ([baseline_run.folder, baseline_run.model], "takes two or more different models"),
        ([baseline_run.folder, made.model], "both is an ensemble itself; give its members instead"),
        ([baseline_run.folder, hostile_run.folder], "have different classes, such as"),
        ([baseline_run.folder, alone], "alone.whatsit: this is no run folder"),
    ):
        with pytest.raises(UsageError, match=message):
            whatsit.ensemble(models, tmp_path / "out")
    with pytest.raises(UsageError, match="exists already"):
        whatsit.ensemble([baseline_run.folder, other_run.folder], tmp_path)


def test_members_that_read_pictures_by_different_rules_are_refused(
    baseline_run: Run, other_run: Run, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(other_run.folder, tmp_path / "old"))
    bundle = read_bundle(old)
    write_bundle(replace(bundle, input=replace(bundle.input, resize=RULES[0])), old / "model.whatsit")
    with pytest.raises(UsageError, match="different rules"):
        whatsit.ensemble([baseline_run.folder, old], tmp_path / "out")

"""Other names of classes, and merged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import whatsit
from tests.command import whatsit as command_line
from whatsit.bundle.read import read_bundle
from whatsit.errors import UsageError
from whatsit.images.decode import decode
from whatsit.run.record import Run


@pytest.fixture(scope="module")
def pictures(shapes_folder: Path) -> list[Path]:
    return sorted(shapes_folder.rglob("*.png"))[::7]


def probabilities(model: Path, pictures: list[Path]) -> list[dict[str, float]]:
    return [dict(one.top) for one in whatsit.load(model).predict(pictures)]


@pytest.fixture(scope="module")
def merged(baseline_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("merged") / "lines.whatsit"
    return whatsit.rename(baseline_run.folder, {"columns": "เส้น", "rows": "เส้น"}, out).model


def test_names_change_and_nothing_else(baseline_run: Run, pictures: list[Path], tmp_path: Path) -> None:
    made = whatsit.rename(baseline_run.folder, {"disc": "rows", "rows": "disc"}, tmp_path / "other.whatsit")
    assert made.classes == ("columns", "rows", "disc")
    new = {"columns": "columns", "disc": "rows", "rows": "disc"}
    before = probabilities(baseline_run.folder, pictures)
    after = probabilities(made.model, pictures)
    assert after == [{new[label]: share for label, share in one.items()} for one in before]
    old, bundle = read_bundle(baseline_run.folder), read_bundle(made.model)
    assert old.test
    assert bundle.test
    assert bundle.test["confusion"] == old.test["confusion"]
    assert bundle.test["per_class"]["rows"] == old.test["per_class"]["disc"]
    assert [one.label for one in bundle.references] == [new[one.label] for one in old.references]
    assert bundle.provenance["renamed"] == {"disc": "rows", "rows": "disc"}


def test_probabilities_of_merged_classes_are_added(baseline_run: Run, merged: Path, pictures: list[Path]) -> None:
    before, after = probabilities(baseline_run.folder, pictures), probabilities(merged, pictures)
    wanted = [{"เส้น": one["columns"] + one["rows"], "disc": one["disc"]} for one in before]
    for got, want in zip(after, wanted, strict=True):
        assert got == pytest.approx(want, abs=1e-6)


def test_merged_model_is_measured_on_the_same_test_pictures(baseline_run: Run, merged: Path) -> None:
    old, new = (read_bundle(model).test for model in (baseline_run.folder, merged))
    assert old
    assert new
    assert new["n"] == old["n"]
    assert new["accuracy"] >= old["accuracy"]  # two that are taken for each other are right now
    assert np.sum(new["confusion"], axis=1).tolist() == [
        old["per_class"]["columns"]["n"] + old["per_class"]["rows"]["n"],
        old["per_class"]["disc"]["n"],
    ]


@pytest.mark.usefixtures("predict_here")
def test_merged_model_is_explained_verified_and_exported(merged: Path, pictures: list[Path], tmp_path: Path) -> None:
    assert command_line("explain", merged, pictures[0], "-o", tmp_path / "why.png").returncode == 0
    done = command_line("export", merged, "--format", "onnx,keras,tflite,openvino", "--out", tmp_path / "export")
    assert done.returncode == 0, done.stderr
    assert command_line("verify", merged, "--exports", tmp_path / "export").returncode == 0


def test_merged_model_takes_the_pictures_under_their_former_names(
    merged: Path, shapes_folder: Path, tmp_path: Path
) -> None:
    found = whatsit.evaluate(merged, shapes_folder)
    assert found.classes == ("เส้น", "disc")
    assert found.metrics.accuracy > 0.6
    again = whatsit.rename(merged, {"disc": "วงกลม"}, tmp_path / "again.whatsit").model
    assert whatsit.evaluate(again, shapes_folder).metrics.accuracy == found.metrics.accuracy
    assert read_bundle(again).provenance["renamed"] == {"columns": "เส้น", "rows": "เส้น", "disc": "วงกลม"}
    done = command_line("export", again, "--format", "c", "--data", shapes_folder, "--out", tmp_path / "export")
    assert done.returncode == 0, done.stderr


def test_logits_of_merged_classes_are_those_of_their_probabilities(merged: Path, pictures: list[Path]) -> None:
    predictor = whatsit.load(merged)
    pixels = np.stack([decode(picture, predictor.size, rule=predictor.rule) for picture in pictures])
    probabilities, logits = predictor.open_engine("probabilities", "logits").run(pixels)
    exps = np.exp(logits / read_bundle(merged).temperature)
    assert exps / exps.sum(axis=1, keepdims=True) == pytest.approx(probabilities, abs=1e-5)


def test_interrupted_merging_leaves_no_model(
    baseline_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("whatsit.evaluation.shipping.evaluate_pictures", interrupted)
    with pytest.raises(KeyboardInterrupt):
        whatsit.rename(baseline_run.folder, {"columns": "x", "rows": "x"}, tmp_path / "m.whatsit")
    assert list(tmp_path.glob("*.whatsit")) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat=dog"], "the model has no class 'cat'"),
        (["disc"], "'disc' is no OLD=NEW"),
        (["disc=a", "disc=b"], "the class 'disc' is given two names"),
        (["disc="], "the name '' is empty"),
        (["disc=a", "rows=a", "columns=a"], "only the class 'a' would be left"),
    ],
)
def test_wrong_names_are_refused_in_a_line(baseline_run: Run, tmp_path: Path, names: list[str], message: str) -> None:
    done = command_line("rename", baseline_run.folder, *names, "-o", tmp_path / "x.whatsit")
    assert (done.returncode, message in done.stderr, done.stderr.count("\n")) == (2, True, 1)


def test_model_is_never_replaced(baseline_run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.whatsit").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        whatsit.rename(baseline_run.folder, {"disc": "circle"}, tmp_path / "x.whatsit")

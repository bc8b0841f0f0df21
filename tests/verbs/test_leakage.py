"""Test pictures that resemble training pictures, where DATA came with splits: told wherever the accuracy is."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

import whatsit
from tests.conftest import CLASSES, encode, shapes, write_files
from whatsit.apps.cli.training import print_run
from whatsit.bundle.read import read_bundle
from whatsit.run.record import Run

SETTINGS = {"epochs": 2, "batch_size": 8}
TOLD = "4 of 19 test pictures (21.1 %) resemble training or validation pictures: 3 are near-duplicates, such as test/"


@pytest.fixture(scope="module")
def leaking_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of 19 test pictures 3 are training pictures that were made a little lighter, and one is a copy."""
    folder = tmp_path_factory.mktemp("leaking")
    files = {}
    for k, kind in enumerate(CLASSES):
        for number in range(15):
            part = "train" if number < 10 else "test"
            files[f"{part}/{kind}/{number:02d}.png"] = encode(shapes(kind, 100 * k + number))
        files[f"test/{kind}/near.png"] = encode(np.minimum(shapes(kind, 100 * k).astype(int) + 2, 255).astype(np.uint8))
    files["test/disc/copy.png"] = files["train/disc/01.png"]
    write_files(folder / "data", files)
    return whatsit.train(folder / "data", recipe="baseline", out=folder / "run", settings=SETTINGS)


def test_accuracy_without_leaks_is_that_of_the_other_answers(leaking_run: Run) -> None:
    assert leaking_run.examination is not None
    test = leaking_run.examination.test
    clean = [not picture.name.endswith(("near.png", "copy.png")) for picture in test.pictures]
    right = (test.probabilities.argmax(axis=1) == test.labels)[clean]
    assert (leaking_run.leakage.n, leaking_run.leakage.accuracy) == (15, right.mean())


def test_metrics_have_the_counts_and_the_accuracy_without(leaking_run: Run) -> None:
    noted = json.loads((leaking_run.folder / "metrics.json").read_text())["leakage"]
    assert {key: noted[key] for key in ("pictures", "near_duplicates", "exact_copies", "same_group")} == {
        "pictures": 4, "near_duplicates": 3, "exact_copies": 1, "same_group": 0
    }  # fmt: skip
    low, high = noted["without"]["accuracy_ci95"]
    assert noted["without"]["n"] == 15
    assert low < noted["without"]["accuracy"] <= high


def test_report_card_and_terminal_tell_it(leaking_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    print_run(leaking_run)
    report = (leaking_run.folder / "report.html").read_text(encoding="utf-8").replace("\xa0", " ")
    told = capsys.readouterr().out
    assert TOLD in told
    assert re.search(r"^Time in all:    \d+ s, with the report$", told, re.MULTILINE)
    assert re.search(r"Trained and tested\s+in \d+ seconds, before this report was made\.", report)
    assert report.count(TOLD) == 3  # in the verdict, in what was learned, and in the note on the data
    assert "test pictures that resemble training or validation pictures left out (4)" in report
    assert r"4 of 19 test pictures \(21.1 %\) resemble" in read_bundle(leaking_run.model).card


def test_leaking_pictures_are_listed_with_what_they_resemble(leaking_run: Run) -> None:
    rows = list(csv.DictReader((leaking_run.folder / "leakage.csv").read_text().splitlines()))
    assert {row["path"]: (row["resembles"], row["how"]) for row in rows} == {
        **{f"test/{kind}/near.png": (f"train/{kind}/00.png", "near-duplicate") for kind in CLASSES},
        "test/disc/copy.png": ("train/disc/01.png", "exact copy"),
    }


@pytest.mark.usefixtures("instant")
def test_repeated_run_tells_the_same(leaking_run: Run, tmp_path: Path) -> None:
    again = whatsit.train(from_run=leaking_run.folder, out=tmp_path / "again", report=False)
    assert again.leakage.note == leaking_run.leakage.note


def test_split_of_its_own_leaks_nothing(baseline_run: Run) -> None:
    noted = json.loads((baseline_run.folder / "metrics.json").read_text())
    assert (noted["leakage"]["pictures"], noted["leakage"]["note"]) == (0, "")
    assert noted["leakage"]["without"]["accuracy"] == noted["test"]["accuracy"]
    assert not (baseline_run.folder / "leakage.csv").exists()


def test_cross_validation_keeps_groups_in_one_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from whatsit.images.scan import Dataset
    from whatsit.verbs import cross_validate

    names = [(kind, number) for kind in ("disc", "rows") for number in range(12)]
    rows = [f"{kind}/{n}.png,{kind},p{n // 2}" for kind, n in names]
    files = {f"{kind}/{n}.png": encode(shapes(kind, n)) for kind, n in names}
    data = write_files(tmp_path, {**files, "labels.csv": "\n".join(["path,label,group", *rows]).encode()})
    folds: list[Dataset] = []

    def confusion(dataset: Dataset, *_: object) -> np.ndarray:
        folds.append(dataset)
        return np.eye(2, dtype=np.int64)

    monkeypatch.setattr(cross_validate, "_confusion", confusion)
    cross_validate.cross_validate(data / "labels.csv")
    assert sum(len(fold.of("test")) for fold in folds) == 24
    for fold in folds:
        assert len({(picture.group, picture.split) for picture in fold.pictures}) == 6

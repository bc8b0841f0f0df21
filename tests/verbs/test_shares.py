"""A run whose user chose the shares of train, validation and test, and the runs that follow from it."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import whatsit
from tests import command
from tests.conftest import CLASSES, Listener, encode, shapes, write_files
from whatsit.bundle.read import read_bundle
from whatsit.run.data import open_as_in_run
from whatsit.run.record import Run, read_split

pytestmark = pytest.mark.usefixtures("instant")

SHARES = {"train": 8, "validation": 8, "test": 4}  # of 20 pictures of each class
SETTINGS = {"split": "40/40/20"}


def pictures(first: int) -> dict[str, bytes]:
    """Twenty of each class."""
    return {f"{kind}/{i}.png": encode(shapes(kind, i)) for kind in CLASSES for i in range(first, first + 20)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_files(tmp_path / "data", pictures(first=0))


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Run:
    return whatsit.train(data, recipe="baseline", out=tmp_path / "run", settings=SETTINGS, report=False)


def shares(folder: Path) -> set[tuple[str, str | None, int]]:
    return {(*key, count) for key, count in Counter((one.label, one.split) for one in read_split(folder)).items()}


def wanted(**counts: int) -> set[tuple[str, str | None, int]]:
    return {(label, name, count) for label in CLASSES for name, count in counts.items()}


def test_pictures_are_split_as_asked_for(run: Run) -> None:
    assert shares(run.folder) == wanted(**SHARES)
    assert run.recipe.split == "40/40/20"


def test_repeated_run_has_the_same_split_without_a_word(run: Run, tmp_path: Path) -> None:
    listener = Listener()
    again = whatsit.train(from_run=run.folder, out=tmp_path / "again", report=False, reporter=listener)
    assert (again.folder / "split.csv").read_text() == (run.folder / "split.csv").read_text()
    assert again.recipe.split == "40/40/20"
    assert not [text for text in listener.warned if "split" in text]


@pytest.mark.parametrize("asked", [{}, {"recipe": "scratch"}])
def test_update_keeps_the_shares(run: Run, data: Path, asked: dict[str, Any]) -> None:
    write_files(data, pictures(first=900))
    now = whatsit.train(data, update=run.folder, report=False, **asked)
    assert shares(now.folder) == wanted(**{name: 2 * count for name, count in SHARES.items()})


def test_update_deals_new_pictures_by_other_shares_where_they_are_asked_for(run: Run, data: Path) -> None:
    was = {one.digest: one.split for one in read_split(run.folder)}
    write_files(data, pictures(first=900))
    now = whatsit.train(data, update=run.folder, report=False, settings={"split": "70/20/10"})
    splits = {one.digest: one.split for one in read_split(now.folder)}
    assert was.items() <= splits.items()
    new = Counter(split for digest, split in splits.items() if digest not in was)
    assert new["train"] > 40  # of 60; by the shares of the run it would be 24


def test_resumed_run_keeps_the_shares(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("whatsit.evaluation.shipping.choose_references", stops)
        with pytest.raises(KeyboardInterrupt):
            whatsit.train(data, recipe="baseline", out=tmp_path / "run", settings=SETTINGS, report=False)
    again = whatsit.train(data, out=tmp_path / "run", resume=True, report=False)
    assert shares(again.folder) == wanted(**SHARES)


def test_model_alone_finds_its_test_pictures_again(run: Run, data: Path, tmp_path: Path) -> None:
    alone, listener = Path(shutil.copy(run.model, tmp_path / "mine.whatsit")), Listener()
    found = open_as_in_run(alone, read_bundle(alone), data, listener)
    assert {one.digest for one in found.of("test")} == {
        one.digest for one in read_split(run.folder) if one.split == "test"
    }
    assert listener.warned == []


def test_other_shares_are_refused_in_a_line(data: Path) -> None:
    done = command.whatsit("train", data, "--set", "split=80/20")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "whatsit: --set: 'split' must be three percents that make 100, such as 80/10/10, or \"auto\", received '80/20'"
    ]

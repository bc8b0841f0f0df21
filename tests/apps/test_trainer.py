"""The training process, as the app uses it, and cross-validation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import whatsit
from tests.conftest import encode, shapes, write_files
from whatsit.apps.trainer import Trainer, TrainingError
from whatsit.errors import WhatsitError
from whatsit.events import Work


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the training process wrote on stderr."""
    return []


@pytest.fixture(scope="module")
def trainer(said: list[str]) -> Iterator[Trainer]:
    trainer = Trainer(said.append)
    yield trainer
    trainer.close()


def test_process_that_died_is_started_again(trainer: Trainer, tmp_path: Path) -> None:
    """First, before it has loaded TensorFlow; the others go on with the new one."""
    trainer.close()
    data = write_files(tmp_path / "data", {"disc/1.png": encode(shapes("disc", 1))})
    with pytest.raises(WhatsitError, match="only one class"):
        trainer.train(data, tmp_path / "run", lambda stage: None)


def test_few_pictures_are_cross_validated(trainer: Trainer, tmp_path: Path) -> None:
    names = [(label, number) for label in ("disc", "rows") for number in range(6)]
    data = write_files(tmp_path / "data", {f"{label}/{n}.png": encode(shapes(label, n)) for label, n in names})
    stages: list[str] = []
    result = trainer.train(data, tmp_path / "run", stages.append)
    assert whatsit.load(result.run).classes == ("disc", "rows")
    assert (result.n, result.folds) == (12, 3)
    assert result.low < result.accuracy <= result.high
    assert result.accuracy >= 0.5
    assert set(result.recall) == {"disc", "rows"}
    assert Work.FEATURES in stages


def test_what_is_wrong_is_told_and_the_next_job_is_done(trainer: Trainer, tmp_path: Path) -> None:
    data = write_files(tmp_path / "data", {"disc/1.png": encode(shapes("disc", 1))})
    with pytest.raises(WhatsitError, match="only one class, 'disc'"):
        trainer.train(data, tmp_path / "run", lambda stage: None)
    with pytest.raises(WhatsitError, match="only one class, 'disc'"):
        trainer.train(data, tmp_path / "run", lambda stage: None)


def test_what_nobody_foresaw_is_told_and_its_traceback_goes_to_the_log(
    trainer: Trainer, said: list[str], tmp_path: Path
) -> None:
    names = [(label, number) for label in ("disc", "rows") for number in range(3)]
    data = write_files(tmp_path / "data", {f"{label}/{n}.png": encode(shapes(label, n)) for label, n in names})
    with pytest.raises(TrainingError, match=r"ValueError: .*null") as caught:
        trainer.train(data, tmp_path / "a\0b", lambda stage: None)
    assert not caught.value.is_foreseen
    trainer.close()  # the next job starts another
    assert any("Traceback" in line for line in said)

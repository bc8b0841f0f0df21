"""On the real pictures beside a developer's checkout: does a model of cats and dogs know what it does not know?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import whatsit
from tests.conftest import encode
from whatsit.evaluation.metrics import auroc
from whatsit.images.scan import scan
from whatsit.runtime.predictor import Predictor

VEHICLES = ("airplane", "automobile", "ship", "truck")


@pytest.fixture(scope="module")
def predictor(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("runs") / "cats-dogs"
    return whatsit.train(shared_data / "cats-dogs.zip", out=folder, limit=150, report=False).load()


def scores(predictor: Predictor, pictures: list[bytes]) -> np.ndarray:
    return np.array([answer.ood_score for _, answer in predictor.answers_each(pictures, lambda data: data)])


@pytest.fixture(scope="module")
def known(predictor: Predictor, shared_data: Path) -> np.ndarray:
    """Of photos of cats and dogs that the model never saw; nearly all, as it saw 300 of 1,399."""
    data = scan(shared_data / "cats-dogs.zip")
    return scores(predictor, [data.read(picture) for picture in data.pictures[::4]])


def strangers(kind: str, shared_data: Path) -> list[bytes]:
    rng = np.random.default_rng(0)
    if kind == "noise":
        return [encode(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(60)]
    if kind == "digits":
        from sklearn.datasets import load_digits

        return [encode((image * 15).astype(np.uint8)) for image in load_digits().images[:60]]
    data = scan(shared_data / "cifar10.zip")
    return [data.read(p) for label in VEHICLES for p in [q for q in data.pictures if q.label == label][:20]]


@pytest.mark.parametrize("kind", ["vehicles", "digits", "noise"])
def test_strangers_are_told(predictor: Predictor, known: np.ndarray, shared_data: Path, kind: str) -> None:
    found = scores(predictor, strangers(kind, shared_data))
    assert auroc(np.arange(len(found) + len(known)) < len(found), np.concatenate([found, known])) >= 0.97
    assert (found <= np.quantile(known, 0.95)).mean() <= 0.15


def test_about_as_many_cats_and_dogs_are_accepted_as_promised(predictor: Predictor, known: np.ndarray) -> None:
    rule = predictor.bundle.unknown
    assert rule is not None
    assert (known <= rule.threshold).mean() >= rule.accepts - 0.06

"""Calibrate a classifier that was made elsewhere, on pictures that it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Array
from whatsit.bundle.format import Bundle
from whatsit.bundle.imported import SEED, imported_bundle
from whatsit.engines import open_engine
from whatsit.errors import DataError
from whatsit.events import Reporter
from whatsit.images.batches import decode_batches
from whatsit.images.pictures import Picture, label_numbers
from whatsit.images.scan import Dataset
from whatsit.models.onnx_about import SCALINGS
from whatsit.models.onnx_classifier import OnnxClassifier
from whatsit.models.unknown import Mahalanobis
from whatsit.training.calibration import fit_temperature
from whatsit.training.unknown import MAX_PICTURES, enough_rows, fit_mahalanobis

TRIED = 200  # pictures by which a scaling is chosen
FEWEST = 5  # pictures of a class, below which the unknown score would rest on too few


@dataclass(frozen=True)
class Outputs:
    """What a graph gives for pictures."""

    labels: npt.NDArray[np.int64]  # [N]
    values: Array  # [N, ...]


def outputs_of(
    bundle: Bundle, dataset: Dataset, pictures: Sequence[Picture], name: str, reporter: Reporter, what: str
) -> Outputs:
    """Return an output of a bundle's graph for labelled pictures.

    Unreadable ones are left out. Raises `DataError` where none can be read.
    """
    engine = open_engine(bundle.graph, [name])
    progress = reporter.stage(what)
    read: list[Picture] = []
    found: list[Array] = []
    for batch in decode_batches(pictures, dataset.read, (bundle.input.height, bundle.input.width), batch_size=8):
        if len(batch.pixels):
            read += batch.good
            found.append(engine.run(batch.pixels)[0])
        progress(len(read), len(pictures))
    if not read:
        raise DataError(f"{dataset.source}: no picture can be read to calibrate on")
    return Outputs(label_numbers(read, bundle.classes), np.concatenate(found))


def choose_scaling(
    network: OnnxClassifier, classes: tuple[str, ...], dataset: Dataset, reporter: Reporter
) -> OnnxClassifier:
    """Return the classifier with the scaling of pixels that suits it.

    That is the usual one by which it is right most often.
    """
    pictures = dataset.of("train")
    order = np.random.default_rng(SEED).permutation(len(pictures))[:TRIED]
    some = pictures.take(order)
    shares: dict[str, tuple[float, float]] = {}
    for scaling in [name for name, (mean, _) in SCALINGS.items() if len(mean) in (1, network.file.channels)]:
        bundle = imported_bundle(network.scaled(scaling), classes)
        seen = outputs_of(bundle, dataset, some, "logits", reporter, f"Trying pixels scaled by '{scaling}'")
        right = float((seen.values.argmax(axis=1) == seen.labels).mean())
        shares[scaling] = right, -fit_temperature(seen.values, seen.labels)[1]
    best = max(shares, key=lambda scaling: shares[scaling])
    others = ", ".join(f"{scaling} {right:.0%}" for scaling, (right, _) in shares.items() if scaling != best)
    reporter.say(
        f"Pixels are scaled by '{best}': right for {shares[best][0]:.0%} of {len(some)} pictures ({others}); another is taken "
        f"with --scaling"
    )
    return network.scaled(best)


def calibrated(network: OnnxClassifier, classes: tuple[str, ...], dataset: Dataset, reporter: Reporter) -> Bundle:
    """Return the bundle with a temperature and an unknown score.

    There is no score where there are no features. It is fitted on the training split of DATA, the temperature on its
    validation split.
    """
    bundle = imported_bundle(network, classes)
    held = outputs_of(bundle, dataset, dataset.of("validation"), "logits", reporter, "Calibrating (validation)")
    temperature, _ = fit_temperature(held.values, held.labels)
    known: Mahalanobis | None = None
    if missing := _why_no_score(network, classes, dataset):
        reporter.warn(f"unknown pictures will not be recognized: {missing}")
    else:
        train = dataset.of("train")
        some = train.take(enough_rows(train.numbers(classes), len(classes), SEED, MAX_PICTURES))
        seen = outputs_of(bundle, dataset, some, "embedding", reporter, "Computing features (train)")
        known = fit_mahalanobis(seen.values, seen.labels, len(classes), SEED)
    return imported_bundle(network, classes, temperature, known, dataset)


def _why_no_score(network: OnnxClassifier, classes: tuple[str, ...], dataset: Dataset) -> str:
    if network.dense is None:
        return "the last layer of this network was not recognized, so there are no features"
    counts = dict.fromkeys(classes, 0) | dataset.of("train").counts()
    few = min(counts, key=lambda label: counts[label])
    if counts[few] < FEWEST:
        return f"{counts[few]} pictures of '{few}' are there to fit the score on; {FEWEST} of each class are needed"
    return ""

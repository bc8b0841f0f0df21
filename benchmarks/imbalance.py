"""Ways to weigh unbalanced classes: accuracy, recall and calibration of each.

python benchmarks/imbalance.py DATA[:RATIO[:MOST]]... [--seeds 3]

With a RATIO, the training and validation images are cut so that the classes fall from the largest to 1 / RATIO of it in even
steps of their logarithm, the largest with at most MOST images; at most 2,000 test images are used, as they are. Recalls are of
these; accuracy, ECE and log loss weigh each test image so that the classes have the shares that they have in training, as they
would where the model is used. Every way trains the recipe `fast` on the same features. `logits - 0.5` and `logits - 1` take tau
times the logarithm of each class's share from the logits of `none` afterwards (Menon et al. 2021): with a free bias in the last
layer their loss converges to that, too.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from whatsit.events import SILENT
from whatsit.images.data import open_data, split_data
from whatsit.images.scan import Dataset
from whatsit.models.backend import load_keras
from whatsit.training.calibration import fit_temperature
from whatsit.training.clock import Clock
from whatsit.training.context import Context
from whatsit.training.recipe import load
from whatsit.training.trained import Trained

MOST_TESTS = 2000
WAYS = ("none", "balanced", "sqrt", "effective")
TAUS = (0.5, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    load_keras()
    print("| data | way | accuracy | macro recall | lowest recall | ECE | log loss | seconds |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for data in options.data:
        found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        for seed in range(options.seeds):
            for way, row in of_seed(data, seed).items():
                found[way].append(row)
        for way, rows in found.items():
            means = [statistics.mean(column) for column in zip(*rows, strict=True)]
            cells = [f"{100 * value:.2f}" for value in means[:4]] + [f"{means[4]:.3f}", f"{means[5]:.0f}"]
            print(f"| {Path(data).name} | {way} | " + " | ".join(cells) + " |", flush=True)


def of_seed(data: str, seed: int) -> dict[str, tuple[float, ...]]:
    name, *about = data.split(":")
    dataset = split_data(open_data(name, SILENT), seed, SILENT)
    if about:
        dataset = cut(dataset, float(about[0]), int(about[1]) if len(about) > 1 else sys.maxsize, seed)
    found = {}
    for way in WAYS:
        started = time.perf_counter()
        trained = train(dataset, way, seed)
        seconds = time.perf_counter() - started
        logits = {split: logits_of(trained, split) for split in ("validation", "test")}
        labels = {split: numbers(trained.dataset, split) for split in logits}
        found[way] = (*measured(logits, labels, trained.dataset), seconds)
        if way == "none":
            share = np.bincount(numbers(trained.dataset, "train"), minlength=len(dataset.classes)) + 0.5
            prior = np.log(share / share.sum())
            for tau in TAUS:
                moved = {split: values - tau * prior for split, values in logits.items()}
                found[f"logits - {tau:g}"] = (*measured(moved, labels, trained.dataset), seconds)
    return found


def cut(dataset: Dataset, ratio: float, most: int, seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    classes = [dataset.classes[place] for place in rng.permutation(len(dataset.classes))]
    kept = []
    for split in ("train", "validation"):
        pictures = dataset.of(split)
        counts = pictures.counts()
        largest = min(most if split == "train" else max(most // 4, 1), max(counts.values()))
        for place, label in enumerate(classes):
            own = [p for p in pictures if p.label == label]
            wanted = max(1, round(largest * ratio ** (-place / (len(classes) - 1))))
            kept += [own[i] for i in rng.permutation(len(own))[:wanted]]
    tests = dataset.of("test")
    kept += [tests[i] for i in rng.permutation(len(tests))[:MOST_TESTS]]
    return replace(dataset, pictures=tuple(kept))


def train(dataset: Dataset, way: str, seed: int) -> Trained:
    from whatsit.training.train import train_by_recipe

    with tempfile.TemporaryDirectory() as folder:
        recipe = replace(load("fast"), seed=seed, class_weights=way)
        context = Context(dataset, recipe, Path(folder), Clock(None, SILENT.say), brief=True, complete=True)
        return train_by_recipe(context)  # the head alone


def logits_of(trained: Trained, split: str) -> np.ndarray:
    from whatsit.models.classifier import head_alone

    found = trained.frozen.features(trained.dataset, split, ("original",), SILENT)
    head = head_alone(trained.classifier)
    return np.asarray(head(found.views["original"][:, -trained.embedding_width :].astype(np.float32)))


def numbers(dataset: Dataset, split: str) -> np.ndarray:
    return dataset.of(split).numbers(dataset.classes)


def measured(logits: dict[str, np.ndarray], labels: dict[str, np.ndarray], dataset: Dataset) -> tuple[float, ...]:
    temperature, _ = fit_temperature(logits["validation"], labels["validation"])
    truth, raised = labels["test"], logits["test"].astype(np.float64) / temperature
    raised = np.exp(raised - raised.max(axis=1, keepdims=True))
    probabilities = raised / raised.sum(axis=1, keepdims=True)
    predicted, top = probabilities.argmax(axis=1), probabilities.max(axis=1)
    tested = np.bincount(truth, minlength=len(dataset.classes))
    shares = np.bincount(numbers(dataset, "train"), minlength=len(dataset.classes)) * (tested > 0)
    weights = (shares / np.maximum(tested, 1))[truth]
    weights = weights / weights.sum()
    right = predicted == truth
    bins = np.minimum((top * 15).astype(int), 14)
    gaps = [abs((weights * (right - top))[bins == k].sum()) for k in range(15)]
    recalls = [right[truth == k].mean() for k in np.flatnonzero(tested)]
    loss = float((weights * -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12))).sum())
    return float((weights * right).sum()), float(np.mean(recalls)), float(min(recalls)), float(sum(gaps)), loss


if __name__ == "__main__":
    main()

"""Ways to choose what to label next, beside random choice at equal labels.

python benchmarks/suggest.py DATA[:POOL[:TEST]]... [--seeds 10] [--start 20] [--batch 50] [--batches 6] [--burst 0]

Features of the default network are computed once; a logistic regression on them is trained on the labels so far, says what it
thinks of the pool, and each way chooses the next batch. Every way of a seed starts from the same random pictures. `mean` is the
test accuracy averaged over the batches, `last` that after the last one; differences from `random` are paired by seed, with 95 %
intervals of Student's t. With `--burst N` a tenth of the pool is there N times, moved a little, as frames of a burst are.
`batches to random's last` is how many labels a way needs for what random choice reaches with all of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression

from whatsit.events import SILENT
from whatsit.images.data import open_data, split_data
from whatsit.images.scan import typical_size
from whatsit.images.split import limit
from whatsit.runtime.varied import FACTOR, choose, doubts
from whatsit.training.default_network import default_network

Way = Callable[[np.ndarray, np.ndarray, np.ndarray, int, int], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--start", type=int, default=20)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=60, help="after which no seed is begun, from the third on")
    parser.add_argument("--burst", type=int, default=0)
    parser.add_argument("--ways", nargs="*", default=list(WAYS))
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    print("| data | way | mean | - random | last | - random | seeds won | labels to random's last |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for data in options.data:
        pool, tests, classes = features_of(data)
        curves: dict[str, list[list[float]]] = defaultdict(list)
        started = time.monotonic()
        for seed in range(options.seeds):
            if seed >= 3 and time.monotonic() - started > 60 * options.minutes:
                break
            own = with_bursts(pool, options.burst, seed) if options.burst else pool
            for way in options.ways:
                curves[way].append(curve(own, tests, classes, WAYS[way], seed, options))
        for way, rows in curves.items():
            print(f"| {Path(data.split(':')[0]).stem} | {way} | {line(rows, curves['random'], options)} |", flush=True)


def features_of(data: str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], int]:
    name, *most = data.split(":")
    dataset = split_data(open_data(name, SILENT), 0, SILENT)
    if most:
        dataset = limit(dataset, int(most[0]) // len(dataset.classes), 0)
    network = default_network(max(typical_size(dataset)))
    parts = []
    for splits in (("train", "validation"), ("test",)):
        rows, labels = [], []
        for split in splits:
            found = network.features(dataset, split, ("original",), SILENT)
            rows.append(np.asarray(found.views["original"][:, -network.width :], np.float32))
            labels.append(found.pictures.numbers(dataset.classes))
        values = np.concatenate(rows)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        parts.append((values, np.concatenate(labels)))
    return parts[0], parts[1], len(dataset.classes)


def with_bursts(pool: tuple[np.ndarray, np.ndarray], copies: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, labels = pool
    some = np.repeat(rng.permutation(len(rows))[: len(rows) // 10], copies - 1)
    moved = rows[some] + rng.normal(0, 0.003, (len(some), rows.shape[1])).astype(np.float32)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    return np.concatenate([rows, moved]), np.concatenate([labels, labels[some]])


def curve(pool, tests, classes: int, way: Way, seed: int, options) -> list[float]:
    rows, labels = pool
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    first = [int(order[labels[order] == k][0]) for k in range(classes)]  # whoever trains has one of each class
    rest = [int(i) for i in order if int(i) not in set(first)]
    known = np.array((first + rest)[: max(options.start, classes)])
    found = []
    scale = rows.std(axis=0).mean()
    for number in range(options.batches + 1):
        # In the space of the labelled pictures, where the solution lies: the same head, in a tenth of the time.
        axes = np.linalg.qr(rows[known].T / scale)[0]
        head = LogisticRegression(C=1.0, max_iter=200).fit(rows[known] / scale @ axes, labels[known])
        if number:
            found.append(float((head.predict(tests[0] / scale @ axes) == tests[1]).mean()))
        if number == options.batches:
            return found
        free = np.delete(np.arange(len(rows)), known)
        probabilities = head.predict_proba(rows[free] / scale @ axes)
        known = np.concatenate(
            [known, free[way(rows[free], probabilities, rows[known], options.batch, seed * 100 + number)]]
        )
    return found


def line(rows: list[list[float]], base: list[list[float]], options) -> str:
    means, lasts = (
        ([statistics.mean(row) for row in some] for some in (rows, base)),
        ([r[-1] for r in s] for s in (rows, base)),
    )
    cells, won = [], 0
    for mine, theirs in (means, lasts):
        differences = np.subtract(mine, theirs)
        half = stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences))
        cells += [f"{100 * np.mean(mine):.2f}", f"{100 * differences.mean():+.2f} ± {100 * half:.2f}"]
        won = int((differences > 0).sum())
    target = np.mean([row[-1] for row in base])
    reached = np.flatnonzero(np.mean(rows, axis=0) >= target)
    labels = str(options.start + options.batch * (int(reached[0]) + 1)) if len(reached) else "more"
    return " | ".join([*cells, f"{won} of {len(rows)}", labels])


def random(rows, probabilities, known, count, seed):
    return np.random.default_rng(seed).permutation(len(rows))[:count]


def margin(rows, probabilities, known, count, seed):
    return np.argsort(-doubts(probabilities))[:count]


def weighted_kmeans(rows, probabilities, known, count, seed, factor=FACTOR):
    """Zhdanov 2019; what `whatsit suggest` does."""
    weights = doubts(probabilities)
    some = np.argsort(-weights)[: factor * count]
    return some[choose(rows[some], weights[some], count, seed)]


def badge(rows, probabilities, known, count, seed):
    """Ash et al. 2020: k-means++ on the gradients of the last layer."""
    rng = np.random.default_rng(seed)
    gradients = probabilities.copy()
    gradients[np.arange(len(rows)), probabilities.argmax(axis=1)] -= 1
    lengths = np.square(gradients).sum(axis=1) * np.square(rows).sum(axis=1)
    chosen = [int(lengths.argmax())]
    far = np.full(len(rows), np.inf)
    while len(chosen) < count:
        last = chosen[-1]
        products = (gradients @ gradients[last]) * (rows @ rows[last])
        far = np.minimum(far, np.maximum(lengths + lengths[last] - 2 * products, 0))
        far[chosen] = 0
        chosen.append(int(rng.choice(len(rows), p=far / far.sum())))
    return np.array(chosen)


def coreset(rows, probabilities, known, count, seed):
    """Sener & Savarese 2018: k-center, greedily."""
    nearest = (rows @ known.T).max(axis=1)
    chosen = []
    for _ in range(count):
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, rows @ rows[chosen[-1]])
    return np.array(chosen)


def typiclust(rows, probabilities, known, count, seed):
    """Hacohen et al. 2022: the most typical of the largest clusters without a label."""
    clusters = min(len(known) + count, 500)
    everything = np.concatenate([rows, known])
    found = MiniBatchKMeans(clusters, n_init=1, random_state=seed, batch_size=2048).fit_predict(everything)
    has_label = np.bincount(found[len(rows) :], minlength=clusters)
    found = found[: len(rows)]
    sizes = np.bincount(found, minlength=clusters)
    order = sorted(range(clusters), key=lambda c: (has_label[c], -sizes[c]))
    chosen: list[int] = []
    while len(chosen) < count:
        for cluster in order:
            own = np.setdiff1d(np.flatnonzero(found == cluster), chosen)
            if len(own) and len(chosen) < count:
                near = np.sort(rows[own] @ rows[own].T, axis=1)[:, -21:-1]
                chosen.append(int(own[near.mean(axis=1).argmax()] if near.shape[1] else own[0]))
    return np.array(chosen)


WAYS: dict[str, Way] = {
    "random": random,
    "margin": margin,
    f"weighted k-means, factor {FACTOR}": weighted_kmeans,
    "weighted k-means, factor 50": lambda *given: weighted_kmeans(*given, factor=50),
    "BADGE": badge,
    "k-center": coreset,
    "TypiClust": typiclust,
}

if __name__ == "__main__":
    main()

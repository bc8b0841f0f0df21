"""Training speed of the recipe `scratch` against Keras's bare `train_on_batch`.

The latter trains on ready arrays.

Both take turns in one process, so that a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from whatsit.models import classifier, cnn
from whatsit.models.backend import load_keras
from whatsit.training.batches import PictureBatches, Targets, ahead
from whatsit.training.recipe import load
from whatsit.training.resolve import working_batch_size
from whatsit.training.trainer import Trainer

CLASSES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12, help="of each turn")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    load_keras()
    import keras

    recipe = load("scratch")
    size = working_batch_size(recipe, 45_000, options.size)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (options.steps * size, options.size, options.size, 3)).astype(np.uint8)
    labels = rng.integers(0, CLASSES, len(pixels))

    def network() -> keras.Model:
        features = classifier.flat_features(cnn.build_cnn(recipe.model, options.size, for_training=True))
        logits = classifier.add_head(features.outputs[1], CLASSES, hidden=0, dropout=0.0, standardize=False)
        return keras.Model(features.input, logits)

    bare = network()
    bare.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
    )
    ready = pixels[:size], np.eye(CLASSES, dtype=np.float32)[labels[:size]]
    trainer = Trainer(network(), recipe)
    batches = PictureBatches(pixels, labels, Targets.of(labels, CLASSES, recipe), size, recipe)

    def bare_turn() -> None:
        for _ in range(options.steps):
            bare.train_on_batch(*ready)

    def our_turn(epoch: int) -> None:
        for inputs, targets, weights in ahead(lambda step: batches.batch(epoch, step), range(batches.steps)):
            trainer.step(inputs, targets, weights, 0.1)

    bare_turn()
    our_turn(1)
    ratios = []
    for turn in range(options.turns):
        started = time.perf_counter()
        bare_turn()
        between = time.perf_counter()
        our_turn(turn + 2)
        ended = time.perf_counter()
        ours, theirs = (len(pixels) / seconds for seconds in (ended - between, between - started))
        ratios.append(ours / theirs)
        print(f"scratch {ours:.0f} pictures/s, train_on_batch {theirs:.0f}: {ratios[-1]:.2f}", flush=True)
    print(f"median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()

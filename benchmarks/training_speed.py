"""Training speed against Keras's bare `train_on_batch`.

It is that of `scratch`, or of fine-tuning all layers of a backbone. The latter trains on ready arrays: the same CNN, or a
backbone of Keras's own layers in float32, with batch norms folded too.

Both take turns in one process, so that a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from whatsit.models import classifier, cnn
from whatsit.models.backbones import build
from whatsit.models.backend import layer_policy, load_keras
from whatsit.models.surgery import folded
from whatsit.training.batches import PictureBatches, Targets, ahead
from whatsit.training.recipe import load
from whatsit.training.resolve import working_batch_size
from whatsit.training.trainer import Trainer

CLASSES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument(
        "--backbone", help="all layers of which are tuned, with random weights; without: the CNN of scratch"
    )
    parser.add_argument("--steps", type=int, default=12, help="of each turn")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    load_keras()
    import keras

    recipe = load("finetune" if options.backbone else "scratch")
    size = recipe.finetune_batch_size if options.backbone else working_batch_size(recipe, 45_000, options.size)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (options.steps * size, options.size, options.size, 3)).astype(np.uint8)
    labels = rng.integers(0, CLASSES, len(pixels))

    def network(*, ours: bool) -> keras.Model:
        if options.backbone:
            whole = classifier.pooled_features(build(options.backbone, options.size, weights="none"), "last")
            features = folded(whole, dtype=layer_policy(), for_training=True) if ours else folded(whole)
        else:
            features = classifier.flat_features(cnn.build_cnn(recipe.model, options.size, for_training=True))
        logits = classifier.add_head(features.outputs[1], CLASSES, hidden=0, dropout=0.0, standardize=False)
        return keras.Model(features.input, logits)

    bare = network(ours=False)
    bare.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
    )
    ready = pixels[:size], np.eye(CLASSES, dtype=np.float32)[labels[:size]]
    trainer = Trainer(network(ours=True), recipe)
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
        print(
            f"{options.backbone or 'scratch'} {ours:.0f} pictures/s, train_on_batch {theirs:.0f}: {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()

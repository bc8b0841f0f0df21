"""Feature extraction from files beside the runtime alone on ready arrays.

Both run the same graph on the same images, in turns. Other work on the machine moves the processor's time less than the rates.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import islice
from statistics import median

import numpy as np

from whatsit.engines import Engine, available, open_engine, training_precision
from whatsit.images.batches import decode_batches
from whatsit.images.scan import Dataset, scan, typical_size
from whatsit.models import backbones, classifier
from whatsit.models.backend import load_keras
from whatsit.training.features import OpenNetwork, extract
from whatsit.training.recipe import Recipe
from whatsit.training.resolve import working_size


def measured(work: Callable[[], None], count: int) -> tuple[float, float]:
    """Return pictures a second, and the processor's milliseconds for one."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return count / (time.perf_counter() - started), (time.process_time() - used) / count * 1e3


def from_files(dataset: Dataset, engine: Engine, side: int, width: int) -> tuple[float, float]:
    network = OpenNetwork(engine, (side, side), width)
    return measured(lambda: extract(dataset, dataset.pictures, network), len(dataset.pictures))


def from_arrays(arrays: list[np.ndarray], engine: Engine) -> tuple[float, float]:
    def work() -> None:
        for _ in engine.stream(arrays):
            pass

    return measured(work, sum(map(len, arrays)))


def decoding_alone(dataset: Dataset, side: int) -> tuple[float, float]:
    def work() -> None:
        for _ in decode_batches(dataset.pictures, dataset.read, (side, side), batch_size=8):
            pass

    return measured(work, len(dataset.pictures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--pictures", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    load_keras()
    dataset = scan(options.data)
    step = max(1, len(dataset.pictures) // options.pictures)
    dataset = Dataset(dataset.source, dataset.store, dataset.pictures[::step], dataset.classes)
    size, upscale = working_size(Recipe(), max(typical_size(dataset)))
    network = classifier.pooled_features(backbones.build("efficientnet-lite0", size, upscale=upscale))
    runtime = available()[0]
    precision = training_precision(runtime)
    engine = open_engine(classifier.features_to_onnx(network), ["embedding"], runtime=runtime, precision=precision)
    side, width = size // upscale, int(network.outputs[1].shape[-1])
    batches = decode_batches(dataset.pictures, dataset.read, (side, side), batch_size=8)
    arrays = [batch.pixels for batch in islice(batches, 250)]
    from_arrays(arrays, engine)  # warm
    print(f"{runtime} {precision}, network at {size} px, input {side} px, {len(dataset.pictures)} pictures")
    ratios, shares = [], []
    for _ in range(options.rounds):
        (alone, least), (files, used) = from_arrays(arrays, engine), from_files(dataset, engine, side, width)
        ratios.append(files / alone)
        shares.append(least / used)
        print(
            f"arrays {alone:6.0f}/s {least:.2f} ms   files {files:6.0f}/s {used:.2f} ms   "
            f"ratio {ratios[-1]:.3f}, of processor time {shares[-1]:.3f}",
            flush=True,
        )
    print(f"medians: ratio {median(ratios):.3f}, of processor time {median(shares):.3f}")
    rate, used = decoding_alone(dataset, side)
    print(f"decoding alone {rate:6.0f}/s {used:.2f} ms")


if __name__ == "__main__":
    main()

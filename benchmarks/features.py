"""Feature extraction from files beside the runtime alone on ready arrays.

Both run the same graph on the same images.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice

import numpy as np

from whatsit.engines import Engine, available, open_engine, training_precision
from whatsit.images.batches import decode_batches
from whatsit.images.scan import Dataset, scan, typical_size
from whatsit.models import backbones, classifier
from whatsit.models.backend import load_keras
from whatsit.training.features import OpenNetwork, extract
from whatsit.training.recipe import Recipe
from whatsit.training.resolve import working_size


def from_files(dataset: Dataset, engine: Engine, side: int, width: int) -> float:
    started = time.perf_counter()
    extract(dataset, dataset.pictures, OpenNetwork(engine, (side, side), width))
    return len(dataset.pictures) / (time.perf_counter() - started)


def from_arrays(arrays: list[np.ndarray], engine: Engine) -> float:
    started = time.perf_counter()
    for _ in engine.stream(arrays):
        pass
    return sum(map(len, arrays)) / (time.perf_counter() - started)


def decoding_alone(dataset: Dataset, side: int) -> float:
    started = time.perf_counter()
    for _ in decode_batches(dataset.pictures, dataset.read, (side, side), batch_size=8):
        pass
    return len(dataset.pictures) / (time.perf_counter() - started)


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
    for _ in range(options.rounds):
        alone, files = from_arrays(arrays, engine), from_files(dataset, engine, side, width)
        print(f"arrays {alone:6.0f}/s   files {files:6.0f}/s   ratio {files / alone:.3f}", flush=True)
    print(f"decoding alone {decoding_alone(dataset, side):6.0f}/s")


if __name__ == "__main__":
    main()

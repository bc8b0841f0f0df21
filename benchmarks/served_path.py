"""Time from a file's bytes to a Prediction, beside the libraries it uses.

Decoding is compared with the decode library, the rest with the runtime and with `model.predict`.

Each comparison takes turns within one run, so that a busy machine is busy for both.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import whatsit
from whatsit.engines.tensorflow import load_keras
from whatsit.graph.formats import FORMATS, Converter
from whatsit.images.decode import decode


def in_turn(rounds: int, **works: Callable[[], object]) -> dict[str, float]:
    """Return the median milliseconds of each, called in turn."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            times[name].append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("picture", help="a JPEG photo")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    predictor = whatsit.load(options.model)
    engine = predictor.open_engine("probabilities", "ood_score")
    height, width = predictor.size
    data = Path(options.picture).read_bytes()
    pixels = decode(data, predictor.size)[None]
    batch = np.repeat(pixels, 32, axis=0)

    def library() -> object:
        image = Image.open(io.BytesIO(data))
        image.draft(None, (width, height))
        return np.array(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))

    with tempfile.TemporaryDirectory() as folder:
        bundle = predictor.bundle
        path = Converter(bundle.graph, bundle.classes, bundle.input.resize).write(FORMATS["keras"], Path(folder))
        stock = load_keras().models.load_model(path, compile=False)

    found = in_turn(
        options.rounds,
        library=library,
        decode=lambda: decode(data, predictor.size),
        runtime=lambda: engine.run(pixels),
        predict=lambda: predictor.predict([data]),
    )
    rest = found["predict"] - found["decode"]
    print(f"{width} x {height} pixels, {predictor.runtime}; medians of {options.rounds} rounds")
    ratio = found["decode"] / found["library"]
    print(f"decoding {found['decode']:.2f} ms, the library alone {found['library']:.2f} ms: {ratio:.2f}x")
    share = found["runtime"] / rest
    print(f"the rest {rest:.2f} ms, the runtime alone {found['runtime']:.2f} ms: {share:.0%} of its speed")
    print(f"one picture, file to Prediction: {found['predict']:.2f} ms", flush=True)
    one = in_turn(
        options.rounds // 5,
        ours=lambda: predictor.predict([data]),
        stock=lambda: stock.predict(decode(data, predictor.size)[None], verbose=0),
    )
    print(f"model.predict, file to answer: {one['stock']:.1f} ms: whatsit is {one['stock'] / one['ours']:.1f}x as fast")
    many = in_turn(
        8,
        ours=lambda: list(engine.stream([batch] * 8)),
        stock=lambda: stock.predict(np.concatenate([batch] * 8), batch_size=32, verbose=0),
    )
    ours, theirs = (256 / many[name] * 1000 for name in ("ours", "stock"))
    print(f"in batches: whatsit {ours:,.0f} pictures/s, model.predict {theirs:,.0f}: {ours / theirs:.1f}x")


if __name__ == "__main__":
    main()

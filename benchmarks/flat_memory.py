"""Peak memory and seconds of each stage of the verbs, by the number of images.

Tiny images are drawn into a folder (or a tar), and each number of them is worked on in a process of its own. The network works
at 32 pixels, so that the stages whose memory could grow with the number of images are most of the work. Features beyond 1 GiB are
in a file, as always; `--in-memory` (bytes) moves that bound, and shows what the head loses by it.

    python benchmarks/flat_memory.py 10000 100000 --scratch DIR
    python benchmarks/flat_memory.py --head 1000000 --scratch DIR

`--json` prints the measurements only; 1,000,000 images need 25 GB of disk in DIR.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import multiprocessing
import os
import resource
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import record
from whatsit.events import Event, Reporter, StageStarted, Warned
from whatsit.images.stored_arrays import release

CLASSES = 10
SIDE = 32
WIDTH = 1280  # of the features that are drawn
SETTINGS = {"size": 32, "epochs": 3}


def draw(number: int) -> tuple[str, bytes]:
    """Return the name and file of an image.

    It is a soft random pattern in the hue of its class, or one in five in any hue.
    """
    rng = np.random.default_rng(number)
    label = number % CLASSES
    hue = (label if rng.random() < 0.8 else rng.integers(CLASSES)) * 255 // CLASSES
    light = Image.fromarray(rng.integers(0, 256, (5, 5), dtype=np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    plain = (Image.new("L", light.size, int(value)) for value in (hue, 160))
    file = io.BytesIO()
    Image.merge("HSV", (*plain, light)).convert("RGB").save(file, "PNG", compress_level=1)
    return f"class{label}/{number:08d}x.png", file.getvalue()


def draw_all(count: int, place: Path, *, tar: bool) -> Path:
    """Draw that many images into a new folder or tar."""
    drawn: Iterator[tuple[str, bytes]] = map(draw, range(count))
    if not tar:
        for label in range(CLASSES):
            (place / f"class{label}").mkdir(parents=True)
        for name, data in drawn:
            (place / name).write_bytes(data)
        return place
    path = place.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        for name, data in drawn:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
            archive.members = []  # type: ignore[assignment]  # they would all stay in memory
    return path


def peak() -> int:
    """Return the largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Stages(Reporter):
    """Notes the seconds of each stage, and the largest memory up to its end."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self._name, self._since = "start", time.perf_counter()

    def emit(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self.begin(event.name)
        elif isinstance(event, Warned):
            self.warnings.append(event.text)

    def begin(self, name: str) -> None:
        now = time.perf_counter()
        self.rows.append({"stage": self._name, "seconds": round(now - self._since, 2), "peak_mb": peak() // 10**6})
        self._name, self._since = name, now


def work(data: Path, run: Path, in_memory: int | None, answer: Any) -> None:
    """Train, evaluate and predict in this process; send what was measured."""
    import whatsit
    from whatsit.images.data import open_split
    from whatsit.training import features
    from whatsit.verbs.predict import predict

    if in_memory is not None:
        network = features.FrozenNetwork
        network.features = functools.partialmethod(network.features, in_memory=in_memory)  # type: ignore[method-assign]
    stages = Stages()
    open_split(data, stages, None, 0)
    stages.begin("Loading the network")
    trained = whatsit.train(data, out=run, recipe="fast", settings=SETTINGS, report=False, reporter=stages)
    evaluation = whatsit.evaluate(trained.model, data, reporter=stages)
    answered = 0
    if data.is_dir():
        stages.begin("Predicting")
        answered = sum(1 for _ in predict(trained.model, [str(data)], reporter=stages))
    stages.begin("end")
    answer.send(
        {
            "stages": stages.rows,
            "peak_mb": peak() // 10**6,
            "test_accuracy": trained.test.accuracy,
            "evaluated": len(evaluation.labels),
            "predicted": answered,
            "warnings": stages.warnings,
        }
    )


def fit(count: int, in_memory: int | None, scratch: Path, answer: Any) -> None:
    """Train a head on drawn features in this process; send what was measured."""
    from types import SimpleNamespace

    from whatsit.images.stored_arrays import IN_MEMORY, is_stored, new_array
    from whatsit.models.backend import load_keras
    from whatsit.training.clock import Clock
    from whatsit.training.context import Context
    from whatsit.training.recipe import Recipe

    load_keras()
    import keras

    from whatsit.training.head import Seen, fit_head

    def drawn(count: int, seed: int) -> tuple[Any, Any]:
        """Return features in the order of their classes, as a folder has them."""
        rng, labels = np.random.default_rng([1, seed]), np.arange(count) * CLASSES // count
        centres = np.random.default_rng(0).normal(size=(CLASSES, WIDTH))
        features = new_array(
            (count, WIDTH), np.float16, folder=scratch, in_memory=IN_MEMORY if in_memory is None else in_memory
        )
        for start in range(0, count, 4096):
            some = labels[start : start + 4096]
            features[start : start + 4096] = centres[some] + 14 * rng.normal(size=(len(some), WIDTH))
            release(features)
        return features, labels

    keras.utils.set_random_seed(0)
    (train, labels), (held, held_labels) = drawn(count, 0), drawn(5000, 1)
    base = peak() // 10**6
    dataset: Any = SimpleNamespace(classes=tuple(map(str, range(CLASSES))))
    recipe = Recipe(epochs=3, views=("original",), flip=False, size=32)
    context = Context(dataset, recipe, scratch, Clock(None, lambda text: None), brief=True)
    seen = Seen({"original": train}, labels, {"original": held}, held_labels)
    started = time.perf_counter()
    network: Any = SimpleNamespace(width=WIDTH)
    head = fit_head(context, "last", network, seen, None)
    answer.send(
        {
            "rows": count,
            "in_file": is_stored(train),
            "feature_mb": train.nbytes // 10**6,
            "peak_mb_before": base,
            "peak_mb": peak() // 10**6,
            "seconds": round(time.perf_counter() - started, 1),
            "accuracy": float(head.right(seen).mean()),
        }
    )


def in_a_process(target: Callable[..., None], *args: Any) -> dict[str, Any]:
    """Return what a function sends from a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=target, args=(*args, theirs))
    child.start()
    theirs.close()
    try:
        found: dict[str, Any] = ours.recv()
    except EOFError:
        raise SystemExit(f"the process of {target.__name__}{args} ended early") from None
    child.join()
    return found


def measured(count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return what was measured with that many images."""
    scratch = options.scratch / f"flat-{count}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    os.environ["WHATSIT_CACHE"] = str(scratch / "cache")
    started = time.perf_counter()
    data = draw_all(count, scratch / "images", tar=options.tar)
    drawn = time.perf_counter() - started
    found = in_a_process(work, data, scratch / "run", options.in_memory)
    shutil.rmtree(scratch)
    return {"images": count, "drawn_seconds": round(drawn, 1), **found}


def figures(results: list[dict[str, Any]]) -> list[record.Figure]:
    """Return what was measured, as figures to be kept."""
    found = []
    for one in results:
        what = f"{one['images']:,} drawn images"
        found += [
            record.Figure(f"{what}: peak memory of training, evaluating and predicting", one["peak_mb"], "MB"),
            record.Figure(f"{what}: test accuracy", 100 * one["test_accuracy"], "%"),
            record.Figure(f"{what}: in all", sum(row["seconds"] for row in one["stages"]), "s"),
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("counts", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--scratch", type=Path, required=True, help="a folder for images, features and runs")
    parser.add_argument("--tar", action="store_true", help="images in a tar instead of a folder")
    parser.add_argument("--in-memory", type=int, help="bytes of features, beyond which they are in a file")
    parser.add_argument("--head", type=int, nargs="+", default=[], help="only heads, on that many drawn features")
    parser.add_argument("--json", action="store_true")
    record.add_option(parser)
    options = parser.parse_args()
    results = []
    for count in options.head:
        options.scratch.mkdir(parents=True, exist_ok=True)
        print(json.dumps(in_a_process(fit, count, options.in_memory, options.scratch)))
    for count in [] if options.head else options.counts:
        results.append(measured(count, options))
        if not options.json:
            one = results[-1]
            print(f"\n{count:,} images: {one['peak_mb']:,} MB at most, test accuracy {one['test_accuracy']:.4f}")
            for row in one["stages"]:
                print(f"  {row['stage']:42} {row['seconds']:9.1f} s {row['peak_mb']:7,} MB")
            for warning in one["warnings"]:
                print(f"  note: {warning}")
    if len(results) > 1 and not options.json:
        first, last = results[0], results[-1]
        grown = 1e6 * (last["peak_mb"] - first["peak_mb"]) / (last["images"] - first["images"])
        print(f"\n{grown:,.0f} bytes an image from {first['images']:,} to {last['images']:,}")
    if results:
        print(json.dumps(results))
        record.save(options.record, "Memory, by the number of images", figures(results))


if __name__ == "__main__":
    main()

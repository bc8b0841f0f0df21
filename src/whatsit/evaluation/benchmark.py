"""Formats and runtimes measured side by side, and which to use for what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.bundle.costs import Costs
from whatsit.bundle.format import InputSpec
from whatsit.engines import available
from whatsit.engines.exported import Probabilities
from whatsit.errors import DataError, MissingExtraError, WhatsitError, require_packages
from whatsit.evaluation.cost import BUNDLE, EXPORTED, STOCK, Cost, CostError, Job, measure_apart
from whatsit.evaluation.gate import Gate, compare
from whatsit.evaluation.parity import TOLERANCE
from whatsit.events import Reporter
from whatsit.files import disk_error, reserve, write_bytes
from whatsit.graph.formats import Converter, Format, megabytes_of, require
from whatsit.images.batches import decode_batches
from whatsit.images.pictures import Picture, label_numbers
from whatsit.images.scan import Dataset

PIXELS = "pixels.npy"


@dataclass(frozen=True)
class Way:
    """One way to run a model."""

    name: str
    kind: str  # BUNDLE, EXPORTED or STOCK, see `cost.Job`
    path: Path
    runtime: str | None = None
    int8: bool = False


@dataclass(frozen=True)
class Row:
    """One way to run a model, and what it costs here."""

    name: str
    gate: Gate  # its predictions beside those of the first row, on the test pictures
    megabytes: float
    cost: Cost
    int8: bool = False

    @property
    def usable(self) -> bool:
        """Return whether it predicts as the model does: to 1e-4, or by the gate of int8."""
        return self.gate.passed if self.int8 else self.gate.max_difference <= TOLERANCE


@dataclass(frozen=True)
class Benchmark:
    """All ways, of which the first is the reference."""

    rows: tuple[Row, ...]
    pictures: int  # for accuracy and agreement
    size: tuple[int, int]  # (height, width) of a picture
    advice: tuple[str, ...]


def bundle_ways(model: Path) -> Iterator[Way]:
    """List the ways to serve a bundle: by every installed runtime."""
    for runtime in available():
        yield Way(f"whatsit ({runtime})", BUNDLE, model, runtime)


def exported_ways(
    converter: Converter, targets: Sequence[Format], existing: Path, folder: Path, reporter: Reporter
) -> Iterator[Way]:
    """List the ways to run exported files; missing ones are written into `folder`."""
    progress = reporter.stage("Exporting")
    for number, target in enumerate(targets):
        progress(number, len(targets))
        path = existing / target.file
        try:
            require(target)
            path = path if path.exists() else converter.write(target, folder)
        except MissingExtraError as error:
            reporter.warn(str(error))
            continue
        except WhatsitError as error:
            reporter.warn(f"{target.name} was not measured: {error}")
            continue
        if target.name == "onnx":
            for runtime in available():
                yield Way(f"{target.name} ({runtime})", EXPORTED, path, runtime)
        else:
            yield Way(target.title, EXPORTED, path, int8=target.int8)
        if target.name == "keras":
            yield Way("keras, stock model.predict", STOCK, path)
    progress(len(targets), len(targets))


def measure_ways(
    ways: Sequence[Way],
    labels: npt.NDArray[np.int64],
    folder: Path,
    seconds: float,
    reporter: Reporter,
    costs: Costs | None = None,
) -> list[Row]:
    """Measure each way in a process of its own, on what `write_pixels` wrote.

    `costs` are those by which the model answers. Raises `CostError` where the first way, the reference, cannot be measured.
    """
    rows: list[Row] = []
    reference: Probabilities | None = None
    progress = reporter.stage("Measuring")
    for number, way in enumerate(ways):
        progress(number, len(ways))
        job = Job(way.kind, str(way.path), way.runtime, str(folder / PIXELS), str(folder / "answers.npy"), seconds)
        try:
            cost, found = measure_apart(job)
        except CostError as error:
            if reference is None:
                raise
            reporter.warn(str(error))
            continue
        reference = found if reference is None else reference
        rows.append(Row(way.name, compare(labels, found, reference, costs), megabytes_of(way.path), cost, way.int8))
    progress(len(ways), len(ways))
    return rows


def write_pixels(
    dataset: Dataset, spec: InputSpec, most: int, folder: Path, reporter: Reporter
) -> npt.NDArray[np.int64]:
    """Decode up to `most` test pictures (0: all) into a file; return their labels.

    Raises `DataError` where there is none, `DiskError` where there is no room.
    """
    pictures = dataset.of("test")
    if most and len(pictures) > most:
        chosen = np.random.default_rng(0).permutation(len(pictures))[:most]
        pictures = pictures.take(np.sort(chosen))
    if not pictures:
        raise DataError(f"{dataset.source}: there is no test picture to measure on")
    size = (spec.height, spec.width)
    pixels = _new_map(folder / PIXELS, (len(pictures), *size, 3))
    progress = reporter.stage("Reading test pictures")
    read: list[Picture] = []
    done = 0
    for batch in decode_batches(pictures, dataset.read, size, rule=spec.resize):
        pixels[len(read) : len(read) + len(batch.pixels)] = batch.pixels
        read += batch.good
        done += len(batch.lot)
        progress(done, len(pictures))
    pixels.flush()
    if len(read) < len(pictures):
        reporter.warn(f"{len(pictures) - len(read):,} test pictures cannot be read and were left out")
        whole = np.array(pixels[: len(read)])
        del pixels  # an open map locks its file on some systems
        np.save(folder / PIXELS, whole)
    if not read:
        raise DataError(f"{dataset.source}: no test picture can be read, so nothing can be measured")
    return label_numbers(read, dataset.classes)


def _new_map(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """Open a new array in a file. Raises `DiskError`."""
    try:
        pixels = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        with path.open("r+b") as file:
            reserve(file, path.stat().st_size)
    except OSError as error:
        raise disk_error(path, error) from None
    return pixels


def advice(rows: Sequence[Row]) -> Iterator[str]:
    """Say which usable way is best for what, and why others are not usable."""
    good = [row for row in rows if row.usable]
    quick = min(good, key=lambda row: row.cost.p50)
    yield f"One picture at a time (an app, a webcam): {quick.name}, {1000 * quick.cost.p50:.1f} ms"
    many = max(good, key=lambda row: row.cost.pictures_per_second)
    yield f"Many pictures (a folder, a busy server): {many.name}, {many.cost.pictures_per_second:,.0f} pictures/s"
    small = min(good, key=lambda row: row.megabytes)
    yield f"A phone or a small device: {small.name}, {small.megabytes:.1f} MB"
    for row in rows:
        if not row.usable:
            yield (
                f"Not {row.name}: it agrees with the model on {row.gate.agreement:.1%} of the pictures and is right for "
                f"{row.gate.accuracy:.1%} (the model: {row.gate.float_accuracy:.1%})"
            )


def draw(result: Benchmark, path: Path) -> None:
    """Draw a benchmark into a PNG file.

    Raises `MissingExtraError` where Matplotlib is not installed, `DiskError` where the file cannot be written.
    """
    require_packages("The drawing", "train", "matplotlib")
    from whatsit.evaluation import plots

    content = plots.benchmark(
        [row.name for row in result.rows],
        [1000 * row.cost.p50 for row in result.rows],
        [row.cost.pictures_per_second for row in result.rows],
        [row.megabytes for row in result.rows],
        [row.usable for row in result.rows],
    )
    write_bytes(path, content)

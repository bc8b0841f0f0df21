"""`whatsit benchmark`: which format and runtime is best on this machine?"""

from __future__ import annotations

import functools
import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.bundle.format import Bundle, InputSpec
from whatsit.bundle.read import find_bundle, read_bundle, run_folder
from whatsit.engines import available
from whatsit.engines.exported import Probabilities
from whatsit.errors import DataError, MissingExtraError, UsageError, WhatsitError
from whatsit.evaluation.cost import BUNDLE, EXPORTED, STOCK, Cost, CostError, Job, measure_apart
from whatsit.evaluation.gate import Gate, compare
from whatsit.evaluation.parity import TOLERANCE
from whatsit.files import disk_error, reserve, write_bytes
from whatsit.graph.formats import FORMATS, Converter, Format, megabytes_of, parse_formats, require
from whatsit.images.batches import decode_batches
from whatsit.images.scan import Dataset, Picture, label_numbers
from whatsit.progress import SILENT, Reporter
from whatsit.verbs.export import export_folder
from whatsit.verbs.run_data import reopen, sample_pixels

PICTURES = 2000  # of the test split, unless more are asked for
SECONDS = 2.0


@dataclass(frozen=True)
class Row:
    """A way to run the model, and what it costs here."""

    name: str
    gate: Gate  # its answers beside those of the first row, on the test pictures
    megabytes: float
    cost: Cost
    int8: bool = False

    @property
    def usable(self) -> bool:
        """Whether it gives the model's answers: to 1e-4, or by the gate of int8."""
        return self.gate.passed if self.int8 else self.gate.max_difference <= TOLERANCE


@dataclass(frozen=True)
class Benchmark:
    """All ways, the first of which is the reference."""

    rows: tuple[Row, ...]
    pictures: int  # that accuracy and agreement are of
    size: tuple[int, int]  # (height, width) of a picture
    advice: tuple[str, ...]


@dataclass(frozen=True)
class _Way:
    name: str
    kind: str
    path: Path
    runtime: str | None
    int8: bool = False


def benchmark(
    model: str | Path,
    *,
    formats: str | None = None,
    data: str | Path | None = None,
    pictures: int = PICTURES,
    seconds: float = SECONDS,
    reporter: Reporter = SILENT,
) -> Benchmark:
    """Measure formats and runtimes on this machine, each in a process of its own.

    Files in the model's export folder are taken as they are; other formats are made for the time of the benchmark.

    Args:
        model: a run folder or a `.whatsit` file.
        formats: names out of `FORMATS`, separated by commas; by default all that can be made here.
        data: where the pictures of the run are now; by default where they were.
        pictures: at most so many test pictures are answered; 0 for all.
        seconds: for how long each way answers single pictures, and for how long batches.
        reporter: is told about progress, and warned of what cannot be measured.

    Raises:
        UsageError: nobody says where the pictures are. DataError: they cannot be read. BundleError: the model cannot.
    """
    targets = parse_formats(formats) if formats else list(FORMATS.values())
    bundle = read_bundle(model)
    dataset = reopen(model, bundle, data, reporter)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        labels = _write_pixels(dataset, bundle.input, pictures, folder / "pixels.npy", reporter)
        ways = list(_ways(Path(model), bundle, targets, dataset, folder, reporter))
        files = str(folder / "pixels.npy"), str(folder / "answers.npy")
        rows: list[Row] = []
        reference: Probabilities | None = None
        progress = reporter.stage("Measuring")
        for number, way in enumerate(ways):
            progress(number, len(ways))
            try:
                cost, found = measure_apart(Job(way.kind, str(way.path), way.runtime, *files, seconds))
            except CostError as error:
                if reference is None:  # what all others are held against
                    raise
                reporter.warn(str(error))
                continue
            reference = found if reference is None else reference
            rows.append(Row(way.name, compare(labels, found, reference), megabytes_of(way.path), cost, way.int8))
        progress(len(ways), len(ways))
    return Benchmark(tuple(rows), len(labels), (bundle.input.height, bundle.input.width), tuple(advice(rows)))


def _new_map(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """An array in a file. Raises `DiskError`."""
    try:
        pixels = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        with path.open("r+b") as file:
            reserve(file, path.stat().st_size)
    except OSError as error:
        raise disk_error(path, error) from None
    return pixels


def drawing_path(model: str | Path, path: Path | None) -> Path:
    """Where a benchmark is drawn: `path`, or `benchmark.png` beside the model. Raises `UsageError` for what is no PNG file."""
    if path is None:
        where = find_bundle(model)
        return where.with_name("benchmark.png" if run_folder(model) else f"{where.stem}-benchmark.png")
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: the drawing can be written as .png only")
    return path


def draw(result: Benchmark, path: Path) -> None:
    """Draw a benchmark into a PNG file.

    Raises `MissingExtraError` where Matplotlib is not installed, `DiskError` where the file cannot be written.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("The drawing", "train", "matplotlib")
    from whatsit.evaluation import plots

    content = plots.benchmark(
        [row.name for row in result.rows],
        [1000 * row.cost.p50 for row in result.rows],
        [row.cost.pictures_per_second for row in result.rows],
        [row.megabytes for row in result.rows],
        [row.usable for row in result.rows],
    )
    write_bytes(path, content)


def _write_pixels(
    dataset: Dataset, spec: InputSpec, most: int, path: Path, reporter: Reporter
) -> npt.NDArray[np.int64]:
    """Some test pictures as pixels in a file; their labels."""
    pictures = dataset.of("test")
    if most and len(pictures) > most:
        chosen = np.random.default_rng(0).permutation(len(pictures))[:most]
        pictures = [pictures[i] for i in np.sort(chosen)]
    if not pictures:
        raise DataError(f"{dataset.source}: there is no test picture to measure on")
    size = (spec.height, spec.width)
    pixels = _new_map(path, (len(pictures), *size, 3))
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
        del pixels  # an open map keeps its file on some systems
        np.save(path, whole)
    if not read:
        raise DataError(f"{dataset.source}: no test picture can be read, so nothing can be measured")
    return np.array(label_numbers(read, dataset.classes))


def _ways(
    model: Path, bundle: Bundle, targets: Sequence[Format], dataset: Dataset, folder: Path, reporter: Reporter
) -> Iterator[_Way]:
    for runtime in available():
        yield _Way(f"whatsit ({runtime})", BUNDLE, find_bundle(model), runtime)
    samples = functools.partial(sample_pixels, dataset, bundle.input)
    converter = Converter(bundle.graph, bundle.classes, bundle.input.resize, samples)
    progress = reporter.stage("Exporting")
    for number, target in enumerate(targets):
        progress(number, len(targets))
        try:
            path = _exported(model, target, converter, folder)
        except MissingExtraError as error:
            reporter.warn(str(error))
            continue
        except WhatsitError as error:
            reporter.warn(f"{target.name} was not measured: {error}")
            continue
        if target.name == "onnx":
            for runtime in available():
                yield _Way(f"{target.name} ({runtime})", EXPORTED, path, runtime)
        else:
            yield _Way(target.name, EXPORTED, path, None, target.int8)
        if target.name == "keras":
            yield _Way("keras, stock model.predict", STOCK, path, None)
    progress(len(targets), len(targets))


def _exported(model: Path, target: Format, converter: Converter, folder: Path) -> Path:
    require(target)
    there = export_folder(model) / target.file
    return there if there.exists() else converter.write(target, folder)


def advice(rows: Sequence[Row]) -> Iterator[str]:
    """What to use for what, among the ways that give the model's answers, and why not the others."""
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

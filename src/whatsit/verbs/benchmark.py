"""`whatsit benchmark`: which format and runtime is best on this machine?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from whatsit.bundle.export import FORMATS, Exporter, Format, parse_formats, require
from whatsit.bundle.format import Bundle
from whatsit.bundle.read import find_bundle, read_bundle
from whatsit.engines import available
from whatsit.engines.exported import Probabilities
from whatsit.errors import DataError, MissingExtraError, WhatsitError
from whatsit.evaluation.contender import BUNDLE, EXPORTED, STOCK, ContenderError, Job, Measured, measure_apart
from whatsit.evaluation.gate import LEAST_AGREEMENT, MOST_LOSS
from whatsit.files import write_bytes
from whatsit.images.batches import decode_batches
from whatsit.images.scan import Dataset, Picture, label_numbers
from whatsit.progress import SILENT, Reporter
from whatsit.verbs.export import export_folder, megabytes_of, sample_pixels
from whatsit.verbs.run_data import reopen

PICTURES = 2000  # of the test split, unless more are asked for
SECONDS = 2.0


@dataclass(frozen=True)
class Row:
    """A way to run the model, and what it costs here."""

    name: str
    accuracy: float  # on the test pictures
    agreement: float  # share of them with the same label as by the reference runtime
    megabytes: float
    measured: Measured
    int8: bool = False

    @property
    def usable(self) -> bool:
        """Whether it gives the model's answers, or is int8 and passes the gate's agreement."""
        return self.agreement >= LEAST_AGREEMENT


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
    size = (bundle.input.height, bundle.input.width)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        labels = _write_pixels(dataset, size, pictures, folder / "pixels.npy", reporter)
        ways = list(_ways(Path(model), bundle, targets, dataset, folder, reporter))
        rows: list[Row] = []
        reference: Probabilities | None = None
        progress = reporter.stage("Measuring")
        for number, way in enumerate(ways):
            progress(number, len(ways))
            files = str(folder / "pixels.npy"), str(folder / "answers.npy")
            try:
                measured, found = measure_apart(Job(way.kind, str(way.path), way.runtime, *files, seconds))
            except ContenderError as error:
                reporter.warn(str(error))
                continue
            reference = found if reference is None else reference
            rows.append(_row(way, labels, found, reference, measured))
        progress(len(ways), len(ways))
    return Benchmark(tuple(rows), len(labels), size, tuple(advice(rows)))


def draw(result: Benchmark, model: str | Path, path: Path | None = None) -> Path:
    """Draw a benchmark into a PNG file: `benchmark.png` beside the model by default. Returns its path."""
    from whatsit.evaluation import plots

    where = find_bundle(model)
    path = path or where.with_name("benchmark.png" if where.name == "model.whatsit" else f"{where.stem}-benchmark.png")
    measured = [row.measured for row in result.rows]
    content = plots.benchmark(
        [row.name for row in result.rows],
        [1000 * one.p50 for one in measured],
        [one.pictures_per_second for one in measured],
        [row.megabytes for row in result.rows],
        [row.usable for row in result.rows],
    )
    write_bytes(path, content)
    return path


def _write_pixels(
    dataset: Dataset, size: tuple[int, int], most: int, path: Path, reporter: Reporter
) -> npt.NDArray[np.int64]:
    """Some test pictures as pixels in a file; their labels."""
    pictures = dataset.of("test")
    if most and len(pictures) > most:
        chosen = np.random.default_rng(0).permutation(len(pictures))[:most]
        pictures = [pictures[i] for i in np.sort(chosen)]
    if not pictures:
        raise DataError(f"{dataset.source}: there is no test picture to measure on")
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (len(pictures), *size, 3))
    progress = reporter.stage("Reading test pictures")
    read: list[Picture] = []
    for batch in decode_batches(pictures, dataset.read, size):
        pixels[len(read) : len(read) + len(batch.pixels)] = batch.pixels
        read += batch.good
        progress(len(read), len(pictures))
    pixels.flush()
    if len(read) < len(pictures):  # the file is as long as what was read
        np.save(path, np.array(pixels[: len(read)]))
    return np.array(label_numbers(read, dataset.classes))


def _ways(
    model: Path, bundle: Bundle, targets: Sequence[Format], dataset: Dataset, folder: Path, reporter: Reporter
) -> Iterator[_Way]:
    for runtime in available():
        yield _Way(f"whatsit ({runtime})", BUNDLE, find_bundle(model), runtime)
    exporter = Exporter(bundle, lambda: sample_pixels(bundle, dataset))
    progress = reporter.stage("Exporting")
    for number, target in enumerate(targets):
        progress(number, len(targets))
        try:
            path = _exported(model, target, exporter, folder)
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


def _exported(model: Path, target: Format, exporter: Exporter, folder: Path) -> Path:
    require(target)
    there = export_folder(model) / target.file
    return there if there.exists() else exporter.write(target, folder / "export")


def _row(
    way: _Way, labels: npt.NDArray[np.int64], found: Probabilities, reference: Probabilities, measured: Measured
) -> Row:
    answers = found.argmax(axis=1)
    return Row(
        way.name,
        float((answers == labels).mean()),
        float((answers == reference.argmax(axis=1)).mean()),
        megabytes_of(way.path),
        measured,
        way.int8,
    )


def advice(rows: list[Row]) -> Iterator[str]:
    """What to use for what, among the ways that give the model's answers."""
    good = [row for row in rows if row.usable and row.accuracy >= rows[0].accuracy - MOST_LOSS]
    if not good:
        return
    quick = min(good, key=lambda row: row.measured.p50)
    yield f"One picture at a time (an app, a webcam): {quick.name}, {1000 * quick.measured.p50:.1f} ms"
    many = max(good, key=lambda row: row.measured.pictures_per_second)
    yield f"Many pictures (a folder, a busy server): {many.name}, {many.measured.pictures_per_second:,.0f} pictures/s"
    small = min(good, key=lambda row: row.megabytes)
    yield f"A phone or a small device: {small.name}, {small.megabytes:.1f} MB"
    for row in rows:
        if row not in good:
            yield (
                f"Not {row.name}: it agrees with the model on {row.agreement:.1%} of the pictures only and is right for "
                f"{row.accuracy:.1%} (the model: {rows[0].accuracy:.1%})"
            )

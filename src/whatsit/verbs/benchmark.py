"""`whatsit benchmark`: measure which format and runtime is best on this machine."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from whatsit.bundle.read import find_bundle, read_bundle, run_folder
from whatsit.errors import UsageError
from whatsit.evaluation.benchmark import Benchmark, advice, bundle_ways, exported_ways, measure_ways, write_pixels
from whatsit.events import SILENT, Reporter
from whatsit.graph.formats import Converter, parse_formats
from whatsit.run.data import calibration_pixels, open_as_in_run
from whatsit.verbs.export import export_folder

PICTURES = 2000  # of the test split, unless more are asked for
SECONDS = 2.0


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

    Files in the model's export folder are taken as they are; other formats are written for the benchmark alone.

    Args:
        model: a run folder or a `.whatsit` file.
        formats: names out of `FORMATS`, separated by commas; by default all that can be made of it.
        data: where the pictures of the run are now; by default where they were.
        pictures: how many test pictures are predicted at most; 0 for all.
        seconds: for how long each way predicts single pictures, and for how long batches.
        reporter: gets progress, and warnings about what cannot be measured.

    Returns:
        A row for each format and runtime: accuracy, agreement, size, seconds, memory; and which to use.

    Raises:
        UsageError: it is not known where the pictures are.
        DataError: they cannot be read.
        BundleError: the model cannot be read.
    """
    asked = parse_formats(formats) if formats else None
    bundle = read_bundle(model)
    dataset = open_as_in_run(model, bundle, data, reporter)
    samples = functools.partial(calibration_pixels, dataset, bundle.input)
    converter = Converter(bundle.graph, bundle.classes, bundle.input.resize, samples)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        labels = write_pixels(dataset, bundle.input, pictures, folder, reporter)
        files = exported_ways(converter, asked or converter.possible(), export_folder(model), folder, reporter)
        rows = measure_ways([*bundle_ways(find_bundle(model)), *files], labels, folder, seconds, reporter, bundle.costs)
    return Benchmark(tuple(rows), len(labels), (bundle.input.height, bundle.input.width), tuple(advice(rows)))


def drawing_path(model: str | Path, path: Path | None) -> Path:
    """Return where to draw a benchmark: `path`, or `benchmark.png` beside the model.

    Raises `UsageError` where `path` is no PNG file.
    """
    if path is None:
        bundle = find_bundle(model)
        return bundle.with_name("benchmark.png" if run_folder(model) else f"{bundle.stem}-benchmark.png")
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: the drawing can be written as .png only")
    return path

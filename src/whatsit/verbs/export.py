"""`whatsit export`: the model in the formats of other people's tools, each held against the model that was measured."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whatsit.bundle.export import FORMATS, SAMPLES, Exporter, Format, Images, parse_formats
from whatsit.bundle.format import Bundle
from whatsit.bundle.read import find_bundle, read_bundle
from whatsit.engines.exported import open_exported
from whatsit.errors import DataError, ModelError
from whatsit.evaluation.exported import answers_of
from whatsit.evaluation.gate import LEAST_AGREEMENT, MOST_LOSS, Gate, compare
from whatsit.evaluation.parity import TOLERANCE, golden_pixels
from whatsit.evaluation.speed import megabytes
from whatsit.images.batches import decode_batches
from whatsit.images.scan import Dataset
from whatsit.progress import SILENT, Reporter
from whatsit.verbs.run_data import reopen

FOLDER = "export"
REJECTED = "-REJECTED"


@dataclass(frozen=True)
class Exported:
    """A file that was written."""

    format: str
    path: Path
    megabytes: float
    max_difference: float  # of any probability of the golden pictures
    gate: Gate | None = None  # of an int8 format

    @property
    def rejected(self) -> bool:
        """Whether the gate refused it."""
        return self.gate is not None and not self.gate.passed


def export_folder(model: str | Path) -> Path:
    """Where a model's exports are: in its run folder, or beside the `.whatsit` file under its name."""
    path = find_bundle(model)
    return path.parent / (FOLDER if path.name == "model.whatsit" else f"{path.stem}-{FOLDER}")


def export(
    model: str | Path,
    formats: str,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> list[Exported]:
    """Write a model in other formats.

    Every file takes raw pixels, uint8 RGB `[N, H, W, 3]`, and gives calibrated probabilities, float32 `[N, K]`. Float
    formats must answer the golden pictures as the model does, to 1e-4. An int8 format is rejected, and its file renamed,
    where it loses more than a point of accuracy on the test pictures or changes more than 2 % of the answers.

    Args:
        model: a run folder or a `.whatsit` file.
        formats: names out of `FORMATS`, separated by commas.
        out: the folder to write into; `export` in the run folder by default.
        data: where the pictures of the run are now, for the int8 formats; by default where they were.
        reporter: is told about progress.

    Raises:
        UsageError: a format is unknown, or an int8 one needs pictures and nobody says where they are.
        MissingExtraError: a format needs a package that is not installed.
        ModelError: the graph cannot be turned into a format, or what came of it answers otherwise.
    """
    wanted = parse_formats(formats)
    bundle = read_bundle(model)
    dataset = reopen(model, bundle, data, reporter) if any(target.int8 for target in wanted) else None
    folder = Path(out) if out else export_folder(model)
    exporter = Exporter(bundle, (lambda: sample_pixels(bundle, dataset)) if dataset else None)
    progress = reporter.stage("Exporting")
    exported = []
    for done, target in enumerate(wanted):
        progress(done, len(wanted))
        _remove(rejected_path(folder, target))
        path = exporter.write(target, folder)
        difference = _difference(bundle, path)
        gate = _gate(bundle, path, dataset, target, reporter) if dataset and target.int8 else None
        if gate is None and not difference <= TOLERANCE:
            raise ModelError(
                f"{path}: this file answers the golden pictures up to {difference:.2g} away from the model, where "
                f"{TOLERANCE:g} is allowed; do not use it"
            )
        if gate and not gate.passed:
            path = _reject(folder, target)
        exported.append(Exported(target.name, path, megabytes_of(path), difference, gate))
    progress(len(wanted), len(wanted))
    return exported


def find_exported(folder: Path) -> Iterator[tuple[Format, Path]]:
    """The formats that are in an export folder, with their files."""
    for target in FORMATS.values():
        if (folder / target.file).exists():
            yield target, folder / target.file


def why_rejected(gate: Gate) -> str:
    """The gate's finding, and what to try."""
    return (
        f"it is right for {gate.accuracy:.2%} of {gate.n:,} test pictures (the float model: {gate.float_accuracy:.2%}; at most "
        f"{100 * MOST_LOSS:g} point may be lost) and agrees on {gate.agreement:.2%} (at least {LEAST_AGREEMENT:.0%} wanted); try "
        f"the other int8 format (tflite-int8, openvino-int8), the float one, or training efficientnet-lite0, made for int8"
    )


def rejected_path(folder: Path, target: Format) -> Path:
    """Where a file lies that the gate refused."""
    top = folder / Path(target.file).parts[0]
    return top.with_name(f"{top.stem}{REJECTED}{top.suffix}")


def _reject(folder: Path, target: Format) -> Path:
    top, new = folder / Path(target.file).parts[0], rejected_path(folder, target)
    top.replace(new)
    return new.joinpath(*Path(target.file).parts[1:])


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def megabytes_of(path: Path) -> float:
    """The size of a model that is a file, two files (OpenVINO) or a folder, in units of 1,000,000 bytes."""
    if path.suffix == ".xml":
        return megabytes(path) + megabytes(path.with_suffix(".bin"))
    return megabytes(path) if path.is_file() else sum(megabytes(file) for file in path.rglob("*") if file.is_file())


def _difference(bundle: Bundle, path: Path) -> float:
    pixels, wanted = golden_pixels(bundle)
    return float(np.abs(open_exported(path)(pixels).astype(np.float64) - wanted).max())


def sample_pixels(bundle: Bundle, dataset: Dataset) -> Images:
    """Some training pictures as pixels, spread over the classes. Raises `DataError` where none can be read."""
    pictures = dataset.of("train")
    rng = np.random.default_rng(0)
    ranks: dict[str, int] = {}
    ranked = []
    for place in rng.permutation(len(pictures)):
        label = pictures[place].label
        ranks[label] = ranks.get(label, -1) + 1
        ranked.append((ranks[label], int(place)))
    chosen = [pictures[place] for _, place in sorted(ranked)[:SAMPLES]]
    size = (bundle.input.height, bundle.input.width)
    parts = [batch.pixels for batch in decode_batches(chosen, dataset.read, size)]
    pixels = np.concatenate(parts) if parts else np.empty((0, *size, 3), np.uint8)
    if not len(pixels):
        raise DataError(f"{dataset.source}: no training picture of this model can be read")
    return pixels


def _gate(bundle: Bundle, path: Path, dataset: Dataset, target: Format, reporter: Reporter) -> Gate:
    from whatsit.engines import open_engine

    engine = open_engine(bundle.graph, ["probabilities"])
    labels, found = answers_of(
        {"int8": open_exported(path), "float": lambda images: engine.run(images)[0]},
        dataset,
        dataset.of("test"),
        (bundle.input.height, bundle.input.width),
        reporter.stage(f"Testing {target.name}"),
    )
    return compare(labels, found["int8"], found["float"])

"""`whatsit export`: the model in the formats of other people's tools, each held against the model that was measured."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whatsit.bundle.export import Exporter, Format, megabytes_of, parse_formats
from whatsit.bundle.format import Bundle
from whatsit.bundle.read import find_bundle, read_bundle, run_folder
from whatsit.engines import Images, open_engine
from whatsit.engines.exported import Probabilities, open_exported
from whatsit.errors import ModelError, UsageError
from whatsit.evaluation.gate import LEAST_AGREEMENT, MOST_LOSS, Gate, answers_of, compare
from whatsit.evaluation.parity import TOLERANCE, golden_pixels
from whatsit.files import disk_error, move_into_place, unfinished_folder
from whatsit.images.scan import Dataset
from whatsit.progress import SILENT, Reporter
from whatsit.verbs.run_data import reopen, sample_pixels

FOLDER = "export"
FEW = 100  # test pictures, of which one is a point


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
    return path.parent / FOLDER if run_folder(model) else path.with_name(f"{path.stem}-{FOLDER}")


def export(
    model: str | Path,
    formats: str,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> list[Exported]:
    """Write a model in other formats.

    Every file takes raw pixels, uint8 RGB `[N, H, W, 3]`, and gives calibrated probabilities, float32 `[N, K]`. A file gets
    its name when it was tested: float formats must answer the golden pictures as the model does, to 1e-4. An int8 format is
    rejected, and named so, where it loses more than a point of accuracy on the test pictures or changes more than 2 %
    of the answers.

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
        DiskError: the folder cannot be written.
    """
    targets = parse_formats(formats)
    bundle = read_bundle(model)
    golden = golden_pixels(bundle)
    dataset = reopen(model, bundle, data, reporter) if any(target.int8 for target in targets) else None
    folder = Path(out) if out else export_folder(model)
    exporter = Exporter(bundle, (lambda: sample_pixels(dataset, bundle.input)) if dataset else None)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; choose another place with --out")
    exporter.require_own(folder, targets)
    progress = reporter.stage("Exporting")
    exported = []
    try:
        for done, target in enumerate(targets):
            progress(done, len(targets))
            with unfinished_folder(folder) as temporary:
                path = exporter.write(target, temporary, shown=folder)
                difference = _difference(path, *golden)
                gate = _gate(bundle, path, dataset, target, reporter) if dataset and target.int8 else None
                if gate is None and not difference <= TOLERANCE:
                    raise ModelError(
                        f"{target.name}: what was made answers the golden pictures up to {difference:.2g} away from the model, "
                        f"where {TOLERANCE:g} is allowed; it was thrown away"
                    )
                named = target.rejected() if gate and not gate.passed else target
                for name in exporter.write_companions(target, temporary):
                    move_into_place(temporary / name, folder / name)
                move_into_place(temporary / target.top, folder / named.top)
            if target.int8:
                _remove(folder / (target if named != target else target.rejected()).top)
            path = folder / named.file
            exported.append(Exported(target.name, path, megabytes_of(path), difference, gate))
    except OSError as error:
        raise disk_error(folder, error) from None
    progress(len(targets), len(targets))
    return exported


def why_rejected(gate: Gate) -> str:
    """The gate's finding, and what to try."""
    return (
        f"it is right for {gate.accuracy:.2%} of {gate.n:,} test pictures (the float model: {gate.float_accuracy:.2%}; at most "
        f"{100 * MOST_LOSS:g} point may be lost) and agrees on {gate.agreement:.2%} (at least {LEAST_AGREEMENT:.0%} wanted); try "
        f"the other int8 format (tflite-int8, openvino-int8), the float one, or training efficientnet-lite0 where it is not that"
    )


def _remove(path: Path) -> None:
    """What an earlier export left under the other name."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _difference(path: Path, pixels: Images, wanted: np.ndarray) -> float:
    found = open_exported(path)(pixels).astype(np.float64)
    return float(np.abs(found - wanted).max()) if found.shape == wanted.shape else 1.0


def _gate(bundle: Bundle, path: Path, dataset: Dataset, target: Format, reporter: Reporter) -> Gate:
    engine = open_engine(bundle.graph, ["probabilities"])

    def by_float(images: Images) -> Probabilities:
        [found] = engine.run(images)
        return found

    labels, found = answers_of(
        {"int8": open_exported(path), "float": by_float},
        dataset,
        dataset.of("test"),
        bundle.input,
        reporter.stage(f"Testing {target.name}"),
    )
    if len(labels) < len(dataset.of("test")):
        reporter.warn(f"{len(dataset.of('test')) - len(labels):,} test pictures cannot be read and were left out")
    if len(labels) < FEW:
        reporter.warn(f"the gate saw only {len(labels)} test pictures, too few to tell a loss of one point")
    return compare(labels, found["int8"], found["float"])

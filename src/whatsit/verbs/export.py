"""`whatsit export`: the model in other formats, each compared with the bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whatsit.bundle.companions import require_own, write_companions
from whatsit.bundle.read import find_bundle, read_bundle, run_folder
from whatsit.errors import ModelError, UsageError
from whatsit.evaluation.exported import gate_of, largest_difference
from whatsit.evaluation.gate import Gate
from whatsit.evaluation.parity import TOLERANCE, reference_pixels
from whatsit.events import SILENT, Reporter
from whatsit.files import disk_error, move_into_place, unfinished_folder
from whatsit.graph.formats import Converter, Format, megabytes_of, parse_formats, put_in_place
from whatsit.run.data import calibration_pixels, open_as_in_run

FOLDER = "export"


@dataclass(frozen=True)
class Exported:
    """A file that was written."""

    format: str
    path: Path
    megabytes: float
    max_difference: float  # of any probability of the reference predictions
    gate: Gate | None = None  # of an int8 format

    @property
    def rejected(self) -> bool:
        """Whether the gate refused it."""
        return self.gate is not None and not self.gate.passed


def export_folder(model: str | Path) -> Path:
    """Return the folder of a model's exports: in its run folder, or beside its file."""
    path = find_bundle(model)
    return path.parent / FOLDER if run_folder(model) else path.with_name(f"{path.stem}-{FOLDER}")


def export(
    model: str | Path,
    formats: str,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    author: str = "",
    license_: str = "",
    reporter: Reporter = SILENT,
) -> list[Exported]:
    """Write a model in other formats (see `graph/formats.py`).

    A file gets its name when it was tested: float formats must repeat the reference predictions of the bundle to 1e-4. An
    int8 format is rejected, and named so, where it loses more than a point of accuracy on the test images or changes more
    than 2 % of the predicted classes.

    Args:
        model: a run folder or a `.whatsit` file.
        formats: names out of `FORMATS`, separated by commas.
        out: the folder to write into; `export` in the run folder by default.
        data: where the images of the run are now, for the int8 formats; by default where they were.
        author: of the model, and
        license_: the terms of its use, for files that say so (TFLite, Core ML).
        reporter: receives progress and warnings.

    Raises:
        UsageError: a format is unknown, or an int8 one needs images and nobody says where they are.
        MissingExtraError: a format needs a package that is not installed.
        ModelError: the graph cannot be turned into a format, or the result gives other probabilities.
        DiskError: the folder cannot be written.
    """
    targets = parse_formats(formats)
    bundle = read_bundle(model)
    references = reference_pixels(bundle)
    dataset = open_as_in_run(model, bundle, data, reporter) if any(target.int8 for target in targets) else None
    folder = Path(out) if out else export_folder(model)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; choose another place with --out")
    require_own(bundle, folder, targets)
    samples = (lambda: calibration_pixels(dataset, bundle.input)) if dataset else None
    converter = Converter(bundle.graph, bundle.classes, bundle.input.resize, samples, author, license_)
    progress = reporter.stage("Exporting")
    exported = []
    try:
        for done, target in enumerate(targets):
            progress(done, len(targets))
            with unfinished_folder(folder) as temporary:
                path = converter.write(target, temporary, shown=folder)
                difference = largest_difference(path, *references)
                gate = gate_of(bundle, path, dataset, target.name, reporter) if dataset and target.int8 else None
                if gate is None:
                    _require_same(target, difference)
                for name in write_companions(bundle, target, temporary):
                    move_into_place(temporary / name, folder / name)
                named = put_in_place(target, temporary, folder, rejected=gate is not None and not gate.passed)
            if target.stand_in:
                reporter.say(f"{target.name}: compared by {target.stand_in}; its own runtime is for other machines")
            exported.append(Exported(target.name, named, megabytes_of(named), difference, gate))
    except OSError as error:
        raise disk_error(folder, error) from None
    progress(len(targets), len(targets))
    return exported


def _require_same(target: Format, difference: float) -> None:
    if not difference <= TOLERANCE:
        raise ModelError(
            f"{target.name}: the exported file gives the reference pictures of the model probabilities up to {difference:.2g} "
            f"away from the model, where {TOLERANCE:g} is allowed; it was thrown away"
        )

"""`whatsit export`: the model in other formats, each compared with the bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from whatsit.bundle.companions import require_own, write_companions
from whatsit.bundle.read import find_bundle, read_bundle, run_folder
from whatsit.bundle.website import WebOptions, website_name, write_website
from whatsit.errors import UsageError
from whatsit.evaluation.exported import gate_of, largest_difference, require_same
from whatsit.evaluation.gate import Gate
from whatsit.evaluation.parity import reference_pixels
from whatsit.events import SILENT, Reporter
from whatsit.files import disk_error, move_into_place, unfinished_folder
from whatsit.graph.formats import WEB, Converter, megabytes_of, move_exported, parse_formats
from whatsit.run.data import calibration_pixels, test_images

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
    web: WebOptions | None = None,
    author: str = "",
    license_: str = "",
    reporter: Reporter = SILENT,
) -> list[Exported]:
    """Write a model in other formats (see `graph/formats.py`).

    A file gets its name when it was tested: float formats must repeat the reference predictions of the bundle to 1e-4 (with
    weights in int16 1e-3, in float16 0.01). An int8 format, or a web page whose weights are not float32, is rejected, and named
    so, where it loses more than a point of accuracy on the test images or changes more than 2 % of the predicted classes.

    Args:
        model: a run folder or a `.whatsit` file.
        formats: names out of `FORMATS`, separated by commas.
        out: the folder to write into; `export` in the run folder by default.
        data: where the images of the run are now, for the gate; by default where they were.
        web: how the format `web` is written.
        author: of the model, and
        license_: the terms of its use, for files that say so (TFLite, Core ML).
        reporter: receives progress and warnings.

    Returns:
        Each file or folder that was written, with its size and what tested it.

    Raises:
        UsageError: a format is unknown, or an int8 one needs images and nobody says where they are.
        MissingExtraError: a format needs a package that is not installed.
        ModelError: the graph cannot be turned into a format, or the result gives other probabilities.
        RuntimeMissingError: what a web page runs on cannot be downloaded.
        DiskError: the folder cannot be written.
    """
    options = web or WebOptions()
    targets = [
        replace(target, int8=target.int8 or target.as_int8(options.precision)) for target in parse_formats(formats)
    ]
    bundle = read_bundle(model)
    references = reference_pixels(bundle)
    dataset = test_images(model, bundle, data, targets, reporter)
    folder = Path(out) if out else export_folder(model)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; choose another place with --out")
    require_own(bundle, folder, [target.final(single_file=options.single_file) for target in targets])
    samples = (lambda: calibration_pixels(dataset, bundle.input)) if dataset else None
    converter = Converter(
        bundle.graph, bundle.classes, bundle.input.resize, samples, options.precision, author, license_
    )
    progress = reporter.stage("Exporting")
    exported = []
    try:
        for done, target in enumerate(targets):
            progress(done, len(targets))
            with unfinished_folder(folder) as temporary:
                path = converter.write(target, temporary, shown=folder)
                difference = largest_difference(path, *references)
                is_tested = target.int8 or (target.name == WEB and options.precision != "float32")
                gate = gate_of(bundle, path, dataset, target.name, reporter) if dataset and is_tested else None
                if not target.int8:
                    require_same(target.name, difference, options.precision if target.name == WEB else "float32")
                if target.name == WEB:
                    name = website_name(find_bundle(model))
                    site = write_website(bundle, path.parent, options, name=name, gate=vars(gate) if gate else None)
                    target = replace(target, file=site.relative_to(temporary).as_posix())
                for name in write_companions(bundle, target, temporary):
                    move_into_place(temporary / name, folder / name)
                named = move_exported(target, temporary, folder, rejected=gate is not None and not gate.passed)
            if target.stand_in:
                reporter.say(f"{target.name}: compared by {target.stand_in}; its own runtime is for other machines")
            exported.append(Exported(target.name, named, megabytes_of(named), difference, gate))
    except OSError as error:
        raise disk_error(folder, error) from None
    progress(len(targets), len(targets))
    return exported

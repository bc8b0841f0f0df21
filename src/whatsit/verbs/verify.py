"""`whatsit verify`: check that a model predicts alike on every way."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from whatsit.bundle.companions import companions
from whatsit.bundle.format import Bundle
from whatsit.bundle.read import find_bundle, read_bundle
from whatsit.engines.exported import open_exported
from whatsit.errors import MissingExtraError, UsageError, WhatsitError
from whatsit.evaluation.browser import NoBrowserError, check_website
from whatsit.evaluation.parity import Parity, Proof, check_exported, check_exported_costs, check_runtimes, make_proof
from whatsit.events import SILENT, Reporter
from whatsit.files import write_bytes
from whatsit.graph.builder import EXPECTED_COSTS
from whatsit.graph.formats import WEB, Format, find_exported, require
from whatsit.runtime.predictor import Prediction
from whatsit.verbs.export import export_folder

# From picture files to a prediction for each, as a user of a way gets it, with every class in its top.
Entry = Callable[[Sequence[Path]], list[Prediction]]
EntryPoint = Callable[[Path], AbstractContextManager[Entry]]  # opens a model

SINGLE = 8  # every 8th picture goes alone through every entry point, which may have to start a process


def verify(
    model: str | Path,
    *,
    exports: str | Path | None = None,
    entry_points: Mapping[str, EntryPoint] | None = None,
    reporter: Reporter = SILENT,
) -> list[Parity]:
    """Prove parity: `passed` must be true for every way.

    The reference pictures, and the same as turned, grey, CMYK, transparent, 16-bit, large and other files, go through every
    installed runtime, every exported file (a web page in headless Chromium) and every entry point.

    Args:
        model: a run folder or a `.whatsit` file.
        exports: the folder with its exported files; `export` in the run folder by default.
        entry_points: by name, what opens the model for a way that a picture's file can take.
        reporter: gets progress, and warnings about files that cannot be verified here.

    Raises:
        BundleError: the model cannot be read or has no reference pictures.
        UsageError: there is no folder `exports`, or nothing in it.
    """
    bundle = read_bundle(model)
    folder = Path(exports) if exports is not None else export_folder(model)
    if exports is not None and not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder of exported files")
    if exports is not None and not any(find_exported(folder)):
        raise UsageError(f"{folder}: there is no exported file in this folder, so there is nothing of it to verify")
    entry_points = entry_points or {}
    proof = make_proof(bundle)
    progress = reporter.stage("Verifying")
    results = check_runtimes(bundle, proof)
    results += _check_exports(folder, proof, reporter)
    results += _check_companions(bundle, folder, proof, reporter)
    progress(1, len(entry_points) + 1)
    with tempfile.TemporaryDirectory() as temporary:
        files = _write(proof, Path(temporary))
        for number, (name, entry_point) in enumerate(entry_points.items(), 2):
            try:
                with entry_point(find_bundle(model)) as predict:
                    one_by_one = [found for file in files[::SINGLE] for found in predict([file])]
                    results.append(proof.every(SINGLE).compare_predictions(f"{name}, one by one", one_by_one))
                    results.append(proof.compare_predictions(f"{name}, {len(files)} files", predict(files)))
            except WhatsitError as error:
                reporter.warn(f"{name}: {error}")
                results.append(proof.failed(name))
            progress(number, len(entry_points) + 1)
    return results


def _check_exports(folder: Path, proof: Proof, reporter: Reporter) -> Iterator[Parity]:
    for target, path in find_exported(folder):
        try:
            require(target)
            if target.name == WEB:
                yield from check_website(path, proof, reporter)
                continue
            yield from check_exported(_way(target), open_exported(path), proof, int8=target.int8)
            if proof.bundle.costs and target.has_costs:
                costs = open_exported(path, output=EXPECTED_COSTS)
                yield check_exported_costs(_way(target), open_exported(path), costs, proof)
        except (MissingExtraError, NoBrowserError) as error:
            reporter.warn(f"{path} was not verified. {error}")
        except WhatsitError as error:
            reporter.warn(str(error))
            yield proof.failed(target.file)


def _way(target: Format) -> str:
    return f"{target.file} (by {target.stand_in})" if target.stand_in else target.file


def _check_companions(bundle: Bundle, folder: Path, proof: Proof, reporter: Reporter) -> Iterator[Parity]:
    """Yield a failure for each file beside the exports with wrong contents."""
    if not any(find_exported(folder)):
        return
    for name, text in companions(bundle).items():
        try:
            alike = (folder / name).read_text(encoding="utf-8") == text
        except (OSError, ValueError):
            alike = False
        if not alike:
            reporter.warn(f"{folder / name}: this is not what belongs to the model; export it again")
            yield proof.failed(name)


def _write(proof: Proof, folder: Path) -> list[Path]:
    files = [folder / f"{number:02d} {name}" for number, name in enumerate(proof.names)]
    for file, data in zip(files, proof.files, strict=True):
        write_bytes(file, data)
    return files

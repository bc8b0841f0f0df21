"""DATA, as the command line takes it: a path or a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from whatsit.errors import DataError, UsageError
from whatsit.images.audit import audit
from whatsit.images.datasets import FILES, load_named
from whatsit.images.edits import apply_edits, read_edits
from whatsit.images.near import near_duplicates, representatives
from whatsit.images.scan import Dataset, describe_strays, scan, take_fingerprints
from whatsit.images.split import is_to_be_dealt, split
from whatsit.progress import Reporter


def open_data(data: str | Path, reporter: Reporter) -> Dataset:
    """The data set behind a path or a name, with what a person decided about its pictures (see `images/edits.py`).

    Raises `UsageError` where there is none, else as `scan_data` and `apply_edits` do.
    """
    dataset = scan_data(data, reporter)
    return apply_edits(dataset, read_edits(data))


def scan_data(data: str | Path, reporter: Reporter) -> Dataset:
    """The data set behind a path or a name, as it lies there. Raises `UsageError` where there is none, else as `scan` does."""
    text = str(data)
    if not text.strip():
        raise UsageError("DATA is empty; give a folder, an archive, a CSV file or the name of a data set")
    if text in FILES and not Path(text).exists():
        dataset = load_named(text, progress=reporter.stage(f"Downloading {text}") if FILES[text] else None)
        return take_fingerprints(dataset, reporter.stage("Reading the pictures"))
    if not _exists(text):
        near = difflib.get_close_matches(text, FILES, 1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; named data sets are {', '.join(FILES)}"
        raise UsageError(f"{text[:200]}: there is no such folder, archive or CSV file{hint}")
    return scan(data, progress=reporter.stage("Reading the pictures"))


def split_data(dataset: Dataset, seed: int, reporter: Reporter) -> Dataset:
    """Every picture with its split, near-duplicates on one side. Raises `DataError` as `split` does."""
    if not is_to_be_dealt(dataset):
        return split(dataset, seed)
    dealt = replace(dataset, pictures=tuple(p for p in dataset.pictures if p.split in (None, "train")))
    looked = audit(dealt, reporter.stage("Looking for near-duplicates"))
    return split(
        dataset,
        seed,
        alike=representatives(looked.pictures, near_duplicates(looked.thumbs, sides=looked.sides, warn=reporter.warn)),
    )


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


def tell_about(dataset: Dataset, reporter: Reporter) -> None:
    """Say what was found, and what was left out and why."""
    reporter.say(f"{len(dataset.pictures):,} pictures in {len(dataset.classes)} classes: {_some(dataset.classes)}")
    if dataset.passed_over:
        reporter.say(f"Passed over: {describe_strays(dataset.passed_over)}")
    for note in dataset.notes:
        reporter.warn(note)
    tell_unreadable(dataset.unreadable, reporter)


def tell_unreadable(unreadable: Iterable[tuple[str, str]], reporter: Reporter) -> None:
    """Name the first few pictures that could not be read, with the reason."""
    unreadable = list(unreadable)
    for name, reason in unreadable[:5]:
        reporter.warn(f"{name} was left out: {reason}")
    if len(unreadable) > 5:
        reporter.warn(f"{len(unreadable) - 5:,} more pictures were left out")


def _some(names: tuple[str, ...], count: int = 10) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def require_classes(dataset: Dataset, classes: tuple[str, ...]) -> None:
    """Raises `DataError` where the data have a class that the model does not know."""
    strange = sorted(set(dataset.classes) - set(classes))
    if strange:
        raise DataError(
            f"{dataset.source}: the model does not know the class '{strange[0]}'; its classes: {_some(classes)}"
        )

"""DATA, as the user names it: opened, split with groups on one side, and reported."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from whatsit.errors import DataError, UsageError
from whatsit.events import Reporter, Work
from whatsit.images.audit import Audit, audit
from whatsit.images.datasets import FILES, load_named
from whatsit.images.edits import apply_edits, read_edits
from whatsit.images.groups import Alike, connect, without_giants
from whatsit.images.leakage import copies_in_test, with_leakage
from whatsit.images.manifest import holds_manifest
from whatsit.images.manifest_data import ManifestStore, list_manifest, measure_by
from whatsit.images.near import near_pairs_of
from whatsit.images.pictures import SPLITS, Pictures
from whatsit.images.places import is_address
from whatsit.images.scan import Dataset, Named, scan, take_fingerprints, without_unreadable
from whatsit.images.sequences import find_sequences
from whatsit.images.shortage import require_trainable
from whatsit.images.split import Fractions, split
from whatsit.images.split import limit as limit_images
from whatsit.images.walk import describe
from whatsit.images.workers import Workers

Hire = Callable[[ManifestStore], Workers]  # returns the workers for a store's images


def open_data(data: str | Path, reporter: Reporter, workers: Hire | None = None) -> Dataset:
    """Return the data set behind a path or a name, with its log of edits applied.

    `workers` are for the images of a manifest.

    Raises `UsageError` where there is none, else as `scan_data` and `apply_edits` do.
    """
    dataset = scan_data(data, reporter, workers)
    return apply_edits(dataset, read_edits(data))


def scan_data(data: str | Path, reporter: Reporter, workers: Hire | None = None) -> Dataset:
    """Return the data set behind a path or a name, without edits.

    Raises `UsageError` where there is none, else as `scan` does.
    """
    text = str(data)
    if not text.strip():
        raise UsageError("DATA is empty; give a folder, an archive, a CSV file or the name of a data set")
    if holds_manifest(text):
        dataset, advance = list_manifest(text, workers), reporter.stage("Reading the pictures", Work.READING)
        return measure_by(dataset.workers, dataset, advance) if dataset.workers else take_fingerprints(dataset, advance)
    if workers:
        raise UsageError(
            f"{text[:200]}: workers need a manifest; make one with: whatsit shard {text[:200]} --out PLACE"
        )
    if is_address(text):
        raise UsageError(f"{text[:200]}: no manifest is there; make one with: whatsit shard {text[:200]} --out PLACE")
    exists = _exists(text)
    if text in FILES and not exists:
        dataset = load_named(text, progress=reporter.stage(f"Downloading {text}") if FILES[text] else None)
        return take_fingerprints(dataset, reporter.stage("Reading the pictures", Work.READING))
    if not exists:
        near = difflib.get_close_matches(text, FILES, 1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; named data sets are {', '.join(FILES)}"
        raise UsageError(f"{text[:200]}: there is no such folder, archive or CSV file{hint}")
    return scan(data, progress=reporter.stage("Reading the pictures", Work.READING))


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def open_split(
    data: str | Path, reporter: Reporter, limit: int | None, seed: int, fractions: Fractions | None = None
) -> Dataset:
    """Return the split data set behind a path or name, with `limit` images a class.

    Raises as `open_data` and `split_data` do.
    """
    dataset = open_data(data, reporter)
    limited = dataset if limit is None else limit_images(dataset, limit, seed)
    return split_data(limited, seed, reporter, fractions=fractions)


def split_data(
    dataset: Dataset,
    seed: int,
    reporter: Reporter,
    earlier: Pictures | None = None,
    fractions: Fractions | None = None,
) -> Dataset:
    """Split with near-duplicates on one side, where DATA came without splits.

    Images of an `earlier` split stay where they were, and `fractions` are of train, validation and test, as `split` says.
    Near-duplicates that lie on both sides of splits that DATA came with are found too (`Dataset.leakage`), and noted. Images
    that cannot be decoded are left out.

    Raises:
        DataError: there is only one class, a class folder has no image, or no image of a split that DATA came with can be
            read; else as `split` does.
    """
    require_trainable(dataset)
    measured = audit(dataset, reporter.stage("Looking for near-duplicates"))
    readable = without_unreadable(dataset, measured.unreadable[len(dataset.unreadable) :])
    pairs = near_pairs_of(measured, reporter.warn)
    alike = connect(pairs)
    copies: Named = {**dataset.leakage.copies, **copies_in_test(readable.pictures)}
    return with_leakage(_split(readable, seed, alike, measured, earlier, fractions), pairs, alike, copies)


def _split(
    dataset: Dataset,
    seed: int,
    near: Alike,
    measured: Audit,
    earlier: Pictures | None,
    fractions: Fractions | None,
) -> Dataset:
    """Split with near-duplicates and, where possible, sequences on one side."""
    dealt = dataset.pictures.take(dataset.pictures.splits <= 0)
    if np.array_equal(np.unique(dataset.pictures.splits), range(len(SPLITS))):
        return split(dataset, seed, fractions)
    alike, giants = without_giants(dealt, near)
    notes = [
        f"{count:,} pictures of the class '{label}' look nearly the same, as those of a fixed camera do; they lie on both "
        f"sides of the split, so the accuracy may flatter: test with pictures of another day (whatsit evaluate), or group "
        f"what belongs together (the column 'group' of a CSV)"
        for label, count in giants.items()
    ]
    dataset = replace(dataset, notes=(*dataset.notes, *notes))
    has_column = bool((dealt.groups >= 0).any())
    found = [] if has_column else find_sequences(measured.pictures, measured.thumbs)
    sequences = [group for group in found if measured.pictures[group[0]].split in (None, "train")]
    if not sequences:
        return split(dataset, seed, fractions, alike, earlier)
    frames = [[measured.pictures[place] for place in group] for group in sequences]
    pairs = [(group[0].digest, picture.digest) for group in frames for picture in group[1:]]
    example = f"{frames[0][0].name} and {frames[0][1].name}"
    note = f"{len(sequences):,} groups of pictures, such as {example}, are frames of one sequence by names and contents"
    together = connect([*pairs, *((group, digest) for digest, group in alike.items())])
    try:
        done = split(dataset, seed, fractions, together, earlier)
        note += "; each stays on one side of a split (the column 'group' of a CSV decides otherwise)"
    except DataError:  # a class of too few sequences; image by image it may do
        done = split(dataset, seed, fractions, alike, earlier)
        note += (
            "; a class has too few of them to keep each on one side of the split, so the accuracy may flatter: add "
            "pictures of other occasions"
        )
    return replace(done, notes=(*done.notes, note))


def report_data(dataset: Dataset, reporter: Reporter) -> None:
    """Report what was found, and what was left out and why."""
    classes = f"{len(dataset.classes)} classes" if len(dataset.classes) > 1 else "1 class"
    reporter.say(f"{len(dataset.pictures):,} pictures in {classes}: {_some(dataset.classes)}")
    if dataset.skipped:
        reporter.say(f"Skipped: {describe(dataset.skipped)}")
    for note in dataset.notes:
        reporter.warn(note)
    report_unreadable(dataset.unreadable, reporter)


def report_unreadable(unreadable: Iterable[tuple[str, str]], reporter: Reporter) -> None:
    """Warn of images that cannot be read, with an example of the first few reasons."""
    names: dict[str, list[str]] = {}
    for name, reason in unreadable:
        names.setdefault(reason, []).append(name)
    for reason, some in list(names.items())[:5]:
        more = f" and {len(some) - 1:,} more were" if len(some) > 1 else " was"
        reporter.warn(f"{some[0]}{more} left out: {reason}")
    if rest := sum(len(some) for some in list(names.values())[5:]):
        reporter.warn(f"{rest:,} more pictures were left out")


def require_classes(dataset: Dataset, classes: tuple[str, ...]) -> None:
    """Raise `DataError` where the data have a class that the model does not know."""
    unknown = sorted(set(dataset.classes) - set(classes))
    if unknown:
        names = _some(tuple(f"'{name}'" for name in unknown))
        raise DataError(
            f"{dataset.source}: the model does not know the class{'es' if len(unknown) > 1 else ''} {names}; its classes: "
            f"{_some(classes)}; leave out the pictures of other classes, or train with them"
        )


def _some(names: tuple[str, ...], count: int = 10) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more

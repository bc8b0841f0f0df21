"""DATA, as the command line takes it: a path or a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from whatsit.errors import DataError, UsageError
from whatsit.events import Work
from whatsit.images.audit import Audit, audit
from whatsit.images.datasets import FILES, load_named
from whatsit.images.edits import apply_edits, read_edits
from whatsit.images.groups import Alike, connect, without_giants
from whatsit.images.leakage import copies_in_test, with_leakage
from whatsit.images.near import near_pairs
from whatsit.images.scan import SPLITS, Dataset, Named, scan, take_fingerprints, without_unreadable
from whatsit.images.sequences import find_sequences
from whatsit.images.shortage import require_trainable
from whatsit.images.split import split
from whatsit.images.walk import describe
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
        return take_fingerprints(dataset, reporter.stage("Reading the pictures", Work.READING))
    if not _exists(text):
        near = difflib.get_close_matches(text, FILES, 1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; named data sets are {', '.join(FILES)}"
        raise UsageError(f"{text[:200]}: there is no such folder, archive or CSV file{hint}")
    return scan(data, progress=reporter.stage("Reading the pictures", Work.READING))


def split_data(dataset: Dataset, seed: int, reporter: Reporter) -> Dataset:
    """Return every picture with its split: near-duplicates on one side, where DATA did not come with splits.

    Those that lie on both sides of splits that DATA came with are found too (`Dataset.leakage`), and noted. Pictures that
    cannot be decoded are left out.

    Raises:
        DataError: there is only one class, a class folder gave no picture, or no picture of a split that DATA came with can be
            read; else as `split` does.
    """
    require_trainable(dataset)
    looked = audit(dataset, reporter.stage("Looking for near-duplicates"))
    readable = without_unreadable(dataset, looked.unreadable[len(dataset.unreadable) :])
    digests = [picture.digest for picture in looked.pictures]
    near = near_pairs(looked.thumbs, sides=looked.sides, warn=reporter.warn)
    pairs = [(digests[i], digests[j]) for i, j in near.tolist()]
    alike = connect(pairs)
    copies: Named = {**dataset.leakage.copies, **copies_in_test(readable.pictures)}
    return with_leakage(_split(readable, seed, alike, looked), pairs, alike, copies)


def _split(dataset: Dataset, seed: int, near: Alike, looked: Audit) -> Dataset:
    """Split with near-duplicates on one side and, where every class can be dealt like that, whole sequences."""
    dealt = [picture for picture in dataset.pictures if picture.split in (None, "train")]
    if {picture.split for picture in dataset.pictures} == {*SPLITS}:
        return split(dataset, seed)
    alike, giants = without_giants(dealt, near)
    for label, count in giants.items():
        note = (
            f"{count:,} pictures of the class '{label}' look nearly the same, as those of a fixed camera do; they lie on both "
            f"sides of the split, so the accuracy may flatter: test with pictures of another day (whatsit evaluate), or say what "
            f"belongs together (the column 'group' of a CSV)"
        )
        dataset = replace(dataset, notes=(*dataset.notes, note))
    found = [] if any(picture.group for picture in dealt) else find_sequences(looked.pictures, looked.thumbs)
    if sequences := [group for group in found if looked.pictures[group[0]].split in (None, "train")]:
        digests = [picture.digest for picture in looked.pictures]
        frames = [(digests[group[0]], digests[place]) for group in sequences for place in group[1:]]
        names = [looked.pictures[place].name for place in sequences[0][:2]]
        said = (
            f"{len(sequences):,} groups of pictures, such as {names[0]} and {names[1]}, are frames of one sequence by their "
            f"names and by what they show"
        )
        together = connect([*frames, *((stands, digest) for digest, stands in alike.items())])
        try:
            kept = split(dataset, seed, alike=together)
        except DataError:  # a class of too few sequences; picture by picture it may do
            kept = split(dataset, seed, alike=alike)
            note = (
                f"{said}; a class has too few of them to keep each on one side of the split, so the accuracy may flatter: bring "
                f"pictures of other occasions"
            )
        else:
            note = f"{said}; each stays on one side of a split (the column 'group' of a CSV decides otherwise)"
        return replace(kept, notes=(*kept.notes, note))
    return split(dataset, seed, alike=alike)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


def tell_about(dataset: Dataset, reporter: Reporter) -> None:
    """Say what was found, and what was left out and why."""
    classes = f"{len(dataset.classes)} classes" if len(dataset.classes) > 1 else "1 class"
    reporter.say(f"{len(dataset.pictures):,} pictures in {classes}: {_some(dataset.classes)}")
    if dataset.passed_over:
        reporter.say(f"Passed over: {describe(dataset.passed_over)}")
    for note in dataset.notes:
        reporter.warn(note)
    tell_unreadable(dataset.unreadable, reporter)


def tell_unreadable(unreadable: Iterable[tuple[str, str]], reporter: Reporter) -> None:
    """Say which pictures could not be read and why: an example for each of the first few reasons, and how many more there are."""
    names: dict[str, list[str]] = {}
    for name, reason in unreadable:
        names.setdefault(reason, []).append(name)
    for reason, some in list(names.items())[:5]:
        more = f" and {len(some) - 1:,} more were" if len(some) > 1 else " was"
        reporter.warn(f"{some[0]}{more} left out: {reason}")
    if rest := sum(len(some) for some in list(names.values())[5:]):
        reporter.warn(f"{rest:,} more pictures were left out")


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

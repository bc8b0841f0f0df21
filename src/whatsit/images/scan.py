"""From DATA, in any of its forms, to a list of pictures with labels.

DATA is a folder of class folders, perhaps in splits (see `images/layout.py`); a zip or tar of one; a CSV with the columns
`path,label[,split][,group]` (see `images/csv_rows.py`); or the name of a data set (see `images/datasets.py`).
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from whatsit.errors import DataError, ImageError
from whatsit.images.csv_rows import Row, read_rows
from whatsit.images.formats import EXTENSIONS
from whatsit.images.layout import SPLIT_NAMES, Layout, find_layout, split_of
from whatsit.images.names import label_fault
from whatsit.images.stores import FolderStore, Store, TarStore, ZipStore, pictures_in
from whatsit.images.walk import LeftOut, describe, holds_pictures

SPLITS = ("train", "validation", "test")

_ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


@dataclass(frozen=True, slots=True)
class Picture:
    """One labelled picture of a data set."""

    name: str  # its name in the store
    label: str
    split: str | None = None  # one of SPLITS, or None where none was decided yet
    digest: bytes = b""  # SHA-256 of the file
    group: str | None = None  # pictures of one group, such as of one patient, stay on one side of a split


Named = Mapping[bytes, tuple[str, str]]  # of a test picture's digest, its name and the name of what it resembles


@dataclass(frozen=True)
class Leakage:
    """Test pictures that resemble pictures that were trained on or chosen by, each in the first of these that holds."""

    copies: Named = field(default_factory=dict)  # DATA has them in an earlier split too, where they are left out
    near: Named = field(default_factory=dict)  # a near-duplicate
    grouped: Named = field(default_factory=dict)  # of the same group

    def __contains__(self, picture: Picture) -> bool:
        """Whether this test picture is one of them."""
        return any(picture.digest in kind for kind in (self.copies, self.near, self.grouped))


@dataclass(frozen=True)
class Dataset:
    """Labelled pictures, where to read them, and what was left out on the way."""

    source: str  # DATA as the user gave it
    store: Store
    pictures: tuple[Picture, ...]
    classes: tuple[str, ...]  # sorted; a label's number is its place here
    passed_over: Counter[str] = field(default_factory=Counter)  # stray files, by kind
    unreadable: tuple[tuple[str, str], ...] = ()  # (name, reason)
    barren: tuple[
        str, ...
    ] = ()  # of class folders whose pictures are all in a format that is not read, a sentence each
    notes: tuple[str, ...] = ()  # what else the user should know, a sentence each
    listed: tuple[Picture, ...] = ()  # as DATA lists them, before any was left out
    leakage: Leakage = Leakage()  # from the other splits into test; known once it is split

    def read(self, picture: Picture) -> bytes:
        """The bytes of the picture's file; raises `ImageError`."""
        return self.store.read(picture.name)

    def of(self, split: str) -> list[Picture]:
        """The pictures of one split, in order."""
        return [picture for picture in self.pictures if picture.split == split]

    def fingerprint(self) -> str:
        """A SHA-256 in hex of what matters: every picture's contents, label and split, in any order."""
        lines = sorted(f"{p.digest.hex()} {p.split} {p.label}\n" for p in self.pictures)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def without(self, unreadable: Iterable[tuple[str, str]]) -> Dataset:
        """The data set less these pictures, which join the list of the unreadable."""
        gone = dict(unreadable)
        kept = tuple(p for p in self.pictures if p.name not in gone)
        return replace(self, pictures=kept, unreadable=(*self.unreadable, *gone.items()))


def scan(data: str | Path, *, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """List the pictures of DATA with their labels, and take each file's fingerprint.

    Pictures of 0 bytes and unreadable files go to `Dataset.unreadable`; strays are counted in `passed_over`. Whether
    a picture decodes is seen when it is decoded, once, by whoever needs its pixels.

    Raises:
        DataError: DATA does not exist, holds no pictures, does not tell classes from splits, or is a hostile archive.
    """
    path = Path(data)
    try:
        exists, is_dir, is_file = path.exists(), path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:
        raise DataError(f"{str(data)[:200]!r} is not a usable path: {error}") from None
    if not exists:
        raise DataError(f"{data}: there is no such folder, archive or CSV file")
    if is_dir:
        dataset = list_folders(str(data), FolderStore(path))
    elif not is_file:
        raise DataError(f"{data}: this is a pipe or a device; give a folder, an archive or a CSV file")
    elif path.suffix.lower() == ".csv":
        dataset = _list_csv(path)
    elif path.name.lower().endswith(_ARCHIVE_ENDINGS):
        dataset = _list_archive(str(data), path)
    else:
        allowed = ", ".join((*_ARCHIVE_ENDINGS, ".csv"))
        raise DataError(f"{data}: DATA must be a folder or a file ending in one of {allowed}")
    return take_fingerprints(dataset, progress)


def _list_archive(source: str, path: Path) -> Dataset:
    store = ZipStore(path) if path.suffix.lower() == ".zip" else TarStore(path)
    dataset = list_folders(source, store)
    return replace(dataset, notes=(*store.notes, *dataset.notes))


def list_folders(source: str, store: Store) -> Dataset:
    """A data set from a store whose folders are the classes, or splits of them: see `images/layout.py`."""
    left_out = LeftOut()
    names = list(pictures_in(store, left_out))
    if not names:
        told = [f"passed over: {describe(left_out.kinds)}"] if left_out.kinds else []
        told += left_out.sentences()
        raise DataError(
            f"{source}: no pictures found ({', '.join(sorted(EXTENSIONS))}){''.join(f'; {one}' for one in told)}"
        )
    layout = find_layout(names, source)
    pictures = []
    for name in names:
        place = layout.place(name)
        if place is None:
            left_out.kinds["pictures outside any class folder"] += 1
            continue
        label, split = place
        pictures.append(Picture(name, _clean_label(label, source, name), split))
    if not pictures:
        raise DataError(
            f"{source}: pictures must lie in class folders, such as {source}/cat/1.jpg and {source}/dog/1.jpg; "
            f"found {describe(left_out.kinds)}"
        )
    dataset = _dataset(source, store, pictures, left_out.kinds)
    barren = _barren(layout, left_out, dataset.classes)
    return replace(dataset, notes=(*left_out.sentences(), *barren), barren=tuple(one for one in barren if barren[one]))


def _barren(layout: Layout, left_out: LeftOut, classes: Iterable[str]) -> dict[str, bool]:
    """A sentence for each class folder that gave no picture, and whether it holds pictures in a format that is not read."""
    known = set(classes)
    troubles = dict(left_out.troubles)
    found: dict[str, bool] = {}
    for folder in (*left_out.folders, *troubles):
        of_class = layout.class_of_folder(folder)
        if of_class is None or unicodedata.normalize("NFC", of_class[0].strip()) in known:
            continue
        label, place = of_class
        kinds = left_out.below(place)
        inside = next(
            (f"{name}: {why}" for name, why in troubles.items() if name.startswith(f"{place}/")), "it is empty"
        )
        reason = troubles.get(place) or (f"only {describe(kinds)}" if kinds else inside)
        found[f"the class folder '{label}' holds no picture that can be read: {reason}"] = holds_pictures(kinds)
    return found


def _dataset(source: str, store: Store, pictures: list[Picture], passed_over: Counter[str]) -> Dataset:
    classes = tuple(sorted({picture.label for picture in pictures}))
    return Dataset(source, store, tuple(pictures), classes, passed_over)


def _list_csv(path: Path) -> Dataset:
    pictures = [_listed(path, row) for row in read_rows(path)]
    if not pictures:
        raise DataError(f"{path}: the CSV file lists no pictures")
    pictures, notes = _each_once(str(path), pictures)
    if len({picture.split is None for picture in pictures}) > 1:
        raise DataError(f"{path}: the column 'split' must be filled in every row or in none")
    return replace(_dataset(str(path), FolderStore(path.parent), pictures, Counter()), notes=notes)


def _listed(path: Path, row: Row) -> Picture:
    split = split_of(row.split) if row.split else None
    if row.split and split is None:
        allowed = ", ".join(SPLIT_NAMES)
        raise DataError(
            f"{path}: {row.where}: the split '{row.split[:50]}' is unknown; allowed: {allowed}, or none at all"
        )
    label = _clean_label(row.label, str(path), row.where)
    return Picture(row.path, label, split, group=unicodedata.normalize("NFC", row.group) or None)


def _each_once(source: str, rows: Iterable[Picture]) -> tuple[list[Picture], tuple[str, ...]]:
    """Each picture once under a label, and a note of those that were listed in several splits.

    The later split keeps the picture: a test set is not to be touched. Raises `DataError` where one is in two groups.
    """
    kept: dict[tuple[str, str], Picture] = {}
    again: dict[str, None] = {}
    for picture in rows:
        before = kept.setdefault((picture.name, picture.label), picture)
        if picture.group != before.group:
            groups = " and ".join(f"'{group[:50]}'" if group else "none" for group in (before.group, picture.group))
            raise DataError(f"{source}: {picture.name} is listed twice, with different groups: {groups}")
        if picture.split != before.split:
            again[picture.name] = None
            kept[picture.name, picture.label] = max(before, picture, key=lambda one: SPLITS.index(one.split or "train"))
    note = (
        f"pictures listed in several splits, and kept in the later one: {len(again):,}, such as {next(iter(again), '')}"
    )
    return list(kept.values()), (note,) if again else ()


def _clean_label(label: str, source: str, where: str) -> str:
    label = unicodedata.normalize("NFC", label.strip())
    if fault := label_fault(label):
        shown = f" {label[:40]!r}{'...' if len(label) > 40 else ''}" if label else ""
        raise DataError(f"{source}: {where}: the class name{shown} {fault}")
    return label


def take_fingerprints(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """Read every file once and note its SHA-256; those that cannot be read join `unreadable`."""

    def look(picture: Picture) -> Picture | tuple[str, str]:
        try:
            data = dataset.read(picture)
            if not data:
                raise ImageError("the file is empty (0 bytes)", "empty")
        except ImageError as error:
            return picture.name, str(error)
        return replace(picture, digest=hashlib.sha256(data).digest())

    pictures: list[Picture] = []
    listed: list[Picture] = []
    unreadable: list[tuple[str, str]] = []
    total = len(dataset.pictures)
    todo = iter(dataset.pictures)
    with ThreadPoolExecutor(4) as pool:
        while batch := list(islice(todo, 2000)):
            for picture, result in zip(batch, pool.map(look, batch), strict=True):
                if isinstance(result, Picture):
                    pictures.append(result)
                    listed.append(result)
                else:
                    listed.append(picture)
                    unreadable.append(result)
            if progress:
                progress(len(pictures) + len(unreadable), total)
    left = without_unreadable(dataset, unreadable)
    return replace(left, pictures=tuple(pictures), listed=tuple(listed))


def without_unreadable(dataset: Dataset, unreadable: Iterable[tuple[str, str]]) -> Dataset:
    """Return the data set less these pictures. Raises `DataError` where that empties a split that it came with."""
    reasons = dict(unreadable)
    left = dataset.without(reasons.items())
    for split in SPLITS:
        gone = dataset.of(split)
        if gone and not left.of(split):
            name = gone[0].name
            raise DataError(
                f"{dataset.source}: none of {len(gone):,} {split} pictures can be read, such as {name}: {reasons[name]}"
            )
    return left


def typical_size(dataset: Dataset, sample: int = 200) -> tuple[int, int]:
    """The median `(height, width)` in pixels over an evenly spaced sample of readable pictures."""
    from statistics import median

    from whatsit.images.decode import picture_size

    sizes = []
    step = max(1, len(dataset.pictures) // sample)
    for picture in dataset.pictures[::step]:
        try:
            sizes.append(picture_size(dataset.read(picture)))
        except ImageError:
            continue
    if not sizes:
        return 0, 0
    return int(median(height for height, _ in sizes)), int(median(width for _, width in sizes))


def label_numbers(pictures: Iterable[Picture], classes: Iterable[str]) -> list[int]:
    """Each picture's label as its place among the classes."""
    number = {label: place for place, label in enumerate(classes)}
    return [number[picture.label] for picture in pictures]


def count_by_label(pictures: Iterable[Picture]) -> dict[str, int]:
    """How many pictures each label has."""
    counts: defaultdict[str, int] = defaultdict(int)
    for picture in pictures:
        counts[picture.label] += 1
    return dict(counts)

"""Scan of DATA, in any of its forms, into a list of labelled images.

DATA is a folder of class folders, perhaps in splits (see `images/layout.py`); a zip or tar of one; a CSV with the columns
`path,label[,split][,group]` (see `images/csv_rows.py`); or the name of a data set (see `images/datasets.py`).
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np

from whatsit.errors import DataError, ImageError
from whatsit.images.csv_rows import Row, read_rows
from whatsit.images.decode import Pixels, picture_size
from whatsit.images.formats import EXTENSIONS
from whatsit.images.layout import SPLIT_NAMES, Layout, find_layout, split_of
from whatsit.images.names import label_fault
from whatsit.images.pictures import SPLITS, Names, Picture, Pictures
from whatsit.images.stores import FolderStore, Store, TarStore, ZipStore
from whatsit.images.walk import LeftOut, describe, holds_pictures
from whatsit.images.workers import Workers

_ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


Named = Mapping[bytes, tuple[str, str]]  # from a test image's digest to its name and the name of what it resembles


@dataclass(frozen=True)
class Leakage:
    """Test images that resemble images of earlier splits, each listed once."""

    copies: Named = field(default_factory=dict)  # also in an earlier split of DATA, from which they are removed
    near: Named = field(default_factory=dict)  # a near-duplicate
    grouped: Named = field(default_factory=dict)  # of the same group


@dataclass(frozen=True)
class Dataset:
    """Labelled images, where to read them, and what was left out."""

    source: str  # DATA as the user gave it
    store: Store
    pictures: Pictures
    classes: tuple[str, ...]  # sorted; a label's number is its index here
    skipped: Counter[str] = field(default_factory=Counter)  # skipped files, by kind
    unreadable: tuple[tuple[str, str], ...] = ()  # (name, reason)
    barren: tuple[str, ...] = ()  # a sentence for each class folder with images in unsupported formats only
    notes: tuple[str, ...] = ()  # what else the user should know, a sentence each
    listed: Pictures = field(default_factory=lambda: Pictures.of(()))  # as DATA lists them, before any was left out
    leakage: Leakage = Leakage()  # from the other splits into test; known once it is split
    workers: Workers | None = None  # who can work on the images, where it is not this process

    def __post_init__(self) -> None:
        for name in ("pictures", "listed"):  # any images will do
            object.__setattr__(self, name, Pictures.of(getattr(self, name)))

    def read(self, picture: Picture) -> bytes:
        """Return the bytes of the image's file. Raises `ImageError`."""
        return self.store.read(picture.name)

    def of(self, split: str) -> Pictures:
        """Return the images of one split, in order."""
        return self.pictures.take(self.pictures.where(split))

    def fingerprint(self) -> str:
        """Return a SHA-256 in hex of every image's contents, label and split."""
        pictures, found = self.pictures, hashlib.sha256()
        by_label, by_split = np.argsort(np.argsort([f"{label}\n" for label in pictures.label_names])), (2, 3, 1, 0)
        order = np.lexsort((by_label[pictures.labels], np.array(by_split)[pictures.splits], pictures.keys))
        for one in pictures.take(order):  # sorted as these lines are
            found.update(f"{one.digest.hex()} {one.split} {one.label}\n".encode())
        return found.hexdigest()

    def without(self, unreadable: Iterable[tuple[str, str]]) -> Dataset:
        """Return the data set without these images, which are listed as unreadable."""
        gone = dict(unreadable)
        kept = self.pictures.take(~self.pictures.named(gone)) if gone else self.pictures
        return replace(self, pictures=kept, unreadable=(*self.unreadable, *gone.items()))


def scan(data: str | Path, *, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """List the images of DATA with their labels, and take each file's fingerprint.

    Files of 0 bytes and unreadable ones go to `Dataset.unreadable`; skipped files are counted in `skipped`. Whether an
    image decodes is seen when it is decoded, once, where its pixels are needed.

    Raises:
        DataError: DATA does not exist, holds no images, is ambiguous about classes and splits, or is a hostile archive.
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
    """Return the data set in a store whose folders are classes or splits."""
    left_out = LeftOut()
    names = Names()
    for name in store.pictures(left_out):
        names.append(name)
    if not names:
        notes = [f"skipped: {describe(left_out.kinds)}"] if left_out.kinds else []
        notes += left_out.sentences()
        raise DataError("; ".join([f"{source}: no pictures found ({', '.join(sorted(EXTENSIONS))})", *notes]))
    layout = find_layout(names, source)

    def placed() -> Iterator[Picture]:
        for name in names:
            place = layout.place(name)
            if place is None:
                left_out.kinds["pictures outside any class folder"] += 1
            else:
                yield Picture(name, _clean_label(place[0], source, name), place[1])

    pictures = Pictures.of(placed())
    if not pictures:
        raise DataError(
            f"{source}: pictures must lie in class folders, such as {source}/cat/1.jpg and {source}/dog/1.jpg; "
            f"found {describe(left_out.kinds)}"
        )
    dataset = _dataset(source, store, pictures, left_out.kinds)
    barren = _barren(layout, left_out, dataset.classes)
    return replace(dataset, notes=(*left_out.sentences(), *barren), barren=tuple(one for one in barren if barren[one]))


def _barren(layout: Layout, left_out: LeftOut, classes: Iterable[str]) -> dict[str, bool]:
    """Return a sentence for each class folder without readable image.

    Its value is whether the folder holds images in a format that is not read.
    """
    known = set(classes)
    troubles = dict(left_out.troubles)
    found: dict[str, bool] = {}
    for folder in (*left_out.folders, *troubles):
        of_class = layout.class_of_folder(folder)
        if of_class is None or unicodedata.normalize("NFC", of_class[0].strip()) in known:
            continue
        label, place = of_class
        kinds = left_out.below(place)
        inside = (f"{name}: {why}" for name, why in troubles.items() if name.startswith(f"{place}/"))
        reason = troubles.get(place) or (f"only {describe(kinds)}" if kinds else next(inside, "it is empty"))
        found[f"the class folder '{label}' holds no picture that can be read: {reason}"] = holds_pictures(kinds)
    return found


def _dataset(source: str, store: Store, pictures: Pictures, skipped: Counter[str]) -> Dataset:
    return Dataset(source, store, pictures, tuple(sorted(pictures.counts())), skipped)


def _list_csv(path: Path) -> Dataset:
    pictures = Pictures.of(_listed(path, row) for row in read_rows(path))
    if not pictures:
        raise DataError(f"{path}: the CSV file lists no pictures")
    notes: tuple[str, ...] = ()
    hashes = np.fromiter((hash((picture.name, picture.label)) for picture in pictures), np.int64, len(pictures))
    if len(np.unique(hashes)) < len(pictures):
        pictures, notes = _each_once(str(path), pictures)
    if len(np.unique(pictures.where(None))) > 1:
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


def _each_once(source: str, rows: Pictures) -> tuple[Pictures, tuple[str, ...]]:
    """Return each image once under a label, and a note of those in several splits.

    The later split keeps the image: a test set is not to be touched. Raises `DataError` where one is in two groups.
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
    return Pictures.of(kept.values()), (note,) if again else ()


def _clean_label(label: str, source: str, where: str) -> str:
    label = unicodedata.normalize("NFC", label.strip())
    if fault := label_fault(label):
        shown = f" {label[:40]!r}{'...' if len(label) > 40 else ''}" if label else ""
        raise DataError(f"{source}: {where}: the class name{shown} {fault}")
    return label


def take_fingerprints(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """Read every file once for its SHA-256; failures join `unreadable`."""

    def look(picture: Picture) -> bytes | str:
        try:
            data = dataset.read(picture)
            if not data:
                raise ImageError("the file is empty (0 bytes)", "empty")
        except ImageError as error:
            return str(error)
        return hashlib.sha256(data).digest()

    total = len(dataset.pictures)
    digests = np.zeros((total, 32), np.uint8)
    unreadable: list[tuple[str, str]] = []
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, total, 2000):
            batch = [*dataset.pictures[start : start + 2000]]
            for place, result in enumerate(pool.map(look, batch)):
                if isinstance(result, bytes):
                    digests[start + place] = np.frombuffer(result, np.uint8)
                else:
                    unreadable.append((batch[place].name, result))
            if progress:
                progress(start + len(batch), total)
    return with_digests(dataset, digests, unreadable)


def with_digests(dataset: Dataset, digests: Pixels, unreadable: Iterable[tuple[str, str]]) -> Dataset:
    """Return the data set with the SHA-256 of its files, uint8 `[N, 32]`.

    Rows of zeros are of the unreadable ones.
    """
    listed = dataset.pictures.with_digests(digests)
    left = without_unreadable(dataset, unreadable)
    return replace(left, pictures=listed.take(digests.any(axis=1).astype(bool)), listed=listed)


def without_unreadable(dataset: Dataset, unreadable: Iterable[tuple[str, str]]) -> Dataset:
    """Return the data set without these images.

    Raises `DataError` where that empties a split that it came with.
    """
    reasons = dict(unreadable)
    left = dataset.without(reasons.items())
    for split in SPLITS:
        gone = dataset.of(split)
        if gone and not left.pictures.where(split).any():
            name = gone[0].name
            raise DataError(
                f"{dataset.source}: none of {len(gone):,} {split} pictures can be read, such as {name}: {reasons[name]}"
            )
    return left


def typical_size(dataset: Dataset, sample: int = 200) -> tuple[int, int]:
    """Return the median `(height, width)` of an evenly spaced sample of images."""
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

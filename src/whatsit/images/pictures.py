"""The labelled images of a data set, held as columns.

An image takes some 60 bytes and its name.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Bools, Int64

SPLITS = ("train", "validation", "test")
CHUNK = 4096  # images that are objects at a time
NO_DIGEST = bytes(32)

Keys = npt.NDArray[np.bytes_]  # S32 [N], the SHA-256 of files, to be sorted and searched


@dataclass(frozen=True, slots=True)
class Picture:
    """One labelled image of a data set."""

    name: str  # its name in the store
    label: str
    split: str | None = None  # one of SPLITS, or None where none was decided yet
    digest: bytes = b""  # SHA-256 of the file
    group: str | None = None  # images of one group, such as of one patient, stay on one side of a split


class Names:
    """Texts in one buffer, in the order in which they were added."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ends = array("q", [0])

    def append(self, name: str) -> None:
        """Add a text; one that is no Unicode, as file names may be, comes back the same."""
        self._buffer += name.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._buffer))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: int) -> str:
        return self._buffer[self._ends[place] : self._ends[place + 1]].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))


class Pictures(Sequence[Picture]):
    """Labelled images; `Picture` objects are made when they are asked for.

    A selection (`take`, or a slice) shares the names and digests with what it was taken from.
    """

    def __init__(self, names: Names, digests: npt.NDArray[np.uint8], places: Int64, columns: Columns) -> None:
        """Take the files, and columns about those at `places`; see `Pictures.of`."""
        self._names, self._digests, self._places, self._columns = names, digests, places, columns

    @classmethod
    def of(cls, pictures: Iterable[Picture]) -> Pictures:
        """Return images as columns; they may come one by one.

        Raises `ValueError` for a digest that has not 32 bytes.
        """
        if isinstance(pictures, Pictures):
            return pictures
        names, digests = Names(), bytearray()
        labels, splits, groups = array("i"), array("b"), array("i")
        label_codes: dict[str, int] = {}
        group_codes: dict[str, int] = {}
        for one in pictures:
            names.append(one.name)
            if len(digest := one.digest or NO_DIGEST) != len(NO_DIGEST):
                raise ValueError(f"{one.name}: a SHA-256 has 32 bytes; received {len(digest)}")
            digests += digest
            labels.append(label_codes.setdefault(one.label, len(label_codes)))
            splits.append(SPLITS.index(one.split) if one.split else -1)
            groups.append(group_codes.setdefault(one.group, len(group_codes)) if one.group else -1)
        columns = Columns(
            np.array(labels, np.int32), np.array(splits, np.int8), np.array(groups, np.int32),
            tuple(label_codes), tuple(group_codes),
        )  # fmt: skip
        return cls(names, np.frombuffer(digests, np.uint8).reshape(-1, 32), np.arange(len(names)), columns)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Picture: ...
    @overload
    def __getitem__(self, place: slice) -> Pictures: ...
    def __getitem__(self, place: int | slice) -> Picture | Pictures:
        if isinstance(place, slice):
            return self.take(np.arange(*place.indices(len(self))))
        return self._chunk(slice(at := range(len(self))[place], at + 1))[0]

    def __iter__(self) -> Iterator[Picture]:
        for start in range(0, len(self), CHUNK):
            yield from self._chunk(slice(start, start + CHUNK))

    def _chunk(self, rows: slice) -> list[Picture]:
        """Return some images as objects."""
        places, columns = self._places[rows], self._columns
        labels, groups = columns.label_names, columns.group_names
        digests = self._digests[places].tobytes()
        others = (column[rows].tolist() for column in (columns.labels, columns.splits, columns.groups))
        table = zip(range(0, len(digests), 32), places.tolist(), *others, strict=True)
        return [
            Picture(
                self._names[place],
                labels[label],
                SPLITS[split] if split >= 0 else None,
                b"" if (digest := digests[at : at + 32]) == NO_DIGEST else digest,
                groups[group] if group >= 0 else None,
            )
            for at, place, label, split, group in table
        ]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_same, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self):,} pictures>"

    def take(self, rows: Int64 | Bools | slice) -> Pictures:
        """Return these images: by their numbers, in that order, or where a mask is true."""
        return Pictures(self._names, self._digests, self._places[rows], self._columns.take(rows))

    def where(self, split: str | None) -> Bools:
        """Return which images are of a split; None: those without one."""
        mask: Bools = self.splits == (SPLITS.index(split) if split else -1)
        return mask

    def among(self, digests: Iterable[bytes]) -> Bools:
        """Return which images' files have one of these SHA-256."""
        return np.isin(self.keys, np.array([*digests], "S32"))

    def named(self, names: Iterable[str]) -> Bools:
        """Return which images have one of these names."""
        wanted = {*names}
        found = (name in wanted for name in self.names()) if wanted else iter([False] * len(self))
        return np.fromiter(found, bool, len(self))

    def names(self) -> Iterator[str]:
        """Yield the name of each image."""
        for start in range(0, len(self), CHUNK):
            yield from map(self._names.__getitem__, self._places[start : start + CHUNK].tolist())

    def digests(self) -> Iterator[bytes]:
        """Yield the SHA-256 of each file."""
        for place in self._places.tolist():
            yield self._digests[place].tobytes()

    @property
    def keys(self) -> Keys:
        """The SHA-256 of each file, S32 `[N]`."""
        keys: Keys = self._digests[self._places].view("S32")[:, 0]
        return keys

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """The label of each image, `[N]`, as its place among the `label_names`."""
        return self._columns.labels

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that there may be, in no special order."""
        return self._columns.label_names

    @property
    def splits(self) -> npt.NDArray[np.int8]:
        """The split of each image, `[N]`, as its place in SPLITS; -1 for none."""
        return self._columns.splits

    @property
    def groups(self) -> npt.NDArray[np.int32]:
        """The group of each image, `[N]`: the same number for the same group; -1 for none."""
        return self._columns.groups

    def numbers(self, classes: Iterable[str]) -> Int64:
        """Return each image's label as its index among the classes, int64 `[N]`.

        Raises `KeyError` for a label that is none of them.
        """
        number = {label: place for place, label in enumerate(classes)}
        there = np.bincount(self.labels, minlength=len(self.label_names)) > 0
        table = [number[label] if here else -1 for label, here in zip(self.label_names, there, strict=True)]
        return np.array(table, np.int64)[self.labels]

    def counts(self) -> dict[str, int]:
        """Return how many images each label has, in the order of their first images."""
        codes, first, counts = np.unique(self.labels, return_index=True, return_counts=True)
        order = np.argsort(first)
        return {self.label_names[codes[place]]: int(counts[place]) for place in order}

    def rows_by_label(self) -> dict[str, Int64]:
        """Return the numbers of each label's images, in order; sorted by label."""
        order = np.argsort(self.labels, kind="stable")
        counts = np.bincount(self.labels, minlength=len(self.label_names))
        parts = np.split(order, np.cumsum(counts)[:-1])
        found = zip(self.label_names, parts, strict=True) if len(self) else ()
        return {label: rows for label, rows in sorted(found, key=lambda item: item[0]) if len(rows)}

    def with_splits(self, splits: npt.NDArray[Any] | str) -> Pictures:
        """Return the images with other splits, as numbers `[N]`, or one for all."""
        if isinstance(splits, str):
            splits = np.full(len(self), SPLITS.index(splits))
        columns = self._columns
        new = Columns(columns.labels, splits.astype(np.int8), columns.groups, columns.label_names, columns.group_names)
        return Pictures(self._names, self._digests, self._places, new)

    def labelled_as(self, others: Pictures) -> Pictures:
        """Return the images with the labels and splits of as many others."""
        new = Columns(others.labels, others.splits, self.groups, others.label_names, self._columns.group_names)
        return Pictures(self._names, self._digests, self._places, new)

    def with_digests(self, digests: npt.NDArray[np.uint8]) -> Pictures:
        """Return the images with other SHA-256, `[N, 32]`; zeros are none."""
        if np.array_equal(self._places, np.arange(len(self._names))):
            return Pictures(self._names, digests, self._places, self._columns)
        whole = np.zeros((len(self._names), 32), np.uint8)
        whole[self._places] = digests
        return Pictures(self._names, whole, self._places, self._columns)


@dataclass(frozen=True, slots=True)
class Columns:
    """What is known of images beside their files."""

    labels: npt.NDArray[np.int32]
    splits: npt.NDArray[np.int8]
    groups: npt.NDArray[np.int32]
    label_names: tuple[str, ...]
    group_names: tuple[str, ...]

    def take(self, rows: Int64 | Bools | slice) -> Columns:
        """Return some rows."""
        picked = self.labels[rows], self.splits[rows], self.groups[rows]
        return Columns(*picked, self.label_names, self.group_names)


def _same(one: object, other: object) -> bool:
    return one == other


def find_keys(wanted: Keys, keys: Keys) -> Int64:
    """Return the place of the last key that equals each wanted one, or -1."""
    order = np.argsort(keys, kind="stable")
    places = np.searchsorted(keys, wanted, side="right", sorter=order) - 1
    found = order[places] if len(order) else np.full(len(wanted), -1)
    same = (places >= 0) & (keys[found] == wanted) if len(order) else np.zeros(len(wanted), bool)
    return np.where(same, found, -1)


def label_numbers(pictures: Iterable[Picture], classes: Iterable[str]) -> Int64:
    """Return each image's label as its index among the classes, int64 `[N]`."""
    return Pictures.of(pictures).numbers(classes)

"""Splits into train, validation and test: stratified, seeded, groups on one side."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whatsit.arrays import Array, Int64
from whatsit.errors import DataError
from whatsit.images.groups import Alike, group_numbers
from whatsit.images.names import join_words
from whatsit.images.pictures import SPLITS, Pictures, find_keys
from whatsit.images.scan import Dataset
from whatsit.images.shortage import require_enough, require_trainable, require_training_pictures, with_untested_noted

Fractions = tuple[float, float, float]  # of train, validation and test

FRACTIONS: Fractions = (0.70, 0.15, 0.15)
MOST_VALIDATION = 5000  # images: an accuracy of 90 % has a standard error of 0.4 points then; train gets the others

ATTEMPTS = 20  # orders that are tried where one would divide a group that several classes have images of


@dataclass(frozen=True)
class _OfClass:
    """The images of a class, and the groups that they make: what stays together."""

    rows: Int64  # the images' numbers
    group: Int64  # of each image, its place in `keys`
    keys: Int64  # a number for each group, in the order of their first images
    sizes: list[int]  # images in each group

    @classmethod
    def of(cls, rows: Int64, numbers: Int64) -> _OfClass:
        """Return the groups that the images in these rows make by their numbers."""
        keys, first, inverse, counts = np.unique(
            numbers[rows], return_index=True, return_inverse=True, return_counts=True
        )
        order = np.argsort(first)
        return cls(rows, np.argsort(order)[inverse], keys[order], counts[order].tolist())

    def pictures(self, pictures: Pictures) -> dict[int, Pictures]:
        """Return the images of each group, by its number."""
        return {int(key): pictures.take(self.rows[self.group == place]) for place, key in enumerate(self.keys)}


def parse_fractions(text: str) -> Fractions:
    """Return the fractions that a text such as `80/10/10` asks for.

    Raises `ValueError` where it is not three whole percents, of train, validation and test, each 1 at least, which make 100.
    """
    if not re.fullmatch("[1-9][0-9]?(/[1-9][0-9]?){2}", text):
        raise ValueError(text)
    train, validation, test = (int(part) for part in text.split("/"))
    if train + validation + test != 100:
        raise ValueError(text)
    return train / 100, validation / 100, test / 100


def split(
    dataset: Dataset,
    seed: int = 0,
    fractions: Fractions | None = None,
    alike: Alike | None = None,
    earlier: Pictures | None = None,
) -> Dataset:
    """Give every image its split: the same one to all that belong together.

    These are copies of an image, groups of `alike`, and images with the same `group`. Where DATA came with a test set, that
    stays as it is, and validation, if missing, is taken from train in the proportion of `fractions`. An image under two labels
    is left out; a training image whose exact copy is also in a later split is left out of the earlier one. Both are noted.

    Args:
        dataset: the images.
        seed: of the order in which they are dealt.
        fractions: of train, validation and test; None for `FRACTIONS`, and at most `MOST_VALIDATION` images in validation.
        alike: what belongs together beside copies and groups.
        earlier: images of a split that was made before. Those, known by their contents, stay where they were, whatever their
            label is now; new ones go where others of their group are, and else to what is short of them. What DATA came with
            counts more.

    Raises:
        DataError: a class has no training images, or too few different images to be in every split.
    """
    require_trainable(dataset)
    dataset = dataset if dataset.listed else replace(dataset, listed=dataset.pictures)
    given = _splits_of(dataset.pictures)
    dataset = without_conflicts(dataset)
    lost = sorted(given - _splits_of(dataset.pictures))
    if lost:
        raise DataError(
            f"{dataset.source}: the {lost[0]} split that came with it has no usable picture left; {dataset.notes[-1]}"
        )
    require_training_pictures(dataset)
    if fractions and (held := [name for name in SPLITS[1:] if name in given]):
        note = (
            f"the pictures come with their own {join_words(held)}, so the split that was asked for is only for the rest"
        )
        dataset = replace(dataset, notes=(*dataset.notes, note))
    fractions = fractions or _usual_fractions(dataset)
    if _splits_of(dataset.pictures):
        dataset = _keep_given_splits(dataset, seed, fractions, alike or {}, earlier)
    else:
        numbers = group_numbers(dataset.pictures, alike or {}, column=True)
        dealt = _dealt(dataset.pictures, numbers, earlier)
        splits = _allot(dataset, np.arange(len(dealt)), SPLITS, fractions, seed, dealt)
        dataset = replace(dataset, pictures=dataset.pictures.with_splits(splits))
    return with_untested_noted(dataset)


def limit(dataset: Dataset, per_class: int, seed: int = 0, earlier: Pictures | None = None) -> Dataset:
    """Draw at most `per_class` images of each class at random, splits in proportion.

    Images of an `earlier` data set are drawn first.
    """
    pictures, rng = dataset.pictures, np.random.default_rng(seed)
    new = ~np.isin(pictures.keys, earlier.keys) if earlier else np.zeros(len(pictures), bool)
    kept: list[Int64] = []
    for rows in pictures.rows_by_label().values():
        _, first, codes = np.unique(pictures.splits[rows], return_index=True, return_inverse=True)
        parts = [rows[codes == code] for code in np.argsort(first)]
        counts = _share_out([len(part) for part in parts], per_class)
        for part, count in zip(parts, counts, strict=True):
            drawn = part[rng.permutation(len(part))]
            kept.append(drawn[np.argsort(new[drawn], kind="stable")][:count])
    return replace(dataset, pictures=pictures.take(np.sort(np.concatenate(kept))))


def _splits_of(pictures: Pictures) -> set[str]:
    """Return the names of the splits that images came with."""
    return {SPLITS[code] for code in np.unique(pictures.splits) if code >= 0}


def _share_out(sizes: list[int], limit: int) -> list[int]:
    """Share at most `limit` in proportion to the sizes, at least one each."""
    total = sum(sizes)
    if total <= limit:
        return sizes
    counts = [max(1, size * limit // total) for size in sizes]
    while sum(counts) > max(limit, len(sizes)):
        counts[counts.index(max(counts))] -= 1
    return counts


def _usual_fractions(dataset: Dataset) -> Fractions:
    """Return `FRACTIONS`, where train gets what validation does not need."""
    total = int((dataset.pictures.splits <= 0).sum())
    validation = min(FRACTIONS[1], MOST_VALIDATION / max(total, 1))
    return 1.0 - validation - FRACTIONS[2], validation, FRACTIONS[2]


def without_conflicts(dataset: Dataset) -> Dataset:
    """Leave out pictures that lie under several labels, with a note."""
    pictures = dataset.pictures
    _, contents = np.unique(pictures.keys, return_inverse=True)
    under = np.unique(np.stack([contents, pictures.labels], axis=1), axis=0)[:, 0]
    torn = np.bincount(under, minlength=1)[contents] > 1
    if not torn.any():
        return dataset
    conflicts = pictures.take(torn)
    first = conflicts.take(conflicts.keys == conflicts.keys[0])
    example = ", ".join(f"{picture.name} ({picture.label})" for picture in first[:2])
    note = (
        f"{len(conflicts)} files hold the same picture under different labels and were left out, such as {example}; "
        f"keep each picture under one label"
    )
    return replace(dataset, pictures=pictures.take(~torn), notes=(*dataset.notes, note))


def _keep_given_splits(
    dataset: Dataset, seed: int, fractions: Fractions, alike: Alike, earlier: Pictures | None
) -> Dataset:
    # The later split keeps the picture: a test set is not to be touched.
    pictures = dataset.pictures
    _, contents = np.unique(pictures.keys, return_inverse=True)
    ranks = np.maximum(pictures.splits, 0)
    latest = np.zeros(len(pictures), np.int8)
    np.maximum.at(latest, contents, ranks)
    kept = pictures.take(ranks == latest[contents])
    require_training_pictures(replace(dataset, pictures=kept))
    notes = dataset.notes
    if dropped := len(pictures) - len(kept):
        notes = (*notes, f"{dropped} pictures stand again in a later split and were left out of the earlier one")
    given = _splits_of(kept)
    wanted = [name for name in SPLITS if name == "train" or name not in given]
    if len(wanted) > 1:
        shares = [fractions[SPLITS.index(name)] for name in wanted]
        if "test" in given:  # what the given test set took is not taken again
            shares = [1.0 - fractions[1], fractions[1]]
        numbers = group_numbers(pictures, alike, column=True)[ranks == latest[contents]]
        splits, train = kept.splits.copy(), kept.where("train")
        dealt = _dealt(kept, numbers, earlier)
        splits[train] = _allot(replace(dataset, pictures=kept), np.flatnonzero(train), wanted, shares, seed, dealt)
        kept = kept.with_splits(splits)
    return replace(dataset, pictures=kept, notes=notes)


@dataclass(frozen=True)
class _Dealt:
    """Groups of images, and what was dealt before."""

    numbers: Int64  # of each image's group
    splits: Array  # of each image, as its place in SPLITS; -1 where it is to be dealt. The same in all of a group

    def __len__(self) -> int:
        return len(self.numbers)


def _dealt(pictures: Pictures, numbers: Int64, earlier: Pictures | None) -> _Dealt:
    """Return the groups, divided where an earlier split divided them.

    An image of the column `group` is with its group always: in the latest split of any of it.
    """
    if earlier is None or not len(earlier):
        return _Dealt(numbers, np.full(len(numbers), -1, np.int8))
    places = find_keys(pictures.keys, earlier.keys)
    before = np.where(places >= 0, earlier.splits[places], -1).astype(np.int8)
    latest = np.full(int(numbers.max(initial=0)) + 1, -1, np.int8)
    np.maximum.at(latest, numbers, before)
    splits = np.where((before >= 0) & (pictures.groups < 0), before, latest[numbers])
    _, divided = np.unique(numbers * (len(SPLITS) + 1) + splits, return_inverse=True)
    return _Dealt(divided, splits)


def _allot(
    dataset: Dataset, rows: Int64, names: Sequence[str], shares: Sequence[float], seed: int, dealt: _Dealt
) -> Array:
    """Deal each class's groups by the shares, at least one to every split.

    Args:
        dataset: whose images in these `rows` are dealt.
        rows: their numbers, ascending.
        names: of the splits.
        shares: of each.
        seed: of the order.
        dealt: which belong together, and what stays where it is; of all images.

    Returns:
        The split of each row, as its place in SPLITS.
    """
    pictures = dataset.pictures.take(rows)
    numbers = dealt.numbers[rows]
    by_class = {label: _OfClass.of(own, numbers) for label, own in pictures.rows_by_label().items()}
    for label in dataset.classes:
        if label not in by_class or len(by_class[label].keys) < len(names):
            groups = by_class[label].pictures(pictures) if label in by_class else {}
            require_enough(dataset.source, label, groups, names)
    place_of = np.array([names.index(name) if name in names else -1 for name in SPLITS] + [-1], np.int8)
    before = np.full(int(numbers.max()) + 1, -1, np.int8)
    before[numbers] = place_of[dealt.splits[rows]]
    rng = np.random.default_rng(seed)
    best: dict[str, Array] = {}
    torn: Int64 | None = None
    for _ in range(ATTEMPTS):
        now, torn_now = _deal_classes(by_class, names, shares, before.copy(), rng)
        if torn is None or len(torn_now) < len(torn):
            best, torn = now, torn_now
        if not len(torn):
            break
    if torn is not None and len(torn):
        _refuse_torn(dataset, pictures, by_class, torn, names)
    splits = np.empty(len(rows), np.int8)
    codes = np.array([SPLITS.index(name) for name in names], np.int8)
    for label, own in by_class.items():
        splits[own.rows] = codes[best[label]][own.group]
    return splits


def _deal_classes(
    by_class: Mapping[str, _OfClass],
    names: Sequence[str],
    shares: Sequence[float],
    dealt: Array,
    rng: np.random.Generator,
) -> tuple[dict[str, Array], Int64]:
    """Return the split of each group of each class, and the groups on several sides.

    `dealt` has the split of each group, as its place in `names`, or -1 where it is to be dealt; it is written to.
    """
    most = len(dealt)
    orders = {label: rng.permutation(len(own.keys)) for label, own in by_class.items()}
    labels_of = np.zeros(most, np.int32)
    for own in by_class.values():
        labels_of[own.keys] += 1
    alone = {label: int((labels_of[own.keys] == 1).sum()) for label, own in by_class.items()}
    # A group under several labels goes where the first of them went.
    torn = np.zeros(most, bool)
    where = {}
    # Those that can choose least come first.
    for label in sorted(orders, key=lambda label: (alone[label], len(orders[label]))):
        own = by_class[label]
        before = dealt[own.keys]
        where[label] = np.array(_deal(orders[label].tolist(), own.sizes, names, shares, before.tolist()), np.int8)
        torn[own.keys] |= (before >= 0) & (before != where[label])
        dealt[own.keys] = np.where(before >= 0, before, where[label])
    return where, np.flatnonzero(torn)


def _refuse_torn(
    dataset: Dataset, pictures: Pictures, by_class: Mapping[str, _OfClass], torn: Int64, names: Sequence[str]
) -> None:
    """Raise `DataError` where a group of the column `group` is on several sides."""
    for label in dataset.classes:
        own = by_class[label]
        for place in np.flatnonzero(np.isin(own.keys, torn)):
            groups = {picture.group for picture in pictures.take(own.rows[own.group == place]) if picture.group}
            if groups:
                raise DataError(
                    f"{dataset.source}: no way was found to have pictures of every class in {join_words(names)} while each "
                    f"group stays on one side; group '{min(groups)}' would be torn for the class '{label}', which has pictures "
                    f"of {len(own.keys):,} groups: add pictures of other groups to it"
                )


def _deal(
    order: Sequence[int],
    sizes: Sequence[int],
    names: Sequence[str],
    shares: Sequence[float],
    dealt: Sequence[int],
) -> list[int]:
    """Return the split of each group: the first with room for it, or train.

    What was dealt before (not -1) stays, where possible.
    """
    where = [*dealt]
    room = _counts(sum(sizes), shares)
    for group, place in enumerate(where):
        if place >= 0:
            room[place] -= sizes[group]
    for group in order:
        if where[group] < 0:
            where[group] = next((place for place in range(len(names)) if room[place] >= sizes[group]), 0)
            room[where[group]] -= sizes[group]
    held = Counter(where)
    # A split that large groups left empty gets the smallest group, if possible one that is under a single label.
    for place in range(len(names)):
        if not held[place]:
            donors = [group for group in order if held[where[group]] > 1]
            chosen = min(donors, key=lambda group: (dealt[group] >= 0, sizes[group]))
            held[where[chosen]] -= 1
            where[chosen] = place
            held[place] += 1
    return where


def _counts(total: int, shares: Sequence[float]) -> list[int]:
    """Share a total by the shares, at least one each; train, the first, gets the rest."""
    whole = sum(shares)
    later = [max(1, round(total * share / whole)) for share in shares[1:]]
    while total - sum(later) < 1:
        later[later.index(max(later))] -= 1
    return [total - sum(later), *later]

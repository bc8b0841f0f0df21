"""Which pictures train, which choose, which judge: stratified, seeded, the same picture never on both sides."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from whatsit.errors import DataError
from whatsit.images.scan import SPLITS, Dataset, Picture, count_by_label

FRACTIONS = (0.70, 0.15, 0.15)
MOST_VALIDATION = 5000  # pictures: an accuracy of 90 % has a standard error of 0.4 points then; train gets the others

Group = list[Picture]  # pictures that are the same, or nearly: they stay together
Alike = Mapping[bytes, bytes]  # from the digest of a picture with near-duplicates to the one that stands for them all


def split(
    dataset: Dataset,
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
    alike: Alike | None = None,
) -> Dataset:
    """Give every picture its split. Copies of a picture, and those that `alike` says are nearly the same, get the same one.

    Where DATA came with a test set, that stays as it is, and validation, if missing, is carved from train in the
    proportion of `fractions`, at most `MOST_VALIDATION` pictures. A picture under two labels is left
    out; a training picture whose exact copy is also in a later split is left out of the earlier one. Both are noted.

    Raises:
        DataError: a class has too few different pictures to be in every split.
    """
    given = {picture.split for picture in dataset.pictures}
    dataset = _without_conflicts(dataset)
    lost = sorted(name for name in given - {picture.split for picture in dataset.pictures} if name)
    if lost:
        raise DataError(
            f"{dataset.source}: the {lost[0]} split that came with it has no usable picture left; {dataset.notes[-1]}"
        )
    fractions = _with_less_validation(dataset, fractions)
    if any(picture.split for picture in dataset.pictures):
        dataset = _keep_given_splits(dataset, seed, fractions, alike or {})
    else:
        pictures = _allot(dataset, dataset.pictures, SPLITS, fractions, seed, alike or {})
        dataset = replace(dataset, pictures=_ordered(dataset, pictures))
    _require_training_pictures(dataset)
    return dataset


def is_to_be_dealt(dataset: Dataset) -> bool:
    """Whether `split` has anything to decide: DATA did not come with all splits."""
    return {picture.split for picture in dataset.pictures} != set(SPLITS)


def limit(dataset: Dataset, per_class: int, seed: int = 0) -> Dataset:
    """At most so many pictures of each class, drawn at random, in the same proportions of the splits as before."""
    strata: defaultdict[str, defaultdict[str, list[Picture]]] = defaultdict(lambda: defaultdict(list))
    for picture in dataset.pictures:
        strata[picture.label][picture.split or ""].append(picture)
    rng = np.random.default_rng(seed)
    kept: list[Picture] = []
    for _, parts in sorted(strata.items()):
        counts = _share_out([len(part) for part in parts.values()], per_class)
        for part, count in zip(parts.values(), counts, strict=True):
            kept += [part[i] for i in rng.permutation(len(part))[:count]]
    return replace(dataset, pictures=_ordered(dataset, kept))


def _share_out(sizes: list[int], limit: int) -> list[int]:
    """At most `limit` in all, in proportion to the sizes, none of them below one."""
    total = sum(sizes)
    if total <= limit:
        return sizes
    counts = [max(1, size * limit // total) for size in sizes]
    while sum(counts) > max(limit, len(sizes)):
        counts[counts.index(max(counts))] -= 1
    return counts


def _with_less_validation(dataset: Dataset, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
    """What validation does not need goes to train."""
    total = sum(picture.split in (None, "train") for picture in dataset.pictures)
    validation = min(fractions[1], MOST_VALIDATION / max(total, 1))
    return 1.0 - validation - fractions[2], validation, fractions[2]


def _without_conflicts(dataset: Dataset) -> Dataset:
    labels: defaultdict[bytes, set[str]] = defaultdict(set)
    for picture in dataset.pictures:
        labels[picture.digest].add(picture.label)
    conflicts = [picture for picture in dataset.pictures if len(labels[picture.digest]) > 1]
    if not conflicts:
        return dataset
    gone = {picture.name for picture in conflicts}
    first = [picture for picture in conflicts if picture.digest == conflicts[0].digest]
    example = ", ".join(f"{picture.name} ({picture.label})" for picture in first[:2])
    note = (
        f"{len(conflicts)} files hold the same picture under different labels and were left out, such as {example}; "
        f"keep each picture under one label"
    )
    kept = tuple(picture for picture in dataset.pictures if picture.name not in gone)
    return replace(dataset, pictures=kept, notes=(*dataset.notes, note))


def _keep_given_splits(dataset: Dataset, seed: int, fractions: tuple[float, float, float], alike: Alike) -> Dataset:
    # The later split keeps the picture: a test set is not to be touched.
    latest: dict[bytes, int] = {}
    for picture in dataset.pictures:
        rank = SPLITS.index(picture.split or "train")
        latest[picture.digest] = max(rank, latest.get(picture.digest, 0))
    kept = [p for p in dataset.pictures if SPLITS.index(p.split or "train") == latest[p.digest]]
    notes = dataset.notes
    if dropped := len(dataset.pictures) - len(kept):
        notes = (*notes, f"{dropped} pictures stand again in a later split and were left out of the earlier one")
    given = {picture.split for picture in kept}
    train = [picture for picture in kept if picture.split == "train"]
    rest = [picture for picture in kept if picture.split != "train"]
    wanted = [name for name in SPLITS if name == "train" or name not in given]
    if len(wanted) > 1:
        shares = [fractions[SPLITS.index(name)] for name in wanted]
        if "test" in given:  # what the given test set took is not taken again
            shares = [1.0 - fractions[1], fractions[1]]
        train = _allot(dataset, train, wanted, shares, seed, alike)
    return replace(dataset, pictures=_ordered(dataset, [*train, *rest]), notes=notes)


def _allot(
    dataset: Dataset,
    pictures: Iterable[Picture],
    names: Sequence[str],
    shares: Sequence[float],
    seed: int,
    alike: Alike,
) -> list[Picture]:
    """Deal each class's groups out by the shares, every split getting at least one."""
    by_class: defaultdict[str, dict[bytes, Group]] = defaultdict(dict)
    for picture in pictures:
        by_class[picture.label].setdefault(alike.get(picture.digest, picture.digest), []).append(picture)
    for label in dataset.classes:
        if len(by_class[label]) < len(names):
            raise DataError(
                f"{dataset.source}: the class '{label}' has {len(by_class[label])} different readable pictures; at least "
                f"{len(names)} are needed, one each to {_purposes(names)}"
            )
    rng = np.random.default_rng(seed)
    orders: dict[str, list[bytes]] = {}
    for label in dataset.classes:
        keys = list(by_class[label])
        orders[label] = [keys[place] for place in rng.permutation(len(keys))]
    labels_of = Counter(key for groups in by_class.values() for key in groups)
    own = {label: sum(labels_of[key] == 1 for key in order) for label, order in orders.items()}
    dealt: dict[bytes, str] = {}  # a group under several labels goes where the first of them went
    allotted: list[Picture] = []
    for label in sorted(orders, key=lambda label: own[label]):  # those that can choose least come first
        groups = by_class[label]
        where = _deal(orders[label], {key: len(groups[key]) for key in groups}, names, shares, dealt)
        dealt = where | dealt
        allotted += [replace(picture, split=where[key]) for key in orders[label] for picture in groups[key]]
    return allotted


def _deal(
    order: Sequence[bytes],
    sizes: Mapping[bytes, int],
    names: Sequence[str],
    shares: Sequence[float],
    dealt: Mapping[bytes, str],
) -> dict[bytes, str]:
    """The split of each group: the first with room for it, or train. What was dealt before stays, where it can."""
    where = {key: dealt[key] for key in order if key in dealt}
    room = dict(zip(names, _counts(sum(sizes.values()), shares), strict=True))
    for key, name in where.items():
        room[name] -= sizes[key]
    for key in order:
        if key not in where:
            where[key] = next((name for name in names if room[name] >= sizes[key]), names[0])
            room[where[key]] -= sizes[key]
    held = Counter(where.values())
    # Where large groups left none for a split, it gets the smallest; one under several labels only at need.
    for name in names:
        if not held[name]:
            donors = [key for key in order if held[where[key]] > 1]
            chosen = min(donors, key=lambda key: (key in dealt, sizes[key]))
            held[where[chosen]] -= 1
            where[chosen] = name
            held[name] += 1
    return where


def _counts(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that sum to `total`, near the shares, none below one; train, the first, takes what is left."""
    whole = sum(shares)
    later = [max(1, round(total * share / whole)) for share in shares[1:]]
    while total - sum(later) < 1:
        later[later.index(max(later))] -= 1
    return [total - sum(later), *later]


def _purposes(names: Sequence[str]) -> str:
    purpose = {"train": "train", "validation": "validate", "test": "test"}
    words = [purpose[name] for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]])


def _ordered(dataset: Dataset, pictures: Iterable[Picture]) -> tuple[Picture, ...]:
    """In the order of the data set, whatever order they were dealt in."""
    dealt = {(picture.name, picture.label): picture for picture in pictures}
    keys = ((picture.name, picture.label) for picture in dataset.pictures)
    return tuple(dealt[key] for key in keys if key in dealt)


def _require_training_pictures(dataset: Dataset) -> None:
    for name in SPLITS:
        have = count_by_label(dataset.of(name))
        if name == "train" or not have:
            missing = [label for label in dataset.classes if label not in have]
            if missing:
                raise DataError(
                    f"{dataset.source}: the class '{missing[0]}' has no readable picture in the {name} split"
                )

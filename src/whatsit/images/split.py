"""Splits into train, validation and test: stratified, seeded, groups on one side."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from whatsit.errors import DataError
from whatsit.images.groups import Alike, with_column
from whatsit.images.names import join_words
from whatsit.images.scan import SPLITS, Dataset, Picture
from whatsit.images.shortage import require_enough, require_trainable, require_training_pictures, with_untested_noted

FRACTIONS = (0.70, 0.15, 0.15)
MOST_VALIDATION = 5000  # images: an accuracy of 90 % has a standard error of 0.4 points then; train gets the others

ATTEMPTS = 20  # orders that are tried where one would divide a group that several classes have images of

Group = list[Picture]  # copies, near-duplicates or images of one group: they stay together


def split(
    dataset: Dataset,
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
    alike: Alike | None = None,
) -> Dataset:
    """Give every image its split: the same one to all that belong together.

    These are copies of an image, groups of `alike`, and images with the same `group`. Where DATA came with a test set, that
    stays as it is, and validation, if missing, is taken from train in the proportion of `fractions`, at most
    `MOST_VALIDATION` images. An image under two labels is left out; a training image whose exact copy is also in a later
    split is left out of the earlier one. Both are noted.

    Raises:
        DataError: a class has no training images, or too few different images to be in every split.
    """
    require_trainable(dataset)
    dataset = dataset if dataset.listed else replace(dataset, listed=dataset.pictures)
    given = {picture.split for picture in dataset.pictures}
    dataset = _without_conflicts(dataset)
    lost = sorted(name for name in given - {picture.split for picture in dataset.pictures} if name)
    if lost:
        raise DataError(
            f"{dataset.source}: the {lost[0]} split that came with it has no usable picture left; {dataset.notes[-1]}"
        )
    require_training_pictures(dataset)
    fractions = _with_less_validation(dataset, fractions)
    alike = with_column(dataset.pictures, alike or {})
    if any(picture.split for picture in dataset.pictures):
        dataset = _keep_given_splits(dataset, seed, fractions, alike)
    else:
        pictures = _allot(dataset, dataset.pictures, SPLITS, fractions, seed, alike)
        dataset = replace(dataset, pictures=_ordered(dataset, pictures))
    return with_untested_noted(dataset)


def limit(dataset: Dataset, per_class: int, seed: int = 0) -> Dataset:
    """Draw at most `per_class` images of each class at random, splits in proportion."""
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
    """Share at most `limit` in proportion to the sizes, at least one each."""
    total = sum(sizes)
    if total <= limit:
        return sizes
    counts = [max(1, size * limit // total) for size in sizes]
    while sum(counts) > max(limit, len(sizes)):
        counts[counts.index(max(counts))] -= 1
    return counts


def _with_less_validation(dataset: Dataset, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
    """Give train what validation does not need."""
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
    require_training_pictures(replace(dataset, pictures=tuple(kept)))
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
    """Deal each class's groups by the shares, at least one to every split."""
    by_class: defaultdict[str, dict[bytes, Group]] = defaultdict(dict)
    for picture in pictures:
        by_class[picture.label].setdefault(alike.get(picture.digest, picture.digest), []).append(picture)
    for label in dataset.classes:
        require_enough(dataset.source, label, by_class[label], names)
    rng = np.random.default_rng(seed)
    where: dict[str, dict[bytes, str]] = {}
    torn: set[bytes] | None = None
    for _ in range(ATTEMPTS):
        dealt = _deal_classes(by_class, names, shares, rng)
        splits: defaultdict[bytes, set[str]] = defaultdict(set)
        for of_class in dealt.values():
            for key, name in of_class.items():
                splits[key].add(name)
        now = {key for key, several in splits.items() if len(several) > 1}
        if torn is None or len(now) < len(torn):
            where, torn = dealt, now
        if not torn:
            break
    _refuse_torn(dataset, by_class, torn or set(), names)
    return [
        replace(picture, split=where[label][key])
        for label, groups in by_class.items()
        for key, group in groups.items()
        for picture in group
    ]


def _deal_classes(
    by_class: Mapping[str, Mapping[bytes, Group]],
    names: Sequence[str],
    shares: Sequence[float],
    rng: np.random.Generator,
) -> dict[str, dict[bytes, str]]:
    """Return, for each class, the split of each of its groups."""
    orders = {}
    for label in sorted(by_class):
        keys = list(by_class[label])
        orders[label] = [keys[place] for place in rng.permutation(len(keys))]
    labels_of = Counter(key for groups in by_class.values() for key in groups)
    own = {label: sum(labels_of[key] == 1 for key in order) for label, order in orders.items()}
    dealt: dict[bytes, str] = {}  # a group under several labels goes where the first of them went
    where = {}
    # Those that can choose least come first.
    for label in sorted(orders, key=lambda label: (own[label], len(orders[label]))):
        sizes = {key: len(group) for key, group in by_class[label].items()}
        where[label] = _deal(orders[label], sizes, names, shares, dealt)
        dealt = where[label] | dealt
    return where


def _refuse_torn(
    dataset: Dataset, by_class: Mapping[str, Mapping[bytes, Group]], torn: set[bytes], names: Sequence[str]
) -> None:
    """Raise `DataError` where a group of the column `group` is on several sides."""
    for label in dataset.classes:
        for key in torn & by_class[label].keys():
            groups = {picture.group for picture in by_class[label][key] if picture.group}
            if groups:
                raise DataError(
                    f"{dataset.source}: no way was found to have pictures of every class in {join_words(names)} while each "
                    f"group stays on one side; group '{min(groups)}' would be torn for the class '{label}', which has pictures "
                    f"of {len(by_class[label]):,} groups: add pictures of other groups to it"
                )


def _deal(
    order: Sequence[bytes],
    sizes: Mapping[bytes, int],
    names: Sequence[str],
    shares: Sequence[float],
    dealt: Mapping[bytes, str],
) -> dict[bytes, str]:
    """Return the split of each group: the first with room for it, or train.

    What was dealt before stays, where possible.
    """
    where = {key: dealt[key] for key in order if key in dealt}
    room = dict(zip(names, _counts(sum(sizes.values()), shares), strict=True))
    for key, name in where.items():
        room[name] -= sizes[key]
    for key in order:
        if key not in where:
            where[key] = next((name for name in names if room[name] >= sizes[key]), names[0])
            room[where[key]] -= sizes[key]
    held = Counter(where.values())
    # A split that large groups left empty gets the smallest group, if possible one that is under a single label.
    for name in names:
        if not held[name]:
            donors = [key for key in order if held[where[key]] > 1]
            chosen = min(donors, key=lambda key: (key in dealt, sizes[key]))
            held[where[chosen]] -= 1
            where[chosen] = name
            held[name] += 1
    return where


def _counts(total: int, shares: Sequence[float]) -> list[int]:
    """Share a total by the shares, at least one each; train, the first, gets the rest."""
    whole = sum(shares)
    later = [max(1, round(total * share / whole)) for share in shares[1:]]
    while total - sum(later) < 1:
        later[later.index(max(later))] -= 1
    return [total - sum(later), *later]


def _ordered(dataset: Dataset, pictures: Iterable[Picture]) -> tuple[Picture, ...]:
    """Return images in the order of the data set."""
    dealt = {(picture.name, picture.label): picture for picture in pictures}
    keys = ((picture.name, picture.label) for picture in dataset.pictures)
    return tuple(dealt[key] for key in keys if key in dealt)

"""Leakage: test images that resemble images of other splits, counted and named.

A model that was trained on the next frame of a burst knows the test image already, and its test accuracy flatters it
(Barz and Denzler 2020 found near-duplicates of training images for 3.3 % of the test images of CIFAR-10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from whatsit.images.groups import Alike
from whatsit.images.pictures import SPLITS, Pictures, find_keys
from whatsit.images.scan import Dataset, Leakage, Named

Pairs = Sequence[tuple[bytes, bytes]]  # the digests of verified near-duplicates

_WAYS = (
    ("near", "is a near-duplicate", "are near-duplicates", "of"),
    ("copies", "is an exact copy", "are exact copies", "of"),
    ("grouped", "shares a group", "share a group", "with"),
)


def copies_in_test(pictures: Pictures) -> Named:
    """Return the test images whose contents an earlier split has too."""
    test, earlier = pictures.take(pictures.where("test")), pictures.take(np.isin(pictures.splits, (0, 1)))
    found = find_keys(test.keys, earlier.keys)
    pairs = zip(test.take(found >= 0), earlier.take(found[found >= 0]), strict=True)
    return {picture.digest: (picture.name, other.name) for picture, other in pairs}


def with_leakage(dataset: Dataset, pairs: Pairs, alike: Alike, copies: Named) -> Dataset:
    """Return the data set with its `leakage`, and with a note where there is any.

    Args:
        dataset: with a split for every image.
        pairs: near-duplicates.
        alike: the groups that the pairs make; one with images on both sides leaks as a whole.
        copies: what `copies_in_test` found in DATA, before copies were left out of the earlier splits.
    """
    leakage = _find(dataset, pairs, alike, copies, "test")
    notes = dataset.notes
    if found := describe_leakage(leakage, dataset.of("test")):
        notes = (*notes, f"{found}; the accuracy is also given without them")
    chosen_by = _find(dataset, pairs, alike, {}, "validation")
    if found := describe_leakage(chosen_by, dataset.of("validation"), "validation"):
        notes = (*notes, f"{found}; what is chosen by them may be chosen wrongly")
    return replace(dataset, notes=notes, leakage=leakage)


def _find(dataset: Dataset, pairs: Pairs, alike: Alike, copies: Named, judging: str) -> Leakage:
    """Return which images of the split `judging` resemble images of earlier splits."""
    keys = dataset.pictures.keys
    known = dataset.pictures.among({*alike, *copies, *chain.from_iterable(pairs)})
    known |= np.isin(keys, keys[dataset.pictures.groups >= 0])
    some = replace(dataset, pictures=dataset.pictures.take(known))  # of no other is anything to be said
    judges = {picture.digest: picture for picture in reversed(some.of(judging))}
    earlier = [picture for name in SPLITS[: SPLITS.index(judging)] for picture in some.of(name)]
    taught = {picture.digest: picture.name for picture in earlier}
    # A partner that was compared with the image itself is the better example than another of its group.
    direct: dict[bytes, str] = {}
    for pair in pairs:
        for judge, partner in (pair, pair[::-1]):
            if judge in judges and partner in taught:
                direct.setdefault(judge, taught[partner])
    by_group = {alike[digest]: name for digest, name in taught.items() if digest in alike}
    groups = {picture.group: picture.name for picture in earlier if picture.group}
    same = {digest: copies[digest] for digest in judges if digest in copies}
    near, grouped = {}, {}
    for digest, picture in sorted(judges.items(), key=lambda item: (item[0] not in direct, item[1].name)):
        if digest in same:
            continue
        if alike.get(digest) in by_group:
            near[digest] = (picture.name, direct.get(digest) or by_group[alike[digest]])
        elif picture.group in groups:
            grouped[digest] = (picture.name, groups[picture.group])
    return Leakage(same, near, grouped)


def describe_leakage(leakage: Leakage, pictures: Pictures, judging: str = "test") -> str:
    """Describe how many images leak, with examples; empty where none does."""
    others = "training or validation pictures" if judging == "test" else "training pictures"
    found = []
    for kind, singular, plural, word in _WAYS:
        named: Named = getattr(leakage, kind)
        if count := int((here := pictures.among(named)).sum()):
            there = {picture.digest for picture in pictures.take(here)}
            example = next(names for digest, names in named.items() if digest in there)
            found.append((count, singular if count == 1 else plural, word, " and ".join(example)))
    if not found:
        return ""
    total = sum(count for count, *_ in found)
    head = f"{total:,} of {len(pictures):,} {judging} pictures ({100 * total / len(pictures):.1f} %)"
    if len(found) == 1:
        _, way, word, example_names = found[0]
        return f"{head} {way} {word} {others}, such as {example_names}"
    parts = "; ".join(f"{count:,} {way}, such as {names}" for count, way, _, names in found)
    return f"{head} resemble {others}: {parts}"

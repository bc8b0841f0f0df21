"""Groups of images: copies, near-duplicates, and the column `group` of a CSV file."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from whatsit.arrays import Array, Bools, Int64
from whatsit.images.pictures import Pictures, find_keys

Alike = Mapping[bytes, bytes]  # from the digest of an image to the digest that represents its group

GIANT = 20  # near-duplicates of one class; fewer may be one image that was saved again and again


class Groups:
    """Disjoint sets of numbers (union-find); the smallest represents each set."""

    def __init__(self, count: int) -> None:
        self._parents = array("q", range(count))

    def join(self, pairs: Iterable[Sequence[int]]) -> None:
        """Join the sets of each pair."""
        for first, second in pairs:
            first, second = self._root(first), self._root(second)
            self._parents[max(first, second)] = min(first, second)

    def are_joined(self, pairs: Int64) -> Bools:
        """Return which pairs, `[P, 2]`, are in one set each."""
        return np.fromiter((self._root(a) == self._root(b) for a, b in pairs.tolist()), bool, len(pairs))

    def roots(self) -> Int64:
        """Return the number that represents the set of each, `[N]`."""
        roots = np.array(self._parents, np.int64)
        while not np.array_equal(roots, further := roots[roots]):
            roots = further
        return roots

    def _root(self, number: int) -> int:
        parents = self._parents
        while parents[number] != number:
            parents[number] = number = parents[parents[number]]
        return number


def connect(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return for each digest the one that represents all that pairs connect it with."""
    pairs = list(pairs)
    digests = list(dict.fromkeys(digest for pair in pairs for digest in pair))
    numbers = {digest: number for number, digest in enumerate(digests)}
    groups = Groups(len(digests))
    groups.join((numbers[first], numbers[second]) for first, second in pairs)
    return {digest: digests[root] for digest, root in zip(digests, groups.roots().tolist(), strict=True)}


def group_numbers(pictures: Pictures, alike: Alike, *, column: bool) -> Int64:
    """Return a number for each image, the same for all that belong together.

    These are copies, groups of `alike` and, where `column`, images with the same `group`.
    """
    contents, numbers = np.unique(pictures.keys, return_inverse=True)
    grouped = pictures.groups >= 0
    if not alike and not (column and grouped.any()):
        return numbers
    groups = Groups(len(contents))
    members = np.array([*alike], "S32")
    _, together = np.unique(np.array([*alike.values()], "S32"), return_inverse=True)
    members = find_keys(members, contents)
    groups.join(_chained(members[members >= 0], together[members >= 0]))
    if column:
        groups.join(_chained(numbers[grouped], pictures.groups[grouped]))
    return groups.roots()[numbers]


def _chained(members: Int64, codes: Array) -> list[list[int]]:
    """Return pairs that join the members of each code with the first of them."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    pairs = np.stack([members[first][inverse], members], axis=1)
    found: list[list[int]] = pairs[pairs[:, 0] != pairs[:, 1]].tolist()
    return found


def without_giants(pictures: Pictures, alike: Alike) -> tuple[Alike, dict[str, int]]:
    """Dissolve groups of most of a class, which has to lie on both sides of a split.

    Images of one fixed camera are all nearly the same, and the differences of their classes are small. A group is dissolved where
    it holds `GIANT` images or more of a class, and more than half of them.

    Returns:
        What belongs together without these groups, and how many images of each class were in one.
    """
    numbers, by_label = group_numbers(pictures, alike, column=False), pictures.rows_by_label()
    giants: dict[str, int] = {}
    dissolved: set[bytes] = set()
    for label in pictures.counts():
        _, first, counts = np.unique(numbers[by_label[label]], return_index=True, return_counts=True)
        most = int(counts.argmax())
        if counts[most] >= GIANT and 2 * counts[most] > len(by_label[label]):
            giants[label] = int(counts[most])
            digest = pictures[int(by_label[label][first[most]])].digest
            dissolved.add(alike.get(digest, digest))
    if not dissolved:
        return alike, giants
    return {digest: group for digest, group in alike.items() if group not in dissolved}, giants


def in_order(numbers: Int64) -> Int64:
    """Return each number once, in the order in which they first appear."""
    return numbers[np.sort(np.unique(numbers, return_index=True)[1])]

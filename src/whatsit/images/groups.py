"""Groups of images: copies, near-duplicates, and the column `group` of a CSV file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from whatsit.images.scan import Picture

Alike = Mapping[bytes, bytes]  # from the digest of an image to the digest that represents its group

GIANT = 20  # near-duplicates of one class; fewer may be one image that was saved again and again


class Groups:
    """Disjoint sets of numbers (union-find); the smallest represents each set."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def join(self, pairs: Iterable[Sequence[int]]) -> None:
        """Join the sets of each pair."""
        for first, second in pairs:
            first, second = self._root(first), self._root(second)
            self._parents[max(first, second)] = min(first, second)

    def roots(self) -> npt.NDArray[np.int64]:
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


def without_giants(pictures: Iterable[Picture], alike: Alike) -> tuple[Alike, dict[str, int]]:
    """Dissolve groups of most of a class, which has to lie on both sides of a split.

    Images of one fixed camera are all nearly the same, and the differences of their classes are small. A group is dissolved where
    it holds `GIANT` images or more of a class, and more than half of them.

    Returns:
        What belongs together without these groups, and how many images of each class were in one.
    """
    held: dict[str, Counter[bytes]] = {}
    for picture in pictures:
        held.setdefault(picture.label, Counter())[alike.get(picture.digest, picture.digest)] += 1
    giants: dict[str, int] = {}
    dissolved: set[bytes] = set()
    for label, counts in held.items():
        group, count = counts.most_common(1)[0]
        if count >= GIANT and 2 * count > counts.total():
            giants[label] = count
            dissolved.add(group)
    return {digest: group for digest, group in alike.items() if group not in dissolved}, giants


def with_column(pictures: Iterable[Picture], alike: Alike) -> Alike:
    """Connect what belongs together by `alike` and what does by the column `group`."""
    first: dict[str, bytes] = {}
    pairs = [(first.setdefault(one.group, one.digest), one.digest) for one in pictures if one.group]
    return connect([*pairs, *((group, digest) for digest, group in alike.items())]) if pairs else alike

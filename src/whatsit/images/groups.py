"""Which pictures belong together: copies, near-duplicates, and what the column `group` of a CSV file says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from whatsit.images.scan import Picture

Alike = Mapping[bytes, bytes]  # from the digest of a picture to the digest that stands for all it belongs together with

GIANT = 20  # near-duplicates of one class; of fewer it may be that somebody saved one image again and again


def connect(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return, for each digest of a pair, the one that stands for all that pairs connect it with."""
    parents: dict[bytes, bytes] = {}

    def root(digest: bytes) -> bytes:
        parents.setdefault(digest, digest)
        while parents[digest] != digest:
            parents[digest] = digest = parents[parents[digest]]
        return digest

    for first, second in pairs:
        one, other = root(first), root(second)
        parents[other] = one
    return {digest: root(digest) for digest in parents}


def without_giants(pictures: Iterable[Picture], alike: Alike) -> tuple[Alike, dict[str, int]]:
    """Take apart groups of near-duplicates that hold most of a class: a class has to lie on both sides of a split.

    Images of one fixed camera are all nearly the same, and what tells their classes apart is small. A group is taken apart where
    it holds `GIANT` images or more of a class, and more than half of them.

    Returns:
        What belongs together without these groups, and how many images of each class were in one.
    """
    held: dict[str, Counter[bytes]] = {}
    for picture in pictures:
        held.setdefault(picture.label, Counter())[alike.get(picture.digest, picture.digest)] += 1
    giants: dict[str, int] = {}
    apart: set[bytes] = set()
    for label, counts in held.items():
        stands, count = counts.most_common(1)[0]
        if count >= GIANT and 2 * count > counts.total():
            giants[label] = count
            apart.add(stands)
    return {digest: stands for digest, stands in alike.items() if stands not in apart}, giants


def with_column(pictures: Iterable[Picture], alike: Alike) -> Alike:
    """Return what belongs together by `alike` or by the column `group`, and what both together connect."""
    first: dict[str, bytes] = {}
    pairs = [(first.setdefault(one.group, one.digest), one.digest) for one in pictures if one.group]
    return connect([*pairs, *((stands, digest) for digest, stands in alike.items())]) if pairs else alike

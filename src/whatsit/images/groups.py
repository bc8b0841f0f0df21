"""Which pictures belong together: copies, near-duplicates, and what the column `group` of a CSV file says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from whatsit.images.scan import Picture

Alike = Mapping[bytes, bytes]  # from the digest of a picture to the digest that stands for all it belongs together with


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


def with_column(pictures: Iterable[Picture], alike: Alike) -> Alike:
    """Return what belongs together by `alike` or by the column `group`, and what both together connect."""
    first: dict[str, bytes] = {}
    pairs = [(first.setdefault(one.group, one.digest), one.digest) for one in pictures if one.group]
    return connect([*pairs, *((stands, digest) for digest, stands in alike.items())]) if pairs else alike

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatsit.images.groups import connect, group_numbers, without_giants
from whatsit.images.pictures import Picture, Pictures

DIGESTS = st.sampled_from([bytes([number]) for number in range(12)])


@given(st.lists(st.tuples(DIGESTS, DIGESTS)))
def test_pairs_connect_what_a_chain_of_them_connects(pairs: list[tuple[bytes, bytes]]) -> None:
    stands = connect(pairs)
    reached = {digest: {digest} for pair in pairs for digest in pair}
    for _ in reached:
        for one, other in pairs:
            both = reached[one] | reached[other]
            for digest in both:
                reached[digest] = both
    assert {one: {other for other in stands if stands[other] == stands[one]} for one in stands} == reached


def test_column_and_near_duplicates_connect_together() -> None:
    digests = [bytes([n]) * 32 for n in range(1, 5)]
    pictures = [Picture(str(n), "a", None, digests[n], group) for n, group in enumerate(("p", "p", None, "q"))]
    together = group_numbers(Pictures.of(pictures), {digests[1]: digests[1], digests[2]: digests[1]}, column=True)
    assert together[0] == together[1] == together[2] != together[3]


def near(label: str, sizes: list[int]) -> tuple[list[Picture], dict[bytes, bytes]]:
    """Pictures of one class in groups of these sizes, and what belongs together."""
    pictures, alike = [], {}
    for group, size in enumerate(sizes):
        for number in range(size):
            digest = f"{label} {group} {number}".encode().ljust(32)
            pictures.append(Picture(digest.decode(), label, None, digest))
            alike[digest] = f"{label} {group} 0".encode().ljust(32)
    return pictures, alike


def test_group_of_most_of_a_class_is_taken_apart() -> None:
    (ours, alike), (others, more) = near("part", [30, 2, 2]), near("other", [3] * 20)
    kept, giants = without_giants(Pictures.of([*ours, *others]), alike | more)
    assert giants == {"part": 30}
    assert len(connect((stands, digest) for digest, stands in kept.items())) == 64
    assert sum(stands == b"part 0 0".ljust(32) for stands in kept.values()) == 0


@pytest.mark.parametrize("sizes", [[5], [19], [30, 20, 20]])
def test_groups_that_leave_a_class_to_deal_stay(sizes: list[int]) -> None:
    pictures, alike = near("part", sizes)
    assert without_giants(Pictures.of(pictures), alike) == (alike, {})

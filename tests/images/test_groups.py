from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from whatsit.images.groups import connect, with_column
from whatsit.images.scan import Picture

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
    pictures = [Picture(str(n), "a", None, bytes([n]), group) for n, group in enumerate(("p", "p", None, "q"))]
    together = with_column(pictures, {b"\x01": b"\x01", b"\x02": b"\x01"})
    assert together[b"\x00"] == together[b"\x01"] == together[b"\x02"] != together[b"\x03"]

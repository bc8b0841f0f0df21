from __future__ import annotations

import pytest

from whatsit.runtime.wording import duration, percent


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.981, "98.1 %"), (1.0, "100.0 %"), (0.99996, "> 99.9 %"), (0.0, "0.0 %"), (0.0001, "< 0.1 %"), (0.5, "50.0 %")],
)
def test_percent_never_rounds_to_certainty(share: float, text: str) -> None:
    assert percent(share) == text


def test_duration_in_the_unit_that_fits() -> None:
    assert (duration(0.0071), duration(1.25)) == ("7.1 ms", "1.25 s")

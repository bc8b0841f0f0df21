from __future__ import annotations

from typing import Any

import pytest

from whatsit.run.request import Request


@pytest.mark.parametrize(
    ("asked", "recipe"),
    [
        ({}, "fast"),
        ({"time_limit": "6m"}, "best"),
        ({"time_limit": "6m", "settings": {"flip": False}}, "best"),
        ({"time_limit": "6m", "settings": {"augment.flip": False, "seed": 3}}, "best"),
        ({"time_limit": "6m", "settings": {"epochs": 3}}, "fast"),
        ({"time_limit": "6m", "backbone": "mobilenetv2"}, "fast"),
        ({"time_limit": "6m", "weights": "none"}, "fast"),
        ({"time_limit": "6m", "recipe": "scratch"}, "scratch"),
    ],
)
def test_time_alone_climbs_and_anything_else_is_done_as_asked(asked: dict[str, Any], recipe: str) -> None:
    assert Request("food", **asked).check().recipe.name == recipe

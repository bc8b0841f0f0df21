"""A browser for every app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser import camera_video, chromium
from tests.drawn import draw

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ON_CAMERA = "mangosteen"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, whose camera looks at a mangosteen."""
    video = tmp_path_factory.mktemp("camera") / "fruit.mjpeg"
    with chromium(camera_video(video, [draw(ON_CAMERA, seed, (640, 480)) for seed in (1, 2)])) as opened:
        yield opened

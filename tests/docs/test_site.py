"""The site is built strictly, opens from the disk without a network, and finds Thai words."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import camera_video, chromium
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.docs
WIDTHS = (375, 1280)
OPENED = ("index.html", "get-started/first-model.html", "how-to/website.html", "reference/http.html", "figures.html")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs_static_i18n", reason="the group 'docs' is not installed: make docs-test")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def opened(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page without a network, which notes what it asks others for."""
    from PIL import Image

    video = camera_video(tmp_path_factory.mktemp("video") / "none.mjpeg", [Image.new("RGB", (64, 48))])
    with chromium(video) as browser:
        page = browser.new_context(offline=True).new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.url.startswith("http") else None)
        yield page
        assert asked == []


def search(page: Page, words: str) -> None:
    page.locator("input.md-search__input").click()
    page.locator("input.md-search__input").fill(words)
    page.keyboard.press("Shift")  # the search listens to keys


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", OPENED)
def test_a_page_fits_and_has_its_pictures(site: Path, opened: Page, name: str, width: int) -> None:
    for path in (site / name, site / "th" / name):
        opened.set_viewport_size({"width": width, "height": 900})
        opened.goto(path.as_uri())
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.evaluate("[...document.images].filter(one => one.complete && !one.naturalWidth).length") == 0


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("ย้อนกลับ", "th/how-to/sort-photos.html"),  # in the middle of a sentence, without spaces around it
        ("แสง", "th/get-started/phone-to-web.html"),
        ("ติดป้ายรูป", "th/how-to/label-quickly.html"),  # two words
        ("nginx", "how-to/proxy.html"),
    ],
)
def test_search_finds(site: Path, opened: Page, words: str, found: str) -> None:
    opened.set_viewport_size({"width": 1280, "height": 900})
    opened.goto((site / "th" / "index.html").as_uri())
    search(opened, words)
    links = opened.locator("a.md-search-result__link")
    links.first.wait_for(timeout=30_000)
    assert any(f"/{found}" in (link.get_attribute("href") or "") for link in links.all())


def test_nonsense_is_not_found(site: Path, opened: Page) -> None:
    opened.goto((site / "th" / "index.html").as_uri())
    search(opened, "ซซซซซ")
    opened.get_by_text("ไม่พบเอกสารที่ตรงกัน").wait_for(timeout=30_000)

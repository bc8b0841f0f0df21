"""Labels by keys, in a real browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import free_port, serving
from tests.conftest import encode, shapes
from whatsit.images.collection import Collection
from whatsit.run.record import Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def page(browser: Browser, baseline_run: Run, tmp_path: Path) -> Iterator[Page]:
    """The page of six pictures, three of which are alike, at their first batch."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        (photos / f"{number}.png").write_bytes(encode(shapes("disc" if number else "rows", 2000 + number)))
        (photos / f"frame{number}.jpg").write_bytes(encode(shapes("rows", 7000), "JPEG", quality=60 + 10 * number))
    port = free_port()
    command = ["whatsit.apps.cli", "app", baseline_run.folder, "--label", photos, "--no-browser", "--port", port]
    with serving(command, port, tmp_path) as address:
        page = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{address}/label")
        page.get_by_role("button", name="Find the pictures to label").click()
        page.locator(".label .card").nth(3).wait_for()
        yield page
        page.context.close()


def test_keys_label_undo_and_select(page: Page, tmp_path: Path) -> None:
    collection = Collection(tmp_path / "photos-labelled")

    def becomes(wanted: Callable[[dict[str, int]], bool]) -> None:
        """Until the labels on disk are these: the server writes them a moment after a key."""
        ends = time.monotonic() + 30
        while not wanted(counts()):
            assert time.monotonic() < ends, counts()
            page.wait_for_timeout(50)

    def counts() -> dict[str, int]:
        return {label: n for label in collection.labels() if (n := len(collection.pictures(label)))}

    assert page.locator(".label .card").count() == 4
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "1"):
        page.keyboard.press(key)
    first = page.locator(".label .classes button span").first.inner_text()
    becomes(lambda found: found == {first: 6})
    assert page.locator(".label .count").inner_text() == "All labelled"
    page.keyboard.press("Backspace")
    becomes(lambda found: found == {})
    thai = "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ๅ', code: 'Digit2', bubbles: true, composed: true}))"
    page.evaluate(thai)  # the key of the second class as a Thai keyboard gives it
    second = page.locator(".label .classes button span").nth(1).inner_text()
    becomes(lambda found: [*found] == [second])
    page.keyboard.press("Backspace")
    becomes(lambda found: found == {})
    page.keyboard.press("/")
    page.keyboard.type("something new")
    page.keyboard.press("Enter")
    becomes(lambda found: [*found] == ["something new"])
    page.locator(".label .more").click()
    assert page.locator(".label .card").count() == 6
    page.reload()
    page.locator(".label .is", has_text="something new").first.wait_for()

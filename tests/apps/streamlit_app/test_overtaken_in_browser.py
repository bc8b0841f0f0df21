"""The scripts of the pages where Streamlit redraws twice in a moment, without the app around them.

It then cleans up after the call that was overtaken, while the page is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from whatsit.apps.streamlit_app.server import SCRIPT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

STAGE = """async ([name, source]) => {
    document.body.innerHTML = `<div class="${name}" tabindex="0"></div>`;
    const getUserMedia = async () => {
        const canvas = document.createElement("canvas");
        const context = canvas.getContext("2d");
        let frame = 0;
        setInterval(() => context.fillRect(frame++ % 100, 0, 1, 1), 20);
        return (window.camera = canvas.captureStream());
    };
    Object.defineProperty(navigator, "mediaDevices", { value: { getUserMedia } });
    const { default: component } = await import("data:text/javascript," + encodeURIComponent(source));
    const words = new Proxy({}, { get: (_, word) => String(word) });
    const items = [0, 1].map((number) => ({ files: [number], guess: "rose", why: "", name: `${number}.png` }));
    const data = { token: "1", path: "", items, classes: ["rose", "lily"], decisions: {}, refused: [], words };
    window.said = [];
    window.run = () => component({ data, parentElement: document.body, setStateValue: (_, value) => said.push(value) });
}"""


@pytest.fixture
def stage(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """A function that opens a page with one of the scripts, run twice and cleaned up once."""
    pages = []

    def open_page(name: str) -> Page:
        page = browser.new_page()
        pages.append(page)
        page.set_default_timeout(10_000)
        source = (Path(SCRIPT).parent / f"{name}.js").read_text(encoding="utf-8")
        page.evaluate(STAGE, [name, source])
        return page

    yield open_page
    for page in pages:
        page.close()


def test_name_that_is_being_typed_stays(stage: Callable[[str], Page]) -> None:
    page = stage("label")
    page.evaluate("window.cleanup = run()")
    page.keyboard.press("/")
    page.keyboard.type("some")
    page.evaluate("cleanup(); run()")
    page.keyboard.type("thing")
    page.keyboard.press("Enter")
    assert page.evaluate("said") == [{"0": "something"}]


def test_camera_that_answers_stays_on(stage: Callable[[str], Page]) -> None:
    page = stage("live")
    page.evaluate("window.cleanup = run()")
    page.locator("button.main").click()
    page.locator("button.main", has_text="stop").wait_for()
    page.evaluate("cleanup(); run()")
    assert page.evaluate("camera.getTracks()[0].readyState") == "live"


def test_camera_goes_off_where_the_page_is_left(stage: Callable[[str], Page]) -> None:
    page = stage("live")
    page.evaluate("window.cleanup = run()")
    page.locator("button.main").click()
    page.locator("button.main", has_text="stop").wait_for()
    page.evaluate("document.querySelector('.live').remove(); cleanup()")
    assert page.evaluate("camera.getTracks()[0].readyState") == "ended"

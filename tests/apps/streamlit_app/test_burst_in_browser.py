"""The camera of Teach, whose pictures are taken while its button is held, without the app around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from whatsit.apps.streamlit_app.server import SCRIPT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Cameras come when the test lets them: `answer` allows or denies the request of that number.
STAGE = """async (source) => {
    const asked = [], cameras = [];
    const getUserMedia = () => new Promise((allow, deny) => asked.push({ allow, deny }));
    Object.defineProperty(navigator, "mediaDevices", { value: { getUserMedia } });
    const { default: burst } = await import("data:text/javascript," + encodeURIComponent(source));
    const words = { denied: "denied", busy: "busy" };
    let root = null, cleanup = null;
    window.run = () => {
        if (!root) document.body.append((root = Object.assign(document.createElement("div"), { className: "burst" })));
        cleanup = burst({ data: { words }, parentElement: document.body, setTriggerValue() {} });
    };
    window.overtaken = () => cleanup();
    window.leave = () => { root.remove(); root = null; cleanup(); };
    window.answer = async (number, allowed) => {
        cameras[number] = document.createElement("canvas").captureStream();
        if (allowed) asked[number].allow(cameras[number]);
        else asked[number].deny(new DOMException("", "NotAllowedError"));
        await new Promise((done) => setTimeout(done));
    };
    window.asked = () => asked.length;
    window.states = () => cameras.map((camera) => camera.getTracks()[0].readyState);
    window.note = () => document.querySelector(".note").textContent;
}"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.evaluate(STAGE, (Path(SCRIPT).parent / "burst.js").read_text(encoding="utf-8"))
    yield page
    page.close()


def test_camera_is_on_until_the_page_is_left(page: Page) -> None:
    page.evaluate("run(); answer(0, true)")
    assert page.evaluate("states()") == ["live"]
    page.evaluate("leave()")
    assert page.evaluate("states()") == ["ended"]


def test_camera_that_is_allowed_after_the_page_was_left_goes_off_at_once(page: Page) -> None:
    page.evaluate("run(); leave(); answer(0, true)")
    assert page.evaluate("states()") == ["ended"]


def test_camera_is_asked_for_once_while_the_answer_is_awaited(page: Page) -> None:
    page.evaluate("run(); run(); answer(0, true)")
    assert page.evaluate("asked()") == 1
    page.evaluate("leave()")
    assert page.evaluate("states()") == ["ended"]


def test_page_that_was_left_and_opened_again_has_one_camera_on(page: Page) -> None:
    page.evaluate("run(); leave(); run(); answer(1, true); answer(0, true)")
    assert page.evaluate("states()") == ["ended", "live"]


def test_camera_stays_on_where_a_later_call_of_streamlit_has_overtaken_one(page: Page) -> None:
    page.evaluate("run(); answer(0, true)")
    page.evaluate("overtaken()")
    assert page.evaluate("states()") == ["live"]


def test_denied_camera_is_told_and_asked_for_again(page: Page) -> None:
    page.evaluate("run(); answer(0, false)")
    assert page.evaluate("note()") == "denied"
    page.evaluate("run(); answer(1, true)")
    assert page.evaluate("states()[1]") == "live"

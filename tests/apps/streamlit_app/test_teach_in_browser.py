"""Teach from nothing to a prediction, and what people say of answers, in a real browser."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import free_port, serving
from tests.conftest import encode, shapes
from tests.drawn import draw
from whatsit.images.collection import Collection
from whatsit.images.scan import scan
from whatsit.run.record import Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def jpeg(kind: str, seed: int) -> bytes:
    file = io.BytesIO()
    draw(kind, seed, (320, 240)).save(file, "JPEG", quality=90)
    return file.getvalue()


@pytest.fixture
def visit(browser: Browser, tmp_path: Path) -> Iterator[object]:
    """A function that starts the app with these arguments and opens it."""
    contexts, servers = [], []

    def open_app(*arguments: object) -> Page:
        port = free_port()
        command = ["whatsit.apps.cli", "app", *arguments, "--no-browser", "--port", port]
        server = serving(command, port, tmp_path)
        address = server.__enter__()
        servers.append(server)
        page = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 1200}).new_page()
        contexts.append(page.context)
        page.set_default_timeout(30_000)
        page.goto(address)
        page.get_by_role("heading", level=1).wait_for()
        return page

    yield open_app
    for context in contexts:
        context.close()
    for server in servers:
        server.__exit__(None, None, None)


def rest(page: Page) -> None:
    """Until the server's script is at rest: Streamlit may lose what is done to a page that is being redrawn."""
    page.locator("[data-test-script-state=notRunning]").wait_for()


def bring(page: Page, place: int, files: dict[str, bytes]) -> None:
    rest(page)
    payload = [{"name": name, "mimeType": "image/jpeg", "buffer": data} for name, data in files.items()]
    page.get_by_test_id("stFileUploaderDropzoneInput").nth(place).set_input_files(payload)


def add_kind(page: Page, kind: str) -> None:
    rest(page)
    page.get_by_label("Name of a kind").fill(kind)
    page.get_by_role("button", name="Add this kind").click()
    page.get_by_text(f"{kind} · 0 pictures").wait_for()


def take_with_camera(page: Page) -> None:
    """Hold the button of the only camera until it has taken ten pictures."""
    page.get_by_text("Use the camera").click()
    page.locator(".burst button:enabled", has_text="Hold to take pictures").hover()
    page.mouse.down()
    page.locator(".burst .note", has_text=re.compile(r"\d\d")).wait_for()
    page.mouse.up()
    rest(page)
    page.get_by_text("Use the camera").click()
    page.locator(".burst").wait_for(state="detached")


def test_teach_from_nothing_to_a_prediction(visit: object, tmp_path: Path) -> None:
    page = visit("--teach", tmp_path / "fruit")
    add_kind(page, "mangosteen")
    take_with_camera(page)  # the strip of pictures that appears meanwhile moves the button: it is held all the same
    page.get_by_text("mangosteen · 2 pictures").wait_for()  # all that this camera sees
    for place, kind in enumerate(("banana", "mango", "mangosteen")):
        if place < 2:
            add_kind(page, kind)
        bring(page, place, {f"{seed}.jpg": jpeg(kind, seed) for seed in range(3, 9)} | {"bad.jpg": b"words"})
        page.get_by_text(f"{kind} · {8 if kind == 'mangosteen' else 6} pictures").wait_for()
        page.get_by_text("1 files were left out, such as bad.jpg").wait_for()

    train = page.get_by_role("button", name="Train", exact=True)
    train.click()
    train.wait_for(state="detached")  # the server has heard it
    page.reload()  # nothing is lost
    page.get_by_text("How good is it?").wait_for(timeout=90_000)
    page.get_by_text("Every picture was tested once").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the model").click()
    assert download.value.suggested_filename == "fruit-1.whatsit"
    page.get_by_role("link", name="Try it").click()
    page.get_by_role("heading", name="Live camera").wait_for()
    page.get_by_role("button", name="Start the camera").click()
    page.locator(".live .answer .label").wait_for()


def test_wrong_answers_and_unsure_ones_are_kept_as_data(visit: object, fruit_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "feedback"
    page = visit(fruit_run.folder, "--feedback", folder)
    page.get_by_text("The owner of this app keeps pictures that you mark as wrong").first.wait_for()
    noise = encode(shapes("columns", 3, 200), "JPEG")
    bring(page, 0, {"strange.jpg": noise})
    page.get_by_role("button", name="That's wrong").click()
    page.get_by_role("combobox", name="What is it?").fill("stripes")
    page.get_by_role("combobox", name="What is it?").press("Enter")
    page.get_by_role("button", name="Keep the picture under this name").click()
    page.get_by_text("Thank you.").wait_for()
    assert [path.read_bytes() for path in Collection(folder).pictures("stripes")] == [noise]
    assert Collection(folder).waiting() == []  # the last word holds

    other = encode(shapes("rows", 4, 200), "JPEG")
    bring(page, 0, {"stranger.jpg": other})
    page.get_by_text("2 pictures in").wait_for()
    page.get_by_role("link", name="To label").click()
    page.get_by_role("button", name="It is “").first.click()
    page.get_by_text("None. They come here").wait_for()
    assert len(scan(folder).pictures) == 2

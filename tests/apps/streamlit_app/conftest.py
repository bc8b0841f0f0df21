"""The web app, started once as anybody would start it, and a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import free_port, serving
from tests.guard import NO_WAY_OUT, guarded
from whatsit.run.record import Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOME = "home"


@pytest.fixture(scope="session")
def app_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the app runs; it is to leave nothing here but its log."""
    folder = tmp_path_factory.mktemp("app")
    (folder / HOME).mkdir()
    return folder


@pytest.fixture(scope="session")
def app(fruit_run: Run, baseline_run: Run, hostile_run: Run, app_folder: Path) -> Iterator[str]:
    """The address of `whatsit app`, with the fruit model first, then the one of shapes and one with hostile names.

    Whatever its visitors did, it has asked no other computer for anything.
    """
    port = free_port()
    runs = [run.folder for run in (fruit_run, baseline_run, hostile_run)]
    log = app_folder.with_name(f"{app_folder.name}-asked.txt")
    command, environment = guarded(log, "whatsit.apps.cli", "app", *runs, "--no-browser", "--port", port)
    home = str(app_folder / HOME)
    with serving(command, port, app_folder, HOME=home, USERPROFILE=home, **NO_WAY_OUT, **environment) as address:
        yield address
    assert log.read_text() == ""


@pytest.fixture
def visit(browser: Browser, app: str) -> Iterator[Callable[..., Page]]:
    """A function that opens a page of the app as a new visitor; at the end, nobody outside was asked for anything."""
    contexts, strangers = [], []

    def note(url: str) -> None:
        if not url.startswith((app, app.replace("http", "ws"), "data:", "blob:")):
            strangers.append(url)

    def open_page(path: str = "", language: str = "en-US", width: int = 1280, **options: object) -> Page:
        height = 844 if width < 600 else 900
        context = browser.new_context(locale=language, viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.on("request", lambda request: note(request.url))
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(f"{app}/{path}")
        page.get_by_role("heading", level=1).wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert strangers == []

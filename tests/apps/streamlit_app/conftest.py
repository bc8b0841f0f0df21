"""The web app, started once as anybody would start it, and a browser."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import free_port, serving
from tests.guard import NO_WAY_OUT, guarded
from whatsit.run.record import Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request

HOME = "home"
FORGOTTEN = "cookies,local_storage,indexeddb,cache_storage,service_workers"  # by a browser, between two visitors


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


@pytest.fixture(scope="session")
def profiles(browser: Browser) -> Iterator[dict[str, list[BrowserContext]]]:
    """Browsers' profiles that are not in use, by their options: they keep the app's scripts, which are long, compiled."""
    kept: dict[str, list[BrowserContext]] = {}
    yield kept
    for profile in itertools.chain.from_iterable(kept.values()):
        profile.close()


@pytest.fixture
def visit(browser: Browser, profiles: dict[str, list[BrowserContext]], app: str) -> Iterator[Callable[..., Page]]:
    """A function that opens a page of the app as a new visitor; at the end, nobody outside was asked for anything."""
    opened: list[tuple[str, Page]] = []
    strangers: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith((app, app.replace("http", "ws"), "data:", "blob:")):
            strangers.append(request.url)

    def open_page(path: str = "", language: str = "en-US", width: int = 1280, **options: object) -> Page:
        size = {"width": width, "height": 844 if width < 600 else 900}
        kind = repr((language, size, options))
        kept = profiles.setdefault(kind, [])
        profile = kept.pop() if kept else browser.new_context(locale=language, viewport=size, **options)
        page = profile.new_page()
        opened.append((kind, page))
        profile.on("request", note)
        page.set_default_timeout(20_000)
        page.goto(f"{app}/{path}")
        page.get_by_role("heading", level=1).wait_for()
        return page

    yield open_page
    for kind, page in opened:
        profile = page.context
        profile.remove_listener("request", note)
        profile.new_cdp_session(page).send("Storage.clearDataForOrigin", {"origin": app, "storageTypes": FORGOTTEN})
        page.close()
        profiles[kind].append(profile)
    assert strangers == []

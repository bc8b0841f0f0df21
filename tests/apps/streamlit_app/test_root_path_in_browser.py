"""The web app below a path, as a reverse proxy shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.browser import free_port, serving
from tests.drawn import THAI
from whatsit.run.record import Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_all_that_the_pages_ask_for_is_below_the_root_path(browser: Browser, fruit_run: Run, tmp_path: Path) -> None:
    port = free_port()
    command = ["whatsit.apps.cli", "app", fruit_run.folder, "--no-browser", "--port", port, "--root-path", "/lab/pets"]
    with serving(command, port, tmp_path, "/lab/pets/_stcore/health") as address:
        context = browser.new_context(locale="en-US")
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))  # also of `data:` and `blob:`
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(f"{address}/lab/pets")  # without the slash
        page.get_by_role("link", name="Live camera").click()
        page.get_by_role("button", name="Start the camera").click()
        page.locator(".live .bars .name", has_text=THAI["mangosteen"]).wait_for()
        page.reload()
        page.get_by_role("link", name="About the model").click()
        page.get_by_role("heading", name="How good is this model?").wait_for()
        context.close()
    paths = {urlsplit(url).path for url in asked if url.startswith("http")}
    assert [path for path in paths if not path.startswith("/lab/pets/")] == ["/lab/pets"]
    assert "/lab/pets/whatsit/answer" in paths

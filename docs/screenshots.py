"""Takes the screenshots of the web app for the READMEs, with drawn pictures and scikit-learn's digits.

python docs/screenshots.py [FOLDER]      (docs/images by default; needs Chromium)
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402
from tests.browser import camera_video, chromium, free_port, serving  # noqa: E402
from tests.drawn import KINDS, draw, photos  # noqa: E402

import whatsit  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SHOWN = {"en": "en-US", "th": "th-TH"}


def main() -> None:
    """Train two models on drawn fruit, with English and with Thai names, and one on digits; then take every picture."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        runs = [train(work, language) for language in SHOWN]
        runs.append(whatsit.train("digits", out=work / "digits").folder)
        video = camera_video(work / "fruit.mjpeg", [draw("mango", seed, (640, 480)) for seed in (9, 9, 9)])
        port = free_port()
        command = ["whatsit.apps.cli", "app", *runs, "--no-browser", "--port", port]
        with serving(command, port, work) as address, chromium(video) as browser:
            for language in SHOWN:
                take(browser, address, target, language, f"fruit-{language}")
            report(browser, f"{address}/model?model=digits", target / "app-model.webp")


def train(work: Path, language: str) -> Path:
    """A model of drawn fruit."""
    data = work / f"fruit-{language}-pictures"
    for name, picture in photos(40, thai=language == "th").items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(picture)
    return whatsit.train(data, out=work / f"fruit-{language}").folder


def take(browser: Browser, address: str, target: Path, language: str, model: str) -> None:
    """A single picture (also on a phone, in the dark), many pictures, and the live camera."""
    for name, width, height, colours in (("", 1280, 860, "light"), ("-phone", 390, 844, "dark")):
        page = visit(browser, f"{address}/?model={model}", language, width, height, colours)
        bring(page, [("mango.jpg", "mango", 9)])
        page.locator(".w-picture .over").wait_for()
        settle(page, target / f"app-{language}{name}.webp")
    page = visit(browser, f"{address}/?model={model}", language, 1280, 900)
    bring(page, [(f"{kind}-{seed}.jpg", kind, seed) for seed in (51, 52, 53, 54) for kind in (*KINDS, "teapot")])
    page.get_by_test_id("stDataFrame").wait_for()
    settle(page, target / f"app-{language}-many.webp")
    page = visit(browser, f"{address}/live?model={model}", language, 1280, 900)
    page.locator(".live button.main").click()
    page.locator(".live .rate").wait_for()
    settle(page, target / f"app-{language}-live.webp")


def report(browser: Browser, address: str, path: Path) -> None:
    """The page about a model, from top to bottom."""
    page = visit(browser, address, "en", 1280, 900)
    page.locator("[data-testid=stVegaLiteChart] svg").nth(4).wait_for()
    height = page.evaluate("document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight")
    page.set_viewport_size({"width": 1280, "height": height + 80})
    settle(page, path)


def visit(browser: Browser, address: str, language: str, width: int, height: int, colours: str = "light") -> Page:
    """A page of the app, opened by a new visitor."""
    phone = {"device_scale_factor": 2} if width < 600 else {}
    context = browser.new_context(
        locale=SHOWN[language], viewport={"width": width, "height": height}, color_scheme=colours, **phone
    )
    page = context.new_page()
    page.goto(address)
    page.get_by_role("heading", level=1).wait_for()
    return page


def bring(page: Page, files: list[tuple[str, str, int]]) -> None:
    """Drop drawn pictures, given as name, kind and seed."""
    payload = []
    for name, kind, seed in files:
        data = io.BytesIO()
        draw(kind, seed, (640, 480)).save(data, "JPEG", quality=90)
        payload.append({"name": name, "mimeType": "image/jpeg", "buffer": data.getvalue()})
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(payload)


def settle(page: Page, path: Path) -> None:
    """Take the picture once nothing moves any more."""
    page.wait_for_timeout(2000)
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, quality=86, method=6)
    page.context.close()
    print(path)  # noqa: T201


if __name__ == "__main__":
    main()

"""Takes the screenshots of the apps for the READMEs, with drawn pictures and scikit-learn's digits.

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
    from playwright.sync_api import Browser, FilePayload, Page

MIXED = "IMG_19"  # pictures of two kinds
SHOWN = {"en": "en-US", "th": "th-TH"}


def main() -> None:
    """Train two models on drawn fruit, with English and with Thai names, and one on digits; then take every picture."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        runs = [train(work, language) for language in SHOWN]
        runs.append(whatsit.train("digits", out=work / "digits").folder)
        data = spoiled(work)
        taught = work / "things"
        video = camera_video(work / "fruit.mjpeg", [draw("mango", seed, (640, 480)) for seed in (9, 9, 9)])
        port = free_port()
        command = ["whatsit.apps.cli", "app", *runs, "--no-browser", "--port", port]
        with serving(command, port, work) as address, chromium(video) as browser:
            for language in SHOWN:
                take(browser, address, target, language, f"fruit-{language}")
            report(browser, f"{address}/model?model=digits", target / "app-model.webp")
            gradio(browser, work, runs, target)
            website(browser, work, runs, target)
            for language, run in zip(SHOWN, runs, strict=False):
                label(browser, work, run, target, language)
            port = free_port()
            command = ["whatsit.apps.cli", "app", "--data", data, "--teach", taught, "--no-browser", "--port", port]
            with serving(command, port, work) as address:
                put_right(browser, address, target)
                teach(browser, address, target)


def train(work: Path, language: str) -> Path:
    """A model of drawn fruit."""
    data = work / f"fruit-{language}-pictures"
    for name, picture in photos(40, thai=language == "th").items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(picture)
    return whatsit.train(data, out=work / f"fruit-{language}").folder


def spoiled(work: Path) -> Path:
    """Drawn fruit, some of it in the wrong folder or there twice, looked through."""
    data = work / "fruit-pictures"
    pictures = photos(40, thai=False)
    kinds = sorted({name.split("/")[0] for name in pictures})
    for number, (name, picture) in enumerate(pictures.items()):
        kind, file = name.split("/")
        if number % 40 == 7:
            kind = kinds[(kinds.index(kind) + 1) % len(kinds)]
        (data / kind).mkdir(parents=True, exist_ok=True)
        (data / kind / file).write_bytes(picture)
        if number % 25 == 0:
            image = Image.open(io.BytesIO(picture))
            image.crop((12, 8, int(image.width * 0.9), int(image.height * 0.9))).save(
                data / kind / f"cut-{file}", quality=85
            )
    whatsit.explore(data, out=work / "explore" / data.name)
    return data


def put_right(browser: Browser, address: str, target: Path) -> None:
    """The page of the data, in both languages."""
    for language in SHOWN:
        page = visit(browser, f"{address}/data", language, 1280, 1000)
        page.locator(".w-card img").first.wait_for()
        settle(page, target / f"app-{language}-data.webp")


def label(browser: Browser, work: Path, run: Path, target: Path, language: str) -> None:
    """The page where the model's suggestions are labelled, with some labels given by keys."""
    folder = market(work / {"en": "market", "th": "ตลาดเช้า"}[language])
    port = free_port()
    command = ["whatsit.apps.cli", "app", run, "--label", folder, "--no-browser", "--port", port]
    with serving(command, port, work) as address:
        page = visit(browser, f"{address}/label", language, 1280, 1000)
        page.get_by_test_id("stMainBlockContainer").get_by_role("button").click()
        page.locator(".label .card img").nth(11).wait_for()
        for number in range(4):
            page.keyboard.press(
                "0" if MIXED in page.locator(".label .card img").nth(number).get_attribute("alt") else "Enter"
            )
            page.wait_for_timeout(500)
        page.keyboard.press("Shift+ArrowRight")
        page.locator(".label .is").nth(3).wait_for()
        settle(page, target / f"app-{language}-label.webp")


def market(folder: Path) -> Path:
    """Pictures without labels: of one kind of fruit, of two beside each other, of a teapot."""
    folder.mkdir()
    for number, (kind, seed) in enumerate((kind, seed) for seed in (61, 62) for kind in (*KINDS, "teapot")):
        (folder / f"IMG_{2001 + number}.jpg").write_bytes(jpeg("", kind, seed)["buffer"])
    for number, (kind, other) in enumerate((("mango", "banana"), ("grapes", "mangosteen"), ("watermelon", "mango"))):
        image = Image.new("RGB", (640, 480))
        for place, half in enumerate((kind, other)):
            image.paste(draw(half, 63, (320, 480)), (320 * place, 0))
        image.save(folder / f"{MIXED}{number + 10}.jpg", quality=90)
    return folder


def teach(browser: Browser, address: str, target: Path) -> None:
    """The page of teaching, from nothing to a result."""
    page = visit(browser, f"{address}/", "en", 1280, 1000)
    for place, kind in enumerate(("banana", "grapes", "mango")):
        page.get_by_label("Name of a kind").fill(kind)
        page.get_by_role("button", name="Add this kind").click()
        page.get_by_text(f"{kind} · 0 pictures").wait_for()
        bring(page, [(f"{seed}.jpg", kind, seed) for seed in range(12)], place)
        page.get_by_text(f"{kind} · 12 pictures").wait_for()
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_text("How good is it?").wait_for(timeout=120_000)
    page.context.close()
    for language in SHOWN:
        page = visit(browser, f"{address}/teach", language, 1280, 1000)
        page.locator(".w-tile").first.wait_for()
        height = page.evaluate("document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight")
        page.set_viewport_size({"width": 1280, "height": height + 80})
        settle(page, target / f"app-{language}-teach.webp")


def gradio(browser: Browser, work: Path, runs: list[Path], target: Path) -> None:
    """The Gradio app, in both languages."""
    for language, run in zip(SHOWN, runs, strict=False):
        port = free_port()
        command = ["whatsit.apps.cli", "gradio", run, "--no-browser", "--port", port]
        with serving(command, port, work, health="/") as address:
            page = visit(browser, address, language, 1280, 900)
            payload = io.BytesIO()
            draw("mango", 9, (640, 480)).save(payload, "JPEG", quality=90)
            page.locator("input[type=file]").first.set_input_files(
                [{"name": "mango.jpg", "mimeType": "image/jpeg", "buffer": payload.getvalue()}]
            )
            page.locator(".w-answer b").first.wait_for()
            page.wait_for_timeout(1500)
            settle(page, target / f"gradio-{language}.webp")


def website(browser: Browser, work: Path, runs: list[Path], target: Path) -> None:
    """The exported page, on a computer in English and on a phone in Thai, in the dark."""
    for language, run, width, height, colours in (
        ("en", runs[0], 1280, 900, "light"),
        ("th", runs[1], 390, 844, "dark"),
    ):
        [exported] = whatsit.export(run, "web", out=work / f"web-{language}")
        port = free_port()
        command = ["http.server", port, "--bind", "127.0.0.1", "--directory", exported.path]
        with serving(command, port, work, health="/") as address:
            page = visit(browser, address, language, width, height, colours)
            page.wait_for_selector("html[data-ready]", state="attached")
            files = [("teapot.jpg", "teapot", 3), ("mango.jpg", "mango", 9)][1 if width < 600 else 0 :]
            page.set_input_files("#files", [jpeg(*one) for one in reversed(files)])
            page.wait_for_selector(f".result:nth-child({len(files)})[data-done=true]")
            page.locator(".result .row button").first.click()
            page.evaluate("scrollTo(0, innerWidth < 600 ? 140 : 0)")
            settle(page, target / f"web-{language}.webp")


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


def bring(page: Page, files: list[tuple[str, str, int]], place: int = 0) -> None:
    """Drop drawn pictures, given as name, kind and seed, on one of the fields."""
    page.get_by_test_id("stFileUploaderDropzoneInput").nth(place).set_input_files([jpeg(*one) for one in files])


def jpeg(name: str, kind: str, seed: int) -> FilePayload:
    """A drawn picture as a file."""
    data = io.BytesIO()
    draw(kind, seed, (640, 480)).save(data, "JPEG", quality=90)
    return {"name": name, "mimeType": "image/jpeg", "buffer": data.getvalue()}


def settle(page: Page, path: Path) -> None:
    """Take the picture once nothing moves any more."""
    page.wait_for_timeout(2000)
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, quality=86, method=6)
    page.context.close()
    print(path)  # noqa: T201


if __name__ == "__main__":
    main()

"""The web app as a visitor meets it, in headless Chromium.

Time to the first prediction, a drop of 100 pictures, the live camera, and the server's memory while one picture after
another is uploaded.

    python benchmarks/web_app.py MODEL FOLDER_OF_PICTURES [--uploads 1000]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.browser import camera_video, chromium, free_port, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--uploads", type=int, default=1000)
    options = parser.parse_args()
    pictures = sorted(path for path in options.pictures.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        video = camera_video(work / "video.mjpeg", [Image.open(path).convert("RGB") for path in pictures[:3]])
        port = free_port()
        command = ["whatsit.apps.cli", "app", Path(options.model).resolve(), "--no-browser", "--port", port]
        with chromium(video) as browser:
            started = time.perf_counter()
            with serving(command, port, work) as address:
                page = open_page(browser, address)
                answer(page, pictures[0])
                print(
                    f"start of the server to first answer in the browser: {time.perf_counter() - started:.1f} s",
                    flush=True,
                )
                page.context.close()
                print(
                    f"next visitor, page to answer: {statistics.median(visit(browser, address, p) for p in pictures[:3]):.1f} s"
                )
                print(f"100 pictures in one drop: {drop(browser, address, pictures, 100):.1f} s", flush=True)
                live(browser, address)
                memory(browser, address, pictures, options.uploads, port)


def open_page(browser: Browser, address: str) -> Page:
    page = browser.new_context(locale="en-US").new_page()
    page.goto(address)
    page.get_by_test_id("stFileUploaderDropzoneInput").wait_for(state="attached")
    return page


def answer(page: Page, picture: Path) -> None:
    page.get_by_test_id("stFileUploaderDropzoneInput").first.set_input_files(picture)
    page.locator(".w-answer").wait_for()


def visit(browser: Browser, address: str, picture: Path) -> float:
    started = time.perf_counter()
    page = open_page(browser, address)
    answer(page, picture)
    page.context.close()
    return time.perf_counter() - started


def drop(browser: Browser, address: str, pictures: list[Path], count: int) -> float:
    page = open_page(browser, address)
    started = time.perf_counter()
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files((pictures * count)[:count])
    page.get_by_text(f"{count} pictures in").wait_for(timeout=120_000)
    page.get_by_test_id("stDataFrame").wait_for()
    seconds = time.perf_counter() - started
    page.context.close()
    return seconds


def live(browser: Browser, address: str) -> None:
    page = open_page(browser, f"{address}")
    page.get_by_role("link", name="Live camera").click()
    page.get_by_role("button", name="Start the camera").click()
    page.locator(".live .rate").wait_for()
    rates = []
    for _ in range(10):
        page.wait_for_timeout(1000)
        rates.append(float(page.locator(".live").get_attribute("data-rate") or 0))
    print(f"live camera, 640 x 480: {statistics.median(rates):.1f} answers/s (least {min(rates):.1f})", flush=True)
    page.context.close()


def memory(browser: Browser, address: str, pictures: list[Path], uploads: int, port: int) -> None:
    process = server_process(port)
    page = open_page(browser, address)
    seen = []
    for number in range(uploads):
        answer(page, pictures[number % len(pictures)])
        page.get_by_role("button", name="Clear").click()
        page.get_by_text("Drop one picture, or a hundred").wait_for()
        if (number + 1) % max(1, uploads // 10) == 0:
            seen.append(resident_mb(process))
            print(f"after {number + 1} uploads: {seen[-1]:.0f} MB", flush=True)
    page.context.close()


def server_process(port: int) -> int:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if f"--port\0{port}\0".encode() in path.read_bytes():
            return int(path.parent.name)
    raise SystemExit("the server's process was not found (this part needs Linux)")


def resident_mb(process: int) -> float:
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()

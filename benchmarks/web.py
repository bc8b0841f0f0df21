"""An exported web page in headless Chromium, on one thread: size and speed.

Time from opening the page to the first answer (a new visitor, a host on this computer), of each picture after it, and the
answers a second of the live camera; one JSON document.

    python benchmarks/web.py WEBSITE FOLDER_OF_PICTURES [--pictures 50] [--visits 5]
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import functools
import json
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.browser import camera_video, chromium

from record import Figure, add_option, save

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LIVE_SECONDS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("website", type=Path, help="the folder of `whatsit export --format web`")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--visits", type=int, default=5)
    add_option(parser)
    options = parser.parse_args()
    files = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    files = files[:: max(1, len(files) // options.pictures)][: options.pictures]
    about = json.loads((options.website / "about.json").read_text(encoding="utf-8"))
    sizes = {path.name: path.stat().st_size for path in options.website.rglob("*") if path.is_file()}
    with tempfile.TemporaryDirectory() as temporary:
        video = camera_video(Path(temporary) / "video.mjpeg", [Image.open(path).convert("RGB") for path in files[:3]])
        with chromium(video) as browser, hosting(options.website) as address:
            firsts = sorted(first_answer(browser, address, files[0]) for _ in range(options.visits))
            page = visit(browser, address)
            each = [time_of(page, path) for path in files]
            rate = live(page)
            version = browser.version
    result = {
        "model": {key: about[key] for key in ("name", "precision", "size", "runtime")},
        "megabytes": round(sum(sizes.values()) / 1e6, 2),
        "megabytes_of": {name: round(sizes[name] / 1e6, 2) for name in ("model.onnx", "ort-wasm.bin")},
        "first_answer_s": {
            "median": round(statistics.median(firsts), 2),
            "fastest": round(firsts[0], 2),
            "worst": round(firsts[-1], 2),
        },
        "picture_ms": spread([one["all"] for one in each]),
        "of_it_reading_ms": spread([one["reading"] for one in each]),
        "of_it_model_ms": spread([one["model"] for one in each]),
        "live_answers_per_s": round(rate, 1),
        "threads": 1,
        "pictures": len(each),
        "browser": f"Chromium {version}",
        "processor": processor(),
    }
    print(json.dumps(result, indent=1))
    first, each_ms = result["first_answer_s"], result["picture_ms"]
    save(
        options.record,
        f"The exported web page ({about['precision']}), {result['browser']}, one thread",
        [
            Figure("the folder", result["megabytes"], "MB"),
            Figure("the model in it", result["megabytes_of"]["model.onnx"], "MB"),
            Figure("the runtime in it", result["megabytes_of"]["ort-wasm.bin"], "MB"),
            Figure(
                "opening the page, nothing cached, to the first answer",
                first["median"],
                "s",
                first["fastest"],
                first["worst"],
            ),
            Figure(
                "a picture after that",
                each_ms["median"],
                "ms",
                each_ms["fastest"],
                each_ms["p90"],
                f"median of {len(each)}, from the fastest to the slowest tenth",
            ),
            Figure("reading it", result["of_it_reading_ms"]["median"], "ms", note="of that; median"),
            Figure("live camera, 640 x 480", result["live_answers_per_s"], "answers/s"),
        ],
    )


def first_answer(browser: Browser, address: str, path: Path) -> float:
    """Seconds from opening the page, with nothing cached, to an answer that is shown."""
    began = time.perf_counter()
    page = visit(browser, address)
    page.set_input_files("#files", [path])
    page.wait_for_selector(".result[data-done=true]")
    seconds = time.perf_counter() - began
    page.context.close()
    return seconds


def visit(browser: Browser, address: str) -> Page:
    page = browser.new_context(locale="en-US", permissions=["camera"]).new_page()
    page.goto(address)
    page.wait_for_selector("html[data-ready]", state="attached")
    return page


def time_of(page: Page, path: Path) -> dict[str, float]:
    """Milliseconds of one picture, from its bytes to the answer in the page."""
    found: dict[str, float] = page.evaluate(
        """async (text) => {
            const blob = new Blob([Uint8Array.from(atob(text), (char) => char.charCodeAt(0))]);
            const began = performance.now();
            const { milliseconds } = await whatsit.model.predict(blob, { explain: true });
            return { all: performance.now() - began, ...milliseconds };
        }""",
        base64.b64encode(path.read_bytes()).decode(),
    )
    return found


def live(page: Page) -> float:
    """Answers a second of the live camera."""
    page.click("#camera")
    page.wait_for_selector("#live-rate[data-rate]")
    page.wait_for_timeout(1000 * LIVE_SECONDS)
    return float(page.get_attribute("#live-rate", "data-rate") or 0)


def spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "fastest": round(ordered[0], 1),
        "median": round(statistics.median(ordered), 1),
        "p90": round(ordered[int(0.9 * (len(ordered) - 1))], 1),
        "worst": round(ordered[-1], 1),
    }


@contextlib.contextmanager
def hosting(folder: Path) -> Iterator[str]:
    handler = functools.partial(
        type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}), directory=str(folder)
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def processor() -> str:
    """The processor's name, and how many cores may be used."""
    information: Any = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    name = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    best = next((flag for flag in ("avx512f", "avx2") if flag in flags), "")
    cores = len([line for line in lines if line.startswith("processor")]) or "?"
    return f"{name}, {cores} cores{f', {best}' if best else ''}"


if __name__ == "__main__":
    main()

"""Makes docs/images/whatsit.gif: from a folder of pictures, by one command, to the app. Drawn fruit; the times are real.

python docs/recording.py [FILE]      (needs Chromium)
"""

from __future__ import annotations

import base64
import html
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402
from tests.browser import camera_video, chromium, free_port, serving  # noqa: E402
from tests.drawn import KINDS, draw, photos  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZE = (960, 600)
STYLE = """body { margin: 0; background: #eceff1; font: 17px/1.5 "DejaVu Sans", sans-serif; color: #22313f; }
main { margin: 26px; background: #fff; border-radius: 12px; height: 548px; overflow: hidden; box-shadow: 0 2px 14px #0003; }
header { background: #dde3e8; padding: 9px 18px; font-weight: 600; }
.files { padding: 18px 24px; display: grid; gap: 12px; }
.row { display: flex; align-items: center; gap: 8px; } .row b { width: 118px; font-weight: 500; }
img { height: 74px; border-radius: 5px; }
pre { margin: 0; padding: 18px 24px; background: #14202b; color: #dbe6ee; height: 480px;
font: 16px/1.55 "DejaVu Sans Mono", monospace; white-space: pre-wrap; } i { color: #5fd0a5; font-style: normal; }"""


class Film:
    """Frames with their times."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._frames: list[Image.Image] = []
        self._times: list[int] = []

    def shoot(self, milliseconds: int) -> None:
        """The page as it is now, shown so long."""
        self._frames.append(Image.open(io.BytesIO(self._page.screenshot())).convert("RGB"))
        self._times.append(milliseconds)

    def save(self, path: Path) -> None:
        """As a GIF."""
        drawn = [frame.quantize(128, dither=Image.Dither.NONE) for frame in self._frames]
        drawn[0].save(path, save_all=True, append_images=drawn[1:], duration=self._times, loop=0, optimize=True)


def main() -> None:
    """Draw, train, film."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "whatsit.gif"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, picture in photos(40, thai=False).items():
            (work / "fruit" / name).parent.mkdir(parents=True, exist_ok=True)
            (work / "fruit" / name).write_bytes(picture)
        lines = train(work)
        video = camera_video(work / "fruit.mjpeg", [draw("mango", seed, (640, 480)) for seed in (9, 9, 9)])
        port = free_port()
        with (
            serving(["whatsit.apps.cli", "app", "runs", "--no-browser", "--port", port], port, work) as address,
            chromium(video) as browser,
        ):
            width, height = SIZE
            page = browser.new_context(locale="en-US", viewport={"width": width, "height": height}).new_page()
            film = Film(page)
            show_folder(page, film, work / "fruit")
            show_terminal(page, film, lines)
            show_app(page, film, address)
            film.save(target)
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")  # noqa: T201


def train(work: Path) -> list[tuple[float, str]]:
    """What `whatsit train fruit` prints, with the seconds after which it does."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "whatsit.apps.cli", "train", "fruit"]
    process = subprocess.Popen(  # noqa: S603 - our own
        command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    lines = [(time.perf_counter() - started, line.rstrip()) for line in process.stdout]
    if process.wait():
        raise SystemExit("\n".join(line for _, line in lines))
    return lines


def show_folder(page: Page, film: Film, folder: Path) -> None:
    """Class folders with their pictures."""
    rows = []
    for kind in sorted(path.name for path in folder.iterdir()):
        files = sorted((folder / kind).iterdir())[:7]
        pictures = "".join(
            f'<img src="data:image/jpeg;base64,{base64.b64encode(small(file)).decode()}">' for file in files
        )
        rows.append(f'<div class="row"><b>{kind}/</b>{pictures}</div>')
    page.set_content(f"<style>{STYLE}</style><main><header>fruit</header><div class=files>{''.join(rows)}</div></main>")
    page.wait_for_timeout(300)
    film.shoot(2600)


def small(file: Path) -> bytes:
    """A picture as it is shown in the folder."""
    made = io.BytesIO()
    picture = Image.open(file)
    picture.thumbnail((160, 100))
    picture.save(made, "JPEG", quality=85)
    return made.getvalue()


def show_terminal(page: Page, film: Film, lines: list[tuple[float, str]]) -> None:
    """The command, typed, and what it prints; pauses are shown three times as fast."""
    command = "whatsit train fruit"

    def draw_terminal(typed: str, printed: list[str]) -> None:
        text = html.escape("\n".join(printed))
        body = f"<pre><i>$</i> {typed}\n{text}</pre>"
        page.set_content(f"<style>{STYLE}</style><main><header>Terminal</header>{body}</main>")

    for end in range(0, len(command) + 1, 4):
        draw_terminal(command[:end], [])
        film.shoot(160)
    before = 0.0
    for number, (at, _) in enumerate(lines):
        draw_terminal(command, [line for _, line in lines[:number]][-17:])
        film.shoot(max(60, round(1000 * (at - before) / 3)))
        before = at
    draw_terminal(command, [line for _, line in lines][-17:])
    film.shoot(3200)
    draw_terminal("whatsit app runs/fruit-fast", [])
    film.shoot(1300)


def show_app(page: Page, film: Film, address: str) -> None:
    """A picture is answered, then many, then the camera."""
    page.goto(address)
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_timeout(1200)
    film.shoot(1500)
    bring(page, [("lunch.jpg", "mango", 9)])
    page.locator(".w-picture .over").wait_for()
    page.wait_for_timeout(1500)
    film.shoot(3500)
    page.goto(f"{address}/live")
    page.locator(".live button.main").click()
    page.locator(".live .rate").wait_for()
    page.wait_for_timeout(1500)
    film.shoot(3500)


def bring(page: Page, files: list[tuple[str, str, int]]) -> None:
    """Drop drawn pictures, given as name, kind and seed."""
    payload = []
    for name, kind, seed in files:
        assert kind in KINDS
        data = io.BytesIO()
        draw(kind, seed, (640, 480)).save(data, "JPEG", quality=90)
        payload.append({"name": name, "mimeType": "image/jpeg", "buffer": data.getvalue()})
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(payload)


if __name__ == "__main__":
    main()

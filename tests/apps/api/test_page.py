"""The page at `/`, in a real browser."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.apps.api.conftest import Running
from tests.browser import camera_video, chromium
from tests.conftest import shapes


def test_picture_gets_its_answer_and_its_evidence(api: Running, disc: bytes, tmp_path: Path) -> None:
    video = camera_video(tmp_path / "camera.mjpeg", [Image.fromarray(shapes("disc", 1))])
    (tmp_path / "disc.png").write_bytes(disc)
    (tmp_path / "notes.png").write_bytes(b"words")
    with chromium(video) as browser:
        page = browser.new_page(locale="th-TH")
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(api.url)
        assert page.inner_text("h1") == "ในรูปนี้คืออะไร"
        page.set_input_files("#file", tmp_path / "disc.png")
        page.wait_for_selector("#result img")
        assert page.inner_text("#result .bar >> nth=0 >> span >> nth=0") == "disc"
        assert problems == []
        page.goto(f"{api.url}/?lang=en")
        page.set_input_files("#file", tmp_path / "notes.png")
        page.wait_for_selector("#result .error")
        assert "the file holds text, not a picture" in page.inner_text("#result .error")

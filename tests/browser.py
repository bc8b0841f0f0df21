"""A real browser for the tests: Debian's Chromium, driven by Playwright, with a camera that shows a video of the test's."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def camera_video(path: Path, pictures: list[Image.Image], size: tuple[int, int] = (640, 480)) -> Path:
    """A Motion JPEG video that shows each picture for a third of a second, over and over, for Chromium's fake camera."""
    video = bytearray()
    for picture in pictures:
        file = io.BytesIO()
        picture.resize(size).save(file, "JPEG", quality=90, subsampling=2)
        video += 10 * file.getvalue()
    path.write_bytes(video)
    return path


@contextmanager
def chromium(video: Path) -> Iterator[Browser]:
    """A headless browser whose camera shows the video; the test is skipped where there is none (in CI it fails)."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed; .ci/run is to install it")
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    camera = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
    ]
    with _driver() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_QUIET, *camera])
        yield browser
        browser.close()


_USERS: list[
    Playwright
] = []  # the driver of this process, once for each browser that is open: it can be started only once


@contextmanager
def _driver() -> Iterator[Playwright]:
    from playwright.sync_api import sync_playwright

    _USERS.append(_USERS[0] if _USERS else sync_playwright().start())
    try:
        yield _USERS[0]
    finally:
        driver = _USERS.pop()
        if not _USERS:
            driver.stop()


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(
    command: list[object], port: int, cwd: Path, health: str = "/_stcore/health", **environment: str
) -> Iterator[str]:
    """A server as a process of its own; the address, once it answers."""
    address = f"http://127.0.0.1:{port}"
    log = cwd / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, command)],
            cwd=cwd,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    try:
        wait_for(address + health, process, log)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it answers; an end of the process is an error."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            break
    raise AssertionError(f"the server did not start: {log.read_text()[-2000:]}")

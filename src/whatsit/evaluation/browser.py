"""Prove an exported page in a browser: its own code predicts as the model does."""

from __future__ import annotations

import base64
import functools
import math
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.arrays import Images
from whatsit.bundle.website import read_website
from whatsit.engines import open_engine
from whatsit.errors import ModelError, WhatsitError, require_packages
from whatsit.evaluation.exported import TOLERANCES
from whatsit.evaluation.parity import TOLERANCE, Parity, Proof
from whatsit.events import Reporter
from whatsit.runtime.predictor import Answer, to_answers

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
PAGE_TOLERANCE = 1e-3  # largest allowed difference of a probability between the page and its own graph
_UNREADABLE = "picture-format"  # the page's word for a format that this browser cannot read
_SECONDS = 120.0  # until a page is ready, on a slow machine
_ASK = """async (text) => {
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    try {
        const { probabilities, score, unknown, label } = await globalThis.whatsit.model.predict(new Blob([bytes]));
        return { probabilities: [...probabilities], score: Number.isNaN(score) ? null : score, unknown, label };
    } catch (error) {
        return { code: error.code ?? 'error', detail: error.message };
    }
}"""


class NoBrowserError(WhatsitError):
    """What drives a page, or a browser, is not installed."""


def check_website(page: Path, proof: Proof, reporter: Reporter) -> Iterator[Parity]:
    """Compare an exported page with the model: its graph, then its code in Chromium.

    The page must give the probabilities of its graph to 1e-3 and the same label for every picture file that the browser can read.
    In float32 the model and the page must call the same pictures unknown; in others, where scores near the threshold move, those
    that they do not are counted in a warning.

    Args:
        page: `model.onnx` in the website's folder, or a page in a single file.
        proof: the picture files with their predictions.
        reporter: gets warnings, also about files that the browser cannot read.

    Raises:
        BundleError: the website is damaged or incomplete.
        ModelError: the page does not start.
        NoBrowserError: there is nothing here to open it with.
    """
    about, graph = read_website(page)
    name = f"{page.parent.name}/{page.name}" if page.suffix != ".html" else page.name
    answers = _answers_of(graph, about, proof.pixels)
    tolerance = TOLERANCES.get(about["precision"], TOLERANCE)
    compared = proof.compare(name, answers, int8=about["precision"] == "int8", scores=False, tolerance=tolerance)
    if apart := proof.called_otherwise(answers):
        reporter.warn(
            f"{name}: of {len(answers):,} pictures, {apart:,} are unknown to the page and not to the model, or to the model only"
        )
    yield replace(compared, passed=compared.passed and not (apart and about["precision"] == "float32"))
    with ThreadPoolExecutor(1) as beside:  # Playwright refuses a thread with an event loop, as a notebook's has
        found, browser, foreign = beside.submit(_predict_files, page, proof.files).result()
    unread = [file for file, answer in zip(proof.names, found, strict=True) if answer.get("code") == _UNREADABLE]
    if unread:
        reporter.warn(f"{name}: this browser cannot read {', '.join(unread)}; the page says so")
    if foreign:
        reporter.warn(f"{name}: the page asked another host: {foreign[0]}")
    yield _compare(
        f"{name}, {browser}, {len(found) - len(unread)} files",
        replace(proof, wanted=tuple(answers)),
        found,
        bool(foreign),
    )


def _predict_files(page: Path, files: Sequence[bytes]) -> tuple[list[dict[str, Any]], str, list[str]]:
    """Return what the page says to each file, and the browser's name.

    Also the addresses of other hosts that it asks.
    """
    with open_page(page) as (opened, foreign):
        found = [opened.evaluate(_ASK, base64.b64encode(data).decode()) for data in files]
        browser = opened.context.browser
        return found, browser.browser_type.name if browser else "browser", foreign


def _answers_of(graph: bytes, about: Mapping[str, Any], pixels: Images) -> list[Answer]:
    outputs = ["probabilities", *(["ood_score"] if about.get("unknown") else [])]
    engine = open_engine(graph, outputs, runtime="onnxruntime")
    answers = []
    for picture in pixels:
        probabilities, *scores = engine.run(picture[None])
        answers += to_answers(probabilities, scores[0] if scores else None)
    return answers


def _compare(way: str, proof: Proof, found: Sequence[Mapping[str, Any]], is_leaking: bool) -> Parity:
    """Compare a page's predictions with its graph's, of the files that it reads."""
    read = [
        (answer, wanted)
        for answer, wanted in zip(found, proof.wanted, strict=True)
        if answer.get("code") != _UNREADABLE
    ]
    if not read or any(
        "code" in answer or len(answer["probabilities"]) != len(proof.bundle.classes) for answer, _ in read
    ):
        return proof.failed(way)
    answers = [
        Answer(np.array(answer["probabilities"], np.float32), math.nan if answer["score"] is None else answer["score"])
        for answer, _ in read
    ]
    part = replace(proof, wanted=tuple(wanted for _, wanted in read))
    result = part.compare(way, answers, scores=False, tolerance=PAGE_TOLERANCE)
    alike = all(
        part.is_unknown(wanted) in (None, answer["unknown"]) and answer["label"] in part.labels_of(wanted)
        for answer, wanted in read
    )
    return replace(result, passed=result.passed and alike and not is_leaking)


def find_chromium() -> str | None:
    """Return the path of a Chromium: `$CHROMIUM`, one on the PATH, or None."""
    chosen = os.environ.get("CHROMIUM", "").strip()
    return shutil.which(chosen) if chosen else next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def open_page(page: Path) -> Iterator[tuple[Page, list[str]]]:
    """Open an exported page in headless Chromium.

    Yields it, and the list of the addresses of other hosts that it asks. For a thread without an event loop.

    A folder is served on a port of this computer, a single file is opened as a file.

    Raises:
        NoBrowserError: playwright or Chromium is missing. ModelError: the page does not start; the message is its own.
    """
    about, _ = read_website(page)
    with _browser() as browser, _address_of(page, str(about.get("base_path") or "/")) as address:
        context = browser.new_context(locale="en-US")
        opened = context.new_page()
        foreign: list[str] = []
        own = (address.removesuffix("index.html"), "blob:", "data:")
        context.on("request", lambda request: None if request.url.startswith(own) else foreign.append(request.url))
        opened.goto(address)
        opened.wait_for_selector("html[data-ready], #failure:not([hidden])", timeout=1000 * _SECONDS, state="attached")
        if not opened.locator("html[data-ready]").count():
            raise ModelError(f"{page}: the page does not start in the browser: {opened.inner_text('#failure-text')}")
        yield opened, foreign


@contextmanager
def _browser() -> Iterator[Browser]:
    require_packages("A page in a browser", "browser", "playwright")
    chromium = find_chromium()
    if chromium is None:
        raise NoBrowserError(
            "there is no Chromium to open it; install one (Debian, Ubuntu: apt-get install chromium), or name it in CHROMIUM"
        )
    from playwright.sync_api import Error, sync_playwright

    arguments = ["--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium has none for root
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
            try:
                yield browser
            finally:
                browser.close()
    except Error as error:
        raise ModelError(f"{chromium}: the browser failed: {str(error).strip().splitlines()[0][:200]}") from None


@contextmanager
def _address_of(page: Path, base_path: str) -> Iterator[str]:
    if page.suffix == ".html":
        yield page.absolute().as_uri()
        return
    handler = functools.partial(_Files, directory=str(page.parent), base_path=base_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{base_path}index.html"
        finally:
            server.shutdown()
            thread.join()


class _Files(SimpleHTTPRequestHandler):
    """Serve a folder below a path, and say nothing."""

    def __init__(self, *args: Any, base_path: str, **options: Any) -> None:
        self._below = base_path
        super().__init__(*args, **options)

    def translate_path(self, path: str) -> str:
        """Return the file of an address."""
        return super().translate_path("/" + path.removeprefix(self._below))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing."""

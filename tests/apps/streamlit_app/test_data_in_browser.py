"""The page where data are put right, in a real browser, without any model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import free_port, serving
from tests.conftest import encode, shapes
from whatsit.apps.streamlit_app.data_review import DataReview
from whatsit.images.edits import in_force, read_edits

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "<b>rows*"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, one with a hostile name; a picture likely in the wrong one, a pair nearly the same, an unreadable file."""
    folder = tmp_path_factory.mktemp("data")
    for label in ("disc", HOSTILE):
        (folder / "shapes" / label).mkdir(parents=True)
        for number in range(4):
            (folder / "shapes" / label / f"{number}.png").write_bytes(encode(shapes("disc", number)))
    (folder / "shapes" / "disc" / "broken.png").write_bytes(b"words")
    return folder / "shapes"


@pytest.fixture
def page(data: Path, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.chdir(tmp_path)
    review = DataReview(data)
    near = [f"disc/{number}.png" for number in (2, 3)]
    findings = [
        {
            "kind": "label",
            "images": ["disc/1.png"],
            "labels": ["disc"],
            "reason": "x",
            "suggested": HOSTILE,
            "confidence": 0.9,
        },
        {"kind": "near", "images": near, "labels": ["disc", "disc"], "reason": "nearly"},
        {"kind": "unreadable", "images": ["disc/broken.png"], "reason": "in English"},
    ]
    review.folder.mkdir(parents=True)
    document = {"findings": findings, "notes": [], "fingerprint": review.dataset.fingerprint()}
    (review.folder / "explore.json").write_text(json.dumps(document))
    port = free_port()
    with serving(
        ["whatsit.apps.cli", "app", "--data", data, "--no-browser", "--port", port], port, tmp_path
    ) as address:
        page = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(20_000)
        page.goto(address)
        page.get_by_role("heading", level=1).wait_for()
        yield page
        page.context.close()


def decisions(data: Path) -> list[tuple[str, str, str]]:
    return [(edit.image, edit.action, edit.label) for edit in in_force(read_edits(data)).values()]


def test_labels_are_put_right_pictures_left_out_and_decisions_taken_back(page: Page, data: Path) -> None:
    page.get_by_role("button", name=f"It is “{HOSTILE}”").click()
    page.get_by_text("Nothing of this kind is left to look at").wait_for()
    assert decisions(data) == [("disc/1.png", "label", HOSTILE)]

    page.get_by_role("radio", name="Nearly the same").or_(page.get_by_role("button", name="Nearly the same")).click()
    page.get_by_role("button", name="Leave it out").first.click()
    page.get_by_text("Nothing of this kind is left to look at").wait_for()
    assert ("disc/2.png", "exclude", "") in decisions(data)

    page.get_by_role("radio", name="Cannot be read").or_(page.get_by_role("button", name="Cannot be read")).click()
    page.get_by_text("This is not a picture in a format we read").wait_for()

    page.get_by_role("radio", name="All pictures").or_(page.get_by_role("button", name="All pictures")).click()
    decision = page.get_by_text(f"it is “{HOSTILE}”, not “disc”")
    decision.wait_for(state="attached")  # else what is not there yet would pass for detached
    _until_done(page)  # else what is drawn anew for a moment would
    page.get_by_role(
        "button", name="Take back", exact=True
    ).click()  # the only one: what was left out is shown in the log
    decision.wait_for(state="detached")
    _until_done(page)
    assert decisions(data) == [("disc/2.png", "exclude", "")]


def _until_done(page: Page) -> None:
    """Wait until the page has been drawn."""
    page.locator("[data-test-script-state=notRunning]").wait_for()

"""The button that makes a web page of a model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from whatsit.apps.own_command import CommandError
from whatsit.apps.streamlit_app import sharing


def page(model: str, language: str) -> None:
    from pathlib import Path

    from whatsit.apps.streamlit_app import sharing
    from whatsit.apps.texts import Texts

    sharing.show(Path(model), "flowers", Texts(language))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "flowers.whatsit"
    path.write_bytes(b"a model")
    return path


@pytest.mark.parametrize(("language", "host"), [("en", "drag the folder onto"), ("th", "ลากโฟลเดอร์ไปวางที่")])
def test_it_says_how_to_put_the_page_online(
    model: Path, monkeypatch: pytest.MonkeyPatch, language: str, host: str
) -> None:
    monkeypatch.setattr(sharing, "website_zip", lambda path: b"PK of " + path.name.encode())
    drawn = AppTest.from_function(page, args=(str(model), language)).run()
    assert not drawn.get("download_button")
    drawn.button[0].click().run()
    assert not drawn.exception
    assert len(drawn.get("download_button")) == 1
    lines = drawn.markdown[-1].value.splitlines()
    assert len(lines) == 3
    assert host in lines[0]


def test_what_went_wrong_is_shown(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> bytes:
        raise CommandError("a web page needs the npm package <b>")

    monkeypatch.setattr(sharing, "website_zip", fail)
    drawn = AppTest.from_function(page, args=(str(model), "en")).run()
    drawn.button[0].click().run()
    assert not drawn.exception
    assert "The page could not be made: a web page needs the npm package" in drawn.error[0].value
    assert not drawn.get("download_button")


def test_another_model_needs_a_page_of_its_own(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "website_zip", lambda path: b"PK")
    drawn = AppTest.from_function(page, args=(str(model), "en")).run()
    drawn.button[0].click().run()
    model.write_bytes(b"trained again")
    os.utime(model, ns=(1, 1))
    drawn.run()
    assert not drawn.get("download_button")

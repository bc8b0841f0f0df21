"""Which pages there are, by what the app offers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.apps.streamlit_app.test_teaching import FakeTrainer
from tests.conftest import encode, shapes
from whatsit.apps.streamlit_app.data_review import DataReview
from whatsit.apps.streamlit_app.feedback import Feedback
from whatsit.apps.streamlit_app.labelling import Labelling
from whatsit.apps.streamlit_app.model_registry import ModelRegistry
from whatsit.apps.streamlit_app.server import SCRIPT
from whatsit.apps.streamlit_app.state import STATE
from whatsit.apps.streamlit_app.teaching import Teaching
from whatsit.run.record import Run

NO_MODEL = "There is no model here yet"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., AppTest]:
    """A function that draws the first page for a visitor of an app that offers these."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WHATSIT_MODELS", raising=False)

    def draw(*models: Path, **offered: object) -> AppTest:
        registry = ModelRegistry()
        registry.offer(models)
        for name in ("review", "teaching", "feedback", "labelling"):
            monkeypatch.setattr(STATE, name, offered.get(name))
        monkeypatch.setattr(STATE, "models", registry)
        drawn = AppTest.from_file(SCRIPT, default_timeout=30).run()
        assert not drawn.exception
        return drawn

    return draw


def words(app: AppTest) -> str:
    """All HTML of the page."""
    return " ".join(html.proto.body for html in app.get("html"))


def test_app_without_anything_says_how_to_get_a_model(app: Callable[..., AppTest]) -> None:
    drawn = app()
    assert NO_MODEL in drawn.sidebar.info[0].value
    assert len(drawn.title) == 0


def test_first_page_of_a_model_takes_pictures(app: Callable[..., AppTest], baseline_run: Run, tmp_path: Path) -> None:
    drawn = app(baseline_run.folder)
    assert drawn.title[0].value == "What is in the picture?"
    assert "nothing is saved" in words(drawn)
    drawn = app(baseline_run.folder, feedback=Feedback(tmp_path / "kept", is_private=True))
    assert "The owner of this app keeps pictures" in words(drawn)


def test_labelled_pictures_are_said_to_be_kept(app: Callable[..., AppTest], baseline_run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    said = words(app(baseline_run.folder, labelling=Labelling(tmp_path / "photos")))
    assert "Pictures that you label are kept in the folder photos-labelled" in said
    assert "nothing is saved" not in said


def test_data_without_a_model_are_the_only_page(
    app: Callable[..., AppTest], make_folder: Callable[[dict[str, bytes]], Path]
) -> None:
    folder = make_folder({f"{label}/{i}.png": encode(shapes(label, i)) for label in ("disc", "rows") for i in range(2)})
    drawn = app(review=DataReview(folder))
    assert drawn.title[0].value == "Put the data right"


def test_pictures_that_nobody_looked_through_are_not_counted_as_good(
    app: Callable[..., AppTest], make_folder: Callable[[dict[str, bytes]], Path]
) -> None:
    folder = make_folder({f"{label}/{i}.png": encode(shapes(label, i)) for label in ("disc", "rows") for i in range(2)})
    review = DataReview(folder)
    assert "<b>–</b><span>things to look at</span><small>not looked at yet</small>" in words(app(review=review))
    review.folder.mkdir(parents=True)
    (review.folder / "explore.json").write_text('{"findings": [], "fingerprint": ""}')
    assert "<b>0</b><span>things to look at</span><small></small>" in words(app(review=review))


def test_teach_is_the_first_page_until_there_is_a_model(
    app: Callable[..., AppTest], baseline_run: Run, tmp_path: Path
) -> None:
    teaching = Teaching(tmp_path / "things", FakeTrainer())
    drawn = app(teaching=teaching)
    assert drawn.title[0].value == "Teach it what things are"
    assert len(drawn.sidebar.info) == 0
    assert app(baseline_run.folder, teaching=teaching).title[0].value == "What is in the picture?"

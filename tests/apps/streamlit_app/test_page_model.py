"""The page about the model."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from whatsit.run.record import Run
from whatsit.verbs.costs import put_costs


def page(model: str, language: str) -> None:
    """Draw the page; a script of its own."""
    from whatsit.apps.streamlit_app import page_model
    from whatsit.apps.streamlit_app.model_registry import ModelRegistry
    from whatsit.apps.texts import Texts

    registry = ModelRegistry()
    registry.offer([model])
    page_model.show(registry.open(registry.entries()[0]), Texts(language))


@pytest.mark.parametrize(("language", "title"), [("en", "What mistakes cost"), ("th", "คำตอบผิดเสียหายแค่ไหน")])
def test_prices_and_promises_are_shown(baseline_run: Run, tmp_path: Path, language: str, title: str) -> None:
    costs = {"prices": {"disc -> rows": 7}, "never_miss": {"disc": "1 in 3"}, "only_from": {"columns": 0.75}}
    put_costs(baseline_run.folder, costs, tmp_path / "careful.whatsit")
    drawn = AppTest.from_function(page, args=(str(tmp_path / "careful.whatsit"), language), default_timeout=60).run()
    assert not drawn.exception
    assert title in [header.value for header in drawn.header]
    words = " ".join(html.proto.body for html in drawn.get("html"))
    assert all(word in words for word in ("rows", "“disc”", "“columns”", "75.0\u00a0%"))


def test_a_model_without_costs_has_no_such_part(baseline_run: Run) -> None:
    drawn = AppTest.from_function(page, args=(str(baseline_run.model), "en"), default_timeout=60).run()
    assert not drawn.exception
    assert "What mistakes cost" not in [header.value for header in drawn.header]

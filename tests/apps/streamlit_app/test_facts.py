from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from whatsit.apps.streamlit_app.facts import read_facts
from whatsit.verbs.train import Run


def test_facts_of_a_run(baseline_run: Run) -> None:
    facts = read_facts(baseline_run.load().bundle)
    assert facts.figures == baseline_run.test
    assert (facts.source, facts.network, facts.recipe) == ("shapes", "simple-cnn", "baseline")
    assert facts.pictures is not None
    assert sum(facts.pictures["test"].values()) == baseline_run.test.n


@pytest.mark.parametrize(
    "changed",
    [
        {"test": {}},
        {"test": {"accuracy": "high"}},
        {"test": None},
        {"provenance": {}},
        {"provenance": {"data": 3, "recipe": [], "created": {}}},
        {"provenance": {"data": {"source": 7, "pictures": {"train": 3}}}},
    ],
)
def test_damaged_facts_count_as_missing(baseline_run: Run, changed: dict[str, Any]) -> None:
    facts = read_facts(dataclasses.replace(baseline_run.load().bundle, **changed))
    if "test" in changed:
        assert facts.figures is None
    else:
        assert (facts.source, facts.created, facts.pictures) == ("", "", None)


def test_figures_of_other_classes_count_as_missing(baseline_run: Run) -> None:
    bundle = baseline_run.load().bundle
    assert read_facts(dataclasses.replace(bundle, classes=("a", "b", "c"))).figures is None

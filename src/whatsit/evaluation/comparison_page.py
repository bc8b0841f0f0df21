"""The page of two models: figures, classes, and what they name differently."""

from __future__ import annotations

from pathlib import Path

from whatsit.errors import ImageError
from whatsit.evaluation.page import base64_of, jpeg_of, render_page
from whatsit.evaluation.paired import ModelComparison
from whatsit.images.decode import decode_within
from whatsit.images.scan import Dataset

TEMPLATE = Path(__file__).parent / "comparison.html.jinja"
SHOWN = 24  # pictures of a kind
SIDE = 200  # pixels


def render(found: ModelComparison, dataset: Dataset) -> str:
    """Return the page as HTML."""
    first, second = found.models
    titles = {
        "lost": f"Only {first} is right",
        "won": f"Only {second} is right",
        "both wrong": "Both are wrong, each in its own way",
    }
    sections = []
    for kind, title in titles.items():
        ones = [one for one in found.differing if one.kind == kind]
        shown = [(one, _picture(dataset, one.name)) for one in ones[:SHOWN]]
        sections.append((title, shown, len(ones) - len(shown)))
    return render_page(TEMPLATE, found=found, data=Path(dataset.source).name, sections=sections)


def _picture(dataset: Dataset, name: str) -> str:
    try:
        return base64_of(jpeg_of(decode_within(dataset.store.read(name), SIDE)))
    except ImageError:
        return ""

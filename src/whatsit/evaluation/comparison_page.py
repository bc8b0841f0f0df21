"""The page of two models: figures, classes, and what they name differently."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from whatsit.errors import UsageError
from whatsit.evaluation.page import picture_of, render_page
from whatsit.evaluation.paired import Differing, ModelComparison
from whatsit.images.scan import Dataset

TEMPLATE = Path(__file__).parent / "comparison.html.jinja"
SHOWN = 24  # pictures of a kind
SIDE = 200  # pixels


Section = tuple[str, list[tuple[Differing, str]], int]  # title, pictures with their JPEG in base64, and how many more


def render(found: ModelComparison, dataset: Dataset) -> str:
    """Return the page as HTML."""
    first, second = found.models
    titles = {
        "lost": f"Only {first} is right",
        "won": f"Only {second} is right",
        "both wrong": "Both are wrong, each in its own way",
    }
    sections = sections_of(found, dataset, SHOWN, titles)
    return render_page(TEMPLATE, found=found, data=Path(dataset.source).name, sections=sections)


def sections_of(found: ModelComparison, dataset: Dataset, most: int, titles: Mapping[str, str]) -> list[Section]:
    """Return the pictures that two models name differently.

    At most `most` of each kind. `titles` has that of each kind (`Differing.kind`).
    """
    sections = []
    for kind, title in titles.items():
        ones = [one for one in found.differing if one.kind == kind]
        shown = [(one, picture_of(dataset, one.name, SIDE)) for one in ones[:most]]
        sections.append((title, shown, len(ones) - len(shown)))
    return sections


def require_page(out: str | Path | None) -> None:
    """Raise `UsageError` for a file that is no page, such as a model or photo.

    It would be replaced.
    """
    if out is not None and Path(out).suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{out}: the page is an .html file, such as compare.html")

"""`report.html`: everything about a run on one page, and plots as files."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from whatsit.evaluation import plots
from whatsit.evaluation.advice import learned, to_do
from whatsit.evaluation.drawing import DPI
from whatsit.evaluation.examination import Examination
from whatsit.evaluation.mistakes import mistake_files
from whatsit.evaluation.page import base64_of, render_page
from whatsit.files import write_bytes, write_text
from whatsit.run_files import PLOTS, REPORT

TEMPLATE = Path(__file__).parent / "report.html.jinja"


def draw_plots(exam: Examination) -> dict[str, bytes]:
    """Draw every plot of the report, by name; a single epoch has no curve."""
    test, classes = exam.test, exam.bundle.classes
    stage = [row for row in exam.history if row["stage"] == exam.best["stage"]]
    curve = {"history": plots.history(stage, int(exam.best["epoch"]))} if len(stage) > 1 else {}
    return curve | {
        "per_class": plots.per_class(test.metrics),
        "confusion": plots.confusion(test.metrics),
        "roc": plots.roc(test.labels, test.probabilities, classes),
        "precision_recall": plots.precision_recall(test.labels, test.probabilities, classes),
        "calibration": plots.calibration(test.metrics),
        "unknown": plots.unknown(test.ood_scores, {row.kind: row.scores for row in exam.ood}, exam.threshold),
        "learning": plots.learning(exam.curve.pictures, exam.curve.accuracy, exam.curve.recall, classes),
    }


def write_report(folder: Path, exam: Examination) -> None:
    """Write report, plots and worst mistakes into a run folder. Raises `DiskError`."""
    drawn = draw_plots(exam)
    for name, png in drawn.items():
        write_bytes(folder / PLOTS / f"{name}.png", png)
    for number, mistake in enumerate(exam.mistakes):
        for path, jpeg in zip(mistake_files(folder, number), mistake.images(), strict=True):
            write_bytes(path, jpeg)
    write_text(folder / REPORT, render(exam, drawn))


def render(exam: Examination, drawn: dict[str, bytes]) -> str:
    """Return the page as HTML."""
    made = exam.bundle.provenance
    return render_page(
        TEMPLATE,
        exam=exam,
        made=made,
        source=made["data"]["source"],
        classes=exam.bundle.classes,
        counts={name: sum(labels.values()) for name, labels in made["data"]["pictures"].items()},
        failed=sum(check.missed for check in exam.checks),
        untold=sum(bool(check.untested) for check in exam.checks),
        uncertain=[check.what for check in exam.checks if check.note],
        learned=learned(exam),
        to_do=to_do(exam),
        mistakes=[(mistake, [base64_of(jpeg) for jpeg in mistake.images()]) for mistake in exam.mistakes],
        plots={name: {"data": base64_of(png), "width": _css_width(png)} for name, png in drawn.items()},
    )


def _css_width(png: bytes) -> int:
    """Return the width in CSS pixels at which a plot's text is as large as the page's."""
    with Image.open(io.BytesIO(png)) as image:
        return round(image.width * 96 / DPI)

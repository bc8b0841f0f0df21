"""`report.html`: everything about a run on one page that needs nothing else, and its plots as files."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from whatsit.evaluation import drawing, plots
from whatsit.evaluation.advice import gains, learned, to_do
from whatsit.evaluation.examination import Examination, Mistake
from whatsit.evaluation.page import base64_of, jpeg_of, render_page
from whatsit.files import write_bytes, write_text
from whatsit.run_files import PLOTS, REPORT
from whatsit.runtime.overlay import lay_over

TEMPLATE = Path(__file__).parent / "report.html.jinja"


def draw_plots(exam: Examination) -> dict[str, bytes]:
    """Every plot of the report as a PNG file, by name; of a single epoch there is no curve."""
    test, classes = exam.test, exam.bundle.classes
    stage = [row for row in exam.history if row["stage"] == exam.best["stage"]]
    curve = {"history": plots.history(stage, int(exam.best["epoch"]))} if len(stage) > 1 else {}
    return curve | {
        "per_class": plots.per_class(test.figures),
        "confusion": plots.confusion(test.figures),
        "roc": plots.roc(test.labels, test.probabilities, classes),
        "precision_recall": plots.precision_recall(test.labels, test.probabilities, classes),
        "calibration": plots.calibration(test.figures),
        "unknown": plots.unknown(test.ood_scores, {s.kind: s.scores for s in exam.strangers}, exam.threshold),
        "learning": plots.learning(exam.curve.pictures, exam.curve.accuracy, exam.curve.recall, classes),
    }


def write_report(folder: Path, exam: Examination) -> None:
    """Write `report.html`, `plots/` and the pictures of the worst `mistakes/` into a run folder. Raises `DiskError`."""
    drawn = draw_plots(exam)
    for name, png in drawn.items():
        write_bytes(folder / PLOTS / f"{name}.png", png)
    for number, mistake in enumerate(exam.mistakes):
        for path, jpeg in zip(mistake_files(folder, number), _images(mistake), strict=True):
            write_bytes(path, jpeg)
    write_text(folder / REPORT, render(exam, drawn))


def mistake_files(folder: Path, number: int) -> tuple[Path, Path]:
    """Where a run folder keeps the picture of its worst mistake number 0, 1, ..., and where the evidence laid over it."""
    return folder / "mistakes" / f"{number + 1:02d}.jpg", folder / "mistakes" / f"{number + 1:02d}-evidence.jpg"


def render(exam: Examination, drawn: dict[str, bytes]) -> str:
    """The page. Every name in it is the user's and is escaped, whatever it looks like."""
    made, figures = exam.bundle.provenance, exam.test.figures
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
        gains=gains(exam.curve, exam.bundle.classes, {label: f.n for label, f in figures.per_class.items()}),
        mistakes=[(mistake, [base64_of(jpeg) for jpeg in _images(mistake)]) for mistake in exam.mistakes],
        plots={name: {"data": base64_of(png), "width": _css_width(png)} for name, png in drawn.items()},
    )


def _images(mistake: Mistake) -> tuple[bytes, bytes]:
    return jpeg_of(mistake.pixels), jpeg_of(lay_over(mistake.pixels, mistake.evidence))


def _css_width(png: bytes) -> int:
    """The width at which the text of a plot is as large as that of the page, in CSS pixels (96 an inch)."""
    with Image.open(io.BytesIO(png)) as image:
        return round(image.width * 96 / drawing.DPI)

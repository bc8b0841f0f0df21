"""The style of all plots: type, colours, sizes, legends."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from whatsit.images.names import drawable
from whatsit.runtime.overlay import FONT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D00")
DASHES = ("-", "--", ":", "-.")
GREY = "#8A9099"
OPAQUE: dict[str, Any] = {"frameon": True, "framealpha": 0.9, "edgecolor": "none"}
DPI = 150
MAX_LABEL = 22  # characters


def line_style(number: int) -> dict[str, Any]:
    """Return the colour and dashes of a plot's line number 0, 1, ..."""
    dashes = DASHES[number // len(PALETTE) % len(DASHES)]
    return {"color": PALETTE[number % len(PALETTE)], "linestyle": dashes, "linewidth": 1.4}


def legend_right(axes: Any, title: str | None = None) -> None:
    """Put the legend to the right of the axes."""
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title=title)


def say_instead(axes: Any, text: str) -> None:
    """Write a line where there is nothing to draw."""
    axes.axis("off")
    axes.text(0.5, 0.5, text, ha="center", va="center", color=GREY)


def short(label: str) -> str:
    """Shorten a class name to what a plot has room for."""
    label = drawable(label)
    if label.startswith("_"):
        label = f" {label}"  # Matplotlib keeps such names out of a legend
    return label if len(label) <= MAX_LABEL else f"{label[: MAX_LABEL - 2]}\u2026"


# Fonts of other systems, for the letters that the two that come along do not have.
_MORE_LETTERS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Microsoft YaHei", "PingFang SC", "Malgun Gothic", "Noto Sans")
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def figure_of(width: float, height: float, columns: int = 1, rows: int = 1) -> Iterator[tuple[Figure, Any]]:
    """Open a figure of a size in inches, with its axes.

    The style is global to the process while a figure is drawn (so one figure at a time), and restored afterwards.
    """
    import matplotlib
    from matplotlib import font_manager
    from matplotlib.figure import Figure

    if not any(entry.fname == str(FONT) for entry in font_manager.fontManager.ttflist):
        font_manager.fontManager.addfont(str(FONT))
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    style = {
        "text.parse_math": False,  # a class called "$x$" is no formula
        "font.family": ["Sarabun", "DejaVu Sans", *(name for name in _MORE_LETTERS if name in installed)],
        "font.size": 11,
        "axes.titlesize": 13,
        "axes.titleweight": "normal",
        "axes.titlelocation": "left",
        "axes.edgecolor": GREY,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#E4E7EB",
        "axes.axisbelow": True,
        "legend.frameon": False,
        "legend.fontsize": 10,
        "lines.linewidth": 1.8,
    }
    with _ONE_AT_A_TIME, matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        yield figure, figure.subplots(rows, columns)


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a letter that no font here has is drawn as a box
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()

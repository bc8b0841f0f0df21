"""Pieces of HTML that Streamlit has no widget for. Every name in them is a visitor's or a model maker's, and is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from whatsit.apps.words import Words
from whatsit.errors import ImageError
from whatsit.evaluation.wording import percent, plain
from whatsit.images.decode import MAX_PIXELS
from whatsit.images.formats import FORMATS
from whatsit.runtime.predictor import Prediction

FIRST = 8  # bars shown at once


def safe(text: str) -> str:
    """Text that is shown as it is."""
    return escape(plain(text))


def markdown_safe(text: str) -> str:
    """Text that is shown as it is where Streamlit reads Markdown."""
    return "".join(f"\\{character}" if character in "\\`*_[]()<>#$~|:!" else character for character in plain(text))


def widget_words(say: Words) -> str:
    """The words of Streamlit's own widgets, which knows only English ones, as a style sheet."""

    def instead(selector: str, key: str) -> str:
        shown = f'content: "{say(key)}"; font-size: 1rem; line-height: 1.5;'
        return f"{selector} {{ font-size: 0 !important; }} {selector}::after {{ {shown} }}"

    field, camera = '[data-testid="stFileUploader"]', '[data-testid="stCameraInputButton"]'
    denied = '[data-testid="stCameraInputWebcamComponent"] div:has(> a[target])'
    return "<style>{}</style>".format(
        "\n".join(
            (
                instead(f'{field} [data-testid="stBaseButton-secondary"] p', "widget.choose"),
                instead(f'{field} [data-testid="stFileUploaderDropzoneInstructions"] span', "widget.drop"),
                f'{field}:has([aria-invalid="true"])::after {{ content: "{say("widget.too_large")}"; }}',
                instead(f"{camera}:not(:has(svg))", "widget.shoot"),
                instead(f"{camera}:has(svg) span", "widget.again"),
                f"{denied} > a {{ display: none; }}",
                instead(denied, "live.denied"),
            )
        )
    )


def share(value: float) -> str:
    """Such as `98.1 %`, never broken between lines."""
    return percent(value).replace(" ", "\u00a0")


def seconds(time: float, say: Words) -> str:
    """Such as `0.03 seconds`."""
    if time < 0.01:
        return say("seconds.less", n="0.01")
    return say("seconds", n=f"{time:.2f}" if time < 10 else f"{time:.0f}")


def picture(picture: str, alt: str, evidence: str = "", strength: float = 0.0) -> str:
    """A picture, by its address, and over it, as opaque as wished (0 to 1), another of the same size."""
    over = f'<img class="over" src="{evidence}" alt="" style="opacity:{strength:.2f}">' if evidence else ""
    return f'<figure class="w-picture"><img src="{picture}" alt="{safe(alt)}">{over}</figure>'


def headline(answer: Prediction, say: Words) -> str:
    """The answer, large, with how sure it is."""
    if answer.unknown:
        note = say("answer.strange", label=answer.label)
        return f'<div class="w-answer w-unknown" role="status"><b>{say("answer.unknown")}</b><p>{safe(note)}</p></div>'
    note = ""
    if answer.probability < 0.6 and len(answer.top) > 1:
        note = f"<p>{safe(say('answer.unsure', label=answer.top[1][0]))}</p>"
    sure = say("answer.sure", share=share(answer.probability))
    return f'<div class="w-answer" role="status"><b>{safe(answer.label)}</b><span>{sure}</span>{note}</div>'


def bars(answer: Prediction, start: int = 0, end: int | None = None) -> str:
    """A bar for each class, the best first."""
    rows = "".join(
        f'<div class="w-bar"><span class="name">{safe(label)}</span><span class="track"><span class="fill" '
        f'style="width:{100 * probability:.2f}%"></span></span><span class="number">{share(probability)}</span></div>'
        for label, probability in answer.top[start:end]
    )
    return f'<div class="w-bars{" w-faint" if answer.unknown else ""}">{rows}</div>'


def reason(error: ImageError, say: Words) -> str:
    """Why a picture could not be read, as text."""
    return say(f"error.{error.reason}", millions=MAX_PIXELS // 1_000_000, formats=", ".join(FORMATS))


def failure(name: str, error: ImageError, say: Words) -> str:
    """A file that could not be read, and why."""
    return f'<div class="w-failure" role="alert"><b>{safe(say("error.title", name=name))}</b> {safe(reason(error, say))}</div>'


def card(picture: str, about: str, name: str, *, faint: bool = False) -> str:
    """A picture of a data set, by its address, with what is said about it and the name of its file."""
    drawn = f'<img src="{picture}" alt="{safe(name)}">' if picture else ""
    return (
        f'<div class="w-card{" w-faint" if faint else ""}"><div class="w-frame">{drawn}</div><b>{safe(about)}</b>'
        f'<small title="{safe(name)}">{safe(name)}</small></div>'
    )


def tile(figure: str, caption: str, small: str = "") -> str:
    """A figure to be seen from afar."""
    return f'<div class="w-tile"><b>{figure}</b><span>{safe(caption)}</span><small>{safe(small)}</small></div>'


def tiles(*inner: str) -> str:
    """Tiles in a row, or below each other where there is no room."""
    return f'<div class="w-tiles">{"".join(inner)}</div>'


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], numbers: int) -> str:
    """A small table, its last `numbers` columns to the right."""
    first = len(header) - numbers

    def row(tag: str, cells: tuple[str, ...]) -> str:
        inner = "".join(
            f"<{tag}{' class=number' if place >= first else ''}>{safe(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )
        return f"<tr>{inner}</tr>"

    return (
        f'<div class="w-table"><table><thead>{row("th", header)}</thead>'
        f"<tbody>{''.join(row('td', cells) for cells in rows)}</tbody></table></div>"
    )

"""Pieces of HTML that the apps share.

Names of classes and files are escaped: they may be anybody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from whatsit.apps.texts import Texts
from whatsit.errors import ImageError
from whatsit.images.decode import MAX_PIXELS
from whatsit.images.formats import FORMATS
from whatsit.images.names import plain
from whatsit.runtime.predictor import Prediction
from whatsit.runtime.wording import percent

UNSURE = 0.6  # probability below which an answer is called unsure


def safe(text: str) -> str:
    """Return text as HTML that shows it as it is."""
    return escape(plain(text))


def markdown_safe(text: str) -> str:
    """Return text as Markdown that shows it as it is."""
    return "".join(f"\\{character}" if character in "\\`*_[]()<>#$~|:!" else character for character in plain(text))


def note(text: str) -> str:
    """Return a paragraph in softer print; the text is escaped."""
    return f'<p class="w-soft">{safe(text)}</p>'


def share(value: float) -> str:
    """Return a share such as `98.1 %`, never broken between lines."""
    return percent(value).replace(" ", "\u00a0")


def seconds(time: float, text: Texts) -> str:
    """Return a duration such as `0.03 seconds`."""
    if time < 0.01:
        return text("time.less", n="0.01")
    return text("time.seconds", n=f"{time:.2f}" if time < 10 else f"{time:.0f}")


def picture(url: str, alt: str, evidence: str = "", opacity: float = 0.0) -> str:
    """Return a picture, and over it its evidence with an opacity of 0 to 1."""
    over = f'<img class="over" src="{evidence}" alt="" style="opacity:{opacity:.2f}">' if evidence else ""
    return f'<figure class="w-picture"><img src="{url}" alt="{safe(alt)}">{over}</figure>'


def headline(prediction: Prediction, text: Texts) -> str:
    """Return the predicted class in large print, with its probability."""
    if prediction.unknown:
        doubt = safe(text("answer.strange", label=prediction.label))
        return f'<div class="w-answer w-unknown" role="status"><b>{text("answer.unknown")}</b><p>{doubt}</p></div>'
    doubt = ""
    if other := prediction.overruled:
        why = text("answer.overruled", label=prediction.label, other=other.label, share=share(other.probability))
        doubt = f'<p class="w-why">{safe(why)}</p>'
    elif prediction.probability < UNSURE and prediction.others:
        doubt = f"<p>{safe(text('answer.unsure', label=prediction.others[0][0]))}</p>"
    sure = text("answer.sure", share=share(prediction.probability))
    return f'<div class="w-answer" role="status"><b>{safe(prediction.label)}</b><span>{sure}</span>{doubt}</div>'


def bars(prediction: Prediction, start: int = 0, end: int | None = None) -> str:
    """Return a bar for each class, the most probable first."""
    rows = "".join(
        f'<div class="w-bar"><span class="name">{safe(label)}</span><span class="track"><span class="fill" '
        f'style="width:{100 * probability:.2f}%"></span></span><span class="number">{share(probability)}</span></div>'
        for label, probability in prediction.top[start:end]
    )
    return f'<div class="w-bars{" w-faint" if prediction.unknown else ""}">{rows}</div>'


def nearest(pictures: Sequence[tuple[str, str]], unknown: bool, text: Texts) -> str:
    """Return training pictures, each a URL and its class, under a heading."""
    title = text("near.unknown") if unknown else text("near.title")
    figures = "".join(f'<figure><img src="{url}" alt="">{safe(label)}</figure>' for url, label in pictures)
    return f'<section class="w-near"><b>{safe(title)}</b><div>{figures}</div></section>' if pictures else ""


def reason(error: ImageError, text: Texts) -> str:
    """Return why a picture could not be read, as plain text."""
    return text(f"error.{error.reason}", millions=MAX_PIXELS // 1_000_000, formats=", ".join(FORMATS))


def failure(name: str, error: ImageError, text: Texts) -> str:
    """Return the name of a file that could not be read, and why."""
    title = safe(text("error.title", name=name))
    return f'<div class="w-failure" role="alert"><b>{title}</b> {safe(reason(error, text))}</div>'


def card(url: str, caption: str, name: str, *, faint: bool = False) -> str:
    """Return a picture of a data set with a caption and the name of its file."""
    shown = f'<img src="{url}" alt="{safe(name)}">' if url else ""
    return (
        f'<div class="w-card{" w-faint" if faint else ""}"><div class="w-frame">{shown}</div><b>{safe(caption)}</b>'
        f'<small title="{safe(name)}">{safe(name)}</small></div>'
    )


def tiles(*numbers: tuple[str, ...]) -> str:
    """Return large numbers in a row, each with a caption and optional small print."""
    inner = "".join(
        f'<div class="w-tile"><b>{number}</b><span>{safe(caption)}</span><small>{safe("".join(small))}</small></div>'
        for number, caption, *small in numbers
    )
    return f'<div class="w-tiles">{inner}</div>'


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], numbers: int = 0) -> str:
    """Return a small table, its last `numbers` columns aligned to the right."""
    first = len(header) - numbers

    def row(tag: str, cells: tuple[str, ...]) -> str:
        inner = "".join(
            f"<{tag}{' class=number' if column >= first else ''}>{safe(cell)}</{tag}>"
            for column, cell in enumerate(cells)
        )
        return f"<tr>{inner}</tr>"

    body = "".join(row("td", cells) for cells in rows)
    return f'<div class="w-table"><table><thead>{row("th", header)}</thead><tbody>{body}</tbody></table></div>'

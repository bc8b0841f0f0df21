"""Commands for work in shards: shard, answers, predict --out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whatsit.apps.cli.options import Json
from whatsit.apps.cli.output import print_json, print_pairs
from whatsit.apps.terminal import TerminalReporter, out, shell_word, table

if TYPE_CHECKING:
    from whatsit.scale.answers import Summary

_SHOWN = 20  # classes


def shard(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder, zip, tar, folder of WebDataset tars, or a list of pictures (.csv, .parquet, .txt), on disk or at "
            "s3://, gs://, az://; lists also at https://.",
        ),
    ],
    place: Annotated[str, typer.Option("--out", metavar="PLACE", help="The folder or address for the manifest.")],
    rows: Annotated[int, typer.Option(help="Pictures of a shard.")] = 2000,
    as_json: Json = False,
) -> None:
    """Cut a long list of pictures into shards, for predict --out and train.

    Nothing is copied: the manifest says where the pictures are.
    """
    from whatsit.verbs.shard import shard

    with TerminalReporter() as reporter:
        made = shard(source, place, rows=rows, reporter=reporter)
    if as_json:
        print_json(vars(made))
        return
    out(f"Pictures: {made.images:,}   Shards: {made.shards:,}   Manifest: {made.manifest}")
    out(f"Next: whatsit predict MODEL {shell_word(place)} --out ANSWERS")


def answers(
    place: Annotated[str, typer.Argument(metavar="ANSWERS", help="The place that predict --out wrote into.")],
    csv: Annotated[Path | None, typer.Option(help="Also write all answers into this CSV file.")] = None,
    as_json: Json = False,
) -> None:
    """Sum up the answers of predict --out: classes, unknown, errors.

    The exit code is 1 while shards are missing.
    """
    from whatsit.verbs.answers import answers

    summary = answers(place, csv)
    _print_summary(summary, place, as_json)
    if not as_json:
        out(
            f"Next: open {csv} in a spreadsheet"
            if csv
            else f"Next: whatsit answers {shell_word(place)} --csv answers.csv"
        )
    if not summary.complete:
        sys.exit(1)


def predict_into(
    model: str,
    source: str,
    place: str,
    workers: int | None,
    ray: str | None,
    part: str | None,
    top: int,
    runtime: str,
    as_json: bool,
) -> None:
    """Predict into a place, and print the sum; the exit code is 1 if any failed."""
    from whatsit.verbs.predict_shards import predict_shards

    with TerminalReporter() as reporter:
        summary = predict_shards(
            model, source, place, workers=workers, ray=ray, part=part, top=top, runtime=runtime, reporter=reporter
        )
    _print_summary(summary, place, as_json)
    if not as_json:
        out(f"Next: whatsit answers {shell_word(place)} --csv answers.csv")
    if summary.errors:
        sys.exit(1)


def _print_summary(summary: Summary, place: str, as_json: bool) -> None:
    if as_json:
        print_json(_summary_json(summary, place))
        return
    shards = "" if summary.complete else f" ({summary.shards:,} of {summary.of_shards:,} shards so far)"
    pairs = [("Pictures", f"{summary.images:,}{shards}"), ("Unknown", f"{summary.unknown:,}")]
    pairs.append(("Errors", f"{summary.errors:,}"))
    if summary.expected:
        pairs.append(("Right", f"{summary.right / summary.expected:.2%} of {summary.expected:,} with a known class"))
    print_pairs(pairs)
    most = summary.labels.most_common()
    if most:
        out()
        table(("class", "pictures"), [(label, f"{count:,}") for label, count in most[:_SHOWN]])
    if len(most) > _SHOWN:
        out(f"and {len(most) - _SHOWN:,} more classes (--json names all)")
    if summary.reasons:
        out()
        out("Errors, the most frequent first:")
        for reason, count in summary.reasons.most_common(5):
            out(f"  {count:,} x {reason}")


def _summary_json(summary: Summary, place: str) -> dict[str, Any]:
    return {
        "answers": place,
        "complete": summary.complete,
        "images": summary.images,
        "of_images": summary.of_images,
        "shards": summary.shards,
        "of_shards": summary.of_shards,
        "classes": dict(summary.labels.most_common()),
        "unknown": summary.unknown,
        "errors": summary.errors,
        "reasons": dict(summary.reasons.most_common(100)),
        "labelled": summary.expected,
        "right": summary.right,
    }

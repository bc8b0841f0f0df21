"""Options of `whatsit predict` for many files: a table, sorting into folders."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whatsit.apps.cli.output import print_json
from whatsit.apps.terminal import TerminalReporter, out, table
from whatsit.errors import UsageError

if TYPE_CHECKING:
    from whatsit.verbs.predict import Answering
    from whatsit.verbs.predict_files import PredictedFiles

TableFile = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="FILE",
        help="Write a row for each picture into this new file instead, as they come: .csv, .jsonl or .parquet.",
    ),
]
_FOLDERS = (
    "Put the files into a folder of their class here, or into unknown, unsure and unreadable; the same command again "
    "continues"
)
SortInto = Annotated[Path | None, typer.Option(metavar="DIR", help=f"{_FOLDERS}, with --undo it is undone.")]
WatchInto = Annotated[
    Path | None,
    typer.Option(
        "--sort-into", metavar="DIR", help=f"{_FOLDERS}; whatsit predict MODEL --sort-into DIR --undo undoes it."
    ),
]
Copy = Annotated[bool, typer.Option("--copy", help="With --sort-into: copy the files (the default).")]
Move = Annotated[bool, typer.Option("--move", help="With --sort-into: move them.")]
Link = Annotated[bool, typer.Option("--link", help="With --sort-into: make symbolic links.")]
Sure = Annotated[
    float | None,
    typer.Option(metavar="P", help="With --sort-into: files of a lower probability go to unsure, such as 0.9."),
]
Undo = Annotated[bool, typer.Option("--undo", help="With --sort-into: put moved files back, remove copies and links.")]
Resume = Annotated[bool, typer.Option("--resume", help="With --csv: continue the file of an interrupted run.")]


@dataclass(frozen=True)
class FileOptions:
    """What becomes of the predictions of many files."""

    csv: Path | None
    sort_into: Path | None
    copy: bool
    move: bool
    link: bool
    sure: float | None
    undo: bool
    resume: bool

    def are_asked(self) -> bool:
        """Return whether there is a table or a folder.

        Raises `UsageError` for options that need one.
        """
        only_sorting = [
            f"--{name}" for name in ("copy", "move", "link", "sure", "undo") if getattr(self, name) not in (None, False)
        ]
        if only_sorting and self.sort_into is None:
            raise UsageError(f"{only_sorting[0]} needs --sort-into DIR")
        if self.resume and self.csv is None:
            raise UsageError("--resume needs --csv FILE; sorting continues in any case")
        if self.copy + self.move + self.link > 1:
            raise UsageError("--copy, --move and --link exclude each other")
        return self.csv is not None or self.sort_into is not None

    def predict(
        self,
        model: str | Answering,
        images: list[str],
        top: int,
        coverage: float | None,
        runtime: str,
        *,
        as_json: bool,
    ) -> None:
        """Predict, write and sort, and print the sum.

        The exit code is 1 if a picture failed.
        """
        from whatsit.verbs.predict_files import predict_files

        if self.undo and self.sort_into:
            _undo(self.sort_into, as_json)
            return
        with TerminalReporter() as reporter:
            done = predict_files(
                model,
                images,
                table=self.csv,
                sort_into=self.sort_into,
                way="move" if self.move else "link" if self.link else "copy",
                sure=self.sure or 0.0,
                top=top,
                coverage=coverage,
                runtime=runtime,
                resume=self.resume,
                reporter=reporter,
            )
        if as_json:
            print_json(self._as_json(done))
        else:
            self._print(done)
        if done.errors:
            sys.exit(1)

    def _as_json(self, done: PredictedFiles) -> dict[str, Any]:
        about = {
            "images": done.images,
            "earlier": done.earlier,
            "errors": done.errors,
            "unknown": done.unknown,
            "labels": dict(done.labels),
            "seconds": round(done.seconds, 2),
        }
        if self.csv:
            about["table"] = str(self.csv)
        if done.sorted:
            about["folder"] = str(self.sort_into)
            about["folders"] = dict(done.sorted.folders)
        return about

    def _print(self, done: PredictedFiles) -> None:
        earlier = f" ({done.earlier:,} were done before)" if done.earlier else ""
        rate = f", {done.images / done.seconds:,.0f}/s" if done.images > 1 and done.seconds else ""
        out(f"{done.images:,} pictures in {done.seconds:.1f} s{rate}{earlier}")
        rows = [(label, f"{count:,}") for label, count in done.labels.most_common() if count]
        rows += [("(unknown)", f"{done.unknown:,}")] * bool(done.unknown) + [
            ("(unreadable)", f"{done.errors:,}")
        ] * bool(done.errors)
        if rows:
            out()
            table(("answer", "pictures"), rows)
            out()
        if self.csv:
            out(f"Table: {self.csv}")
        if done.sorted and self.sort_into:
            if done.sorted.missing:
                out(
                    f"Not sorted: {done.sorted.missing:,} files that are gone or have changed, may not be read or moved, or are "
                    "links"
                )
            folders = ", ".join(f"{name} {count:,}" for name, count in sorted(done.sorted.folders.items()))
            out(f"Sorted into {self.sort_into}: {folders or 'nothing new'}")
            out("Next: look into the folders; the same command with --undo takes it back")
        elif self.csv:
            out(f"Next: open {self.csv} in a spreadsheet, or sort the files: whatsit predict ... --sort-into DIR")


def _undo(folder: Path, as_json: bool) -> None:
    from whatsit.runtime.unsorting import undo

    done = undo(folder)
    if as_json:
        print_json({"files": done.files, "kept": done.kept})
    else:
        out(f"Undone in {folder}: {done.files:,} files")
        for line in done.kept[:20]:
            out(f"  stays: {line}")
        if len(done.kept) > 20:
            out(f"  and {len(done.kept) - 20:,} more")
    if done.kept:
        sys.exit(1)

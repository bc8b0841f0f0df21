"""`whatsit predict --csv`, `--sort-into`: many files into a table or folders."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from whatsit.errors import ImageError, UsageError
from whatsit.events import SILENT, Reporter
from whatsit.images.image_paths import find_pictures
from whatsit.images.walk import LeftOut, describe
from whatsit.runtime.predictor import Prediction, Predictor
from whatsit.runtime.sorting import Rules, Sorted, Sorter
from whatsit.runtime.table import Table, open_table
from whatsit.verbs.predict import Answering, read_picture

_LOT = 64  # files that are sorted at once


@dataclass
class PredictedFiles:
    """What was predicted."""

    images: int = 0
    earlier: int = 0  # images that an earlier run had done
    errors: int = 0
    unknown: int = 0
    labels: Counter[str] = field(default_factory=Counter)  # of the known ones
    sorted: Sorted | None = None
    seconds: float = 0.0


def predict_files(
    model: str | Path | Answering,
    pictures: list[str],
    *,
    table: str | Path | None = None,
    sort_into: str | Path | None = None,
    way: str = "copy",
    sure: float = 0.0,
    top: int = 5,
    coverage: float | None = None,
    runtime: str = "auto",
    resume: bool = False,
    reporter: Reporter = SILENT,
) -> PredictedFiles:
    """Predict each picture that `find_pictures` finds, into a table or folders.

    Args:
        model: a `.whatsit` file, a run folder, or a service's model (`Client`), for a table only.
        pictures: files, folders and globs.
        table: a new `.csv`, `.jsonl` or `.parquet` file, which is written as the predictions come.
        sort_into: a folder in which files go to a folder of their class, or to `unknown`, `unsure` and `unreadable`. What an
            earlier run with the same model has sorted is skipped.
        way: `copy`, `move` or `link` (symbolic links).
        sure: files whose probability is below go to `unsure`.
        top: classes that a row of the table names.
        coverage: as for `Predictor.predict`.
        runtime: as for `Predictor`.
        resume: continue the table of an interrupted run.
        reporter: takes events.

    Returns:
        How many pictures were predicted, of which labels, and the errors.

    Raises:
        UsageError: an argument is wrong, the table exists, the folder was sorted otherwise, or there is no picture.
        DiskError: something cannot be written.
        BundleError: the model cannot be read.
    """
    started, left_out, done = time.perf_counter(), LeftOut(), PredictedFiles()
    predictor = Predictor(model, runtime=runtime) if isinstance(model, str | Path) else model
    with ExitStack() as opened:
        columns = min(top, len(predictor.classes)) if isinstance(predictor, Predictor) else top
        rows = None if table is None else opened.enter_context(open_table(table, columns, resume=resume))
        sorter = None if sort_into is None else opened.enter_context(open_sorter(predictor, sort_into, way, sure))
        names = list(find_pictures(pictures, left_out, reporter))
        todo = [name for name in names if _is_to_do(name, rows, sorter)]
        done.earlier = sorter.done.earlier if sorter else len(names) - len(todo)
        if names and not todo and not done.earlier:
            raise UsageError(
                f"all pictures in {', '.join(pictures)[:200]} lie in {sort_into} itself; sort into another folder"
            )
        advance = reporter.stage("Predicting")
        advance(0, len(todo))
        sorting = None if sorter is None else opened.enter_context(_Background(sorter))
        lot: list[tuple[str, Prediction | ImageError]] = []
        for name, found in predictor.predict_each(todo, read_picture, top=top, coverage=coverage):
            done.images += 1
            done.errors += isinstance(found, ImageError)
            if isinstance(found, Prediction):
                done.unknown += found.unknown
                done.labels[found.label] += not found.unknown
            if rows and name not in rows.done:
                rows.add(name, found)
            lot.append((name, found))
            if len(lot) == _LOT or done.images == len(todo):
                if sorting:
                    sorting.sort(lot)
                lot = []
                advance(done.images, len(todo))
        if sorting:
            sorting.wait()
        done.sorted = sorter.done if sorter else None
    kinds = describe(left_out.kinds) if left_out.kinds else ""
    if not names:
        raise UsageError(f"no pictures in {', '.join(pictures)[:200]}{f'; skipped: {kinds}' if kinds else ''}")
    if kinds:
        reporter.say(f"Skipped: {kinds}")
    done.seconds = time.perf_counter() - started
    return done


class _Background:
    """Sorts in a thread while the next pictures are predicted.

    A context manager.
    """

    def __init__(self, sorter: Sorter) -> None:
        self._sorter, self._pool = sorter, ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def __enter__(self) -> _Background:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def sort(self, lot: Sequence[tuple[str, Prediction | ImageError]]) -> None:
        """Sort some files once those before are sorted. Raises what that raised."""
        self.wait()
        self._last = self._pool.submit(self._sorter.sort, lot)

    def wait(self) -> None:
        """Return when all is sorted. Raises as `Sorter.sort`."""
        if self._last:
            self._last.result()


def open_sorter(predictor: Answering, folder: str | Path, way: str, sure: float) -> Sorter:
    """Open a folder that files are sorted into.

    Raises `UsageError` for a service's model. Else as `Sorter`.
    """
    if not isinstance(predictor, Predictor):
        raise UsageError("--sort-into needs the model's own file, not a service; --csv takes a service's answers")
    what = predictor.bundle.graph + repr(predictor.bundle.unknown).encode()
    return Sorter(folder, Rules(hashlib.sha256(what).hexdigest()[:16], way, sure), predictor.classes)


def _is_to_do(name: str, rows: Table | None, sorter: Sorter | None) -> bool:
    wanted = sorter is not None and sorter.wants(name)
    return wanted or (rows is not None and name not in rows.done)

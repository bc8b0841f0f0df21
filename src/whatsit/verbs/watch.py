"""`whatsit watch`: answer new pictures in a folder as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from whatsit.errors import UsageError
from whatsit.events import SILENT, Reporter
from whatsit.images.arrivals import Arrivals
from whatsit.images.crop import Crop
from whatsit.runtime.outbox import Outbox
from whatsit.runtime.predictor import Predictor
from whatsit.runtime.table import open_table
from whatsit.runtime.watch_state import WatchState, usual_state
from whatsit.runtime.watching import COLUMNS, Manner, Outputs, Told, Watched, Watcher
from whatsit.runtime.webhook import Webhook
from whatsit.verbs.predict_files import open_sorter

SETTLE, PATIENCE = 0.5, 60.0  # seconds


def watch(
    model: str | Path,
    folder: str | Path,
    *,
    to: str | None = None,
    table: str | Path | None = None,
    sort_into: str | Path | None = None,
    way: str = "copy",
    sure: float = 0.0,
    crops: Sequence[str] = (),
    steady: int = 1,
    existing: bool = False,
    settle: float = SETTLE,
    patience: float = PATIENCE,
    state: str | Path | None = None,
    top: int = 5,
    runtime: str = "auto",
    told: Callable[[Told], None] = lambda one: None,
    done: Watched | None = None,
    reporter: Reporter = SILENT,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Answer each new or changed picture below a folder, until an exception ends it.

    Nothing is answered twice or lost over restarts: what was answered, and what is still to be sent, is recorded on disk.

    Args:
        model: a `.whatsit` file or a run folder.
        folder: is looked at again and again; it may vanish and come back.
        to: an address that each answer is posted to as JSON, at least once, under an id of its own.
        table: a `.csv` or `.jsonl` file that gets a row for each answer; it is continued.
        sort_into: as for `predict_files`.
        way: `copy`, `move` or `link`.
        sure: as for `predict_files`.
        crops: parts to answer instead of the whole picture: `x,y,w,h` in pixels, or each with `%`.
        steady: answers in a row that must be the same, for each folder directly below `folder`, before one is posted; then
            nothing is posted until another answer is steady.
        existing: also answer, at the first start, what is there already.
        settle: seconds for which a file must rest before it is read.
        patience: seconds after which a file that rests and cannot be read is answered with its error.
        state: the SQLite file of what was answered; by default one of this user, for this folder.
        top: classes that an answer names.
        runtime: as for `Predictor`.
        told: gets each answer.
        done: is filled with what was answered.
        reporter: takes events.
        pause: waits some seconds; may raise to end the work.
        clock: returns seconds that never jump.

    Raises:
        UsageError: an argument is wrong, the folder is not there at its first start, or another process watches it.
        DiskError: something cannot be written. DataError: the record is damaged. Else as `Predictor`.
    """
    manner = Manner(tuple(map(Crop, crops)), steady, top)
    if sort_into is not None and len(crops) > 1:
        raise UsageError("--sort-into takes at most one --crop: a file goes into one folder")
    if table is not None and Path(table).suffix.lower() == ".parquet":
        raise UsageError(f"{table}: a Parquet file cannot be continued; take .csv or .jsonl")
    webhook = None if to is None else Webhook(to)
    state = usual_state(folder) if state is None else state
    if not Path(folder).is_dir() and not Path(state).exists():  # one that was watched before may be a stick in a pocket
        raise UsageError(f"{folder}: there is no such folder to watch")
    with ExitStack() as opened:
        record = opened.enter_context(WatchState(state, folder))
        arrivals = Arrivals(folder, record.known, settle=settle, patience=patience, without=sort_into)
        predictor = Predictor(model, runtime=runtime)
        sorter = None if sort_into is None else opened.enter_context(open_sorter(predictor, sort_into, way, sure))
        columns = min(top, len(predictor.classes))
        rows = None if table is None else opened.enter_context(open_table(table, columns, resume=True, also=COLUMNS))
        _begin(record, arrivals, existing, reporter)
        watcher = Watcher(predictor, arrivals, record, Outputs(rows, sorter, to is not None), manner, told)
        if done is not None:
            watcher.done = done
            opened.callback(lambda: setattr(done, "undelivered", record.undelivered()))
        answered = None
        if webhook:
            opened.callback(webhook.close)
            outbox = Outbox(record, webhook, reporter)
            opened.enter_context(outbox.running())
            answered = outbox.wake
        reporter.say(f"Watching {folder} (Ctrl-C ends it); what was answered is recorded in {state}")
        watcher.run(pause, clock, answered, reporter)


def _begin(record: WatchState, arrivals: Arrivals, existing: bool, reporter: Reporter) -> None:
    """Record what is there already, at the first start."""
    if not record.is_new:
        return
    there = {} if existing else arrivals.there()
    record.begin(there)
    if there:
        reporter.say(
            f"{len(there):,} pictures are there already and are not answered; --existing would have answered them"
        )

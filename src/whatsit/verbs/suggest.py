"""`whatsit suggest`: which of many unlabelled pictures to label next."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from whatsit.cache import working
from whatsit.errors import ImageError, UsageError
from whatsit.events import SILENT, Reporter
from whatsit.images.image_paths import find_pictures
from whatsit.images.pictures import Keys
from whatsit.images.stores import read_linked
from whatsit.images.walk import LeftOut
from whatsit.run.record import trained_on
from whatsit.runtime.predictor import Predictor
from whatsit.runtime.sorting import Rules, Sorter
from whatsit.runtime.suggestion import Suggestion, Suggestions
from whatsit.runtime.table import open_table
from whatsit.runtime.unlabelled import Pool, pick, read_pool
from whatsit.verbs.predict import read_picture


@working()
def suggest(
    model: str | Path,
    pictures: list[str],
    *,
    count: int = 50,
    labelled: str | Path | None = None,
    table: str | Path | None = None,
    copy_to: str | Path | None = None,
    runtime: str = "auto",
    reporter: Reporter = SILENT,
) -> Suggestions:
    """Return the pictures whose labels would teach the model most, a varied batch.

    By weighted k-means of the pictures with the smallest margin (Zhdanov 2019, "Diverse mini-batch active learning"), one of each
    group of near-duplicates. Pictures of the model's own data are left out, as far as its run folder is there. What was computed
    is cached, so that the next call only reads the files.

    Args:
        model: a `.whatsit` file or a run folder.
        pictures: unlabelled ones: files, folders and globs, of any number.
        count: the number of pictures to return.
        labelled: a folder of pictures that have a label since, which are left out too.
        table: a new `.csv`, `.jsonl` or `.parquet` file to write them into, in order.
        copy_to: a folder to copy them into, in a folder of the class that the model takes each for, to put right by hand.
        runtime: as for `Predictor`.
        reporter: takes events.

    Raises:
        UsageError: an argument is wrong, or there is no unlabelled picture.
        EngineError: the model has no embedding.
        DiskError: something cannot be written.
    """
    if count < 1:
        raise UsageError(f"the number of pictures must be at least 1, received {count}")
    predictor = Predictor(model, runtime=runtime)
    without = _known(model, labelled, reporter)
    with ExitStack() as opened:
        rules, notes = Rules(hashlib.sha256(predictor.bundle.graph).hexdigest()[:16]), ("why", "alike")
        rows = sorter = None
        if table is not None:
            rows = opened.enter_context(open_table(table, min(5, len(predictor.classes)), resume=False, also=notes))
        if copy_to is not None:
            sorter = opened.enter_context(Sorter(copy_to, rules, predictor.classes))
        pool = _read(predictor, pictures, without, reporter)
        reporter.say("Choosing varied ones among those that it is least sure of")
        found = Suggestions(_suggested(predictor, pool, count), len(pool), pool.skipped, pool.errors)
        for one in found.pictures:
            if rows:
                rows.add(one.image, one.prediction, one.why, str(len(one.alike)))
        if sorter:
            sorter.sort([(one.image, one.prediction) for one in found.pictures if sorter.wants(one.image)])
    return found


def _read(predictor: Predictor, pictures: list[str], without: Keys, reporter: Reporter) -> Pool:
    names = list(dict.fromkeys(find_pictures(pictures, LeftOut(), reporter)))
    pool = read_pool(predictor, names, without, reporter.stage("Looking at the pictures"))
    if pool.errors:
        name, reason = next(iter(pool.errors.items()))
        reporter.warn(
            f"{len(pool.errors):,} of {len(names):,} pictures cannot be read and were left out, such as {name}: {reason}"
        )
    if not len(pool):
        known = f"; {pool.skipped:,} have a label already" if pool.skipped else ""
        raise UsageError(f"no unlabelled pictures that can be read in {', '.join(pictures)[:200]}{known}")
    return pool


def _suggested(predictor: Predictor, pool: Pool, count: int) -> list[Suggestion]:
    picked = pick(pool, count)
    predictions = predictor.predict_each([pool.names[one.place] for one in picked], read_picture)
    return [
        Suggestion(name, prediction, tuple(pool.names[place] for place in one.alike))
        for one, (name, prediction) in zip(picked, predictions, strict=True)
        if not isinstance(prediction, ImageError)
    ]


def _known(model: str | Path, labelled: str | Path | None, reporter: Reporter) -> Keys:
    """Return the keys of the pictures that have a label."""
    known = trained_on(model, tested=True)
    if known is None:
        reporter.warn(
            f"{model}: which pictures it was trained on is not known without its run folder; nothing is left out"
        )
        known = np.empty(0, "S32")
    keys = []
    for name in find_pictures([str(labelled)], LeftOut(), reporter) if labelled is not None else ():
        try:
            keys.append(hashlib.sha256(read_linked(Path(name))).digest())
        except ImageError:
            continue
    return np.concatenate([known, np.array(keys, "S32")])

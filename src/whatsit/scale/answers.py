"""The files of answers: one Parquet file a shard, and what they say in sum."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from whatsit.errors import DataError
from whatsit.files import spreadsheet_safe
from whatsit.images.manifest import ImageRow, arrow, open_parquet
from whatsit.images.places import Place
from whatsit.scale.job import part_name, parts, read_job
from whatsit.scale.supervise import Answered

MOST_REASONS, OTHERS = 1000, "other errors"
COLUMNS = ("uri", "label", "probability", "unknown", "score", "top", "error", "expected")


def encode(rows: Sequence[ImageRow], answers: Sequence[Answered]) -> bytes:
    """Return a shard's answers as a Parquet file, the same bytes for the same answers.

    Columns: uri, label, probability (0 to 1), unknown, score (out-of-distribution), top (label and probability of the most
    probable classes), error, and expected (the manifest's own label).
    """
    pa = arrow()
    found = [one.answer or [None] * 5 for one in answers]
    top = pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32())]))
    tops = [best and [{"label": label, "probability": p} for label, p in best] for *_, best in found]
    table = pa.table(
        {
            "uri": pa.array([row.name for row in rows], pa.string()),
            "label": pa.array([one[0] for one in found], pa.string()),
            "probability": pa.array([one[1] for one in found], pa.float32()),
            "unknown": pa.array([one[2] for one in found], pa.bool_()),
            "score": pa.array([one[3] for one in found], pa.float32()),
            "top": pa.array(tops, top),
            "error": pa.array([one.error or None for one in answers], pa.string()),
            "expected": pa.array([row.label for row in rows], pa.string()),
        }
    )
    file = io.BytesIO()
    pa.parquet.write_table(table, file, compression="zstd")
    return file.getvalue()


@dataclass
class Summary:
    """What answers say in sum."""

    images: int = 0
    of_images: int = 0  # that the job has
    shards: int = 0
    of_shards: int = 0
    unknown: int = 0
    errors: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)  # of errors
    expected: int = 0  # images whose own label is a class of the model
    right: int = 0  # of them

    @property
    def complete(self) -> bool:
        """Return whether every shard is there."""
        return self.shards == self.of_shards


def read_answers(place: Place, only: range | None = None) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns of every part that is there, in order; or of some shards.

    Raises `DataError` where one is damaged.
    """
    pa = arrow()
    for shard in sorted(shard for shard in parts(place) if only is None or shard in only):
        name = part_name(shard)
        try:
            table = open_parquet(io.BytesIO(place.read(name))).read(use_threads=False)
            yield {column: table[column].to_pylist() for column in COLUMNS}
        except (pa.ArrowException, KeyError, OSError):
            raise DataError(
                f"{place.address}/{name}: is damaged; remove it, and run whatsit predict again with the same arguments"
            ) from None


def summarize(place: Place, rows: IO[str] | None = None, only: range | None = None) -> Summary:
    """Add up the answers in a place, or those of some shards.

    They are written as CSV into `rows` where that is given.
    """
    job = read_job(place)
    known = set(job.classes)
    total = Summary(of_images=job.images, of_shards=job.shards if only is None else len(only))
    writer = csv.writer(rows, lineterminator="\r\n") if rows else None
    if writer:
        writer.writerow([column for column in COLUMNS if column != "top"])
    for columns in read_answers(place, only):
        total.shards += 1
        total.images += len(columns["uri"])
        total.unknown += sum(map(bool, columns["unknown"]))
        total.labels.update(label for label in columns["label"] if label is not None)
        total.errors += sum(map(bool, columns["error"]))
        for error in filter(None, columns["error"]):
            total.reasons[error if error in total.reasons or len(total.reasons) < MOST_REASONS else OTHERS] += 1
        both = zip(columns["expected"], columns["label"], strict=True)
        pairs = [(own, label) for own, label in both if own in known and label is not None]
        total.expected += len(pairs)
        total.right += sum(own == label for own, label in pairs)
        if writer:
            shown = [columns[column] for column in COLUMNS if column != "top"]
            writer.writerows([_cell(value) for value in cells] for cells in zip(*shown, strict=True))
    return total


def _cell(value: Any) -> Any:
    return "" if value is None else spreadsheet_safe(value) if isinstance(value, str) else value

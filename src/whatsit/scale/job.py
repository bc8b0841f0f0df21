"""A job: the shards to do with a model, and the parts that are there.

The place of the answers holds `job.json`, and for each finished shard one file, written whole or not at all. That file is the
only record of the shard: whoever finds it goes on to the next.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from whatsit.errors import DataError, UsageError
from whatsit.images.manifest import NAME, Manifest
from whatsit.images.places import MissingFileError, Place
from whatsit.version import __version__

JOB = "job.json"
FORMAT = 1
_PART = re.compile(r"part-(\d{6,})\.parquet")
_WORDS = {
    "manifest": "of another manifest",
    "model": "of another model",
    "settings": "with other settings",
    "whatsit": "by another version of whatsit",
}


@dataclass(frozen=True)
class Job:
    """What belongs together: parts of another job are never mixed in."""

    manifest: str  # its identity
    model: str  # SHA-256 of its file, in hex
    settings: dict[str, Any]  # that change the answers
    shards: int
    images: int
    source: str = ""  # for people: the manifest's and the model's address
    classes: tuple[str, ...] = ()
    whatsit: str = __version__
    format: int = FORMAT


def new_job(manifest: Manifest, model: bytes, settings: dict[str, Any], classes: Sequence[str]) -> Job:
    """Return the job of answering a manifest's images by a model."""
    digest = hashlib.sha256(model).hexdigest()
    return Job(
        manifest.identity, digest, settings, len(manifest.counts), len(manifest), manifest.address, tuple(classes)
    )


def join(job: Job, place: Place) -> None:
    """Write the job into its place, or find it there.

    Raises:
        UsageError: the place holds answers of another job.
        DiskError, PlaceError: it cannot be written or read.
    """
    try:
        there = read_job(place)
    except MissingFileError:
        require_free(place)
        place.write_new(JOB, json.dumps(asdict(job), indent=1).encode())
        there = read_job(place)
    mine = replace(job, source=there.source)
    if there != mine:
        other = next(
            (words for key, words in _WORDS.items() if getattr(there, key) != getattr(mine, key)), "of another job"
        )
        detail = f" ({there.whatsit}; this is {mine.whatsit})" if there.whatsit != mine.whatsit else ""
        raise UsageError(f"{place.address}: holds answers {other}{detail}; give another folder for these")


def require_free(place: Place) -> None:
    """Raise `UsageError` where a place holds other files than answers."""
    keys = {key for key, _ in place.list()}
    if JOB not in keys and keys - {NAME}:
        raise UsageError(f"{place.address}: holds other files; give an empty folder for the answers")


def read_job(place: Place) -> Job:
    """Return the job whose answers lie in a place.

    Raises `MissingFileError`, `DataError`.
    """
    data = place.read(JOB)
    try:
        about = json.loads(data)
        about["classes"] = tuple(about["classes"])
        return Job(**about)
    except (ValueError, TypeError, KeyError):
        raise DataError(f"{place.address}/{JOB}: is damaged, or of another version of whatsit") from None


def part_name(shard: int) -> str:
    """Return the name of a shard's file."""
    return f"part-{shard:06d}.parquet"


def parts(place: Place) -> Iterator[int]:
    """Yield the shards whose files are there, in no order."""
    for key, _ in place.list():
        if found := _PART.fullmatch(key):
            yield int(found[1])


def share(shards: int, part: str) -> range:
    """Return the shards of part `i/n`, i from 0 to n - 1.

    Raises `UsageError`.
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", part)
    if not found or not int(found[1]) < int(found[2]):
        raise UsageError(f"--shard must be i/n with i from 0 to n - 1, such as 0/8; received {part[:50]}")
    return range(int(found[1]), shards, int(found[2]))

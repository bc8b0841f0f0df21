"""Where a run is made: beside its folder, kept when it is interrupted, and moved into place when it is whole."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from whatsit.errors import UsageError
from whatsit.files import disk_error, write_text
from whatsit.verbs.runs import RUNS

UNFINISHED = ".unfinished"  # ends the name of the folder while the run is made
JOB = "job.json"
RESUME = "go on with the same command and --resume"

_NOT_BEGUN = "this run was stopped before anything of it was done; begin it with the same command without --resume"


@dataclass(frozen=True)
class Workplace:
    """A folder to work in."""

    folder: Path  # where the run will be, as the user has it
    path: Path  # where it is made
    job: dict[str, Any]  # what an interrupted run was about; empty for a new one

    def describe(self, job: dict[str, Any]) -> None:
        """Keep what the run is about, for whoever goes on with it."""
        write_text(self.path / JOB, json.dumps(job, ensure_ascii=False, indent=1) + "\n")


def run_name(data: str, recipe: str) -> str:
    """`DATA-RECIPE`, fit for a file name."""
    stem = re.sub(r"\.(zip|csv|tar|tgz|tbz2|txz|gz|bz2|xz)\b", "", Path(data).resolve().name.lower())
    return re.sub(r"[^\w-]+", "-", f"{stem}-{recipe}").strip("-")[:80]


@contextmanager
def new_run(out: str | Path | None, data: str, recipe: str, *, resumable: bool = True) -> Iterator[Workplace]:
    """A place to make a run in: `out`, or `runs/DATA-RECIPE` with a number behind it where that is taken.

    When the work is done the place becomes the run folder. When it fails it vanishes, unless an epoch was finished.
    Raises `UsageError` where the name is taken, `DiskError` where the disk is full or the place cannot be written.
    """
    folder = Path(out) if out else RUNS / run_name(data, recipe)
    number = 1
    while True:
        try:
            path = _claim(folder, resumable)
            break
        except UsageError:
            if out:
                raise
            number += 1
            folder = folder.with_name(f"{run_name(data, recipe)}-{number}")
    with _working(Workplace(folder, path, {})) as place:
        yield place


@contextmanager
def unfinished_run(out: str | Path | None, data: str, recipe: str | None) -> Iterator[Workplace]:
    """The place of an interrupted run: of `out`, or the latest one of DATA (with that recipe).

    Raises `UsageError` where there is none, or where another process works in it.
    """
    if out:
        folder = Path(out)
        path = _place_of(folder)
        if not (path / JOB).is_file():
            raise UsageError(f"{folder}: {_nothing_there(folder, path)}")
    else:
        found = [file.parent for file in RUNS.glob(f"*{UNFINISHED}/{JOB}") if _is_of(file, data, recipe)]
        if not found:
            for path in RUNS.glob(f"{glob.escape(run_name(data, recipe or 'fast'))}*{UNFINISHED}"):
                if _is_abandoned(path):
                    raise UsageError(f"{path}: {_NOT_BEGUN}")
            raise UsageError(
                f"{RUNS}: no interrupted run of {data} is there; begin one with the same command without --resume"
            )
        path = max(found, key=lambda place: (place / JOB).stat().st_mtime)
        folder = path.with_name(path.name.removesuffix(UNFINISHED))
    try:
        job = json.loads((path / JOB).read_text(encoding="utf-8"))
        if not isinstance(job, dict) or "recipe" not in job:
            raise ValueError("it does not say what the run is about")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path / JOB}: cannot be read ({error}); remove {path} and train anew") from None
    with _working(Workplace(folder, path, job)) as place:
        yield place


def _nothing_there(folder: Path, path: Path) -> str:
    """Return why no run can be resumed."""
    if path.is_dir():
        return _NOT_BEGUN if _is_abandoned(path) else "another process is working on this run"
    if folder.exists():
        return "that run is finished; nothing to go on with"
    return "no interrupted run is there; begin it with the same command without --resume"


def _is_of(file: Path, data: str, recipe: str | None) -> bool:
    try:
        job = json.loads(file.read_text(encoding="utf-8"))
        return job["source"] == str(Path(data).resolve()) and recipe in (None, job["recipe"]["name"])
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _place_of(folder: Path) -> Path:
    whole = folder.resolve()  # "." has no name
    if not whole.name or whole.is_mount():
        raise UsageError(f"{folder} is the root of a disk; choose a folder in it with --out, such as {whole / 'run'}")
    return whole.with_name(whole.name + UNFINISHED)


def _claim(folder: Path, resumable: bool) -> Path:
    path = _place_of(folder)
    try:
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise UsageError(f"{folder} exists already; choose another place with --out, or remove it first")
        path.mkdir(parents=True)
    except FileExistsError:
        if path.is_dir() and _is_abandoned(path):
            _empty(path)
            return path
        if not path.is_dir():
            raise UsageError(f"{path.parent} is not a folder; choose another place with --out") from None
        way_out = f"{RESUME}, or remove it first" if resumable else "remove it first"
        raise UsageError(f"{path} is there: another run is being made, or was interrupted; {way_out}") from None
    except OSError as error:
        raise disk_error(folder, error) from None
    return path


def _empty(path: Path) -> None:
    """Remove what nobody can go on with, as nothing says what it is of."""
    for left in path.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        elif left.name != ".lock":
            left.unlink(missing_ok=True)


def _is_abandoned(path: Path) -> bool:
    """Whether whoever made this place died before it had written down what for."""
    if (path / JOB).exists():
        return False
    try:
        with FileLock(path / ".lock", timeout=0):
            return True
    except (Timeout, OSError):
        return False


@contextmanager
def _working(place: Workplace) -> Iterator[Workplace]:
    lock = FileLock(place.path / ".lock", timeout=0)  # let go by the system when the process dies
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(f"{place.path}: another process is working on this run") from None
    try:
        for left in place.path.rglob(".*.part"):  # of a process that was killed while it wrote
            left.unlink(missing_ok=True)
        yield place
        folder = place.folder.resolve()
        with contextlib.suppress(OSError):
            folder.rmdir()  # where an empty folder of that name was made beforehand
        lock.release()
        place.path.replace(folder)
        for name in (JOB, ".lock"):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # nobody goes on with it any more
    except BaseException as error:
        lock.release()
        if place.job or (place.path / "history.csv").is_file():
            error.add_note(f"what was done is in {place.path}; {RESUME}")
        else:
            shutil.rmtree(place.path, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_error(place.folder, error) from None
        raise

"""The workspace of a run: kept when interrupted, the run folder when complete."""

from __future__ import annotations

import contextlib
import errno
import glob
import itertools
import json
import math
import os
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
from whatsit.images.places import absolute
from whatsit.run.record import RecordError, read_history
from whatsit.run_files import CHECKPOINTS, HISTORY, JOB, LOCK, REPLACES, RUNS, SO_FAR, UNFINISHED

RESUME = "resume with the same command and --resume"

_NOT_BEGUN = "this run was stopped before it had done anything; start it with the same command without --resume"


@dataclass
class Workspace:
    """A folder in which a run is made."""

    folder: Path  # the run folder that it becomes, as the user names it
    path: Path  # the folder itself
    job: dict[str, Any]  # what an interrupted run was started with; empty for a new one
    replaces: bool = False  # whether there may be a run in its place
    before: Path | None = None  # where that run goes

    def save_job(self, job: dict[str, Any]) -> None:
        """Write down what the run is about, for resuming."""
        write_text(self.path / JOB, json.dumps(job, ensure_ascii=False, indent=1) + "\n")

    def seconds_used(self) -> float:
        """Return how long an interrupted run had worked at the end of its last epoch."""
        try:
            seconds = max((row["seconds"] for row in read_history(self.path)), default=0.0)
        except (RecordError, KeyError):
            return 0.0
        return seconds if math.isfinite(seconds) else 0.0


def beside(folder: Path, word: str) -> Path:
    """Return the first free name of `FOLDER-WORD`, `FOLDER-WORD-2` and so on."""
    whole = folder.resolve()
    is_named = folder.name == whole.name and folder.parent.resolve() == whole.parent  # no link, nor `.` or `..`
    shown = folder if is_named else whole
    names = (f"{whole.name}-{word}{f'-{number}' if number > 1 else ''}" for number in itertools.count(1))
    return next(shown.with_name(name) for name in names if not os.path.lexists(whole.with_name(name)))


def run_name(data: str, recipe: str) -> str:
    """Return `DATA-RECIPE` as a file name."""
    stem = re.sub(r"\.(zip|csv|tar|tgz|tbz2|txz|gz|bz2|xz)\b", "", Path(data).resolve().name.lower())
    return re.sub(r"[^\w-]+", "-", f"{stem}-{recipe}").strip("-")[:80]


def require_outside(data: str | Path, out: str | Path | None) -> None:
    """Raise `UsageError` where the run folder would become a class of the images."""
    pictures, folder = Path(data), Path(out or RUNS).resolve()
    if pictures.is_dir() and folder.is_relative_to(pictures.resolve()):
        raise UsageError(
            f"{folder} is inside DATA, and the next training would take the run for pictures; choose another folder with --out"
        )


@contextmanager
def new_run(
    out: str | Path | None, data: str, recipe: str, *, resumable: bool = True, replaces: bool = False
) -> Iterator[Workspace]:
    """Make a workspace for `out`, or for the first free `runs/DATA-RECIPE-NUMBER`.

    When the work is done the workspace becomes the run folder; a run that it `replaces` goes where `Workspace.before` says.
    When the work fails the workspace is removed, unless an epoch was finished.

    Raises:
        UsageError: the name is taken. DiskError: the disk is full or cannot be written.
    """
    folder = Path(out) if out else RUNS / run_name(data, recipe)
    number = 1
    while True:
        try:
            path = _claim(folder, resumable, replaces)
            break
        except UsageError:
            if out:
                raise
            number += 1
            folder = folder.with_name(f"{run_name(data, recipe)}-{number}")
    with _working(Workspace(folder, path, {}, replaces)) as workspace:
        yield workspace


@contextmanager
def unfinished_run(out: str | Path | None, data: str, recipe: str | None) -> Iterator[Workspace]:
    """Open the workspace of an interrupted run: of `out`, or the latest one of DATA.

    Raises:
        UsageError: there is none, or another process works in it.
    """
    path = _workspace_of(Path(out)) if out else _latest(data, recipe)
    folder = Path(out) if out else path.with_name(path.name.removesuffix(UNFINISHED))
    if not (path / JOB).is_file():
        raise UsageError(f"{folder}: {_why_nothing(folder, path)}")
    try:
        job = json.loads((path / JOB).read_text(encoding="utf-8"))
        if not isinstance(job, dict) or "recipe" not in job:
            raise ValueError("it does not say what the run is about")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path / JOB}: cannot be read ({error}); remove {path} and train again") from None
    with _working(Workspace(folder, path, job)) as workspace:
        yield workspace


def _latest(data: str, recipe: str | None) -> Path:
    found = [file.parent for file in RUNS.glob(f"*{UNFINISHED}/{JOB}") if _is_of(file, data, recipe)]
    if found:
        return max(found, key=lambda path: (path / JOB).stat().st_mtime)
    for path in RUNS.glob(f"{glob.escape(run_name(data, recipe or 'fast'))}*{UNFINISHED}"):
        if _is_abandoned(path):
            raise UsageError(f"{path}: {_NOT_BEGUN}")
    raise UsageError(f"{RUNS}: there is no interrupted run of {data}; start one with the same command without --resume")


def _is_of(file: Path, data: str, recipe: str | None) -> bool:
    try:
        job = json.loads(file.read_text(encoding="utf-8"))
        return job["source"] == absolute(data) and recipe in (None, job["recipe"]["name"])
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _why_nothing(folder: Path, path: Path) -> str:
    """Return why no run can be resumed."""
    if path.is_dir():
        return _NOT_BEGUN if _is_abandoned(path) else "another process is working on this run"
    if folder.exists():
        return "that run is finished; there is nothing to resume"
    return "there is no interrupted run; start it with the same command without --resume"


def _workspace_of(folder: Path) -> Path:
    whole = folder.resolve()  # "." has no name
    if not whole.name or whole.is_mount():
        raise UsageError(f"{folder} is the root of a disk; choose a folder in it with --out, such as {whole / 'run'}")
    return whole.with_name(whole.name + UNFINISHED)


def _claim(folder: Path, resumable: bool, replaces: bool) -> Path:
    path = _workspace_of(folder)
    try:
        if not replaces and folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise UsageError(f"{folder} exists already; choose another folder with --out, or remove it first")
        path.mkdir(parents=True)
    except FileExistsError:
        if not path.is_dir():
            raise UsageError(f"{path.parent} is not a folder; choose another one with --out") from None
        if not _is_abandoned(path):
            way_out = f"{RESUME}, or remove it first" if resumable else "remove it first"
            raise UsageError(f"{path} exists: another run is being made, or was interrupted; {way_out}") from None
        _empty(path)
    except OSError as error:
        raise disk_error(folder, error) from None
    return path


def _empty(path: Path) -> None:
    """Remove what cannot be resumed, as nothing says what it is of."""
    for left in path.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        elif left.name != LOCK:
            left.unlink(missing_ok=True)


def _is_abandoned(path: Path) -> bool:
    """Return whether its process died before it had written down what it is for."""
    if (path / JOB).exists():
        return False
    try:
        with FileLock(path / LOCK, timeout=0):
            return True
    except (Timeout, OSError):
        return False


def finish_replacing(folder: Path) -> None:
    """Give a run its place where a process was killed just before that.

    It had taken the earlier run away. Raises `DiskError`.
    """
    whole = folder.resolve()
    path = whole.parent / f"{whole.name}{UNFINISHED}"  # the root of a disk has no name
    if whole.name and not os.path.lexists(whole) and (path / REPLACES).is_file():
        try:
            path.replace(whole)
            _tidy(whole)
        except OSError as error:
            raise disk_error(folder, error) from None


def _put(path: Path, folder: Path, before: Path | None) -> None:
    """Give the workspace its place; a run that is there goes to `before`."""
    if before is None:
        path.replace(folder)
        return
    write_text(path / REPLACES, f"{before}\n")
    folder.replace(before)
    try:
        path.replace(folder)
    except BaseException:
        if not os.path.lexists(folder):
            before.replace(folder)
        raise


def _tidy(folder: Path) -> None:
    """Remove what only a workspace needs."""
    for name in (JOB, LOCK, REPLACES, SO_FAR):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


@contextmanager
def _working(workspace: Workspace) -> Iterator[Workspace]:
    path, lock = (
        workspace.path,
        FileLock(workspace.path / LOCK, timeout=0),
    )  # the system releases it when the process dies
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(f"{path}: another process is working on this run") from None
    try:
        for left in path.rglob(".*.part"):  # of a process that was killed while it wrote
            left.unlink(missing_ok=True)
        yield workspace
        folder = workspace.folder.resolve()
        with contextlib.suppress(OSError):
            folder.rmdir()  # where an empty folder of that name was made beforehand
        lock.release()
        _put(path, folder, workspace.before)
        _tidy(folder)
    except BaseException as error:
        lock.release()
        if workspace.job or (path / HISTORY).is_file():
            error.add_note(f"what was done is in {path}; {RESUME}")
        else:
            shutil.rmtree(path, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_error(workspace.folder, error) from None
        raise

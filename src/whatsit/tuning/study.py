"""The trials of a study in a SQLite file of Optuna.

Several processes may work on it, and any of them may die.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import secrets
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from whatsit.errors import UsageError, needing
from whatsit.files import DiskError, spreadsheet_safe, write_text
from whatsit.training.knobs import Choice, Knob, Space, written

STARTUP = 10  # trials drawn at random before the sampler learns from them
MOST_DEATHS = 2  # of processes, after which a trial is given up
COMPARED = 4  # trials that must have reached an epoch before one is stopped for being worse than their median


@dataclass(frozen=True)
class Row:
    """A finished trial."""

    number: int  # from 0; that of its first attempt
    state: str  # done, stopped (it fell behind), or failed
    loss: float | None  # of the validation pictures, calibrated, in nats
    accuracy: float | None  # in validation, at the kept epoch
    seconds: float
    values: Mapping[str, Any]  # the recipe's keys that were searched
    error: str = ""


@dataclass(frozen=True)
class Asked:
    """A trial to run."""

    number: int
    values: dict[str, Any]
    trial: Any  # Optuna's

    def falls_behind(self, step: int, loss: float) -> bool:
        """Record the loss after `step` epochs; return whether others were better by then."""
        self.trial.report(loss, step)
        return bool(self.trial.should_prune())


class Study:
    """A search for the lowest validation loss, kept in a SQLite file.

    Trials are drawn by the tree-structured Parzen estimator (Bergstra et al. 2011) and stopped early by the median of the others
    (Golovin et al. 2017). A trial whose process died is repeated under its number: each process holds a file lock, which the
    system frees (decision 27 has why not Optuna's heartbeat). SQLite cannot lock a row, so one process at a time asks.
    """

    def __init__(self, folder: Path, space: Space, *, seed: int, warmup: int, first: list[dict[str, Any]]) -> None:
        """Open the study in a folder, or begin one with these first trials.

        No trial is judged in its first `warmup` epochs.

        Raises `UsageError` where the file is damaged, or was made for another space.
        """
        optuna = _optuna()
        self.folder, self._space = folder, space
        self._worker = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._turn = FileLock(folder / ".study.db.lock")
        file = folder / "study.db"
        with self._turn:
            try:
                storage = optuna.storages.RDBStorage("sqlite://", engine_kwargs=_opening(file))
                self._study = optuna.create_study(
                    storage=storage, study_name="tune", direction="minimize", load_if_exists=True
                )
                there = len(self._study.trials)
            except Exception as error:  # SQLAlchemy raises what it likes for a file that is no database
                reason = "".join(str(error).splitlines()[:1])[:200]
                raise UsageError(
                    f"{file}: the study cannot be opened ({reason}); is there space on the disk, and is the file complete?"
                ) from None
            self._require_own(file)
            for values in [] if there else first:
                self._study.enqueue_trial(self._words(values))
        # A later process must not draw the same values again.
        draws = seed if not there else secrets.randbits(31)
        self._study.sampler = optuna.samplers.TPESampler(seed=draws, n_startup_trials=STARTUP, constant_liar=True)
        self._study.pruner = optuna.pruners.MedianPruner(n_startup_trials=COMPARED, n_warmup_steps=warmup)

    def _require_own(self, file: Path) -> None:
        ours = self._distributions()
        for trial in self._study.trials:
            if any(ours.get(key) != made for key, made in trial.distributions.items()):
                raise UsageError(
                    f"{file}: these trials were made for another search than that of study.json; begin a new study"
                )

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Mark this process as working on the study within a `with`.

        When it dies, its trial is free again. An end from outside, such as Ctrl-C or a full disk, does not count as a death.
        """
        folder = self.folder / ".workers"
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / f"{self._worker}.lock", timeout=0)
        try:
            with lock:
                try:
                    yield
                except BaseException as error:
                    if not isinstance(error, Exception) or isinstance(error, DiskError):  # the trial is not to blame
                        self._requeue_own()
                    raise
        except _optuna().exceptions.StorageInternalError as error:
            reason = str(error.__cause__ or error).splitlines()[:1]
            raise DiskError(
                f"{self.folder / 'study.db'}: the study cannot be written ({''.join(reason)[:200]})"
            ) from None
        Path(lock.lock_file).unlink(missing_ok=True)

    def ask(self) -> Asked:
        """Return the next trial."""
        with self._turn:
            trial = self._study.ask(self._distributions())
            trial.set_user_attr("worker", self._worker)
        values = {key: _meant(self._space[key], value) for key, value in trial.params.items()}
        return Asked(int(trial.user_attrs.get("number", trial.number)), values, trial)

    def tell(
        self, asked: Asked, loss: float | None, seconds: float, *, accuracy: float | None = None, error: str = ""
    ) -> None:
        """Record the result of a trial.

        Without a loss it was stopped, or failed where there is an error.
        """
        state = _optuna().trial.TrialState
        for key, value in (("seconds", seconds), ("accuracy", accuracy), ("error", error)):
            asked.trial.set_user_attr(key, value)
        if loss is None:
            self._study.tell(asked.trial, state=state.PRUNED)
        else:
            self._study.tell(asked.trial, loss)

    def requeue_dead(self) -> int:
        """Queue the trials of dead processes again; return the number of others' trials."""
        state, busy = _optuna().trial.TrialState, 0
        with self._turn:
            for trial in self._study.get_trials(states=(state.RUNNING,)):
                worker = str(trial.user_attrs.get("worker", ""))
                if worker == self._worker:
                    continue
                if self._is_alive(worker):
                    busy += 1
                    continue
                self._requeue(trial, deaths=1)
        return busy

    def put_back(self, asked: Asked, why: str = "") -> None:
        """Queue a trial again whose worker was lost.

        With a reason, how its process ended, the trial may be to blame, and is queued only once.
        """
        with self._turn:
            [trial] = [one for one in self._study.trials if one.number == asked.trial.number]
            self._requeue(trial, deaths=int(bool(why)), why=why)

    def drop(self, asked: Asked) -> None:
        """Forget a trial that is not to run."""
        self._study.tell(asked.trial, state=_optuna().trial.TrialState.FAIL)

    def _requeue_own(self) -> None:
        """Queue the trials that this process is working on, for others."""
        running, storage = _optuna().trial.TrialState.RUNNING, _optuna().exceptions.StorageInternalError
        with contextlib.suppress(storage), self._turn:  # the caller raises what went wrong before
            for trial in self._study.get_trials(states=(running,)):
                if trial.user_attrs.get("worker") == self._worker:
                    self._requeue(trial, deaths=0)

    def _requeue(self, trial: Any, *, deaths: int, why: str = "") -> None:
        self._study.tell(trial.number, state=_optuna().trial.TrialState.FAIL)
        known = trial.user_attrs
        attempt = {"number": known.get("number", trial.number), "deaths": known.get("deaths", 0) + deaths}
        if attempt["deaths"] < MOST_DEATHS:
            wanted = trial.system_attrs.get("fixed_params", {}) | trial.params
            self._study.enqueue_trial(wanted, user_attrs=attempt)
            return
        optuna = _optuna()
        reason = f": {why}" if why else "; there may be too little memory for it"
        error = f"the process died {MOST_DEATHS} times in this trial{reason}"
        known = {key: knob for key, knob in self._distributions().items() if key in trial.params}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.PRUNED,
                params=trial.params,
                distributions=known,
                user_attrs=attempt | {"error": error},
            )
        )

    def _is_alive(self, worker: str) -> bool:
        file = self.folder / ".workers" / f"{worker}.lock"
        if not worker or not file.is_file():
            return False
        try:
            with FileLock(file, timeout=0):
                pass
        except Timeout:
            return True
        file.unlink(missing_ok=True)
        return False

    def rows(self) -> list[Row]:
        """Return the finished trials in their order."""
        state = _optuna().trial.TrialState
        found = [self._row(trial) for trial in self._study.get_trials(states=(state.COMPLETE, state.PRUNED))]
        return sorted(found, key=lambda row: row.number)

    def _row(self, trial: Any) -> Row:
        done = trial.state == _optuna().trial.TrialState.COMPLETE
        about = trial.user_attrs
        return Row(
            int(about.get("number", trial.number)),
            "failed" if about.get("error") else "done" if done else "stopped",
            trial.value if done else None,
            about.get("accuracy"),
            float(about.get("seconds", 0.0)),
            {key: _meant(knob, trial.params[key]) for key, knob in self._space.items() if key in trial.params},
            str(about.get("error", "")),
        )

    def has_all(self, tried: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether these are all combinations of a space of choices."""
        knobs = list(self._space.values())
        if not all(isinstance(knob, Choice) for knob in knobs):
            return False
        most = math.prod(len(knob.values) for knob in knobs if isinstance(knob, Choice))
        return len({repr(sorted(values.items())) for values in tried}) >= most

    def importance(self) -> dict[str, float]:
        """Return the share of the variance of the loss that each key explains.

        It is by PED-ANOVA (Watanabe et al. 2023).

        The largest comes first; the result is empty where there are too few trials, or all are alike.
        """
        optuna = _optuna()
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "The number of trials is too small")
                found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        except (ValueError, RuntimeError, ZeroDivisionError, UserWarning):  # too few trials, or all alike
            return {}
        return {key: float(share) for key, share in found.items() if share == share}

    def _distributions(self) -> dict[str, Any]:
        return {key: _distribution(knob) for key, knob in self._space.items()}

    def _words(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {key: written(value) if isinstance(self._space[key], Choice) else value for key, value in values.items()}


def _opening(file: Path) -> dict[str, Any]:
    """Return how SQLAlchemy opens the file: by its path.

    An address gives signs such as `?` and `%` a meaning.
    """
    from sqlalchemy.pool import QueuePool

    return {
        "creator": lambda: sqlite3.connect(file, timeout=60, check_same_thread=False),
        "poolclass": QueuePool,
    }


def _distribution(knob: Knob) -> Any:
    optuna = _optuna()
    if isinstance(knob, Choice):
        return optuna.distributions.CategoricalDistribution(knob.words)
    if knob.whole:
        return optuna.distributions.IntDistribution(int(knob.low), int(knob.high), log=knob.log)
    return optuna.distributions.FloatDistribution(knob.low, knob.high, log=knob.log)


def _meant(knob: Knob, value: Any) -> Any:
    """Return the value of a recipe for one of Optuna."""
    if isinstance(knob, Choice):
        return knob.values[knob.words.index(value)]
    return int(value) if knob.whole else float(f"{value:.4g}")  # as it is written, so that it can be repeated


def require_optuna() -> None:
    """Raise `MissingExtraError` where Optuna is not installed."""
    _optuna()


def _optuna() -> Any:
    with needing("Tuning", "tune", "optuna"):
        import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def in_words(values: Mapping[str, Any]) -> str:
    """Return `hidden 256, dropout 0.5`."""
    return ", ".join(f"{key} {written(value)}" for key, value in values.items())


def write_trials(rows: Sequence[Row], path: Path) -> None:
    """Write the trials as `trials.csv`."""
    keys = list(dict.fromkeys(key for row in rows for key in row.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", "val_calibrated_loss", "val_accuracy", "seconds", *keys, "error"])
    writer.writerows([spreadsheet_safe(cell) for cell in _cells(row, keys)] for row in rows)
    write_text(path, text.getvalue())


def _cells(row: Row, keys: Sequence[str]) -> list[str]:
    metrics = ["" if value is None else f"{value:.6g}" for value in (row.loss, row.accuracy)]
    values = [written(row.values[key]) if key in row.values else "" for key in keys]
    return [str(row.number), row.state, *metrics, f"{row.seconds:.1f}", *values, row.error]

"""The trials of a tuning, kept by Optuna in a SQLite file: several processes may work on them, and any of them may die."""

from __future__ import annotations

import contextlib
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

from whatsit.errors import MissingExtraError, UsageError
from whatsit.files import DiskError, write_csv
from whatsit.training.knobs import Choice, Knob, Space, written

STARTUP = 10  # trials drawn at random before the sampler learns from them
MOST_DEATHS = 2  # of processes, after which a trial is not made again
COMPARED = 4  # trials that must have come as far before one is stopped for being worse than their median


@dataclass(frozen=True)
class Row:
    """A trial that is over."""

    number: int  # from 0; that of its first attempt
    state: str  # done, stopped (it fell behind), or failed
    loss: float | None  # of the validation pictures, calibrated, in nats
    accuracy: float | None  # in validation, at the kept epoch
    seconds: float
    values: Mapping[str, Any]  # the recipe's keys that were searched
    error: str = ""


@dataclass(frozen=True)
class Asked:
    """A trial to be made."""

    number: int
    values: dict[str, Any]
    trial: Any  # Optuna's

    def falls_behind(self, step: int, loss: float) -> bool:
        """Note the validation loss after so many epochs; whether the trial is worse than others were by then."""
        self.trial.report(loss, step)
        return bool(self.trial.should_prune())


class Study:
    """A SQLite file of trials that seek the lowest validation loss: by the tree-structured Parzen estimator (Bergstra et al.
    2011), fallen ones stopped by the median of the others (Golovin et al. 2017).

    A trial that died with its process is made again under its number. SQLite cannot lock a row, so one process at a time asks.
    """

    def __init__(self, folder: Path, space: Space, *, seed: int, warmup: int, first: list[dict[str, Any]]) -> None:
        """Open the study in a folder, or begin it with these first trials; `warmup` epochs are never judged.

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
                    f"{file}: the study cannot be opened ({reason}); is there room, and is it whole?"
                ) from None
            self._require_own(file)
            for values in [] if there else first:
                self._study.enqueue_trial(self._words(values))
        # Whoever comes later must not draw what was drawn before.
        draws = seed if not there else secrets.randbits(31)
        self._study.sampler = optuna.samplers.TPESampler(seed=draws, n_startup_trials=STARTUP)
        self._study.pruner = optuna.pruners.MedianPruner(n_startup_trials=COMPARED, n_warmup_steps=warmup)

    def _require_own(self, file: Path) -> None:
        ours = self._distributions()
        for trial in self._study.trials:
            if any(ours.get(key) != made for key, made in trial.distributions.items()):
                raise UsageError(
                    f"{file}: these trials were made for another search than study.json says; begin a new study"
                )

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """For the time of a `with`, this process works on the study; its trial is free again when the process dies. An end from
        outside, such as Ctrl-C or a full disk, is no death.
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
                        self._put_back()
                    raise
        except _optuna().exceptions.StorageInternalError as error:
            reason = str(error.__cause__ or error).splitlines()[:1]
            raise DiskError(
                f"{self.folder / 'study.db'}: the study cannot be written ({''.join(reason)[:200]})"
            ) from None
        Path(lock.lock_file).unlink(missing_ok=True)

    def ask(self) -> Asked:
        """The next trial."""
        with self._turn:
            trial = self._study.ask(self._distributions())
            trial.set_user_attr("worker", self._worker)
        values = {key: _meant(self._space[key], value) for key, value in trial.params.items()}
        return Asked(int(trial.user_attrs.get("number", trial.number)), values, trial)

    def tell(
        self, asked: Asked, loss: float | None, seconds: float, *, accuracy: float | None = None, error: str = ""
    ) -> None:
        """What came of a trial; without a loss it was stopped, or failed where there is an error."""
        state = _optuna().trial.TrialState
        for key, value in (("seconds", seconds), ("accuracy", accuracy), ("error", error)):
            asked.trial.set_user_attr(key, value)
        if loss is None:
            self._study.tell(asked.trial, state=state.PRUNED)
        else:
            self._study.tell(asked.trial, loss)

    def give_back(self) -> int:
        """Let the trials of processes that died be made again; how many trials others are working on."""
        state, busy = _optuna().trial.TrialState, 0
        with self._turn:
            for trial in self._study.get_trials(states=(state.RUNNING,)):
                worker = str(trial.user_attrs.get("worker", ""))
                if worker == self._worker:
                    continue
                if self._is_alive(worker):
                    busy += 1
                    continue
                self._make_again(trial, deaths=1)
        return busy

    def _put_back(self) -> None:
        """Let others make what this process is at."""
        running, storage = _optuna().trial.TrialState.RUNNING, _optuna().exceptions.StorageInternalError
        with contextlib.suppress(storage), self._turn:  # a full disk is told by what raised before
            for trial in self._study.get_trials(states=(running,)):
                if trial.user_attrs.get("worker") == self._worker:
                    self._make_again(trial, deaths=0)

    def _make_again(self, trial: Any, *, deaths: int) -> None:
        self._study.tell(trial.number, state=_optuna().trial.TrialState.FAIL)
        known = trial.user_attrs
        told = {"number": known.get("number", trial.number), "deaths": known.get("deaths", 0) + deaths}
        if told["deaths"] < MOST_DEATHS:
            wanted = trial.system_attrs.get("fixed_params", {}) | trial.params
            self._study.enqueue_trial(wanted, user_attrs=told)
            return
        optuna = _optuna()
        error = f"the process died {MOST_DEATHS} times while it was made; there may be too little memory for it"
        known = {key: knob for key, knob in self._distributions().items() if key in trial.params}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.PRUNED,
                params=trial.params,
                distributions=known,
                user_attrs=told | {"error": error},
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
        """The trials that are over, in their order."""
        state = _optuna().trial.TrialState
        found = [self._row(trial) for trial in self._study.get_trials(states=(state.COMPLETE, state.PRUNED))]
        return sorted(found, key=lambda row: row.number)

    def _row(self, trial: Any) -> Row:
        done = trial.state == _optuna().trial.TrialState.COMPLETE
        told = trial.user_attrs
        return Row(
            int(told.get("number", trial.number)),
            "failed" if told.get("error") else "done" if done else "stopped",
            trial.value if done else None,
            told.get("accuracy"),
            float(told.get("seconds", 0.0)),
            {key: _meant(knob, trial.params[key]) for key, knob in self._space.items() if key in trial.params},
            str(told.get("error", "")),
        )

    def has_all(self, rows: Sequence[Row]) -> bool:
        """Whether nothing is left to try: every combination of a space of choices was."""
        knobs = list(self._space.values())
        if not all(isinstance(knob, Choice) for knob in knobs):
            return False
        most = math.prod(len(knob.values) for knob in knobs if isinstance(knob, Choice))
        return len({repr(sorted(row.values.items())) for row in rows}) >= most

    def importance(self) -> dict[str, float]:
        """The share of the differences in loss that each key accounts for, the largest first; empty where nobody can say.

        By PED-ANOVA (Watanabe et al. 2023).
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
    """How SQLAlchemy opens the file: by its path, as an address would take signs such as `?` and `%` in it for its own."""
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
    """A recipe's value for what Optuna says."""
    if isinstance(knob, Choice):
        return knob.values[knob.words.index(value)]
    return int(value) if knob.whole else float(f"{value:.4g}")  # as it is written and repeated


def require_optuna() -> None:
    """Raises `MissingExtraError` where Optuna is not installed: to be told before any work."""
    _optuna()


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("Tuning", "tune", "optuna") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def write_trials(rows: list[Row], path: Path) -> None:
    """The trials as `trials.csv`."""
    keys = list(dict.fromkeys(key for row in rows for key in row.values))
    header = ["trial", "state", "val_calibrated_loss", "val_accuracy", "seconds", *keys, "error"]
    write_csv(path, header, [_cells(row, keys) for row in rows])


def _cells(row: Row, keys: Sequence[str]) -> list[str]:
    figures = ["" if value is None else f"{value:.6g}" for value in (row.loss, row.accuracy)]
    values = [written(row.values[key]) if key in row.values else "" for key in keys]
    return [str(row.number), row.state, *figures, f"{row.seconds:.1f}", *values, row.error]

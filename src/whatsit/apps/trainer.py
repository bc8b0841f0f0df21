"""Training in a process of its own, started beforehand: loading TensorFlow takes longer than training a head on thirty pictures.

The app talks to it over its standard streams, a JSON document a line: a job in; progress, and at last the result, out. When the
app ends, the stream does, and with it this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from whatsit.errors import DataError, WhatsitError
from whatsit.events import SILENT, Event, Reporter, StageStarted, Work
from whatsit.process import own_process

FEW = 200  # pictures; of fewer, the accuracy is cross-validated


@dataclass(frozen=True)
class Taught:
    """What came of a training."""

    run: Path
    accuracy: float
    low: float  # of its 95 % interval
    high: float
    n: int  # pictures that were tested
    recall: dict[str, float]  # of each class
    mixed: tuple[str, str, int] | None  # the class, what it is most often taken for, and how often
    folds: int  # of cross-validation; 0 where a test set was put aside
    seconds: float


class Trainer:
    """A training process that waits for jobs. Thread-safe: one job at a time."""

    def __init__(self, log: Callable[[str], None] = lambda text: None) -> None:
        """Starts the process, which loads what it needs while nobody waits yet. `log` gets what it writes on stderr."""
        self._lock = threading.Lock()
        self._log = log
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "whatsit.apps.trainer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
        )
        self._listening = threading.Thread(target=self._listen, args=(process.stderr,), name="trainer", daemon=True)
        self._listening.start()
        return process

    def _listen(self, stream: TextIO) -> None:
        with stream:
            for line in stream:
                self._log(line.rstrip("\n"))

    def train(self, data: Path, out: Path, progress: Callable[[str], None]) -> Taught:
        """Train on DATA and measure it; `progress` takes the `Work` that begins. Raises `WhatsitError`."""
        with self._lock:
            if self._process.poll() is not None:
                self._process = self._start()
            try:
                return self._ask({"data": str(data), "out": str(out)}, progress)
            except TrainingError:
                raise
            except BaseException:
                self.close()  # whatever it was at, the next job begins anew
                raise

    def _ask(self, job: dict[str, str], progress: Callable[[str], None]) -> Taught:
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            for line in self._process.stdout:
                found = json.loads(line)
                if "error" in found:
                    raise TrainingError(found["error"], is_foreseen=found["foreseen"])
                if "taught" in found:
                    return taught_from(found["taught"])
                progress(found["doing"])
        except (OSError, ValueError) as error:
            raise WhatsitError(f"the training process failed: {error}") from None
        code = self._process.wait()
        raise WhatsitError(f"the training process ended unexpectedly ({code}); there may be too little memory")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._listening.join(2)  # so that its last words are in the log; a process of its own may live on
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(OSError):  # what was not sent yet is of no use any more
                    stream.close()


class TrainingError(WhatsitError):
    """Training said why it cannot go on."""

    def __init__(self, message: str, *, is_foreseen: bool = True) -> None:
        """Whether the message is for the user; of what was not foreseen, the log knows more."""
        super().__init__(message)
        self.is_foreseen = is_foreseen


def taught_from(values: dict[str, Any]) -> Taught:
    """From JSON. Raises `LookupError`, `TypeError` or `ValueError` where it is something else."""
    mixed = values["mixed"]
    return Taught(**values | {"run": Path(values["run"]), "mixed": tuple(mixed) if mixed else None})


class _Telling(Reporter):
    """Write the kind of work of each stage as a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def emit(self, event: Event) -> None:
        """Write the kind of work that begins, where the app has words for it."""
        if isinstance(event, StageStarted) and event.work != Work.OTHER:
            _write(self._out, {"doing": event.work})


def teach(data: Path, out: Path, reporter: Reporter) -> dict[str, Any]:
    """Train, and measure: by cross-validation where there are few pictures, else on the test pictures put aside."""
    from whatsit.verbs.cross_validate import cross_validate
    from whatsit.verbs.data import open_data
    from whatsit.verbs.train import train

    started = time.perf_counter()
    count = len(open_data(data, SILENT).pictures)
    run = train(data, out=out, report=False, reporter=reporter)
    tested = None
    if count < FEW:
        reporter.stage("Testing each picture by a model that has not seen it", Work.CROSS_VALIDATION)
        with contextlib.suppress(DataError):  # too few of a class, or pictures have gone meanwhile
            tested = cross_validate(data)
    if tested:
        classes, confusion, recall = tested.classes, tested.confusion, tested.recall()
        accuracy, interval, n, folds = tested.accuracy, tested.accuracy_ci95, tested.n, tested.folds
    else:
        figures = run.test
        classes, confusion = tuple(figures.per_class), tuple(map(tuple, figures.confusion))
        recall = {label: one.recall for label, one in figures.per_class.items()}
        accuracy, interval, n, folds = figures.accuracy, figures.accuracy_ci95, figures.n, 0
    return {
        "run": str(run.folder),
        "accuracy": accuracy,
        "low": interval[0],
        "high": interval[1],
        "n": n,
        "recall": recall,
        "mixed": _most_mixed(classes, confusion),
        "folds": folds,
        "seconds": time.perf_counter() - started,
    }


def _most_mixed(classes: tuple[str, ...], confusion: tuple[tuple[int, ...], ...]) -> tuple[str, str, int] | None:
    pairs = [
        (count, classes[true], classes[said])
        for true, row in enumerate(confusion)
        for said, count in enumerate(row)
        if true != said and count
    ]
    if not pairs:
        return None
    count, true, said = max(pairs, key=lambda pair: pair[0])
    return true, said, count


def main() -> None:
    """Do the jobs that come on stdin until it ends."""
    own_process()
    with _alone() as out:
        with contextlib.suppress(Exception):  # it is told with the first job
            from whatsit.models.backend import load_keras

            load_keras()
            from whatsit.training.default_network import default_network

            default_network(480)
        for line in sys.stdin:
            job = json.loads(line)
            try:
                _write(out, {"taught": teach(Path(job["data"]), Path(job["out"]), _Telling(out))})
            except Exception as error:  # whatever it is, the app is to be told
                is_foreseen = isinstance(error, WhatsitError)
                if not is_foreseen:
                    traceback.print_exc()  # on stderr, which the app writes into its log
                    sys.stderr.flush()
                words = str(error) if is_foreseen else f"{type(error).__name__}: {error}"
                _write(out, {"error": words, "foreseen": is_foreseen})


@contextlib.contextmanager
def _alone() -> Iterator[TextIO]:
    """Our own stdout; whatever libraries print goes nowhere."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        yield out


def _write(out: TextIO, document: dict[str, Any]) -> None:
    out.write(json.dumps(document) + "\n")
    out.flush()


if __name__ == "__main__":
    main()

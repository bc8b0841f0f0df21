"""Training in a process of its own, started early: TensorFlow loads slowly.

The app talks to it over its standard streams, a JSON document a line: a job in; its stages and at last the result out.
When the app ends, so do the streams, and with them this process.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, TextIO

from whatsit.errors import DataError, WhatsitError
from whatsit.events import SILENT, Event, Reporter, StageStarted, Work
from whatsit.process import own_process

FEW = 200  # pictures; of fewer, the accuracy is cross-validated


@dataclass(frozen=True)
class TrainingResult:
    """A finished training and how good its model is."""

    run: Path
    accuracy: float
    low: float  # of its 95 % interval
    high: float
    n: int  # tested pictures
    recall: dict[str, float]  # of each class
    mixed: tuple[str, str, int] | None  # a class, the class it is most often taken for, and how often
    folds: int  # of cross-validation; 0 where a test set was set aside
    seconds: float

    @property
    def accuracy_ci95(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy."""
        return self.low, self.high


class TrainingError(WhatsitError):
    """The training process failed with a message."""

    def __init__(self, message: str, *, is_foreseen: bool = True) -> None:
        """Keep whether the message is for the user; otherwise the log has the traceback."""
        super().__init__(message)
        self.is_foreseen = is_foreseen


class Trainer:
    """A training process that waits for jobs. Thread-safe: one job at a time."""

    def __init__(self, log: Callable[[str], None] = lambda text: None) -> None:
        """Start the process; `log` gets each line of its stderr."""
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

    def train(self, data: Path, out: Path, show: Callable[[str], None]) -> TrainingResult:
        """Train on DATA and measure the model; `show` gets the `Work` that begins.

        Raises `WhatsitError`.
        """
        with self._lock:
            if self._process.poll() is not None:
                self._process = self._start()
            try:
                return self._request({"data": str(data), "out": str(out)}, show)
            except TrainingError:
                raise
            except BaseException:
                self.close()  # it may be in the middle of the job; the next one gets a new process
                raise

    def _request(self, job: dict[str, str], show: Callable[[str], None]) -> TrainingResult:
        assert self._process.stdin
        assert self._process.stdout
        try:
            _write(self._process.stdin, job)
            for line in self._process.stdout:
                message = json.loads(line)
                if "error" in message:
                    raise TrainingError(message["error"], is_foreseen=message["foreseen"])
                if "result" in message:
                    return result_from(message["result"])
                show(message["stage"])
        except (OSError, ValueError) as error:
            raise WhatsitError(f"the training process failed: {error}") from None
        code = self._process.wait()
        raise WhatsitError(f"the training process ended unexpectedly ({code}); there may be too little memory")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._listening.join(2)  # so that the log gets the last lines; a child of the process may live on
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(OSError):  # unsent data is of no use any more
                    stream.close()


def result_from(values: dict[str, Any]) -> TrainingResult:
    """Return a result from its JSON.

    Raises `LookupError`, `TypeError` or `ValueError` for anything else.
    """
    mixed = values["mixed"]
    return TrainingResult(**values | {"run": Path(values["run"]), "mixed": tuple(mixed) if mixed else None})


class _StageReporter(Reporter):
    """Sends the kind of work of each stage to the app."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def emit(self, event: Event) -> None:
        """Write the kind of work that begins, where the app has words for it."""
        if isinstance(event, StageStarted) and event.work != Work.OTHER:
            _write(self._out, {"stage": event.work})


def _train(data: Path, out: Path, reporter: Reporter) -> TrainingResult:
    """Train and measure: few pictures by cross-validation, many on a test set."""
    from whatsit.images.data import open_data
    from whatsit.verbs.cross_validate import cross_validate
    from whatsit.verbs.train import train

    started = time.perf_counter()
    count = len(open_data(data, SILENT).pictures)
    run = train(data, out=out, report=False, reporter=reporter)
    tested = None
    if count < FEW:
        reporter.stage("Testing each picture by a model that has not seen it", Work.CROSS_VALIDATION)
        with contextlib.suppress(DataError):  # too few of a class, or pictures have gone meanwhile
            tested = cross_validate(data)
    classes: Sequence[str] = tested.classes if tested else tuple(run.test.per_class)
    confusion: Sequence[Sequence[int]] = tested.confusion if tested else run.test.confusion
    recall = tested.recall() if tested else {label: one.recall for label, one in run.test.per_class.items()}
    metrics = tested or run.test
    return TrainingResult(
        run.folder,
        metrics.accuracy,
        *metrics.accuracy_ci95,
        n=metrics.n,
        recall=recall,
        mixed=_most_mixed(classes, confusion),
        folds=tested.folds if tested else 0,
        seconds=time.perf_counter() - started,
    )


def _most_mixed(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> tuple[str, str, int] | None:
    pairs = [
        (count, classes[row], classes[column])
        for row, counts in enumerate(confusion)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    if not pairs:
        return None
    count, label, predicted = max(pairs, key=lambda pair: pair[0])
    return label, predicted, count


def main() -> None:
    """Do the jobs that come on stdin until it ends."""
    own_process()
    with _own_stdout() as out:
        with contextlib.suppress(Exception):  # the first job reports it
            from whatsit.models.backend import load_keras

            load_keras()
            from whatsit.training.default_network import default_network

            default_network(480)
        for line in sys.stdin:
            job = json.loads(line)
            try:
                result = _train(Path(job["data"]), Path(job["out"]), _StageReporter(out))
                _write(out, {"result": asdict(result) | {"run": str(result.run)}})
            except Exception as error:  # the app shows whatever it is
                is_foreseen = isinstance(error, WhatsitError)
                if not is_foreseen:
                    traceback.print_exc()  # on stderr, which the app writes into its log
                    sys.stderr.flush()
                message = str(error) if is_foreseen else f"{type(error).__name__}: {error}"
                _write(out, {"error": message, "foreseen": is_foreseen})


@contextlib.contextmanager
def _own_stdout() -> Iterator[TextIO]:
    """Yield our own stdout, and drop what libraries print."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        yield out


def _write(out: IO[str], document: dict[str, Any]) -> None:
    out.write(json.dumps(document) + "\n")
    out.flush()


if __name__ == "__main__":
    main()

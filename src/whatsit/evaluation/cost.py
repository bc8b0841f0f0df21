"""The cost of one way to run a model, measured in a process of its own.

So its memory and the time to load it are its own. The job is JSON; its results are written as JSON on stdout, its
probabilities into a file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from whatsit.engines import Images
from whatsit.engines.base import OUTPUT
from whatsit.engines.exported import Infer, Probabilities
from whatsit.errors import WhatsitError
from whatsit.files import replacing
from whatsit.process import own_process
from whatsit.runtime.predictor import Answer, Predictor

BATCH = 32
SINGLES = 300  # rounds, or as many as the job's time allows

BUNDLE, EXPORTED, STOCK = "bundle", "exported", "stock"


class CostError(WhatsitError):
    """A way to run a model that could not be measured."""


@dataclass(frozen=True)
class Job:
    """A way to run a model, and the pictures for it."""

    kind: str  # BUNDLE: the graph as whatsit serves it; EXPORTED: a file; STOCK: a Keras file by `model.predict`
    path: str
    runtime: str | None
    pixels: str  # a `.npy` file, uint8 [N, H, W, 3]
    answers: str  # the `.npy` file to write, float32 [N, K]
    seconds: float  # for single pictures, and again for batches


@dataclass(frozen=True)
class Cost:
    """Times in seconds, and memory."""

    load: float  # from nothing to the first prediction, with the import of the runtime
    p50: float  # of one picture
    p99: float
    rounds: int
    pictures_per_second: float  # in batches of `BATCH`
    peak_mb: float | None  # of the whole process; None where the system does not report it


def measure_apart(job: Job) -> tuple[Cost, Probabilities]:
    """Run a job in a process of its own. Raises `CostError` where it fails."""
    command = [sys.executable, "-P", "-m", "whatsit.evaluation.cost", json.dumps(asdict(job))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    try:
        return Cost(**json.loads(done.stdout.splitlines()[-1])), np.load(job.answers)
    except (IndexError, ValueError, TypeError, OSError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        reason = last.removeprefix("whatsit.files.DiskError: ")[:200]
        raise CostError(f"{Path(job.path).name} could not be measured: {reason}") from None


def measure(job: Job) -> Cost:
    """Run a job in this process."""
    pixels = np.load(job.pixels, mmap_mode="r")
    few = np.array(pixels[:BATCH])
    started = time.perf_counter()
    infer, stream = _open(job)
    infer(few[:1])
    load = time.perf_counter() - started
    singles = list(_times(lambda place: infer(few[place : place + 1]), len(few), job.seconds))
    for _ in stream([few]):  # warms it up
        pass
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < job.seconds:
        done += sum(len(found) for found in stream([few] * 8))
    speed = done / (time.perf_counter() - started)
    peak = _peak_mb()  # before all pictures are read
    batches = (np.array(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH))
    found = np.concatenate(list(stream(batches)))
    with replacing(Path(job.answers)) as file:
        np.save(file, found)
    p50, p99 = (float(value) for value in np.percentile(singles, [50, 99]))
    return Cost(load, p50, p99, len(singles), speed, peak)


def _open(job: Job) -> tuple[Infer, Callable[[Iterable[Images]], Iterator[Probabilities]]]:
    """Return two functions: for one batch, and for a stream of them."""
    if job.kind == BUNDLE:
        predictor = Predictor(job.path, runtime=job.runtime or "auto")
        return (
            lambda images: _stacked(predictor.answer(images)),
            lambda batches: map(_stacked, predictor.stream(batches)),
        )
    infer: Infer
    if job.kind == STOCK:
        from whatsit.engines.tensorflow import read_keras

        model = read_keras(Path(job.path))

        def infer(images: Images) -> Probabilities:
            outputs = model.predict(images, verbose=0)
            found: Probabilities = outputs[OUTPUT] if isinstance(outputs, dict) else outputs
            return found

    else:
        from whatsit.engines.exported import open_exported

        infer = open_exported(Path(job.path), job.runtime)
    return infer, lambda batches: map(infer, batches)


def _stacked(answers: list[Answer]) -> Probabilities:
    return np.stack([answer.probabilities for answer in answers])


def _times(work: Callable[[int], object], pictures: int, seconds: float) -> Iterator[float]:
    until = time.perf_counter() + seconds
    for number in range(SINGLES):
        started = time.perf_counter()
        work(number % pictures)
        now = time.perf_counter()
        yield now - started
        if now > until and number >= 20:
            return


def _peak_mb() -> float | None:
    """Return the peak memory of this process in 10^6 bytes; None off Linux."""
    try:  # `getrusage` would count the parent's memory too
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM")), None)


if __name__ == "__main__":
    own_process()
    result = measure(Job(**json.loads(sys.argv[1])))
    sys.stdout.write(json.dumps(asdict(result)) + "\n")

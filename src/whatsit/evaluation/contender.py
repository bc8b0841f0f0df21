"""One way to run a model, measured in a process of its own: `python -m whatsit.evaluation.contender JOB.json`.

So its memory and the time to load it are its own. The job's results are written as JSON on stdout, its answers into a file.
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
from whatsit.engines.exported import Probabilities, Run
from whatsit.errors import WhatsitError

BATCH = 32
SINGLES = 300  # rounds, or as many as the job's time allows

BUNDLE, EXPORTED, STOCK = "bundle", "exported", "stock"


class ContenderError(WhatsitError):
    """A way could not be measured."""


@dataclass(frozen=True)
class Job:
    """What to run."""

    kind: str  # BUNDLE: the graph as whatsit serves it; EXPORTED: a file; STOCK: a Keras file by `model.predict`
    path: str
    runtime: str | None
    pixels: str  # a `.npy` file, uint8 [N, H, W, 3]
    answers: str  # the `.npy` file to write, float32 [N, K]
    seconds: float  # for single pictures, and again for batches


@dataclass(frozen=True)
class Measured:
    """What it costs. Times in seconds."""

    load: float  # from nothing to the first answer, with the import of the runtime
    p50: float  # of one picture
    p99: float
    rounds: int
    pictures_per_second: float  # in batches of `BATCH`
    peak_mb: float  # of the whole process


def measure_apart(job: Job) -> tuple[Measured, Probabilities]:
    """Run a job in a process of its own. Raises `ContenderError` where it fails."""
    text = json.dumps(asdict(job))
    command = [sys.executable, "-m", "whatsit.evaluation.contender", text]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    try:
        measured = Measured(**json.loads(done.stdout.splitlines()[-1]))
        return measured, np.load(job.answers)
    except (IndexError, ValueError, TypeError, OSError):
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ContenderError(f"{Path(job.path).name} could not be measured: {reason[:200]}") from None


def measure(job: Job) -> Measured:
    """Run a job here."""
    started = time.perf_counter()
    run, stream = _open(job)
    pixels = np.load(job.pixels, mmap_mode="r")
    run(np.array(pixels[:1]))
    load = time.perf_counter() - started
    singles = list(_times(lambda place: run(np.array(pixels[place : place + 1])), len(pixels), job.seconds))
    batches = [np.array(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
    np.save(job.answers, np.concatenate(list(stream(batches))))  # which warms it up too
    full = [batch for batch in batches if len(batch) == len(batches[0])]
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < job.seconds:
        done += sum(len(found) for found in stream(full[:16]))
    speed = done / (time.perf_counter() - started)
    p50, p99 = (float(value) for value in np.percentile(singles, [50, 99]))
    return Measured(load, p50, p99, len(singles), speed, _peak_mb())


def _open(job: Job) -> tuple[Run, Callable[[Iterable[Images]], Iterator[Probabilities]]]:
    """The way, for one batch and for many."""
    if job.kind == BUNDLE:
        from whatsit.runtime.predictor import Predictor

        engine = Predictor(job.path, runtime=job.runtime or "auto").open_engine("probabilities")
        return lambda images: engine.run(images)[0], lambda batches: (found[0] for found in engine.stream(batches))
    if job.kind == STOCK:
        from whatsit.engines.tensorflow import load_keras

        model = load_keras().models.load_model(job.path, compile=False)

        def predict(images: Images) -> Probabilities:
            found: Probabilities = model.predict(images, verbose=0)
            return found

        return predict, lambda batches: map(predict, batches)
    from whatsit.engines.exported import open_exported

    run = open_exported(Path(job.path), job.runtime)
    return run, lambda batches: map(run, batches)


def _times(run: Callable[[int], object], pictures: int, seconds: float) -> Iterator[float]:
    until = time.perf_counter() + seconds
    for number in range(SINGLES):
        started = time.perf_counter()
        run(number % pictures)
        now = time.perf_counter()
        yield now - started
        if now > until and number >= 20:
            return


def _peak_mb() -> float:
    """Of this process, in units of 1,000,000 bytes; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(
            encoding="ascii"
        )  # `getrusage` would count the parent's memory too
    except OSError:  # not Linux
        return 0.0
    return next(int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    result = measure(Job(**json.loads(sys.argv[1])))
    sys.stdout.write(json.dumps(asdict(result)) + "\n")

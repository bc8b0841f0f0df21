"""A process that runs trials of `whatsit tune`, and the side that has them run.

The process opens the data itself. It says the loss of each epoch and is answered whether to stop.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.errors import WhatsitError
from whatsit.events import SILENT
from whatsit.scale.pipe import ChildEnded, ChildProcess, own_pipes, receive, send
from whatsit.scale.supervise import STARTS, WorkerError
from whatsit.training.recipe import Recipe, change
from whatsit.tuning.trial import Costs, Job, Outcome

_COMMAND = (sys.executable, "-P", "-m", "whatsit.scale.trial_worker")


@dataclass(frozen=True)
class TrialData:
    """What trials train on."""

    data: str  # its address
    limit: int | None  # images of each class
    fingerprint: str  # of the data set
    recipe: dict[str, Any]  # that is changed; its seed splits
    processors: int = 0  # for the process; 0 for all


@dataclass(frozen=True)
class Said:
    """What the process says: the loss of an epoch, or what came of the trial."""

    epoch: int = 0
    loss: float = 0.0
    outcome: Outcome | None = None


class TrialWorker:
    """A process that runs trials, one at a time; for one thread."""

    def __init__(self, data: TrialData) -> None:
        self._data = data
        self._child: ChildProcess | None = None
        self._is_closed = False
        self._starts = 0  # without a word since
        self._why = ""  # how the process ended last

    def begin(self, job: Job, folder: Path) -> None:
        """Begin a trial, in a folder that keeps its checkpoints.

        Raises `ChildEnded`, `WorkerError`.
        """
        asked = {**vars(job), "recipe": vars(job.recipe), "folder": str(folder)}
        if self._child is not None:
            try:
                self._child.send(asked)
                return
            except ChildEnded:  # while it was idle
                self._end_child()
        if self._is_closed:
            raise WorkerError("the work was ended")
        if self._starts >= STARTS:
            raise WorkerError(f"the process that runs trials ended {STARTS} times before it said anything: {self._why}")
        self._starts += 1
        child = self._child = ChildProcess(_COMMAND)
        if self._is_closed:  # meanwhile
            child.end()
        self._say(child, asdict(self._data))
        self._say(child, asked)

    def _say(self, child: ChildProcess, message: object) -> None:
        try:
            child.send(message)
        except ChildEnded as ended:
            self._why = str(ended)
            self._end_child()
            raise

    def hear(self, seconds: float) -> Said | None:
        """Return what the process says next; None where that is nothing in time.

        Raises:
            ChildEnded: the process died; the next trial begins another.
            WorkerError: the data cannot be opened there, or a trial ended as no other would go better.
        """
        child = self._child  # which another thread may end meanwhile
        if child is None:
            raise ChildEnded("its process is gone")
        try:
            heard = child.receive(seconds)
        except ChildEnded as ended:
            self._why = str(ended)
            self._end_child()
            raise
        if heard is None:
            return None
        self._starts = 0
        message, data = heard
        if "error" in message:
            raise WorkerError(message["error"])
        return _said(message, data)

    def answer(self, *, stop: bool) -> None:
        """Answer the loss of an epoch. Raises `ChildEnded`."""
        if (child := self._child) is None:
            raise ChildEnded("its process is gone")
        self._say(child, {"stop": stop})

    def close(self) -> None:
        """End the process for good, from any thread."""
        self._is_closed = True
        self._end_child()

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child:
            child.end()


def _said(message: dict[str, Any], data: bytes) -> Said:
    if "outcome" not in message:
        return Said(**message)
    found = dict(message["outcome"])
    found["losses"] = np.frombuffer(data, np.float64) if data else None
    found["costs"] = Costs(**found["costs"]) if found["costs"] else None
    return Said(outcome=Outcome(**found))


def main() -> None:
    """Run trials until stdin ends."""
    from whatsit.process import own_process, take_processors

    own_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal; this process ends with its parent
    source, target = own_pipes()
    asked: queue.Queue[dict[str, Any]] = queue.Queue()

    def listen() -> None:
        """Take what is asked for; end this process with the one that asks."""
        try:
            while True:
                asked.put(receive(source)[0])
        except (EOFError, OSError):
            os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    about = TrialData(**asked.get())
    if about.processors:
        take_processors(about.processors)
    try:
        run = _opened(about)
        while True:
            wish = asked.get()
            folder = Path(wish.pop("folder"))
            job = Job(**{**wish, "recipe": change(Recipe(), wish["recipe"], "the study")})

            def judge(epoch: int, loss: float) -> bool:
                send(target, {"epoch": epoch, "loss": loss})
                return bool(asked.get()["stop"])

            outcome = run(job, folder, judge)
            losses = b"" if outcome.losses is None else outcome.losses.tobytes()
            send(target, {"outcome": asdict(outcome) | {"losses": None}}, losses)
    except (WhatsitError, ImportError, OSError) as error:
        send(target, {"error": str(error)})


def _opened(about: TrialData) -> Callable[[Job, Path, Callable[[int, float], bool]], Outcome]:
    """Open the data; return what runs a trial on it.

    Raises as `open_split`, and `WorkerError` for other data.
    """
    from whatsit.cache import working
    from whatsit.images.data import open_split
    from whatsit.tuning.space import images_for_trials
    from whatsit.tuning.trial import TrialRunner

    recipe = change(Recipe(), about.recipe, "the study")
    dataset = open_split(about.data, SILENT, about.limit, recipe.seed, recipe.fractions)
    if dataset.fingerprint() != about.fingerprint:
        raise WorkerError(
            f"{about.data}: the pictures that a worker finds there are not those of the study; is the same folder on every "
            f"machine, and has nothing changed since?"
        )
    runner = TrialRunner(dataset, images_for_trials(dataset, recipe), SILENT)
    return working()(runner.run)


if __name__ == "__main__":
    main()
    sys.exit(0)

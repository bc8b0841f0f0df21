"""The process that runs trials, with an epoch each hundredth of a second and no TensorFlow: for what befalls a process."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import whatsit.tuning.trial
from whatsit.scale import trial_worker
from whatsit.tuning.trial import Job, Judge, Outcome


class QuickRunner:
    """In the place of `TrialRunner`: says the loss of each epoch, and ends where it has fallen behind."""

    def __init__(self, *_: Any) -> None: ...

    def run(self, job: Job, folder: Any, judge: Judge) -> Outcome:
        for epoch in range(1, job.recipe.epochs + 1):
            time.sleep(0.01)  # so that others may come between
            if judge(epoch, 1.0 / epoch):
                return Outcome()
        return Outcome(losses=np.full(9, 0.5), accuracy=0.9)


if __name__ == "__main__":
    whatsit.tuning.trial.TrialRunner = QuickRunner  # type: ignore[misc, assignment]
    trial_worker.main()

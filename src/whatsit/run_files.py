"""The name of every file and folder of a run, once.

A finished run lies in `runs/NAME`. While it is made, its workspace is the folder beside it, `runs/NAME.unfinished`.
"""

from __future__ import annotations

from pathlib import Path

RUNS = Path("runs")  # where runs are made unless the user says otherwise

MODEL = "model.whatsit"  # the bundle
KERAS_MODEL = "best_model.keras"
METRICS = "metrics.json"
RECIPE = "recipe.toml"
SPLIT = "split.csv"
HISTORY = "history.csv"
LEAKAGE = "leakage.csv"  # only where test images leak
UNREADABLE = "unreadable.csv"  # only where images were left out
CROSS_VALIDATION = "cross-validation.json"  # only where it was asked for
REPORT = "report.html"
PLOTS = "plots"
MISTAKES = "mistakes"
TENSORBOARD = "tensorboard"

# While it is made.
UNFINISHED = ".unfinished"  # ends the name of a workspace
JOB = "job.json"  # what the run is about; without it nothing can be resumed
LOCK = ".lock"
CHECKPOINTS = "checkpoints"
REPLACES = ".replaces"  # in a finished workspace whose run takes the place of another: where that one goes
SO_FAR = "best_so_far.whatsit"  # in the workspace of a climb: its best model, not measured yet

TRIAL_FILES = "trials"  # in the folder of a study, what its trials left
BEST = "best"  # in the folder of a study, the folder of its best run

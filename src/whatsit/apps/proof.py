"""`whatsit verify` with every way that a picture's file can take through whatsit's own apps."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from whatsit.engines import EngineError
from whatsit.errors import ImageError
from whatsit.evaluation.parity import Parity
from whatsit.progress import SILENT, Reporter
from whatsit.runtime.predictor import Answer, Prediction, Predictor
from whatsit.verbs.verify import EntryPoint
from whatsit.verbs.verify import verify as verify_by


def verify(model: str | Path, *, exports: str | Path | None = None, reporter: Reporter = SILENT) -> list[Parity]:
    """The parity proof, by every runtime, exported file and entry point; every entry's `passed` must be true.

    Args:
        model: a run folder or a `.whatsit` file.
        exports: the folder with its exported files; `export` in the run folder by default.
        reporter: is told about progress, and warned of files that cannot be verified here.

    Raises:
        BundleError: the model cannot be read or holds no golden pictures.
    """
    return verify_by(model, exports=exports, entry_points=_entry_points(), reporter=reporter)


def _entry_points() -> dict[str, EntryPoint]:
    """Those that are installed here."""
    found: dict[str, EntryPoint] = {"Python": _by_python, "whatsit predict": _by_command_line}
    if importlib.util.find_spec("streamlit"):
        found["web app"] = _by_web_app
    return found


def _by_python(model: Path, files: Sequence[Path]) -> list[Answer]:
    predictor = Predictor(model)
    return [_answer(one, predictor.classes) for one in predictor.predict(files, top=len(predictor.classes))]


def _by_command_line(model: Path, files: Sequence[Path]) -> list[Answer]:
    classes = Predictor(model).classes
    options = ["--json", "--top", str(len(classes)), "--", str(model), *map(str, files)]
    command = [sys.executable, "-m", "whatsit.apps.cli", "predict", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own, on our own files
    if done.returncode:
        raise EngineError(f"whatsit predict ended with exit code {done.returncode}: {done.stderr.strip()[-200:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [_of({one["label"]: one["probability"] for one in line["top"]}, classes) for line in lines]


def _by_web_app(model: Path, files: Sequence[Path]) -> list[Answer]:
    from whatsit.apps.streamlit_app.answers import Brought, answer_all

    predictor = Predictor(model)
    lot = answer_all(predictor, [Brought(file.name, file.read_bytes()) for file in files])
    return [_answer(one.answer, predictor.classes) for one in lot.answered]


def _answer(prediction: Prediction | ImageError, classes: tuple[str, ...]) -> Answer:
    if isinstance(prediction, ImageError):
        raise prediction
    return _of(dict(prediction.top), classes)


def _of(probabilities: dict[str, float], classes: tuple[str, ...]) -> Answer:
    return Answer(np.array([probabilities[label] for label in classes], np.float32), math.nan)

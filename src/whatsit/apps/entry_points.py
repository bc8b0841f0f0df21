"""`whatsit verify` with every way of a picture's file through whatsit's apps."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from whatsit.apps.client import Client
from whatsit.bundle.read import read_bundle
from whatsit.engines import EngineError
from whatsit.evaluation.parity import Parity
from whatsit.events import SILENT, Reporter
from whatsit.runtime.predictor import Prediction, Predictor
from whatsit.verbs.verify import Entry, EntryPoint
from whatsit.verbs.verify import verify as verify_by


def verify(model: str | Path, *, exports: str | Path | None = None, reporter: Reporter = SILENT) -> list[Parity]:
    """Return the parity proof by every runtime, exported file and entry point.

    The model is proven if `passed` of every entry is true.

    Args:
        model: a run folder or a `.whatsit` file.
        exports: the folder with its exported files; `export` in the run folder by default.
        reporter: gets progress, and warnings of files that cannot be verified here.

    Returns:
        An entry for each way to ask the model: the largest difference of a probability, and whether it passed.

    Raises:
        BundleError: the model cannot be read or holds no reference pictures.
    """
    return verify_by(model, exports=exports, entry_points=_entry_points(), reporter=reporter)


def _entry_points() -> dict[str, EntryPoint]:
    """Those that are installed here."""
    found: dict[str, EntryPoint] = {"Python": _by_python, "whatsit predict": _by_command_line}
    if importlib.util.find_spec("streamlit"):
        found["web app"] = _by_web_app
    if all(importlib.util.find_spec(package) for package in ("fastapi", "httptools", "orjson", "prometheus_client")):
        found["service"] = _by_service
    if importlib.util.find_spec("gradio"):
        found["Gradio"] = _by_gradio
    return found


@contextmanager
def _by_python(model: Path) -> Iterator[Entry]:
    predictor = Predictor(model)
    yield lambda files: predictor.predict(files, top=len(predictor.classes))


@contextmanager
def _by_command_line(model: Path) -> Iterator[Entry]:
    """A process for each question."""
    # -P: nothing is imported from the folder that the user happens to be in.
    command = [sys.executable, "-P", "-m", "whatsit.apps.cli", "predict", "--json"]
    command += ["--top", str(len(read_bundle(model).classes)), "--", str(model)]

    def answer(files: Sequence[Path]) -> list[Prediction]:
        done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)  # noqa: S603 - our own, on our own files
        if done.returncode:
            raise EngineError(f"whatsit predict ended with exit code {done.returncode}: {done.stderr.strip()[-200:]}")
        found = []
        for line in map(json.loads, done.stdout.splitlines()):
            top = tuple((one["label"], float(one["probability"])) for one in line["top"])
            found.append(Prediction(line["label"], line["probability"], line["unknown"], top))
        return found

    yield answer


@contextmanager
def _by_service(model: Path) -> Iterator[Entry]:
    """Over a connection: a service on this computer, and its client."""
    from whatsit.apps.api.server import running
    from whatsit.apps.api.settings import Settings

    classes = len(read_bundle(model).classes)
    settings = Settings(watch=0.0, drain=0.0, max_batch=8)  # the best batch is not looked for
    with running([f"m={model}"], settings) as url, Client(url) as client:
        yield lambda files: client.predict(files, top=classes)


@contextmanager
def _by_gradio(model: Path) -> Iterator[Entry]:
    """As the Gradio app does with an upload."""
    from whatsit.apps.gradio_app.server import answer_uploads

    predictor = Predictor(model)
    yield lambda files: answer_uploads(predictor, files)


@contextmanager
def _by_web_app(model: Path) -> Iterator[Entry]:
    from whatsit.apps.predictions import Upload, predict_all

    predictor = Predictor(model)

    def answer(files: Sequence[Path]) -> list[Prediction]:
        batch = predict_all(predictor, [Upload(file.name, file.read_bytes()) for file in files])
        for failed in batch.failed:
            raise EngineError(f"{failed.upload.name}: {failed.error}")
        return [one.prediction for one in batch.predicted]

    yield answer

"""Runs in MLflow: copied there when they are finished, from the run folder, which stays the truth.

This module is also what MLflow loads a logged model by, as a `pyfunc` model: a bundle, opened by the Predictor; no code and no
pickle is stored with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whatsit import __version__
from whatsit.bundle.format import Bundle
from whatsit.bundle.read import read_bundle, run_folder
from whatsit.cache import cache_folder
from whatsit.errors import ImageError, MissingExtraError, UsageError, WhatsitError
from whatsit.process import environment
from whatsit.run.record import read_history, read_metrics, reading
from whatsit.run_files import BEST, HISTORY, METRICS, MODEL, PLOTS, RECIPE, REPORT, SPLIT, UNREADABLE
from whatsit.runtime.predictor import Predictor

if TYPE_CHECKING:
    import pandas as pd

EXPERIMENT = "whatsit"
_FILES = (REPORT, METRICS, RECIPE, HISTORY, SPLIT, UNREADABLE)
_SAME = "whatsit.run"  # the tag by which a run is found again
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing is sent to other hosts
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # where our JSON goes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # by default a dead server is waited for for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
_PARAM = 6000  # characters that MLflow takes of a parameter


@dataclass(frozen=True)
class Tracked:
    """Where a run is in MLflow."""

    run_id: str
    model: str  # for `mlflow.pyfunc.load_model`
    address: str  # of the tracking store
    new: bool  # False where it was there already


def _place(folder: Path) -> tuple[str, str | None]:
    """The address of the tracking store, and where artifacts go where it is not the store that says so.

    `MLFLOW_TRACKING_URI`, or a SQLite file beside the run folder (of a study's best run, beside the study's). Raises
    `UsageError` where that file cannot be written.
    """
    if address := os.environ.get("MLFLOW_TRACKING_URI"):
        return address, None
    whole = folder.resolve()
    runs = whole.parent.parent if whole.name == BEST else whole.parent
    file = runs / "mlflow.db"
    if set("?%#") & set(str(file)):
        raise UsageError(
            f"{file}: MLflow takes no path with ?, % or # in it; set MLFLOW_TRACKING_URI to another, such as sqlite:////tmp/mlflow.db"
        )
    try:
        with contextlib.closing(sqlite3.connect(file)) as opened:
            opened.execute("PRAGMA user_version = 0")
    except sqlite3.Error as error:
        raise UsageError(
            f"{file}: MLflow cannot write there: {error}; set MLFLOW_TRACKING_URI to another place"
        ) from None
    return f"sqlite:///{file}", (runs / "mlflow-artifacts").as_uri()


def track(run: str | Path, *, experiment: str = EXPERIMENT) -> Tracked:
    """Copy a finished run to MLflow: parameters, figures, each epoch, plots, report and the model.

    A run that is there already is left as it is.

    Raises:
        MissingExtraError: MLflow is not installed. UsageError: this is no finished run. WhatsitError: the store refused it.
    """
    folder = run_folder(run)
    if folder is None or not (folder / METRICS).is_file():
        raise UsageError(f"{run}: this is no finished run; give a folder that whatsit train made")
    metrics = read_metrics(folder)
    with reading(folder / METRICS):
        figures = _figures(metrics)
    mlflow = _mlflow()
    from sqlalchemy.exc import SQLAlchemyError

    address, artifacts = _place(folder)
    bundle = read_bundle(folder)
    try:
        with _store(mlflow, address):
            number = _experiment(mlflow, experiment, artifacts)
            return _track(mlflow, folder, bundle, figures, number, f"{folder.resolve()} {metrics.get('created', '')}")
    except (mlflow.exceptions.MlflowException, SQLAlchemyError, OSError, ValueError) as error:
        reason = "".join(str(error).splitlines()[:1])[:300]
        raise WhatsitError(f"{_without_password(address)}: MLflow could not keep the run: {reason}") from None


def require_mlflow() -> None:
    """Raises `MissingExtraError` where MLflow is not installed: to be told before hours of training."""
    _mlflow()


def _settings() -> dict[str, str]:
    """What MLflow reads from the environment; it does not open where nobody knows the user's home."""
    try:
        Path.home()
    except RuntimeError:
        return {**_SETTINGS, "HOME": str(cache_folder())}
    return _SETTINGS


def _mlflow() -> Any:
    try:
        with environment(_settings()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow
            import mlflow.pyfunc
    except ImportError:
        raise MissingExtraError("Tracking", "track", "mlflow") from None
    return mlflow


@contextmanager
def _store(mlflow: Any, address: str) -> Iterator[None]:
    """MLflow at an address, quiet: what it tells its own users about is done here on purpose."""
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    mlflow.set_tracking_uri(address)
    try:
        with environment(_settings()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        mlflow.set_tracking_uri(before)


def _experiment(mlflow: Any, name: str, artifacts: str | None) -> str:
    known = mlflow.get_experiment_by_name(name)
    return str(known.experiment_id if known else mlflow.create_experiment(name, artifact_location=artifacts))


def _track(mlflow: Any, folder: Path, bundle: Bundle, figures: dict[str, float], experiment: str, same: str) -> Tracked:
    address = _without_password(mlflow.get_tracking_uri())
    found = mlflow.MlflowClient().search_runs(
        [experiment], f"tags.`{_SAME}` = {_quoted(same)} and attributes.status = 'FINISHED'"
    )
    if found:
        return Tracked(found[0].info.run_id, f"runs:/{found[0].info.run_id}/model", address, False)
    data, versions = (_dictionary(bundle.provenance.get(key)) for key in ("data", "versions"))
    with mlflow.start_run(experiment_id=experiment, run_name=_name_of(folder), tags={_SAME: same}) as running:
        recipe = _dictionary(bundle.provenance.get("recipe"))
        mlflow.log_params({key: str(value)[:_PARAM] for key, value in recipe.items()})
        mlflow.set_tags({"data": str(data.get("source", "")), "data.fingerprint": str(data.get("fingerprint", ""))})
        mlflow.set_tags({f"version.{package}": str(version) for package, version in versions.items()})
        mlflow.log_metrics(figures)
        _log_epochs(mlflow, running.info.run_id, folder)
        for name in _FILES:
            if (folder / name).is_file():
                mlflow.log_artifact(str(folder / name))
        if (folder / PLOTS).is_dir():
            mlflow.log_artifacts(str(folder / PLOTS), PLOTS)
        mlflow.pyfunc.log_model(
            name="model",
            loader_module=__name__,
            data_path=str(folder / MODEL),
            signature=_signature(),
            pip_requirements=[f"whatsit=={__version__}"],
        )
        return Tracked(running.info.run_id, f"runs:/{running.info.run_id}/model", address, True)


def _dictionary(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _without_password(address: str) -> str:
    return re.sub(r"://[^/@]*@", "://", address)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "") + '"'


def _name_of(folder: Path) -> str:
    whole = folder.resolve()
    return whole.parent.name if whole.name == BEST else whole.name


def _figures(metrics: dict[str, Any]) -> dict[str, float]:
    test = metrics["test"]
    found = {f"test_{key}": test[key] for key in ("accuracy", "loss", "ece", "n") if key in test}
    found |= {
        f"test_macro_{key}": value for key, value in (test.get("macro") or {}).items() if isinstance(value, int | float)
    }
    found |= {"seconds": metrics["seconds"], "model_mb": metrics.get("model_mb", 0.0)}
    return {key: float(value) for key, value in found.items()}


def _log_epochs(mlflow: Any, run_id: str, folder: Path) -> None:
    """Log each epoch, a stage's columns as `stage/column`."""
    logged = [
        mlflow.entities.Metric(f"{row['stage']}/{key}", value, int(row["seconds"] * 1000), int(row["epoch"]))
        for row in read_history(folder)
        for key, value in row.items()
        if key not in ("stage", "epoch", "seconds")
    ]
    for start in range(0, len(logged), 1000):
        mlflow.MlflowClient().log_batch(run_id, metrics=logged[start : start + 1000])


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    answers = (("string", "label"), ("double", "probability"), ("boolean", "unknown"), ("string", "error"))
    return ModelSignature(
        inputs=Schema([ColSpec("binary", "image")]), outputs=Schema([ColSpec(kind, name) for kind, name in answers])
    )


def _load_pyfunc(path: str) -> _Model:
    """MLflow's way in."""
    return _Model(Path(path))


class _Model:
    """A bundle as a `pyfunc` model."""

    def __init__(self, path: Path) -> None:
        self._predictor = Predictor(path)

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Answers for the files in the column `image` (bytes, as they lie on the disk), a row each.

        Paths are not taken: a served model would read any file that a stranger names.
        """
        import pandas as pd

        rows: list[tuple[Any, ...]] = []
        for _, answer in self._predictor.predict_each(list(model_input["image"]), _file):
            if isinstance(answer, ImageError):
                rows.append((None, None, None, str(answer)))
            else:
                rows.append((answer.label, answer.probability, answer.unknown, None))
        return pd.DataFrame(rows, columns=["label", "probability", "unknown", "error"])


def _file(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ImageError("this is no picture file; the column 'image' takes bytes", "format")
    return bytes(value)

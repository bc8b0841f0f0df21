"""Copies of finished runs in MLflow; the run folder stays the truth.

MLflow also loads a logged model by this module, as a `pyfunc` model: a bundle, opened by the `Predictor`. No code and no
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

from whatsit.bundle.format import Bundle
from whatsit.bundle.read import read_bundle, run_folder
from whatsit.cache import cache_folder
from whatsit.errors import ImageError, UsageError, WhatsitError, needing
from whatsit.process import environment
from whatsit.run.record import read_history, read_metrics, reading
from whatsit.run_files import BEST, HISTORY, METRICS, MODEL, PLOTS, RECIPE, REPORT, SPLIT, UNREADABLE
from whatsit.runtime.predictor import Predictor
from whatsit.version import __version__

if TYPE_CHECKING:
    import pandas as pd

EXPERIMENT = "whatsit"
_FILES = (REPORT, METRICS, RECIPE, HISTORY, SPLIT, UNREADABLE)
_RUN_TAG = "whatsit.run"  # by which a run is found again
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing is sent to other hosts
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # which has our JSON
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # by default MLflow waits for a dead server for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
_MAX_PARAM = 6000  # characters of a parameter


@dataclass(frozen=True)
class Tracked:
    """Where a run is in MLflow."""

    run_id: str
    model: str  # for `mlflow.pyfunc.load_model`
    address: str  # of the tracking store
    new: bool  # False where it had been copied before


def _location(folder: Path) -> tuple[str, str | None]:
    """Return the address of the tracking store, and of artifacts where it has none.

    `MLFLOW_TRACKING_URI`, or a SQLite file beside the run folder (of a study's best run, beside the study's). Raises
    `UsageError` where that file cannot be written.
    """
    if address := os.environ.get("MLFLOW_TRACKING_URI"):
        return address, None
    run = folder.resolve()
    runs = run.parent.parent if run.name == BEST else run.parent
    file = runs / "mlflow.db"
    if set("?%#") & set(str(file)):
        raise UsageError(
            f"{file}: MLflow takes no path with ?, % or # in it; set MLFLOW_TRACKING_URI to another, such as sqlite:////tmp/mlflow.db"
        )
    try:
        with contextlib.closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA user_version = 0")
    except sqlite3.Error as error:
        raise UsageError(
            f"{file}: MLflow cannot write there: {error}; set MLFLOW_TRACKING_URI to another address"
        ) from None
    return f"sqlite:///{file}", (runs / "mlflow-artifacts").as_uri()


def track(run: str | Path, *, experiment: str = EXPERIMENT) -> Tracked:
    """Copy a finished run to MLflow, with its epochs, plots, report and model.

    A run that was copied before is left as it is.

    Args:
        run: a run folder.
        experiment: its name in MLflow.

    Returns:
        Where it is in MLflow, and whether it was there before.

    Raises:
        MissingExtraError: MLflow is not installed.
        UsageError: this is no finished run.
        WhatsitError: the store refused it.
    """
    folder = run_folder(run)
    if folder is None or not (folder / METRICS).is_file():
        raise UsageError(f"{run}: this is no finished run; give a folder that whatsit train made")
    document = read_metrics(folder)
    with reading(folder / METRICS):
        metrics = _metrics(document)
    mlflow = _mlflow()
    from sqlalchemy.exc import SQLAlchemyError

    address, artifacts = _location(folder)
    bundle = read_bundle(folder)
    identity = f"{folder.resolve()} {document.get('created', '')}"
    try:
        with _store(mlflow, address):
            known = mlflow.get_experiment_by_name(experiment)
            number = known.experiment_id if known else mlflow.create_experiment(experiment, artifact_location=artifacts)
            return _track(mlflow, str(number), identity, folder, bundle, metrics)
    except (mlflow.exceptions.MlflowException, SQLAlchemyError, OSError, ValueError) as error:
        reason = "".join(str(error).splitlines()[:1])[:300]
        raise WhatsitError(f"{_without_password(address)}: MLflow could not keep the run: {reason}") from None


def require_mlflow() -> None:
    """Raise `MissingExtraError` where MLflow is not installed."""
    _mlflow()


def _settings() -> dict[str, str]:
    """Return MLflow's settings; it does not open where nobody knows the user's home."""
    try:
        Path.home()
    except RuntimeError:
        return {**_SETTINGS, "HOME": str(cache_folder())}
    return _SETTINGS


def _mlflow() -> Any:
    with needing("Tracking", "track", "mlflow"), environment(_settings()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        import mlflow.pyfunc
    return mlflow


@contextmanager
def _store(mlflow: Any, address: str) -> Iterator[None]:
    """Set MLflow's address, and silence warnings about what is done here on purpose."""
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


def _track(
    mlflow: Any, experiment: str, identity: str, folder: Path, bundle: Bundle, metrics: dict[str, float]
) -> Tracked:
    """Copy a run into an experiment, unless a run of the same identity is there."""
    address = _without_password(mlflow.get_tracking_uri())
    quoted = '"' + identity.replace('"', "") + '"'
    query = f"tags.`{_RUN_TAG}` = {quoted} and attributes.status = 'FINISHED'"
    if found := mlflow.MlflowClient().search_runs([experiment], query):
        return Tracked(found[0].info.run_id, f"runs:/{found[0].info.run_id}/model", address, False)
    path = folder.resolve()
    name = path.parent.name if path.name == BEST else path.name
    recipe, data, versions = (_table(bundle.provenance.get(key)) for key in ("recipe", "data", "versions"))
    with mlflow.start_run(experiment_id=experiment, run_name=name, tags={_RUN_TAG: identity}) as running:
        mlflow.log_params({key: str(value)[:_MAX_PARAM] for key, value in recipe.items()})
        mlflow.set_tags({"data": str(data.get("source", "")), "data.fingerprint": str(data.get("fingerprint", ""))})
        mlflow.set_tags({f"version.{package}": str(version) for package, version in versions.items()})
        mlflow.log_metrics(metrics)
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


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _without_password(address: str) -> str:
    return re.sub(r"://[^/@]*@", "://", address)


def _metrics(document: dict[str, Any]) -> dict[str, float]:
    test = document["test"]
    found = {f"test_{key}": test[key] for key in ("accuracy", "loss", "ece", "n") if key in test}
    macro = (test.get("macro") or {}).items()
    found |= {f"test_macro_{key}": value for key, value in macro if isinstance(value, int | float)}
    found |= {"seconds": document["seconds"], "model_mb": document.get("model_mb", 0.0)}
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

    columns = (("string", "label"), ("double", "probability"), ("boolean", "unknown"), ("string", "error"))
    return ModelSignature(
        inputs=Schema([ColSpec("binary", "image")]), outputs=Schema([ColSpec(kind, name) for kind, name in columns])
    )


def _load_pyfunc(path: str) -> _Model:
    """Load a logged model: MLflow calls this."""
    return _Model(Path(path))


class _Model:
    """A bundle as a `pyfunc` model."""

    def __init__(self, path: Path) -> None:
        self._predictor = Predictor(path)

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return a row for each file in the column `image`: its bytes, as on the disk.

        Paths are refused: a served model would read any file that a client names.
        """
        import pandas as pd

        rows: list[tuple[Any, ...]] = []
        for _, found in self._predictor.predict_each(list(model_input["image"]), _file):
            if isinstance(found, ImageError):
                rows.append((None, None, None, str(found)))
            else:
                rows.append((found.label, found.probability, found.unknown, None))
        return pd.DataFrame(rows, columns=["label", "probability", "unknown", "error"])


def _file(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ImageError("this is no picture file; the column 'image' takes bytes", "format")
    return bytes(value)

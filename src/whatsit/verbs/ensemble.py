"""`whatsit ensemble`: one model of several, with votes fitted on held-out images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from whatsit.bundle.ensemble import Vote, merge_bundles, read_members, split_for_all
from whatsit.bundle.make import versions
from whatsit.bundle.read import run_folder
from whatsit.errors import UsageError, require_packages
from whatsit.evaluation.fidelity import require_mean_of_members
from whatsit.evaluation.metrics import Metrics
from whatsit.evaluation.shipping import set_thresholds, ship
from whatsit.evaluation.votes import fit_member_votes
from whatsit.events import SILENT, Reporter
from whatsit.files import becoming
from whatsit.run.data import open_as_in_run
from whatsit.run.record import address, splits_of, write_metrics, write_split
from whatsit.run.workspace import new_run
from whatsit.run_files import MODEL
from whatsit.runtime.predictor import Predictor


@dataclass(frozen=True)
class Ensemble:
    """An ensemble that was made."""

    model: Path  # its run folder, or its `.whatsit` file
    members: tuple[Vote, ...]
    test: Metrics
    seconds: float


def ensemble(
    models: Sequence[str | Path], out: str | Path, *, data: str | Path | None = None, reporter: Reporter = SILENT
) -> Ensemble:
    """Make one model that averages several by soft voting.

    Votes are fitted on the images that every member was chosen by, and the ensemble is tested on those that are nobody's
    training or validation images. Members without a vote are left out.

    Args:
        models: run folders of the same classes, two or more, none an ensemble itself.
        out: the run folder to make, or a `.whatsit` file. It must not exist.
        data: where the images of the runs are now; by default where they were.
        reporter: receives progress and warnings.

    Returns:
        The new run or model, the votes of its members, and its test metrics.

    Raises:
        UsageError: the models do not belong together, or one is no run folder.
        DataError: too few images are left that no member was trained on.
        BundleError: a model cannot be read.
        MissingExtraError: onnx or scipy is not installed.
    """
    started = time.perf_counter()
    require_packages("An ensemble", "train", "onnx", "scipy")
    bundles = read_members(models)
    splits = [splits_of(folder) if (folder := run_folder(model)) else {} for model in models]
    for model, split in zip(models, splits, strict=True):
        if not split:
            raise UsageError(
                f"{model}: this is no run folder, so its training pictures are not known; give run folders"
            )
    with _unfinished(Path(out)) as path:
        dataset = split_for_all(open_as_in_run(models[0], bundles[0], data, reporter), splits, models[0])
        votes, sharpness = fit_member_votes(models, bundles, dataset, reporter)
        best = max(votes, key=lambda vote: vote.weight)
        if best.weight == 1:
            reporter.warn(f"{best.model} has all the votes: the others do not help it")
        bundle = merge_bundles(bundles, votes, sharpness, dataset, versions())
        voting = [(member, vote.weight) for member, vote in zip(bundles, votes, strict=True) if vote.weight]
        predictor, prices = Predictor(bundle), bundles[0].costs.given if bundles[0].costs else None
        require_mean_of_members(predictor, voting, sharpness, dataset)
        shipped = ship(set_thresholds(predictor, dataset, reporter, prices), path, dataset, reporter)
        evaluation = shipped.test
        best = max(votes, key=lambda vote: vote.accuracy)
        if best.accuracy > evaluation.metrics.accuracy:
            both = f"{best.accuracy:.2%}, the ensemble {evaluation.metrics.accuracy:.2%}"
            reporter.warn(f"{best.model} alone is right more often on the test pictures: {both}")
        seconds = round(time.perf_counter() - started, 2)
        metrics = {
            "data": address(dataset.source),
            "recipe": "ensemble",
            "model": " + ".join(Path(vote.model).name for vote in votes if vote.weight),
            "seconds": seconds,
            "members": [vars(vote) for vote in votes],
            "test": evaluation.metrics.to_json(),
            "speed": vars(shipped.speed),
            "model_mb": shipped.megabytes,
        }
        write_split(path.parent, dataset)
        write_metrics(path.parent, metrics)
    return Ensemble(Path(out), votes, evaluation.metrics, seconds)


@contextmanager
def _unfinished(out: Path) -> Iterator[Path]:
    """Yield where to write the model; its folder becomes the run, or it the file."""
    if out.suffix != ".whatsit":
        with new_run(out, "", "", resumable=False) as run:
            yield run.path / MODEL
        return
    if out.exists():
        raise UsageError(f"{out} exists already; choose another place with -o, or remove it first")
    with becoming(out) as path:
        yield path

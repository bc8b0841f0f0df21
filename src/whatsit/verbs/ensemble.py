"""`whatsit ensemble`: one model of several, with votes fitted on pictures that none was trained on."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.bundle.format import Bundle, InputSpec, UnknownRule
from whatsit.bundle.make import versions
from whatsit.bundle.read import find_bundle, read_bundle, run_folder
from whatsit.errors import DataError, MissingExtraError, UsageError
from whatsit.evaluation.evaluate import evaluate_pictures
from whatsit.evaluation.fidelity import require_mean_of_members
from whatsit.evaluation.metrics import Figures
from whatsit.evaluation.shipping import set_thresholds, ship
from whatsit.files import disk_error, move_into_place, unfinished_folder
from whatsit.images.scan import Dataset, count_by_label, label_numbers
from whatsit.models.unknown import METHOD
from whatsit.progress import SILENT, Reporter
from whatsit.run.record import address, splits_of, write_metrics, write_split
from whatsit.run.workspace import new_run
from whatsit.run_files import MODEL
from whatsit.runtime.predictor import Predictor
from whatsit.training.selection import fit_votes
from whatsit.verbs.run_data import reopen

FEWEST = 5  # pictures to fit votes on, and to test on


@dataclass(frozen=True)
class Vote:
    """A member of an ensemble."""

    model: str  # as the user named it
    weight: float
    accuracy: float  # on the same test pictures


@dataclass(frozen=True)
class Ensemble:
    """An ensemble that was made."""

    model: Path  # its run folder, or its `.whatsit` file
    members: tuple[Vote, ...]
    test: Figures
    seconds: float


def ensemble(
    models: Sequence[str | Path],
    out: str | Path,
    *,
    data: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> Ensemble:
    """Make one model that averages several by soft voting; members with no vote are left out of it.

    Votes are fitted on the pictures that every member was chosen by, and the ensemble is tested on those that are nobody's
    training or validation pictures.

    Args:
        models: run folders of the same classes, two or more, none an ensemble itself.
        out: the run folder to make, or a `.whatsit` file. It must not exist.
        data: where the pictures of the runs are now; by default where they were.
        reporter: is told about progress.

    Raises:
        UsageError: the models do not belong together, or one is no run folder. DataError: too few pictures are left that no
        member was trained on. BundleError: a model cannot be read. MissingExtraError: onnx or scipy is not installed.
    """
    started = time.perf_counter()
    for package in ("onnx", "scipy"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError("An ensemble", "train", package)
    bundles = _open_all(models)
    with _place(Path(out)) as place:
        dataset = _pictures_of_all(models, bundles, data, reporter)
        votes, sharpness = _vote(models, bundles, dataset, reporter)
        if sum(vote.weight > 0 for vote in votes) == 1:
            reporter.warn(
                f"{max(votes, key=lambda vote: vote.weight).model} has all the votes: the others do not help it"
            )
        bundle = _merged(bundles, votes, sharpness, dataset)
        heard = [(one, vote.weight) for one, vote in zip(bundles, votes, strict=True) if vote.weight]
        require_mean_of_members(bundle, heard, sharpness, dataset)
        bundle = set_thresholds(bundle, dataset, reporter)
        shipped = ship(bundle, place / MODEL, dataset, reporter)
        evaluation = shipped.test
        best = max(votes, key=lambda vote: vote.accuracy)
        if best.accuracy > evaluation.figures.accuracy:
            reporter.warn(
                f"{best.model} alone is right more often on the test pictures: {best.accuracy:.2%}, the ensemble "
                f"{evaluation.figures.accuracy:.2%}"
            )
        seconds = round(time.perf_counter() - started, 2)
        metrics = {
            "data": address(dataset.source),
            "recipe": "ensemble",
            "model": " + ".join(Path(vote.model).name for vote in votes if vote.weight),
            "seconds": seconds,
            "members": [vars(vote) for vote in votes],
            "test": evaluation.figures.to_json(),
            "speed": vars(shipped.speed),
            "model_mb": shipped.megabytes,
        }
        write_split(place, dataset)
        write_metrics(place, metrics)
    return Ensemble(Path(out), votes, evaluation.figures, seconds)


@contextmanager
def _place(out: Path) -> Iterator[Path]:
    """A folder to work in, which becomes the run folder, or whose model becomes the file, when all is done."""
    if out.suffix != ".whatsit":
        with new_run(out, "", "", resumable=False) as place:
            yield place.path
        return
    if out.exists():
        raise UsageError(f"{out} exists already; choose another place with -o, or remove it first")
    try:
        with unfinished_folder(out.parent) as temporary:
            yield temporary
            move_into_place(temporary / MODEL, out)
    except OSError as error:
        raise disk_error(out, error) from None


def _open_all(models: Sequence[str | Path]) -> list[Bundle]:
    """Raises `UsageError` where they do not belong together."""
    if len({find_bundle(model).resolve() for model in models}) < max(2, len(models)):
        raise UsageError("an ensemble takes two or more different models")
    bundles = [read_bundle(model) for model in models]
    for model, bundle in zip(models, bundles, strict=True):
        folder = run_folder(model)
        if "members" in bundle.provenance:
            raise UsageError(f"{model} is an ensemble itself; give its members instead")
        if set(bundle.classes) != set(bundles[0].classes):
            strange = min(set(bundle.classes) ^ set(bundles[0].classes))
            raise UsageError(f"{model} and {models[0]} have different classes, such as '{strange}'")
        if bundle.classes != bundles[0].classes:
            raise UsageError(f"{model} and {models[0]} have their classes in different orders")
        if bundle.input.resize != bundles[0].input.resize:
            raise UsageError(
                f"{model} and {models[0]} read pictures by different rules, as one was trained with an older whatsit; train "
                f"that one anew"
            )
        if bundle.unknown is None:
            raise UsageError(f"{model}: this model has no score for strangers; train it anew with this whatsit")
        if folder is None or not splits_of(folder):
            raise UsageError(
                f"{model}: this is no run folder, so nobody knows which pictures it was trained on; give run folders"
            )
    return bundles


def _pictures_of_all(
    models: Sequence[str | Path], bundles: Sequence[Bundle], data: str | Path | None, reporter: Reporter
) -> Dataset:
    """The first model's data set, split so that whatever one member was trained on or chosen by is nobody's test."""
    dataset = reopen(models[0], bundles[0], data, reporter)
    splits = [splits_of(find_bundle(model).parent) for model in models]
    pictures = []
    for picture in dataset.pictures:
        roles = {split[picture.digest] for split in splits if picture.digest in split}
        if "train" in roles:
            pictures.append(replace(picture, split="train"))
        elif len(roles) == 1:  # what chose one member and tests another is neither
            pictures.append(replace(picture, split=roles.pop()))
    for name, use in (("validation", "fit the votes on"), ("test", "test on")):
        left = sum(picture.split == name for picture in pictures)
        if left < FEWEST:
            had = len(dataset.of(name))
            raise DataError(
                f"{left} pictures are left to {use}, of {had:,} that {models[0]} has for it, because another member used the "
                f"others; {FEWEST} at least are needed. Train the members with the same --seed, so that their splits are the same"
            )
    return replace(dataset, pictures=tuple(pictures))


def _vote(
    models: Sequence[str | Path], bundles: Sequence[Bundle], dataset: Dataset, reporter: Reporter
) -> tuple[tuple[Vote, ...], float]:
    """The votes of the members, and what their calibrated logits are multiplied by."""
    held, logits, tests = dataset.of("validation"), [], []
    for number, (model, bundle) in enumerate(zip(models, bundles, strict=True), 1):
        predictor = Predictor(bundle)
        validating, testing = (
            reporter.stage(f"{what} {model} ({number} of {len(models)})") for what in ("Validating", "Testing")
        )
        found = evaluate_pictures(predictor, dataset, held, validating)
        if found.failed:
            raise DataError(f"{dataset.source}: {found.failed[0][0]} cannot be read any more: {found.failed[0][1]}")
        logits.append(np.log(np.maximum(found.probabilities, 1e-12)))
        tests.append(evaluate_pictures(predictor, dataset, dataset.of("test"), testing).figures)
    fitted = fit_votes(logits, np.array(label_numbers(held, dataset.classes)))
    votes = zip(models, fitted.weights, tests, strict=True)
    return tuple(Vote(str(model), weight, test.accuracy) for model, weight, test in votes), fitted.sharpness


def _merged(bundles: Sequence[Bundle], votes: Sequence[Vote], sharpness: float, dataset: Dataset) -> Bundle:
    from whatsit.graph.merge import Member, merge

    heard = [(bundle, vote) for bundle, vote in zip(bundles, votes, strict=True) if vote.weight]
    size = tuple(max(getattr(bundle.input, side) for bundle, _ in heard) for side in ("height", "width"))
    members = [Member(bundle.graph, vote.weight, sharpness / bundle.temperature) for bundle, vote in heard]
    classes = json.dumps(dataset.classes, ensure_ascii=False)
    rule = heard[0][0].input.resize  # the same for all
    graph = merge(members, (size[0], size[1]), {"resize": rule, "classes": classes})
    return Bundle(
        classes=dataset.classes,
        input=InputSpec(size[0], size[1], rule),
        graph=graph.SerializeToString(),
        unknown=UnknownRule(METHOD, float("inf"), 1.0),  # until the shipped graph has been seen at work
        provenance=_provenance(bundles, votes, dataset),
    )


def _provenance(bundles: Sequence[Bundle], votes: Sequence[Vote], dataset: Dataset) -> dict[str, Any]:
    made = (bundle.provenance.get("recipe") for bundle in bundles)
    recipes = [recipe if isinstance(recipe, dict) else {} for recipe in made]
    members = [
        {"name": Path(vote.model).name, "weight": vote.weight, "recipe": recipe}
        for vote, recipe in zip(votes, recipes, strict=True)
    ]
    seeds = {recipe.get("seed") for recipe in recipes}
    heard = [recipe for vote, recipe in zip(votes, recipes, strict=True) if vote.weight]
    about = " + ".join(str(recipe.get("model", "?")) for recipe in heard)
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {
            "source": Path(dataset.source).name,
            "fingerprint": dataset.fingerprint(),
            "pictures": {name: count_by_label(dataset.of(name)) for name in ("train", "validation", "test")},
        },
        "recipe": {"name": "ensemble", "model": about, "seed": seeds.pop() if len(seeds) == 1 else None},
        "members": members,
        "versions": versions(),
    }

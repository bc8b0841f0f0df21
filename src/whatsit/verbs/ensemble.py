"""`whatsit ensemble`: one model of several, with votes fitted on pictures that none was trained on."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.bundle.format import Bundle, InputSpec, UnknownRule
from whatsit.bundle.read import find_bundle, read_bundle
from whatsit.errors import DataError, UsageError
from whatsit.evaluation.evaluate import evaluate_pictures
from whatsit.evaluation.metrics import Figures
from whatsit.evaluation.speed import measure_speed, megabytes
from whatsit.files import write_text
from whatsit.images.decode import RESIZE_RULE
from whatsit.images.scan import Dataset, count_by_label, label_numbers
from whatsit.models.unknown import METHOD
from whatsit.progress import SILENT, Reporter
from whatsit.runtime.predictor import Predictor
from whatsit.training.selection import fit_votes
from whatsit.verbs.run_data import address, reopen, splits_of
from whatsit.verbs.runs import write_split
from whatsit.verbs.shipping import set_thresholds, ship, versions
from whatsit.verbs.workplace import new_run

FEWEST = 5  # pictures to fit votes on, and to test on
_FILE = ".whatsit"


@dataclass(frozen=True)
class Voice:
    """A member of an ensemble."""

    model: str  # as the user named it
    weight: float
    accuracy: float  # on the same test pictures


@dataclass(frozen=True)
class Ensemble:
    """An ensemble that was made."""

    folder: Path  # the run folder, or the folder of the file
    model: Path  # the bundle
    members: tuple[Voice, ...]
    test: Figures
    seconds: float


def ensemble(
    models: Sequence[str | Path],
    out: str | Path,
    *,
    data: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> Ensemble:
    """Make one model that averages several by soft voting; members with no say are left out of it.

    Args:
        models: run folders of the same classes, two or more.
        out: the run folder to make, or a `.whatsit` file. It must not exist.
        data: where the pictures of the runs are now; by default where they were.
        reporter: is told about progress.

    Raises:
        UsageError: the models do not belong together, or one is no run folder. DataError: too few pictures are left that no
        member was trained on. BundleError: a model cannot be read.
    """
    started = time.perf_counter()
    out = Path(out)
    if out.exists():
        raise UsageError(f"{out} exists already; choose another place with -o, or remove it first")
    bundles = _open_all(models)
    dataset = _pictures_of_all(models, bundles, data, reporter)
    held = dataset.of("validation")
    logits, tests = [], []
    for number, (model, bundle) in enumerate(zip(models, bundles, strict=True), 1):
        predictor = Predictor(bundle)
        listening = reporter.stage(f"Listening to {model} ({number} of {len(models)})")
        found = evaluate_pictures(predictor, dataset, held, listening)
        if found.failed:
            raise DataError(f"{dataset.source}: {found.failed[0][0]} cannot be read any more: {found.failed[0][1]}")
        logits.append(np.log(np.maximum(found.probabilities, 1e-12)))
        testing = reporter.stage(f"Testing {model} ({number} of {len(models)})")
        tests.append(evaluate_pictures(predictor, dataset, dataset.of("test"), testing).figures)
    votes = fit_votes(logits, np.array(label_numbers(held, dataset.classes)))
    voices = tuple(
        Voice(str(model), weight, test.accuracy)
        for model, weight, test in zip(models, votes.weights, tests, strict=True)
    )
    bundle = _merged(bundles, voices, votes.sharpness, dataset)
    if out.suffix == _FILE:
        figures = ship(set_thresholds(bundle, dataset, reporter), out, dataset, reporter)[1].figures
        return Ensemble(out.parent, out, voices, figures, time.perf_counter() - started)
    with new_run(out, "", "") as place:
        bundle = set_thresholds(bundle, dataset, reporter)
        predictor, evaluation = ship(bundle, place.path / "model.whatsit", dataset, reporter)
        write_split(dataset, place.path / "split.csv")
        seconds = round(time.perf_counter() - started, 2)
        metrics = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "data": address(dataset.source),
            "recipe": "ensemble",
            "model": " + ".join(Path(voice.model).name for voice in voices if voice.weight),
            "seconds": seconds,
            "members": [vars(voice) for voice in voices],
            "test": evaluation.figures.to_json(),
            "speed": vars(measure_speed(predictor)),
            "model_mb": megabytes(place.path / "model.whatsit"),
        }
        write_text(place.path / "metrics.json", json.dumps(metrics, ensure_ascii=False, indent=1) + "\n")
    return Ensemble(place.folder, place.folder / "model.whatsit", voices, evaluation.figures, seconds)


def _open_all(models: Sequence[str | Path]) -> list[Bundle]:
    """Raises `UsageError` where they do not belong together."""
    if len({find_bundle(model).resolve() for model in models}) < max(2, len(models)):
        raise UsageError("an ensemble takes two or more different models")
    bundles = [read_bundle(model) for model in models]
    for model, bundle in zip(models, bundles, strict=True):
        if members := bundle.provenance.get("members"):
            names = ", ".join(str(member["name"]) for member in members)
            raise UsageError(f"{model} is an ensemble itself; give its members instead: {names}")
        if bundle.classes != bundles[0].classes:
            strange = sorted(set(bundle.classes) ^ set(bundles[0].classes))
            raise UsageError(f"{model} and {models[0]} have different classes, such as '{strange[0]}'")
        if bundle.unknown is None:
            raise UsageError(f"{model}: this model has no score for strangers; train it anew with this whatsit")
        if not splits_of(find_bundle(model).parent):
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
    dataset = replace(dataset, pictures=tuple(pictures))
    for split in ("validation", "test"):
        count = len(dataset.of(split))
        if count < FEWEST:
            raise DataError(
                f"only {count} pictures are left to {'fit the votes on' if split == 'validation' else 'test on'}, because the "
                f"members were trained on each other's; train them with the same --seed, so that their splits are the same"
            )
    return dataset


def _merged(bundles: Sequence[Bundle], voices: Sequence[Voice], sharpness: float, dataset: Dataset) -> Bundle:
    from whatsit.models.merge import Member, merge

    heard = [(bundle, voice) for bundle, voice in zip(bundles, voices, strict=True) if voice.weight]
    size = tuple(max(getattr(bundle.input, side) for bundle, _ in heard) for side in ("height", "width"))
    members = [Member(bundle.graph, voice.weight, sharpness / bundle.temperature) for bundle, voice in heard]
    classes = json.dumps(dataset.classes, ensure_ascii=False)
    graph = merge(members, (size[0], size[1]), {"resize": RESIZE_RULE, "classes": classes})
    return Bundle(
        classes=dataset.classes,
        input=InputSpec(size[0], size[1], RESIZE_RULE),
        graph=graph.SerializeToString(),
        unknown=UnknownRule(METHOD, float("inf"), 1.0),  # until the shipped graph has been seen at work
        provenance=_provenance(bundles, voices, dataset),
    )


def _provenance(bundles: Sequence[Bundle], voices: Sequence[Voice], dataset: Dataset) -> dict[str, Any]:
    recipes = [dict(bundle.provenance.get("recipe") or {}) for bundle in bundles]
    members = [
        {"name": Path(voice.model).name, "weight": voice.weight, "recipe": recipe}
        for voice, recipe in zip(voices, recipes, strict=True)
    ]
    heard = [recipe for voice, recipe in zip(voices, recipes, strict=True) if voice.weight]
    about = " + ".join(str(recipe.get("model", "?")) for recipe in heard)
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {
            "source": Path(dataset.source).name,
            "fingerprint": dataset.fingerprint(),
            "pictures": {name: count_by_label(dataset.of(name)) for name in ("train", "validation", "test")},
        },
        "recipe": {"name": "ensemble", "model": about, "seed": 0},
        "members": members,
        "versions": versions(),
    }

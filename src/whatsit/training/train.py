"""Which way of training a recipe asks for; of several, the one that wins within the time limit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whatsit.events import Reporter
from whatsit.files import write_text
from whatsit.images.scan import Dataset, typical_size
from whatsit.models.cnn import SCRATCH_MODELS
from whatsit.training.clock import Clock
from whatsit.training.finetune import train_finetuned
from whatsit.training.frozen import train_frozen
from whatsit.training.history import Epoch, History
from whatsit.training.knobs import ALL
from whatsit.training.loop import TrainingError
from whatsit.training.recipe import Recipe, load
from whatsit.training.resolve import tuned_epochs, tuned_layers, working_size
from whatsit.training.scratch import train_scratch
from whatsit.training.trained import Job, Trained

TRIAL = 0.06  # of the time that is left, for each candidate's trial
SHORTEST_TRIAL = 60  # seconds; where a trial would be shorter, the first candidate gets all the time
PICTURES_PER_CLASS = 1000  # with fewer, and with larger pictures, a pretrained network is better than one from scratch:
LARGEST_SIDE = 96  # no trial is spent on it
SMOOTHING = 0.1  # of the labels of a long fine-tuning


@dataclass(frozen=True)
class _Work:
    dataset: Dataset
    folder: Path
    history: History
    reporter: Reporter
    side: int  # the longer side of a typical picture

    def job(self, recipe: Recipe, clock: Clock, **about: Any) -> Job:
        size, upscale = working_size(recipe, self.side)
        recipe = replace(recipe, size=size)
        return Job(self.dataset, recipe, size, upscale, self.folder, self.history, clock, self.reporter, **about)


def train_by_recipe(
    dataset: Dataset,
    recipe: Recipe,
    folder: Path,
    clock: Clock,
    started: float,
    reporter: Reporter,
    *,
    trial: bool = False,
) -> Trained:
    """Train on a data set that is split; `started` is when the run began (`time.perf_counter`).

    Of a trial, nothing but the validation loss matters. Raises `TrainingError`, for a trial also where the time is too short
    for all of the pictures.
    """
    import keras

    keras.utils.set_random_seed(recipe.seed)
    history = History(folder, reporter, started)
    work = _Work(dataset, folder, history, reporter, max(typical_size(dataset)))
    if recipe.candidates:
        return _best(work, recipe, clock)
    return _one(work.job(recipe, clock, brief=trial, complete=trial))


def _one(job: Job) -> Trained:
    if job.recipe.model in SCRATCH_MODELS:
        return train_scratch(job)
    if job.recipe.finetune_layers:
        return train_finetuned(job)
    return train_frozen(job).trained


def _best(work: _Work, recipe: Recipe, clock: Clock) -> Trained:
    """Give each candidate a short trial, and the one that does best in validation all the time that is left.

    One round of successive halving (Jamieson & Talwalkar 2016). Each trial is a whole schedule in little time. Which are left
    is noted, so that an interrupted run goes on with the same.
    """
    candidates = {
        name: replace(load(name), name=recipe.name, seed=recipe.seed, test_time_shift=recipe.test_time_shift)
        for name in recipe.candidates
    }
    note = work.folder / "checkpoints" / "candidates.json"
    left = _noted(note, work.history) or _promising(work, candidates, clock)
    _keep(note, left, work.history.entries)
    if len(left) == 1:
        return _in_all_the_time(work, candidates[left[0]], clock)
    trials: dict[str, Trained] = {}
    for name in left:
        try:
            trials[name] = _trial(work, name, candidates[name], clock.part(TRIAL))
        except TrainingError as error:
            work.reporter.warn(f"'{name}' was left out: {error}")
            failed = error
    if not trials:
        raise failed
    winner = min(trials, key=lambda name: float(trials[name].losses.mean()))
    if not clock.limited:  # then the trials were whole trainings
        return trials[winner]
    _keep(note, [winner], work.history.entries)
    return _in_all_the_time(work, candidates[winner], clock)


def _noted(note: Path, history: History) -> list[str]:
    """Which candidates an interrupted run had left; the epochs of the others' trials are taken over."""
    if not note.is_file():
        return []
    told = json.loads(note.read_text(encoding="utf-8"))
    history.restore(told["epochs"])
    return list(told["left"])


def _keep(note: Path, left: list[str], epochs: list[Epoch]) -> None:
    write_text(note, json.dumps({"left": left, "epochs": epochs}) + "\n")


def _promising(work: _Work, candidates: Mapping[str, Recipe], clock: Clock) -> list[str]:
    """The candidates that are worth a trial; one alone gets none."""
    promising = [name for name, candidate in candidates.items() if _is_promising(candidate, work)] or [*candidates]
    for name in candidates.keys() - {*promising}:
        work.reporter.say(
            f"'{name}' is not tried: it is for {PICTURES_PER_CLASS:,} pictures a class and more, of at most {LARGEST_SIDE} pixels"
        )
    if len(promising) > 1 and TRIAL * clock.left() < SHORTEST_TRIAL:  # which would tell nothing
        work.reporter.say(f"The time is too short for trials; all of it goes to '{promising[0]}'")
        return promising[:1]
    return promising


def _is_promising(recipe: Recipe, work: _Work) -> bool:
    if recipe.model not in SCRATCH_MODELS:
        return True
    per_class = len(work.dataset.of("train")) / len(work.dataset.classes)
    return per_class >= PICTURES_PER_CLASS and work.side <= LARGEST_SIDE


def _trial(work: _Work, name: str, recipe: Recipe, clock: Clock) -> Trained:
    brief = replace(recipe, test_time_shift=0.0) if clock.limited else recipe  # its views would take much of the time
    trained = _one(work.job(brief, clock, stage_prefix=f"trial-{name}-", brief=clock.limited))
    work.reporter.say(
        f"Trial of '{name}': validation accuracy {trained.best['val_accuracy']:.1%}, loss {trained.losses.mean():.3f}"
    )
    return trained


def _in_all_the_time(work: _Work, recipe: Recipe, clock: Clock) -> Trained:
    """With a limit, more epochs than the recipe has by itself, where more are of use: the clock takes as many as fit.

    Many epochs learn the training pictures by heart, so targets are smoothed (Szegedy et al. 2016).
    """
    if clock.limited and recipe.model in SCRATCH_MODELS:
        recipe = replace(recipe, epochs=4 * recipe.epochs)
    elif clock.limited and tuned_layers(recipe, len(work.dataset.of("train"))) == ALL:
        recipe = replace(recipe, finetune_epochs=4 * tuned_epochs(recipe, whole=True), label_smoothing=SMOOTHING)
    return _one(work.job(recipe, clock))

"""Training by a recipe; of several recipes, by the best within the time limit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from whatsit.files import write_text
from whatsit.models.cnn import SCRATCH_MODELS
from whatsit.training.clock import Clock
from whatsit.training.context import Context
from whatsit.training.finetune import train_finetuned
from whatsit.training.frozen import train_frozen
from whatsit.training.history import Epoch, History
from whatsit.training.loop import TrainingError
from whatsit.training.recipe import Recipe, load
from whatsit.training.resolve import ALL, tuned_epochs, tuned_layers
from whatsit.training.scratch import train_scratch
from whatsit.training.trained import Trained

TRIAL = 0.06  # of the time that is left, for each candidate's trial
SHORTEST_TRIAL = 60  # seconds; where a trial would be shorter, the first candidate gets all the time
PICTURES_PER_CLASS = 1000  # with fewer, and with larger pictures, a pretrained network is better than one from scratch:
LARGEST_SIDE = 96  # no trial is spent on it
SMOOTHING = 0.1  # of the labels of a long fine-tuning


def train_by_recipe(context: Context) -> Trained:
    """Train by the recipe of a context.

    Raises `TrainingError`; where all images are to be used (`complete`), also if the time is too short for them.
    """
    import keras

    keras.utils.set_random_seed(context.recipe.seed)
    if context.recipe.candidates:
        return _best(replace(context, brief=False, complete=False))
    return _one(context.prepared(context.recipe))


def _one(context: Context) -> Trained:
    """Train by one recipe, the way that it asks for."""
    if context.recipe.model in SCRATCH_MODELS:
        return train_scratch(context)
    if context.recipe.finetune_layers:
        return train_finetuned(context)
    return train_frozen(context).trained


def _best(context: Context) -> Trained:
    """Train each candidate briefly, and the best in all the remaining time.

    Validation says which is best: one round of successive halving (Jamieson & Talwalkar 2016). Each trial is a whole schedule in
    little time. The remaining candidates are recorded, so that an interrupted run continues with the same.
    """
    recipe, clock = context.recipe, context.clock
    candidates = {
        name: replace(load(name), name=recipe.name, seed=recipe.seed, test_time_shift=recipe.test_time_shift)
        for name in recipe.candidates
    }
    note = context.checkpoint("candidates.json")
    left = _noted(note, context.history) or _promising(context, candidates)
    _keep(note, left, context.history.entries)
    if len(left) == 1:
        return _in_all_the_time(context, candidates[left[0]])
    trials: dict[str, Trained] = {}
    for name in left:
        try:
            trials[name] = _trial(context, name, candidates[name], clock.part(TRIAL))
        except TrainingError as error:
            context.reporter.warn(f"'{name}' was left out: {error}")
            failed = error
    if not trials:
        raise failed
    winner = min(trials, key=lambda name: float(trials[name].losses.mean()))
    if not clock.limited:  # then the trials were whole trainings
        return trials[winner]
    _keep(note, [winner], context.history.entries)
    return _in_all_the_time(context, candidates[winner])


def _noted(note: Path, history: History) -> list[str]:
    """Return the candidates an interrupted run had left; take over their epochs."""
    if not note.is_file():
        return []
    noted = json.loads(note.read_text(encoding="utf-8"))
    history.restore(noted["epochs"])
    return list(noted["left"])


def _keep(note: Path, left: list[str], epochs: list[Epoch]) -> None:
    write_text(note, json.dumps({"left": left, "epochs": epochs}) + "\n")


def _promising(context: Context, candidates: Mapping[str, Recipe]) -> list[str]:
    """Return the candidates that are worth a trial; one alone gets none."""
    promising = [name for name, candidate in candidates.items() if _is_promising(candidate, context)] or [*candidates]
    for name in candidates.keys() - {*promising}:
        context.reporter.say(
            f"'{name}' is not tried: it is for {PICTURES_PER_CLASS:,} pictures a class and more, of at most {LARGEST_SIDE} pixels"
        )
    if len(promising) > 1 and TRIAL * context.clock.left() < SHORTEST_TRIAL:  # too short to compare them
        context.reporter.say(f"The time is too short for trials; all of it goes to '{promising[0]}'")
        return promising[:1]
    return promising


def _is_promising(recipe: Recipe, context: Context) -> bool:
    if recipe.model not in SCRATCH_MODELS:
        return True
    per_class = len(context.dataset.of("train")) / len(context.dataset.classes)
    return per_class >= PICTURES_PER_CLASS and context.side <= LARGEST_SIDE


def _trial(context: Context, name: str, recipe: Recipe, clock: Clock) -> Trained:
    brief = replace(recipe, test_time_shift=0.0) if clock.limited else recipe  # its views would take much of the time
    trained = _one(context.prepared(brief, clock, stage_prefix=f"trial-{name}-", brief=clock.limited))
    context.reporter.say(
        f"Trial of '{name}': validation accuracy {trained.best['val_accuracy']:.1%}, loss {trained.losses.mean():.3f}"
    )
    return trained


def _in_all_the_time(context: Context, recipe: Recipe) -> Trained:
    """Train with more epochs than the recipe has, where there is time for them.

    The clock takes as many as fit. Many epochs learn the images by heart, so targets are smoothed (Szegedy et al. 2016).
    """
    limited = context.clock.limited
    if limited and recipe.model in SCRATCH_MODELS:
        recipe = replace(recipe, epochs=4 * recipe.epochs)
    elif limited and tuned_layers(recipe, len(context.dataset.of("train"))) == ALL:
        recipe = replace(recipe, finetune_epochs=4 * tuned_epochs(recipe, whole=True), label_smoothing=SMOOTHING)
    return _one(context.prepared(recipe))

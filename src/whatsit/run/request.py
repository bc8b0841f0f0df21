"""What the user asks of `whatsit train`, checked, also against an interrupted run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from whatsit.bundle.costs import Prices
from whatsit.bundle.costs_file import prices_from, read_prices
from whatsit.errors import RecipeError, UsageError, require_packages
from whatsit.evaluation.criteria import load_criteria
from whatsit.evaluation.shipping import Shipped
from whatsit.evaluation.update import Update
from whatsit.events import Reporter
from whatsit.images.pictures import Pictures
from whatsit.images.places import absolute
from whatsit.images.scan import Dataset
from whatsit.images.shortage import require_trainable
from whatsit.images.split import Fractions
from whatsit.images.split import limit as limit_pictures
from whatsit.run.plan import make_plan, said_seed
from whatsit.run.repeat import RunToRepeat, run_to_repeat
from whatsit.run.update import EarlierRun, earlier_run
from whatsit.run.workspace import Workspace, beside, finish_replacing, new_run, require_outside, unfinished_run
from whatsit.run_files import RECIPE
from whatsit.training import recipe as recipes
from whatsit.training.clock import duration, parse_duration
from whatsit.training.knobs import AUTO
from whatsit.training.recipe import Recipe

REPORT_FROM = 60  # seconds of a time limit; the report takes some 16 to 25
_REPEATED = ("recipe", "backbone", "weights", "seed", "limit", "time_limit", "settings")


@dataclass(frozen=True)
class Request:
    """The arguments of `train`; see there."""

    data: str | Path | None = None
    from_run: str | Path | None = None
    recipe: str | None = None
    backbone: str | None = None
    weights: str | Path | None = None
    out: str | Path | None = None
    seed: int | None = None
    limit: int | None = None
    time_limit: str | float | None = None
    resume: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    tensorboard: bool = False
    report: bool = True
    criteria: str | Path | None = None
    workers: int | None = None
    ray: str | None = None
    update: str | Path | None = None
    only_if_better: bool = False
    costs: str | Path | Mapping[str, Any] | None = None

    def check(self) -> RunSpec:
        """Return the run that is asked for.

        Raises:
            UsageError: an argument is wrong. MissingExtraError: TensorBoard is not installed.
        """
        criteria = load_criteria(self.criteria)
        for folder in (self.update, self.out):
            if folder:
                finish_replacing(Path(folder))
        if self.tensorboard:
            require_packages("--tensorboard", "track", "tensorboard")
        if self.only_if_better and self.update is None and not self.resume:
            raise UsageError("--only-if-better needs --update RUN, the run that the new model is held against")
        if self.from_run is not None and self.update is not None:
            raise UsageError("--from-run repeats a run as it was, --update continues from it; give one of them")
        if self.update is not None:
            return self._updating(self.update, criteria)
        return self._repeating(criteria) if self.from_run is not None else self._new(criteria)

    @property
    def _recipe(self) -> str:
        """The recipe's name: what suits the time, where nothing is said but the time."""
        if self.recipe:
            return self.recipe
        said = recipes.flat(self.settings, Recipe(), "--set")
        other = any(key not in recipes.KEYS or not recipes.KEYS[key].beside_ladder for key in said)
        return "fast" if self.time_limit is None or self.backbone or self.weights or other else "best"

    def _new(self, criteria: dict[str, float]) -> RunSpec:
        as_started = self.resume and not (self.recipe or self.backbone or self.weights or self.settings)
        recipe = None if as_started else make_plan(self._recipe, self.backbone, self.weights, self.seed, self.settings)
        seconds = allowed_seconds(self.time_limit)
        self._require_limit()
        if self.data is None:
            raise UsageError("DATA is missing; give a folder, an archive, a CSV file or the name of a data set")
        seed = said_seed(self.seed, self.recipe, self.settings)
        return RunSpec(self, self.data, recipe, seed, self.limit, seconds, criteria)

    def _updating(self, run: str | Path, criteria: dict[str, float]) -> RunSpec:
        """Return a run with the recipe and time of an earlier one.

        Where others are asked for, those.
        """
        self._require_limit()
        earlier = earlier_run(run, self.data)
        changed = self.recipe or self.backbone or self.weights or self.settings
        recipe, seconds = earlier.made_of.recipe, allowed_seconds(self.time_limit)
        if changed:
            base = self.recipe or str(earlier.folder / RECIPE)
            recipe = make_plan(base, self.backbone, self.weights, self.seed, self.settings)
            if recipe.split == AUTO and "split" not in self.settings:
                recipe = replace(recipe, split=earlier.made_of.recipe.split)
            if said_seed(self.seed, self.recipe, self.settings) is None:
                recipe = replace(recipe, seed=earlier.made_of.recipe.seed)
        elif self.seed is not None:
            recipe = replace(recipe, seed=self.seed)
        if seconds is None and not self.recipe:
            seconds = earlier.made_of.seconds
        asked = None if self.resume and not changed else recipe
        return RunSpec(self, earlier.made_of.data, asked, self.seed, self.limit, seconds, criteria, earlier=earlier)

    def _require_limit(self) -> None:
        if self.limit is not None and self.limit < 3:
            raise UsageError(
                f"--limit must be at least 3 (one picture each to train, validate and test), received {self.limit}"
            )

    def _repeating(self, criteria: dict[str, float]) -> RunSpec:
        for name in _REPEATED:
            if getattr(self, name) not in (None, {}):
                option = "--set" if name == "settings" else f"--{name.replace('_', '-')}"
                raise UsageError(f"--from-run repeats a run as it was; leave out {option}, or leave out --from-run")
        repeated = run_to_repeat(self.from_run or "", self.data)
        recipe = repeated.recipe
        return RunSpec(self, repeated.data, recipe, recipe.seed, None, repeated.seconds, criteria, repeated)


@dataclass(frozen=True)
class RunSpec:
    """What a run is to be: as asked for, or as it was started."""

    request: Request
    data: str | Path
    asked: Recipe | None  # None: the one that the interrupted run was started with
    seed: int | None  # where the user gives one
    limit: int | None  # images of each class
    seconds: float | None  # time limit
    criteria: dict[str, float]  # of the report
    repeated: RunToRepeat | None = None
    earlier: EarlierRun | None = None  # that it is an update of

    @property
    def out(self) -> str | Path | None:
        """The run folder to make, where it is known: an update takes the place of its run."""
        return self.request.out or (self.earlier.folder if self.earlier else None)

    @property
    def recipe(self) -> Recipe:
        """The recipe, once it is known."""
        assert self.asked is not None
        return self.asked

    def prices(self, classes: Sequence[str]) -> Prices | None:
        """Return the prices of mistakes that are asked for, or those of the run before.

        Raises:
            UsageError: they are wrong, or do not fit the classes.
        """
        if self.request.costs is not None:
            return read_prices(self.request.costs, classes)
        if self.earlier:
            return self.earlier.prices(classes)
        return self.repeated.prices() if self.repeated else None

    def workspace(self, dataset: Dataset) -> AbstractContextManager[Workspace]:
        """Open the workspace of a new run, or of the interrupted one.

        Raises:
            DataError: the data set cannot be trained on. UsageError: the folder cannot be used.
        """
        require_trainable(dataset)
        out, data, name = self.out, str(self.data), self.asked.name if self.asked else None
        require_outside(data, out)
        if self.request.resume:
            return unfinished_run(out, data, name)
        return new_run(out, data, name or "fast", replaces=self._replaces(out))

    def _replaces(self, out: str | Path | None) -> bool:
        """Return whether the run folder to make is that of the earlier run."""
        return bool(out and self.earlier and Path(out).resolve() == self.earlier.folder.resolve())

    def resumed(self, workspace: Workspace) -> RunSpec:
        """Return what an interrupted run was started with; itself for a new run.

        Raises:
            UsageError: something else is asked for now, or `job.json` is damaged.
        """
        if not workspace.job:
            return self
        try:
            recipe = recipes.change(Recipe(), {**workspace.job["recipe"]}, str(workspace.path))
            limit, seconds = workspace.job["limit"], workspace.job["time_limit"]
            updated = workspace.job.get("update")
        except (KeyError, TypeError, AttributeError, RecipeError) as error:
            raise UsageError(
                f"{workspace.path}: this run cannot be resumed ({error}); remove it and train again"
            ) from None
        asked = {key: value for key, value in vars(self.asked).items() if key != "seed"} if self.asked else {}
        differences = [
            (f"{key} = {getattr(recipe, key)}", value) for key, value in asked.items() if value != getattr(recipe, key)
        ]
        if self.seed not in (None, recipe.seed):
            differences.append((f"seed {recipe.seed}", self.seed))
        if self.limit not in (None, limit):
            differences.append((f"--limit {limit}", self.limit))
        if self.seconds not in (None, seconds):
            differences.append((_limit(seconds), _limit(self.seconds)))
        for started, now in differences:
            raise UsageError(
                f"{workspace.path}: this run was started with {started}, now {now} is asked for; leave it out to resume the run, "
                "or train again without --resume"
            )
        earlier = self._earlier(updated, workspace)
        workspace.replaces = replace(self, earlier=earlier)._replaces(workspace.folder)
        return replace(self, asked=recipe, seed=None, limit=limit, seconds=seconds, earlier=earlier)

    def _earlier(self, updated: str | None, workspace: Workspace) -> EarlierRun | None:
        """Return the run that an interrupted run is an update of. Raises `UsageError`."""
        asked = absolute(str(self.earlier.folder)) if self.earlier else None
        if asked is not None and asked != updated:
            started = f"as an update of {updated}" if updated else "without --update"
            raise UsageError(
                f"{workspace.path}: this run was started {started}, now --update {self.request.update} is asked for; train again "
                "without --resume"
            )
        return self.earlier or (earlier_run(updated, self.data) if updated else None)

    def limited(self, dataset: Dataset) -> Dataset:
        """Return the data set with no more images of each class than asked for."""
        return (
            dataset if self.limit is None else limit_pictures(dataset, self.limit, self.recipe.seed, self.split_before)
        )

    def save(self, workspace: Workspace, dataset: Dataset, prices: Prices | None = None) -> Prices | None:
        """Write down what the run is, for resuming.

        Returns:
            the prices of mistakes: those that are asked for now, else those that an interrupted run was started with.

        Raises:
            UsageError: the images have changed since the interrupted run was started.
        """
        if prices is None and (started := workspace.job.get("costs") if workspace.job else None):
            prices = prices_from(started, dataset.classes)
        fingerprint = dataset.fingerprint()
        if workspace.job and workspace.job.get("data") != fingerprint:
            raise UsageError(
                f"{dataset.source}: the pictures have changed since the run was started; train again without --resume"
            )
        workspace.save_job(
            {
                "source": absolute(dataset.source),
                "data": fingerprint,
                "recipe": vars(self.recipe),
                "limit": self.limit,
                "time_limit": self.seconds,
                "update": absolute(str(self.earlier.folder)) if self.earlier else None,
                **({"costs": prices.to_json()} if prices else {}),
            }
        )
        return prices

    @property
    def split_before(self) -> Pictures | None:
        """The pictures of the run that this is an update of."""
        return self.earlier.pictures if self.earlier else None

    @property
    def fractions(self) -> Fractions | None:
        """The shares that the user asks for; a repeated run has its splits."""
        return None if self.repeated else self.recipe.fractions

    def report_changes(self, dataset: Dataset, reporter: Reporter) -> None:
        """Say what has changed since the run that this is an update of."""
        if self.earlier:
            self.earlier.report_changes(dataset, reporter)

    def measure_update(
        self, shipped: Shipped, dataset: Dataset, reporter: Reporter, workspace: Workspace
    ) -> Update | None:
        """Compare an update with its run; decide which of them gets the run's place."""
        if not self.earlier:
            return None
        update = self.earlier.measure(shipped, dataset, reporter)
        if self.request.only_if_better and not update.better:
            workspace.folder = beside(workspace.folder, "not-better")
        elif workspace.replaces:
            workspace.before = beside(workspace.folder, "before")
        return replace(update, kept_as=str(workspace.before or self.earlier.folder))

    def has_report(self, reporter: Reporter) -> bool:
        """Return whether a report is to be made; warn where the time is too short."""
        if not self.request.report or self.seconds is None or self.seconds >= REPORT_FROM:
            return self.request.report
        reporter.warn(f"a time limit below {REPORT_FROM} s leaves no time for the report")
        return False

    def warn_if_late(self, seconds: float, reporter: Reporter) -> None:
        """Warn where the run took clearly longer than its time limit."""
        if self.seconds is not None and seconds > 1.1 * self.seconds:
            reporter.warn(f"the time limit of {duration(self.seconds)} was too short: it took {duration(seconds)}")


def allowed_seconds(time_limit: str | float | None) -> float | None:
    """Return the time limit in seconds. Raises `UsageError`."""
    if time_limit is None:
        return None
    try:
        seconds = parse_duration(time_limit) if isinstance(time_limit, str) else float(time_limit)
        if not 0 < seconds < math.inf:
            raise ValueError
    except ValueError:
        raise UsageError(f"--time-limit takes a time such as 10m, 90s or 1h30m, received '{time_limit}'") from None
    return seconds


def _limit(seconds: float | None) -> str:
    return "no time limit" if seconds is None else f"a time limit of {duration(seconds)}"

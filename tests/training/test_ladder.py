"""The ladder's decisions, with rungs that train nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tests.conftest import Listener
from whatsit.errors import DataError
from whatsit.events import SILENT
from whatsit.files import DiskError
from whatsit.images.data import split_data
from whatsit.images.scan import scan
from whatsit.models.unknown import Mahalanobis
from whatsit.process import Interrupted
from whatsit.training import ladder
from whatsit.training.clock import Afterwards, Clock
from whatsit.training.context import Context
from whatsit.training.forecast import Pace
from whatsit.training.frozen import FrozenHead, Looked
from whatsit.training.head import Seen
from whatsit.training.history import History
from whatsit.training.loop import TrainingError
from whatsit.training.recipe import Recipe, load
from whatsit.training.resolve import tuned_layers
from whatsit.training.rungs import Base, of_all
from whatsit.training.trained import Trained

HELD = 40  # validation images
ALL_RUNGS = ["fast", "stronger", "deepest", "all", "longer"]


def trained(loss: float, recipe: Recipe | None = None) -> Trained:
    losses = np.full(HELD, loss)
    nothing = cast(Any, None)
    known = cast(Mahalanobis, None)
    right = np.ones(HELD, bool)
    return Trained(nothing, nothing, nothing, {}, 1.0, (), known, losses, right, recipe or load("fast"))


class Rungs:
    """Stand-ins for what trains: each rung has a loss, or an exception."""

    def __init__(
        self, patch: pytest.MonkeyPatch, pace: float = 1e-6, mirrored: float = 1.0, *, faint: bool = False
    ) -> None:
        self.losses: dict[str, float] = {rung: 1.0 - 0.1 * place for place, rung in enumerate(ALL_RUNGS)}
        self.raises: dict[str, BaseException] = {}
        self.done: list[str] = []
        self.recipes: dict[str, Recipe] = {}
        self.left: dict[str, float] = {}  # seconds that each rung may use
        self._mirrored, self._faint = mirrored, faint
        self.answering = 0.0  # seconds for an image that is tested
        patch.setattr("whatsit.training.forecast.training_cost", lambda: 10.0)
        patch.setattr("whatsit.training.forecast.OPEN", 3.0)
        patch.setattr(ladder, "pace_of", lambda context: Pace(0.0, pace))
        patch.setattr(ladder, "look", self.look)
        patch.setattr(ladder, "fit_heads", self.fit_heads)
        patch.setattr(ladder, "tune", self.tune)

    def look(self, context: Context, share: float, more_views: tuple[str, ...]) -> Looked:
        """Return features that tell two classes apart; of mirror images, in that share only."""
        context.clock.reserve(self.answering)
        labels = np.arange(HELD) % 2
        features = np.stack([labels, 1 - labels], axis=1).astype(np.float16)
        wrong = np.arange(HELD) >= self._mirrored * HELD
        mirrored = np.where(wrong[:, None], features[:, ::-1], features)
        if self._faint:
            mirrored = (0.4 + 0.2 * mirrored).astype(np.float16)
        views = {"original": features, "flip": mirrored}
        return Looked(context, {}, cast(Any, None), Seen(views, labels, views, labels), context.clock)

    def fit_heads(self, looked: Looked) -> FrozenHead:
        context = looked.context
        rung = context.stage_prefix.rstrip("-") or "fast"
        assert {*context.test_views} <= {*looked.seen.held}  # of other views there are no features
        if rung in ("fast", "stronger"):
            self.happen(rung, context)
        nothing = cast(Any, None)
        result = trained(self.losses[rung], context.recipe)
        return FrozenHead(context, nothing, nothing, looked.seen.labels, looked.seen.held_labels, result)

    def tune(self, head: FrozenHead) -> Trained:
        rung = head.context.stage_prefix.rstrip("-")
        self.happen(rung, head.context)
        return trained(self.losses[rung], head.context.recipe)

    def happen(self, rung: str, context: Context) -> None:
        self.done.append(rung)
        self.recipes[rung] = context.recipe
        self.left[rung] = context.clock.left()
        if rung in self.raises:
            raise self.raises.pop(rung)


Climb = Callable[..., Trained]


def write_note(folder: Path, text: str) -> None:
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "ladder.json").write_text(text, encoding="utf-8")


@pytest.fixture
def climb(shapes_folder: Path, tmp_path: Path) -> Climb:
    dataset = split_data(scan(shapes_folder), 0, SILENT)

    def run(
        seconds: float | None = None,
        listener: Listener | None = None,
        keep: Callable[[Trained], None] | None = None,
        **changes: Any,
    ) -> Trained:
        reporter = listener or Listener()
        recipe = Recipe(**{"name": "best", "ladder": True, "flip": True, **changes})
        clock = Clock(seconds, reporter.say, afterwards=Afterwards(pictures=100))
        context = Context(dataset, recipe, tmp_path, clock, reporter, keep=keep, history=History(tmp_path, reporter))
        return ladder.climb(context)

    return run


def test_without_a_limit_every_rung_is_climbed_in_order(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = Rungs(monkeypatch)
    assert climb().losses[0] == rungs.losses["longer"]
    assert rungs.done == ALL_RUNGS


@pytest.mark.parametrize(
    ("pace", "done"),
    [
        (1e-6, ALL_RUNGS),
        (1e-3, ["fast", "stronger", "all", "longer"]),  # 62 epochs of all layers; the deepest would take 4 s of 29
        (1e-2, ["fast", "all"]),  # 8 epochs at 128 pixels, which the stronger backbone would have at 96 alone
        (1.4e-2, ["fast", "all"]),  # 4 epochs of all layers, and too few of the stronger backbone
        (3e-2, ["fast", "all"]),  # 2 epochs of all layers, but 3.7 at 96 pixels instead of 128
        (6e-2, ["fast", "stronger", "deepest"]),  # 1.8 epochs at 96 pixels
        (1.0, ["fast"]),
    ],
)
def test_a_rung_is_climbed_where_its_forecast_fits(
    climb: Climb, monkeypatch: pytest.MonkeyPatch, pace: float, done: list[str]
) -> None:
    rungs = Rungs(monkeypatch, pace)
    monkeypatch.setattr("whatsit.training.forecast.BUILD", 4.0 if pace > 1e-4 else 0.0)
    climb(30.0)
    assert rungs.done == done


def test_a_stronger_backbone_that_cannot_be_tuned_is_tried_frozen_where_that_is_cheap(
    climb: Climb, monkeypatch: pytest.MonkeyPatch
) -> None:
    rungs = Rungs(monkeypatch, 2.2e-2)
    monkeypatch.setattr("whatsit.training.forecast.BUILD", 4.0)
    monkeypatch.setattr("whatsit.training.forecast.OPEN", 0.0)
    monkeypatch.setattr(ladder, "FROZEN_STEP", 0.1)
    climb(66.0)  # 8 epochs of four fifths; 5 of the stronger backbone, whose features take 5.3 s of 64
    assert rungs.done == ["fast", "stronger", "all"]


def test_deepest_layers_leave_the_time_for_all_layers(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = Rungs(monkeypatch)
    monkeypatch.setattr("whatsit.training.forecast.BUILD", 0.0)
    climb(1000.0)
    assert rungs.left["deepest"] <= 0.16 * rungs.left["stronger"]
    assert rungs.left["all"] >= 0.9 * rungs.left["stronger"]  # as nothing has taken any time here


def test_it_is_never_a_step_down(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs, listener = Rungs(monkeypatch), Listener()
    rungs.losses |= {"all": 2.0, "longer": 3.0}
    assert climb(listener=listener).losses[0] == rungs.losses["deepest"]
    assert any(
        text.startswith("Rung 'all layers tuned': 100.0% right in validation, not clearly better")
        for text in listener.said
    )


def test_what_ships_has_no_rival_where_each_rung_is_better(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    Rungs(monkeypatch)
    assert climb().ships == "efficientnet-lite2 with all layers tuned for longer"


def test_it_says_at_the_end_what_ships_and_what_was_no_better(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = Rungs(monkeypatch)
    rungs.losses |= {"stronger": 2.0, "deepest": 2.0}
    rungs.raises["all"] = DataError("no picture")
    rungs.losses["longer"] = 2.0
    assert climb().ships == (
        "a head on the frozen efficientnet-lite0; a stronger frozen backbone, the deepest layers tuned and all layers tuned for "
        "longer were not clearly better in validation"
    )


def test_a_single_rung_that_was_no_better_is_named(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = Rungs(monkeypatch, pace=0.09)
    rungs.losses["stronger"] = 2.0
    assert climb(30.0).ships == (
        "a head on the frozen efficientnet-lite0; a stronger frozen backbone was not clearly better in validation"
    )
    assert rungs.done == ["fast", "stronger"]


@pytest.mark.parametrize(("answering", "done"), [(0.0, ["fast", "stronger"]), (0.1, ["fast"])])
def test_a_stronger_backbone_leaves_time_for_its_own_test(
    climb: Climb, monkeypatch: pytest.MonkeyPatch, answering: float, done: list[str]
) -> None:
    rungs = Rungs(monkeypatch, pace=0.09)
    rungs.answering = answering
    climb(30.0)
    assert rungs.done == done


def test_a_better_backbone_is_the_one_that_is_tuned(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = Rungs(monkeypatch)
    climb()
    assert rungs.recipes["all"].model == "efficientnet-lite2"


@pytest.mark.parametrize(("loss", "model"), [(1.0, "efficientnet-lite2"), (1.1, "efficientnet-lite0")])
def test_a_stronger_backbone_is_tuned_unless_it_is_clearly_worse(
    climb: Climb, monkeypatch: pytest.MonkeyPatch, loss: float, model: str
) -> None:
    rungs = Rungs(monkeypatch)
    rungs.losses["stronger"] = loss  # that of the first is 1
    climb()
    assert rungs.recipes["all"].model == model


@pytest.mark.parametrize(
    ("rung", "name"), [("stronger", "a stronger frozen backbone"), ("deepest", "the deepest layers tuned")]
)
def test_a_rung_that_fails_is_reported_and_the_next_is_climbed(
    climb: Climb, monkeypatch: pytest.MonkeyPatch, rung: str, name: str
) -> None:
    rungs, listener = Rungs(monkeypatch), Listener()
    rungs.raises[rung] = TrainingError("the loss became infinite")
    climb(listener=listener)
    assert rungs.done == ALL_RUNGS
    assert listener.warned == [f"{name}: the loss became infinite; what was best before is kept"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DataError("a.jpg could be read before"), "a.jpg could be read before"),
        (DiskError("the disk is full"), "the disk is full"),
        (MemoryError(), "there is too little memory for it"),
        (KeyError("flip"), "KeyError 'flip'"),
    ],
)
def test_a_model_is_not_lost_by_what_fails_after_it(
    climb: Climb, monkeypatch: pytest.MonkeyPatch, error: BaseException, words: str
) -> None:
    rungs, listener = Rungs(monkeypatch), Listener()
    rungs.raises["all"] = error
    rungs.losses["longer"] = 2.0
    assert climb(listener=listener).losses[0] == rungs.losses["deepest"]
    assert listener.warned == [f"all layers tuned: {words}; what was best before is kept"]


@pytest.mark.parametrize("note", ["", "{", "[1]", '"x"'])
def test_damaged_note_is_decided_again(
    climb: Climb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, note: str
) -> None:
    rungs = Rungs(monkeypatch)
    write_note(tmp_path, note)
    climb()
    assert rungs.done == ALL_RUNGS


@pytest.mark.parametrize(
    "interrupt", [KeyboardInterrupt(), Interrupted(lambda: None)], ids=["notebook", "command line"]
)
def test_interrupted_climb_ships_the_best_so_far(
    climb: Climb, monkeypatch: pytest.MonkeyPatch, interrupt: BaseException
) -> None:
    rungs = Rungs(monkeypatch)
    rungs.raises["all"] = interrupt
    assert climb().losses[0] == rungs.losses["deepest"]
    assert rungs.done == ["fast", "stronger", "deepest", "all"]


def test_second_interrupt_counts_again(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs, armed = Rungs(monkeypatch), list[str]()
    rungs.raises["all"] = Interrupted(lambda: armed.append("again"))
    climb()
    assert armed == ["again"]


def test_interrupted_rung_with_an_epoch_is_judged_too(
    climb: Climb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rungs = Rungs(monkeypatch)
    rungs.raises["all"] = KeyboardInterrupt()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "all-finetune.npz").touch()
    assert climb().losses[0] == rungs.losses["all"]
    assert rungs.done == ["fast", "stronger", "deepest", "all", "all"]  # again, by a clock without time
    assert "longer" not in json.loads(
        (tmp_path / "checkpoints" / "ladder.json").read_text()
    )  # resumed, there is time again


def test_backbone_that_cannot_be_looked_through_again_is_not_tuned(
    climb: Climb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rungs = Rungs(monkeypatch)
    plan = {"base": 1, "size": 128, "share": 1.0, "epochs": 9.0}
    write_note(tmp_path, json.dumps({"stronger": True, "all": plan}))
    rungs.raises["stronger"] = DataError("the disk is full")
    climb()
    assert rungs.recipes["all"].model == "efficientnet-lite0"


def test_every_rung_has_the_split_that_was_asked_for(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = Rungs(monkeypatch)
    climb(split="40/40/20")
    assert {recipe.split for recipe in rungs.recipes.values()} == {"40/40/20"}


@pytest.mark.parametrize("images", [1000, 100_000])
@pytest.mark.parametrize(("rung", "layers"), [("deepest", 20), ("all", "all")])
def test_a_rung_tunes_its_own_layers_however_many_images_there_are(
    climb: Climb, monkeypatch: pytest.MonkeyPatch, rung: str, layers: int | str, images: int
) -> None:
    rungs = Rungs(monkeypatch)
    climb()
    assert tuned_layers(rungs.recipes[rung], images) == layers


def test_each_better_classifier_is_kept_at_once(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = Rungs(monkeypatch)
    rungs.losses["all"] = 2.0
    kept: list[Trained] = []
    climb(keep=kept.append)
    assert [one.losses[0] for one in kept] == [rungs.losses[rung] for rung in ("fast", "stronger", "deepest", "longer")]


def test_interrupt_before_there_is_a_model_is_an_interrupt(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = Rungs(monkeypatch)
    rungs.raises["fast"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        climb()


def test_resumed_climb_decides_as_before(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = Rungs(monkeypatch)
    rungs.raises["longer"] = SystemExit()  # as a kill would end it
    with pytest.raises(SystemExit):
        climb()
    rungs.done.clear()
    climb(0.001)  # hardly any time is left
    assert rungs.done == ALL_RUNGS


def test_progress_says_what_is_best_so_far_and_the_time_left(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs, listener = Rungs(monkeypatch), Listener()
    happen = rungs.happen

    def train(rung: str, context: Context) -> None:
        context.reporter.stage(f"Training ({rung})")
        happen(rung, context)

    monkeypatch.setattr(rungs, "happen", train)
    climb(600.0, listener)
    assert listener.stages[0] == "Training (fast), 10 min left"
    assert listener.stages[1] == "Training (stronger), best so far 100.0%, 10 min left"


def test_mirror_images_that_mean_the_same_are_used(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = Rungs(monkeypatch, mirrored=1.0)
    climb()
    assert rungs.recipes["all"].flip
    assert rungs.recipes["all"].test_time_flip


def test_mirror_images_that_mean_something_else_are_not_used(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs, listener = Rungs(monkeypatch, mirrored=0.5), Listener()
    climb(listener=listener)
    assert not rungs.recipes["all"].flip
    assert not rungs.recipes["all"].test_time_flip
    assert rungs.recipes["fast"].views == rungs.recipes["stronger"].views == ("original",)
    assert any(
        text.startswith("Mirror images are not used, as they are clearly harder: of mirrored validation images 50.0%")
        for text in listener.said
    )


def test_mirror_images_that_are_predicted_right_with_less_certainty_are_not_used(
    climb: Climb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few images say more by their losses than by being right."""
    rungs = Rungs(monkeypatch, faint=True)
    climb()
    assert not rungs.recipes["all"].flip


def test_mirror_images_can_be_forbidden(climb: Climb, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = Rungs(monkeypatch)
    climb(flip=False)
    assert {recipe.flip for recipe in rungs.recipes.values()} == {False}
    assert rungs.recipes["fast"].views == ("original",)


def base_of(images: int, upscale: int = 1, accuracy: float = 1.0) -> Base:
    seen = SimpleNamespace(labels=np.zeros(images, int))
    looked = SimpleNamespace(context=SimpleNamespace(upscale=upscale), seen=seen)
    return Base(cast(Any, looked), load("finetune"), Pace(0.0, 0.01), accuracy)


@pytest.mark.parametrize(("images", "strong"), [(4999, True), (5000, False)])
def test_many_images_are_not_augmented_much_in_few_epochs(images: int, strong: bool) -> None:
    changes = of_all({"epochs": 8.0, "share": 1.0}, base_of(images), 30)
    assert ("rand_augment" in changes, "finetune_learning_rate" in changes) == (strong, strong)


@pytest.mark.parametrize(
    ("images", "accuracy", "size"),
    [(10, 0.6, 16), (774, 0.6, 16), (2000, 0.6, 32), (4999, 0.6, 64), (774, 0.7, 64), (45_000, 0.6, 64)],
)
def test_few_images_that_the_frozen_network_does_not_know_are_trained_on_in_small_batches(
    images: int, accuracy: float, size: int
) -> None:
    """Or all layers would be tuned in a few dozen steps."""
    changes = of_all({"epochs": 8.0, "share": 1.0}, base_of(images, accuracy=accuracy), 30)
    assert changes["finetune_batch_size"] == size


@pytest.mark.parametrize(("accuracy", "augmentation"), [(0.6, 15.0), (0.7, 8.0)])
def test_such_images_are_strongly_augmented_sooner(accuracy: float, augmentation: float) -> None:
    changes = of_all({"epochs": 12.0, "share": 1.0}, base_of(774, accuracy=accuracy), 30)
    assert changes["rand_augment"] == augmentation


@pytest.mark.parametrize(("epochs", "smoothing"), [(3.9, 0.0), (4.0, 0.1), (8.0, 0.1)])
def test_labels_of_many_images_are_smoothed_where_they_would_be_learned_by_heart(
    epochs: float, smoothing: float
) -> None:
    assert of_all({"epochs": epochs, "share": 1.0}, base_of(5000), 30).get("label_smoothing", 0.0) == smoothing


@pytest.mark.parametrize(("images", "upscale", "views"), [(5000, 1, 2), (5000, 4, 3), (4999, 4, 2)])
def test_many_small_images_are_asked_in_moved_views_too(images: int, upscale: int, views: int) -> None:
    """It was measured on CIFAR-10 alone."""
    changes = of_all({"epochs": 8.0, "share": 1.0}, base_of(images, upscale), 30)
    assert len(replace(load("finetune"), **changes).test_views(32)) == views


@pytest.mark.parametrize(
    ("images", "accuracy", "good", "enough"),
    [
        (4999, 0.7, 7, 3),
        (5000, 0.7, 4, 0.5),
        (5000, 0.6, 4, 0.5),
        (40, 0.6, 15, 3),
        (774, 0.6, 12, 3),
        (2000, 0.6, 7, 3),
    ],
)
def test_many_images_need_fewer_epochs(images: int, accuracy: float, good: int, enough: float) -> None:
    """Before a stronger backbone is worth more than further ones, and before all layers are tuned at all.

    Few that the frozen network does not know need more.
    """
    base = base_of(images, accuracy=accuracy)
    assert (base.good, base.enough) == (good, enough)

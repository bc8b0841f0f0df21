"""What tuning may change in a recipe."""

from __future__ import annotations

from dataclasses import replace

import pytest

from whatsit.errors import RecipeError
from whatsit.models.backbones import TINY, backbones_at_hand
from whatsit.training.knobs import Choice, Span
from whatsit.training.recipe import Recipe, change, load, names
from whatsit.training.recipe_checks import changed
from whatsit.training.resolve import working_shift
from whatsit.tuning.space import (
    default_space,
    ends,
    for_trial,
    longer,
    parse_search,
    settings_of,
    starting_points,
    to_tune,
)

TUNABLE = [name for name in names() if name != "best"]


@pytest.mark.parametrize("name", TUNABLE)
@pytest.mark.parametrize("side", [32, 500])
def test_every_key_of_the_usual_search_has_an_effect_on_its_recipe(name: str, side: int) -> None:
    recipe = load(name)
    for key, knob in default_space(recipe, side, 9000, []).items():
        for value in ends(knob):
            assert getattr(changed(recipe, {key: value}, "test"), key) == value


@pytest.mark.parametrize("name", TUNABLE)
def test_the_recipe_as_it_is_comes_first(name: str) -> None:
    recipe = to_tune(load(name), 9000)
    space = default_space(recipe, 32, 9000, [])
    first, *others = starting_points(recipe, space)
    assert first.keys() == space.keys()
    applied = changed(recipe, settings_of(recipe, first), "test")
    assert replace(applied, shift=recipe.shift) == recipe
    assert working_shift(applied, whole=True) == working_shift(recipe, whole=True)
    assert first not in others


def test_trial_that_moves_no_picture_moves_none_where_all_layers_are_tuned() -> None:
    recipe = to_tune(load("finetune"), 9000)
    assert starting_points(recipe, {"shift": Span(0.0, 0.15)}) == [{"shift": 0.125}]
    assert working_shift(changed(recipe, settings_of(recipe, {"shift": 0.0}), "test"), whole=True) == 0.0
    few = load("finetune")
    all_of_few = changed(few, settings_of(few, {"finetune_layers": "all", "shift": 0.0}), "test")
    assert working_shift(all_of_few, whole=True) == 0.0


def test_more_layers_than_a_backbone_has_are_all() -> None:
    recipe = load("finetune")
    settings = settings_of(recipe, {"model": "vgg16", "finetune_layers": 40})
    assert changed(recipe, settings, "test").finetune_layers == "all"
    settings = settings_of(recipe, {"model": "vgg16", "finetune_layers": 13, "shift": 0.0})  # as many as it has
    assert working_shift(changed(recipe, settings, "test"), whole=True) == 0.0


@pytest.mark.parametrize(
    ("text", "first"), [("hidden=32..128", 128), ("epochs=30..60", 30), ("finetune_layers=5..30", 30)]
)
def test_search_that_the_recipe_lies_outside_of_begins_at_its_end(text: str, first: int) -> None:
    recipe = to_tune(load("finetune" if "layers" in text else "fast"), 9000)
    [[value]] = [point.values() for point in starting_points(recipe, parse_search([text], recipe))]
    assert (value, type(value)) == (first, int)


def test_pictures_that_the_mirror_changes_are_mirrored_in_no_trial() -> None:
    space = default_space(change(load("fast"), {"views": ["original"]}, "test"), 32, 100, [])
    assert not {"views", "test_time_flip"} & space.keys()


def test_backbones_are_searched_where_their_weights_are_at_hand() -> None:
    assert "model" not in default_space(load("fast"), 32, 100, ["efficientnet-lite0"])
    assert default_space(load("fast"), 32, 100, ["vgg16"])["model"] == Choice(("efficientnet-lite0", "vgg16"))


def test_a_network_for_microcontrollers_stays_one() -> None:
    assert "model" not in default_space(load("tiny"), 32, 100, ["efficientnet-lite0", "vgg16"])
    assert TINY not in backbones_at_hand()


def test_a_trial_knows_in_how_many_epochs_many_images_are_seen() -> None:
    recipe = to_tune(load("tiny"), 45_000)
    assert (recipe.finetune_epochs, recipe.finetune_images) == (8, 0)


def test_layers_are_tuned_where_there_are_many_pictures() -> None:
    assert "finetune_layers" not in default_space(load("fast"), 32, 4999, [])
    space = default_space(load("fast"), 32, 5000, [])
    assert space["finetune_layers"] == Choice((0, 10, 20))
    assert any(point["finetune_layers"] == 20 for point in starting_points(to_tune(load("fast"), 5000), space))


def test_as_many_layers_are_tuned_at_first_as_without_a_search() -> None:
    assert to_tune(load("finetune"), 4999).finetune_layers == 20
    recipe = to_tune(load("finetune"), 5000)
    assert (recipe.finetune_layers, recipe.finetune_all_from) == ("all", 0)
    assert changed(recipe, {"finetune_layers": 20}, "test").finetune_all_from == 0


def test_what_the_user_wants_searched() -> None:
    texts = ["hidden=128,256", "dropout=0.1..0.5", "learning_rate=1e-4..1e-2", "epochs=3..9", "features=last,all"]
    assert parse_search(texts, Recipe()) == {
        "hidden": Choice((128, 256)),
        "dropout": Span(0.1, 0.5),
        "learning_rate": Span(1e-4, 1e-2, log=True),
        "epochs": Span(3, 9, whole=True),
        "features": Choice(("last", "all")),
    }


def test_lists_are_searched_with_semicolons_between_them() -> None:
    assert parse_search(["filters=16,32;32,64,128"], Recipe()) == {"filters": Choice(((16, 32), (32, 64, 128)))}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dropout", "takes key=low..high or key=value,value, received 'dropout'"),
        ("droput=0.1..0.5", "did you mean 'dropout'?"),
        ("dropout=0.1..5", "'dropout' must be from 0 to 0.95"),
        ("dropout=0.5..0.1", "from a smaller to a larger"),
        ("dropout=0.5", "use --set for one value"),
        ("features=last..all", "cannot go from one number to another"),
        ("features=last,deep", "unknown features 'deep'"),
        ("seed=1..5", "unknown key 'seed'"),
        ("epochs=1.5..9", "cannot go from one number to another"),
        ("dropout=nan..inf", "cannot go from one number to another"),
    ],
)
def test_search_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("?", r"\?").replace(".", r"\.")):
        parse_search([text], Recipe())


def test_networks_from_scratch_get_an_eighth_of_the_epochs_and_heads_all() -> None:
    assert for_trial(load("fast")) == load("fast")
    assert for_trial(load("baseline")).epochs == 3
    assert longer(load("baseline")) == 24 / 3
    assert longer(load("fast")) == 1

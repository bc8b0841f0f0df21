from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from whatsit.errors import RecipeError
from whatsit.run.plan import make_plan
from whatsit.training.recipe import Recipe, names, to_toml
from whatsit.training.resolve import tuned_epochs, working_shift


def plan(recipe: str, *, backbone: str | None = None, **settings: Any) -> Recipe:
    return make_plan(recipe, backbone, None, None, settings)


def written(folder: Path, text: str) -> str:
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    return str(folder / "mine.toml")


def test_pictures_that_mean_something_else_in_the_mirror_are_mirrored_nowhere() -> None:
    for recipe in ("fast", "finetune", "scratch", "baseline"):
        got = plan(recipe, flip=False)
        assert not got.flip
        assert not got.test_time_flip
    assert plan("fast", flip=False).views == plan("finetune", flip=False).views == ("original",)


def test_file_without_the_mirror_means_what_the_command_line_does(tmp_path: Path) -> None:
    got = plan(written(tmp_path, "flip = false"))
    assert got.views == ("original",)
    both = plan(written(tmp_path, 'flip = false\nviews = ["original", "flip"]'))  # somewhere on purpose
    assert both.views == ("original", "flip")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ladder = true\nepochs = 5", "'epochs' has no effect on the recipe 'mine': it chooses what suits the data"),
        ("rotation = 20.0", "'rotation' has no effect on the recipe 'mine': it looks at each picture once"),
        (
            'model = "modern-cnn"\nfeatures = "all"',
            "'features' has no effect on the recipe 'mine': it trains a network",
        ),
        ("finetune_layers = 99", "'finetune_layers' must be from 0 to 49"),
    ],
)
def test_key_of_a_file_without_effect_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        plan(written(tmp_path, text))


@pytest.mark.parametrize("recipe", names())
def test_recipe_that_a_run_wrote_down_can_be_used_again(tmp_path: Path, recipe: str) -> None:
    for settings in ({}, {"flip": False}):
        done = plan(recipe, **settings)
        again = plan(written(tmp_path, to_toml(done)))
        assert {**vars(again), "name": recipe} == vars(done)


@pytest.mark.parametrize("recipe", names())
def test_recipe_that_was_written_down_before_a_key_was_there_can_be_used_again(tmp_path: Path, recipe: str) -> None:
    done = plan(recipe)
    older = to_toml(done).replace("mix_chance = 1.0\n", "")
    assert {**vars(plan(written(tmp_path, older))), "name": recipe} == vars(done)


@pytest.mark.parametrize("recipe", sorted({*names()} - {"tiny"}))  # which is newer
def test_recipe_that_a_run_of_version_0_1_0_wrote_down_can_be_used_again(tmp_path: Path, recipe: str) -> None:
    done = plan(recipe)
    tuned = recipe == "finetune"
    old = vars(done) | {"finetune_epochs": 2, "finetune_all_epochs": 5 if tuned else 8}
    old |= {"finetune_all_shift": 0.125, "shift": 0.0} if tuned else {"finetune_all_shift": 0.0}
    lines = [f"{key} = {json.dumps(value)}" for key, value in old.items()]
    again = plan(written(tmp_path, "\n".join(lines)))
    assert {**vars(again), "name": recipe} == vars(done)


@pytest.mark.parametrize(
    ("images", "most", "epochs"),
    [(0, 400_000, 30), (979, 400_000, 30), (45_000, 400_000, 8), (10**6, 400_000, 3), (45_000, 0, 30)],
)
def test_many_images_are_seen_in_fewer_epochs(images: int, most: int, epochs: int) -> None:
    recipe = plan("finetune", finetune_epochs=30, finetune_images=most)
    assert tuned_epochs(recipe, whole=True, images=images) == epochs


def test_epochs_and_shift_are_those_of_the_whole_network_too() -> None:
    got = plan("finetune", finetune_epochs=3, shift=0.0)
    assert [tuned_epochs(got, whole=whole) for whole in (False, True)] == [3, 3]
    assert [working_shift(got, whole=whole) for whole in (False, True)] == [0.0, 0.0]
    usual = plan("finetune")
    assert [tuned_epochs(usual, whole=whole) for whole in (False, True)] == [2, 5]
    assert [working_shift(usual, whole=whole) for whole in (False, True)] == [0.0, 0.125]


def test_as_many_layers_as_there_are_is_the_whole_network() -> None:
    assert plan("finetune").finetune_layers == 20
    assert plan("finetune", backbone="vgg16").finetune_layers == "all"
    assert plan("finetune", finetune_layers=0).finetune_layers == 0

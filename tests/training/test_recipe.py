from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from whatsit.errors import RecipeError
from whatsit.training.recipe import KEYS, Recipe, change, flat, load, names, parse_settings, to_toml
from whatsit.training.resolve import tuned_epochs, working_batch_size, working_shift, working_size


def test_named_recipes_load() -> None:
    assert set(names()) == {"baseline", "best", "fast", "finetune", "scratch", "tiny"}
    assert load("fast").model == "efficientnet-lite0"
    assert load("baseline") == change(
        load("baseline"), {"model": "simple-cnn", "epochs": 24, "batch_norm": True}, "test"
    )


def test_recipe_survives_its_toml(tmp_path: Path) -> None:
    recipe = change(Recipe(), {"epochs": 3, "views": ["original"], "weights": 'a "b" \\ c'}, "test")
    (tmp_path / "mine.toml").write_text(to_toml(recipe, "a comment"), encoding="utf-8")
    assert load(str(tmp_path / "mine.toml")) == recipe


def test_toml_writes_every_default_out() -> None:
    assert set(flat(tomllib.loads(to_toml(Recipe())), Recipe(), "test")) == set(vars(Recipe()))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 5}, "unknown key 'epoch'; did you mean 'epochs'?"),
        ({"epochs": "5"}, "'epochs' must be a whole number, received '5'"),
        ({"epochs": 2.5}, "'epochs' must be a whole number, received '2.5'"),
        ({"epochs": True}, "'epochs' must be a whole number, received 'True'"),
        (
            {"split": "80/20"},
            "'split' must be three percents that make 100, such as 80/10/10, or \"auto\", received '80/20'",
        ),
        ({"split": 80}, "'split' must be three percents that make 100"),
        ({"test_size": 0.2}, "unknown key 'test_size'; it is called 'split' here"),
        ({"epochs": 0}, "'epochs' must be from 1 to 10000, received 0"),
        ({"learning_rate": 10**400}, "'learning_rate' must be a number, received '1000"),
        (parse_settings(["epochs=" + "[" * 5000]), "'epochs' must be a whole number, received '[["),
        ({"dropout": 1.5}, "'dropout' must be from 0 to 0.95, received 1.5"),
        ({"learning_rate": float("nan")}, "'learning_rate' must be from"),
        ({"flip": 1}, "'flip' must be true or false"),
        ({"model": "resnet"}, "unknown model 'resnet'; did you mean 'resnet50'?"),
        ({"views": ["original", "upside-down"]}, "unknown views 'upside-down'"),
        ({"views": ["flip"]}, "'views' must have 'original' in it"),
        ({"views": [1]}, "unknown views '1'"),
        ({"finetune_layers": "most"}, "'finetune_layers' must be a whole number or \"all\", received 'most'"),
        ({"finetune_layers": -1}, "'finetune_layers' must be from 0 to 10000, received -1"),
        ({"filters": [32, 64.5]}, "'filters' must be a list of whole numbers, received '64.5' in it"),
        ({"filters": [0]}, "'filters' must be from 1 to 2048, received 0"),
        ({"filters": [8] * 9}, "'filters' must be at most 8 numbers, received 9"),
        ({"optimizer": "adamw"}, "unknown optimizer 'adamw'; did you mean 'adam'?"),
        ({"ladder": "high"}, "'ladder' must be true or false, received 'high'"),
    ],
)
def test_bad_values_are_refused_with_what_is_allowed(values: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        change(Recipe(), values, "my.toml")
    assert str(caught.value).startswith(f"my.toml: {message}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fats", "unknown recipe 'fats'; did you mean 'fast'? allowed: baseline, best, fast"),
        ("missing.toml", "there is no such recipe file"),
    ],
)
def test_unknown_recipes(name: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        load(name)


def test_settings_may_be_lists_of_numbers_and_all_layers() -> None:
    parsed = parse_settings(["filters=16,32", "finetune_layers=all", "finetune_all_from=0"])
    assert parsed == {"filters": [16, 32], "finetune_layers": "all", "finetune_all_from": 0}
    assert change(Recipe(), parsed, "--set").filters == (16, 32)


def test_names_that_others_use_are_known() -> None:
    with pytest.raises(RecipeError, match="unknown key 'lr'; it is called 'learning_rate' here"):
        change(Recipe(), {"lr": 0.1}, "--set")


def test_nested_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text(f"a = {'[' * 5000}{']' * 5000}")
    with pytest.raises(RecipeError, match="cannot be read"):
        load(str(tmp_path / "deep.toml"))


def test_settings_are_parsed_by_type() -> None:
    parsed = parse_settings(["epochs=5", "learning_rate=1e-3", "flip=true", "views=original,flip", "model=vgg16"])
    assert parsed == {"epochs": 5, "learning_rate": 1e-3, "flip": True, "views": ["original", "flip"], "model": "vgg16"}


@pytest.mark.parametrize("setting", ["epochs", "=5", ""])
def test_settings_without_a_value(setting: str) -> None:
    with pytest.raises(RecipeError, match="--set takes key=value"):
        parse_settings([setting])


@pytest.mark.parametrize(
    ("side", "expected"), [(8, (128, 4)), (32, (128, 4)), (64, (192, 3)), (96, (192, 2)), (500, (224, 1))]
)
def test_small_pictures_are_enlarged_inside_the_graph(side: int, expected: tuple[int, int]) -> None:
    assert working_size(Recipe(), side) == expected


def test_given_size_is_kept() -> None:
    assert working_size(Recipe(size=160), 500) == (160, 1)
    assert [working_size(Recipe(size=size), 32) for size in (96, 160, 192, 224)] == [
        (96, 3),
        (160, 5),
        (192, 6),
        (224, 7),
    ]
    assert working_size(Recipe(model="simple-cnn"), 28) == (32, 1)
    assert working_size(Recipe(model="modern-cnn"), 300) == (96, 1)


def test_fine_tuning_takes_photos_larger() -> None:
    tuned = Recipe(finetune_layers=20)
    assert [working_size(tuned, side) for side in (32, 96, 500)] == [(128, 4), (192, 2), (288, 1)]


@pytest.mark.parametrize(("samples", "expected"), [(1, 32), (500, 32), (2000, 128), (4000, 256), (10**6, 512)])
def test_batch_size_follows_the_number_of_samples(samples: int, expected: int) -> None:
    assert working_batch_size(Recipe(), samples) == expected
    assert working_batch_size(Recipe(model="simple-cnn"), samples) == min(expected, 128)


def test_keys_may_be_said_with_their_table() -> None:
    assert parse_settings(["fit.epochs=5", "finetune.layers=all", "views.train=original"]) == {
        "epochs": 5, "finetune_layers": "all", "views": ["original"],
    }  # fmt: skip
    assert change(Recipe(), {"fit": {"epochs": 5}, "finetune.layers": 3}, "test") == Recipe(epochs=5, finetune_layers=3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fit": {"epoch": 5}}, "unknown key 'fit.epoch'; did you mean 'fit.epochs'?"),
        ({"fti": {"epochs": 5}}, "unknown key 'fti.epochs'; did you mean 'fit.epochs'?"),
        ({"fit": {"epochs": "5"}}, "'epochs' must be a whole number, received '5'"),
        ({"epochs": 5, "fit": {"epochs": 6}}, "'epochs' is there twice"),
    ],
)
def test_bad_values_in_tables_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        change(Recipe(), values, "my.toml")
    assert str(caught.value).startswith(f"my.toml: {message}")


OLD = """name = "mine"
model = "efficientnet-lite0"
epochs = 24
views = ["original", "flip"]
finetune_layers = {layers}
finetune_all_from = {start}
finetune_epochs = {some}
finetune_all_epochs = {whole}
finetune_all_shift = {shift}
shift = 0.0
"""


@pytest.mark.parametrize(
    ("layers", "start", "some", "whole", "shift", "epochs", "shifts"),
    [
        ("0", 0, 2, 8, 0.0, (2, 5), (0.0, 0.0)),  # it tunes nothing
        ("20", 5000, 2, 5, 0.125, (2, 5), (0.0, 0.125)),  # finetune as it came
        ("20", 5000, 2, 20, 0.125, (20, 20), (0.0, 0.125)),  # as `best` made it longer
        ('"all"', 0, 2, 5, 0.125, (2, 5), (0.0, 0.125)),
        ('"all"', 0, 2, 3, 0.2, (3, 3), (0.2, 0.2)),
        ("10", 0, 4, 5, 0.125, (4, 4), (0.0, 0.0)),
    ],
)
def test_recipe_of_version_0_1_0_means_what_it_meant(
    tmp_path: Path, layers: str, start: int, some: int, whole: int, shift: float, epochs: Any, shifts: Any
) -> None:
    (tmp_path / "old.toml").write_text(OLD.format(layers=layers, start=start, some=some, whole=whole, shift=shift))
    recipe = load(str(tmp_path / "old.toml"))
    assert recipe.epochs == 24
    assert tuple(tuned_epochs(recipe, whole=is_whole) for is_whole in (False, True)) == epochs
    assert tuple(working_shift(recipe, whole=is_whole) for is_whole in (False, True)) == shifts
    assert load(str(tmp_path / "old.toml")).finetune_all_from == start


def test_every_key_is_in_a_table_of_its_own_name() -> None:
    assert len({declared.path for declared in KEYS.values()}) == len(KEYS)
    assert {declared.table for declared in KEYS.values()} == {
        "", "network", "head", "views", "fit", "finetune", "augment",
    }  # fmt: skip


def test_candidates_of_version_0_1_0_are_the_ladder() -> None:
    old = {"name": "mine", "candidates": ["finetune", "scratch"], "test_time_shift": 0.03, "seed": 3}
    found = change(Recipe(), old, "old.toml")
    assert (found.name, found.seed, found.ladder, found.flip, found.test_time_shift) == ("mine", 3, True, True, 0.0)
    assert not change(Recipe(), {"candidates": [], "test_time_shift": 0.03}, "old.toml").ladder

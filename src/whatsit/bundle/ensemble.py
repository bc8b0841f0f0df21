"""An ensemble as a bundle: its members, its split and its merged graph."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from whatsit.bundle.format import Bundle, InputSpec, UnknownRule
from whatsit.bundle.read import find_bundle, read_bundle
from whatsit.errors import DataError, UsageError
from whatsit.images.pictures import Pictures
from whatsit.images.scan import Dataset
from whatsit.models.unknown import METHOD

FEWEST = 5  # images to fit votes on, and to test on


@dataclass(frozen=True)
class Vote:
    """A member of an ensemble."""

    model: str  # as the user named it
    weight: float
    accuracy: float  # on the same test images


def read_members(models: Sequence[str | Path]) -> list[Bundle]:
    """Read two or more bundles of the same classes and the same resize rule.

    Raises `UsageError` where they do not belong together, or one is an ensemble itself.
    """
    if len({find_bundle(model).resolve() for model in models}) < max(2, len(models)):
        raise UsageError("an ensemble takes two or more different models")
    bundles = [read_bundle(model) for model in models]
    first = bundles[0]
    for model, bundle in zip(models, bundles, strict=True):
        if "members" in bundle.provenance:
            raise UsageError(f"{model} is an ensemble itself; give its members instead")
        if odd := set(bundle.classes) ^ set(first.classes):
            raise UsageError(f"{model} and {models[0]} have different classes, such as '{min(odd)}'")
        if bundle.classes != first.classes:
            raise UsageError(f"{model} and {models[0]} have their classes in different orders")
        if bundle.input.resize != first.input.resize:
            raise UsageError(
                f"{model} and {models[0]} read pictures by different rules, as one was trained with an older whatsit; train "
                f"that one again with this whatsit"
            )
        if (bundle.costs and bundle.costs.given) != (first.costs and first.costs.given):
            raise UsageError(
                f"{model} and {models[0]} have different costs; take them out first with whatsit costs MODEL --remove, and put "
                f"some into the ensemble"
            )
        if bundle.unknown is None:
            raise UsageError(f"{model}: this model has no score for unknown pictures; train it again with this whatsit")
    return bundles


def split_for_all(dataset: Dataset, splits: Sequence[Mapping[bytes, str]], model: str | Path) -> Dataset:
    """Return the first member's data set with a split that is fair to all.

    What one member was trained on is nobody's validation or test image; what chose one member and tests another is left out.
    `splits` are the members' own, by the SHA-256 of each file. Raises `DataError` where too few images are left.
    """
    images = []
    for image in dataset.pictures:
        roles = {split[image.digest] for split in splits if image.digest in split}
        if "train" in roles:
            images.append(replace(image, split="train"))
        elif len(roles) == 1:
            images.append(replace(image, split=roles.pop()))
    for name, use in (("validation", "fit the votes on"), ("test", "test on")):
        left = sum(image.split == name for image in images)
        if left < FEWEST:
            raise DataError(
                f"{left} pictures are left to {use}, of {len(dataset.of(name)):,} that {model} has for it, because another "
                f"member used the others; {FEWEST} at least are needed. Train the members with the same --seed, so that their "
                f"splits are the same"
            )
    return replace(dataset, pictures=Pictures.of(images))


def merge_bundles(
    bundles: Sequence[Bundle], votes: Sequence[Vote], sharpness: float, dataset: Dataset, versions: Mapping[str, str]
) -> Bundle:
    """Return the bundle of an ensemble, without the members that have no vote.

    Args:
        bundles: the members.
        votes: their weights.
        sharpness: what their calibrated logits are multiplied by.
        dataset: what the votes were fitted on.
        versions: of the packages that made it.
    """
    from whatsit.graph.costs import with_costs
    from whatsit.graph.merge import Member, merge

    voting = [(bundle, vote) for bundle, vote in zip(bundles, votes, strict=True) if vote.weight]
    height, width = (max(getattr(bundle.input, side) for bundle, _ in voting) for side in ("height", "width"))
    members = [
        Member(with_costs(bundle.graph, None), vote.weight, sharpness / bundle.temperature) for bundle, vote in voting
    ]
    rule = voting[0][0].input.resize  # the same for all
    classes = json.dumps(dataset.classes, ensure_ascii=False)
    graph = merge(members, (height, width), {"resize": rule, "classes": classes})
    return Bundle(
        classes=dataset.classes,
        input=InputSpec(height, width, rule),
        graph=graph.SerializeToString(),
        unknown=UnknownRule(METHOD, float("inf"), 1.0),  # until the shipped graph was run on the validation images
        provenance=_provenance(bundles, votes, dataset, versions),
    )


def _provenance(
    bundles: Sequence[Bundle], votes: Sequence[Vote], dataset: Dataset, versions: Mapping[str, str]
) -> dict[str, Any]:
    made = (bundle.provenance.get("recipe") for bundle in bundles)
    recipes = [recipe if isinstance(recipe, dict) else {} for recipe in made]
    members = [
        {"name": Path(vote.model).name, "weight": vote.weight, "recipe": recipe}
        for vote, recipe in zip(votes, recipes, strict=True)
    ]
    common = {
        name: found.pop() if len(found := {recipe.get(name) for recipe in recipes}) == 1 else None
        for name in ("seed", "split")
    }
    names = [str(recipe.get("model", "?")) for recipe, vote in zip(recipes, votes, strict=True) if vote.weight]
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {
            "source": Path(dataset.source).name,
            "fingerprint": dataset.fingerprint(),
            "pictures": {name: dataset.of(name).counts() for name in ("train", "validation", "test")},
        },
        "recipe": {"name": "ensemble", "model": " + ".join(names), **common},
        "members": members,
        "versions": dict(versions),
    }

"""A bundle with other names of classes, some of which are one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from whatsit.bundle.format import Bundle
from whatsit.errors import UsageError, suggest
from whatsit.images.names import label_fault


def grouped(classes: Sequence[str], names: Mapping[str, str]) -> tuple[tuple[str, ...], list[list[int]]]:
    """Return the new classes and, for each, the numbers of the former ones."""
    if not names:
        raise UsageError("no class is renamed; give OLD=NEW, such as cat=kitten")
    for old, new in names.items():
        if old not in classes:
            raise UsageError(f"the model has no class '{old}'{suggest(old, classes)}")
        if fault := label_fault(new):
            raise UsageError(f"the name '{new}' {fault}")
    groups: dict[str, list[int]] = {}
    for number, label in enumerate(classes):
        groups.setdefault(names.get(label, label), []).append(number)
    if len(groups) < 2:
        raise UsageError(f"only the class '{next(iter(groups))}' would be left; a model needs two at least")
    return tuple(groups), list(groups.values())


def with_names(bundle: Bundle, new: Mapping[str, str]) -> Bundle:
    """Return a bundle whose metrics, references and counts have the new names."""
    made = dict(bundle.provenance)
    if isinstance(made.get("data"), dict):
        counts: dict[str, dict[str, int]] = {}
        for split, labels in made["data"].get("pictures", {}).items():
            counts[split] = {}
            for label, count in labels.items():
                name = new.get(label, label)
                counts[split][name] = counts[split].get(name, 0) + count
        made["data"] = made["data"] | {"pictures": counts}
    before = earlier_names(bundle)
    again = {label: new.get(name, name) for label, name in before.items()}
    again |= {old: name for old, name in new.items() if old not in before and old not in before.values()}
    made["renamed"] = {old: name for old, name in again.items() if old != name}
    test = bundle.test and {
        **bundle.test,
        "per_class": {new[old]: row for old, row in bundle.test["per_class"].items()},
    }
    references = tuple(replace(one, label=new.get(one.label, one.label)) for one in bundle.references)
    costs = bundle.costs and bundle.costs.renamed(new)
    if test and costs and isinstance(test.get("costs"), dict):
        rows = [{**row, "label": new.get(row["label"], row["label"])} for row in test["costs"]["promises"]]
        test = {**test, "costs": {**test["costs"], "promises": rows}}
    return replace(bundle, test=test, references=references, provenance=made, costs=costs)


def earlier_names(bundle: Bundle) -> dict[str, str]:
    """Return the new names of renamed classes, by those of the training pictures."""
    found = bundle.provenance.get("renamed")
    return {str(old): str(new) for old, new in found.items()} if isinstance(found, dict) else {}

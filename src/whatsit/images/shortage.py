"""Classes that lack images in a split: refused or noted, with the reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from whatsit.errors import DataError
from whatsit.images.layout import split_of
from whatsit.images.names import join_words
from whatsit.images.pictures import SPLITS, Picture
from whatsit.images.scan import Dataset

_PURPOSES = {"train": "train", "validation": "validate", "test": "test"}


def require_trainable(dataset: Dataset) -> None:
    """Raise `DataError` for a single class, or a class in unsupported formats only."""
    if dataset.barren:
        raise DataError(f"{dataset.source}: {dataset.barren[0]}; or move the folder elsewhere")
    if len(dataset.classes) < 2:
        raise DataError(
            f"{dataset.source}: only one class, '{dataset.classes[0]}', was found; a classifier needs at least two class folders"
        )


def require_training_pictures(dataset: Dataset) -> None:
    """Raise `DataError`, with the reason, where a class has no image to train on."""
    have = dataset.pictures.take(dataset.pictures.splits <= 0).counts()
    for label in dataset.classes:
        if label not in have:
            raise DataError(f"{dataset.source}: {_why_none(dataset, label)}")


def _why_none(dataset: Dataset, label: str) -> str:
    listed = [picture for picture in dataset.listed or dataset.pictures if picture.label == label]
    to_train = [picture for picture in listed if picture.split in (None, "train")]
    if not to_train:
        if not listed:
            return f"the class '{label}' has no pictures; put some into it, or take it away"
        splits = [name for name in SPLITS if any(picture.split == name for picture in listed)]
        places = [_place(dataset, next(p for p in listed if p.split == name)) for name in splits]
        return (
            f"the class '{label}' has pictures only in {' and '.join(places)}; put some of them into "
            f"{_train_place(dataset)}, or take the class out of {' and '.join(places)}"
        )
    which = f"the {len(to_train):,} pictures" if len(to_train) > 1 else "the only picture"
    of_class = f"of the class '{label}'" + (f" in {_place(dataset, to_train[0])}" if to_train[0].split else "")
    return f"{which} {of_class} {_reasons(dataset, label, to_train)}"


def _reasons(dataset: Dataset, label: str, gone: Sequence[Picture]) -> str:
    """Return why images were removed from the data set."""
    unreadable = dict(dataset.unreadable)
    others = _other_labels(dataset)
    left = {picture.digest for picture in dataset.pictures if picture.digest}
    found: defaultdict[str, list[str]] = defaultdict(list)
    for picture in gone:
        if picture.name in unreadable:
            found["cannot be read"].append(f"{picture.name}: {unreadable[picture.name]}")
        elif len(others[picture.digest]) > 1:
            other = next(o for o in others[picture.digest].values() if o.label != label)
            found["because the same file lies under another class too"].append(f"{picture.name} and {other.name}")
        elif picture.digest in left:
            found["because a later split has the same file"].append(picture.name)
        else:
            found["because the edit log excludes or relabels it"].append(picture.name)
    parts = [f"{kind}, such as {names[0]}" for kind, names in found.items()]
    if len(parts) == 1:
        return parts[0] if parts[0].startswith("cannot") else f"cannot be used {parts[0]}"
    counted = (f"{len(names):,} {part}" for names, part in zip(found.values(), parts, strict=True))
    return f"cannot be used: {'; '.join(counted)}"


def _other_labels(dataset: Dataset) -> Mapping[bytes, Mapping[str, Picture]]:
    found: defaultdict[bytes, dict[str, Picture]] = defaultdict(dict)
    for picture in dataset.listed:
        if picture.digest:
            found[picture.digest].setdefault(picture.label, picture)
    return found


def require_enough(source: str, label: str, groups: Mapping[int, Sequence[Picture]], names: Sequence[str]) -> None:
    """Raise `DataError`, with the reason, for a class with too few groups to split.

    Args:
        source: DATA.
        label: the class.
        groups: its images that stay together.
        names: of the splits.
    """
    if len(groups) >= len(names):
        return
    pictures = [picture for group in groups.values() for picture in group]
    different = len({picture.digest for picture in pictures})
    needed = f"at least {len(names)} are needed, one each to {join_words(_PURPOSES[name] for name in names)}"
    where = " in the train split" if pictures and pictures[0].split else ""
    if different < len(names):
        count = f"{different} different readable picture{'' if different == 1 else 's'}"
        copies = f" ({len(pictures):,} with copies)" if len(pictures) > different else ""
        raise DataError(f"{source}: the class '{label}' has {count}{copies}{where}; {needed}")
    column = sorted({picture.group for picture in pictures if picture.group})
    by_column = len({picture.group or picture.digest for picture in pictures})
    if by_column < len(names):
        why = f"by the column 'group', such as '{column[0]}'"
    elif column:
        why = f"by the column 'group', such as '{column[0]}', and as near-duplicates"
    else:
        why = f"as near-duplicates, such as {pictures[0].name} and {pictures[1].name}"
    groups_of = f"{len(groups)} group{'' if len(groups) == 1 else 's'}"
    raise DataError(
        f"{source}: the {len(pictures):,} pictures of the class '{label}'{where} make up only {groups_of}, whose pictures stay "
        f"on one side ({why}); {needed}"
    )


def with_untested_noted(dataset: Dataset) -> Dataset:
    """Note the classes that have no validation or test images."""
    notes = dataset.notes
    for split, lacks in (("test", "it is not tested"), ("validation", "nothing is chosen or calibrated by it")):
        have = dataset.of(split).counts()
        missing = [label for label in dataset.classes if label not in have]
        if missing and have:
            lacks = lacks.replace("it is", "they are").replace("it", "them") if len(missing) > 1 else lacks
            note = f"{_name_classes(missing)} no {split} pictures, so {lacks}; put some into the {split} split"
            notes = (*notes, note)
    return replace(dataset, notes=notes)


def _name_classes(labels: Sequence[str]) -> str:
    if len(labels) == 1:
        return f"the class '{labels[0]}' has"
    shown = ", ".join(f"'{label}'" for label in labels[:5])
    return f"{len(labels)} classes ({shown}{', ...' if len(labels) > 5 else ''}) have"


def _place(dataset: Dataset, picture: Picture) -> str:
    """Return the folder of an image's split by its own name, or the split of a CSV."""
    if not dataset.source.lower().endswith(".csv"):
        for part in picture.name.split("/"):
            if split_of(part) == picture.split:
                return f"{part}/"
    return f"the {picture.split} split"


def _train_place(dataset: Dataset) -> str:
    training = next((picture for picture in dataset.listed or dataset.pictures if picture.split == "train"), None)
    return _place(dataset, training) if training else "the train split"

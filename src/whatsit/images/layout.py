"""Layout of folders: which are classes and which are splits, by their names.

The rule, in this order. A folder that alone holds all others counts as a wrapper, as archives have one.

1. Top folders called `train`, `validation`, `test` (or `SPLIT_NAMES` says so) are splits, whatever lies in them.
2. A top folder that holds the other top folders again is refused: data would lie in itself twice.
3. Top folders that hold the same class folders, and whose names tell the split (`training_set`, `seg_test`, `Valid`,
   `dev`, `holdout` ...), are splits. A split's own name, repeated inside (`training_set/training_set`), is passed through.
4. Class folders that each hold splits (`cat/train`, `cat/test`) are classes in these splits.
5. Top folders that hold the same subfolders, at least two and at least half of each one's, while their names do not tell
   a split, are refused: `a/cat, a/dog, b/cat, b/dog` may be two splits of cats and dogs, or two classes in two moods.
   Numbered subfolders (`batch1`, `clip_02`) are nobody's classes, so the top folders are the classes there.
6. In all other cases the top folders are the classes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from whatsit.errors import DataError
from whatsit.images.names import join_words

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
_WORDS = (
    ("train", re.compile(r"train.*|.*train|trn")),
    (
        "validation",
        re.compile(r"val(s|id|idate|idation|idating)?(set|data|images?|imgs?)?|dev|devel|development|devset"),
    ),
    ("test", re.compile(r"tests?(ing|set|data|images?|imgs?)?|tst|holdout|eval(s|uate|uation)?(set|data)?")),
)
_EVALUATION = re.compile(r"eval", re.IGNORECASE)
_THAI_WORDS = {"ฝึก": "train", "ตรวจสอบ": "validation", "ทดสอบ": "test"}
# Folders of pictures without labels, as competitions have them beside train and test.
_UNLABELLED = re.compile(r"pred|unlabel|infer|submi|sample", re.IGNORECASE)
_PLAIN_WRAPPERS = frozenset(
    ("image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "data", "dataset")
)
_NUMBERED = re.compile(
    r"(batch|part|clip|video|seq|sequence|session|set|day|burst|scene|camera|cam|series|group|track|frames?|shot|take|roll)"
    r"[ _.-]*\d+",
    re.IGNORECASE,
)


@dataclass
class _Folder:
    """A folder of images."""

    pictures: int = 0  # that lie directly in it
    below: dict[str, _Folder] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """The levels of a name that are its class and its split."""

    wrapper: tuple[str, ...] = ()  # folders that wrap everything
    # From a top folder to its split and the level of its classes.
    splits: Mapping[str, tuple[str, int]] | None = None
    splits_inside: bool = False  # whether the splits lie in the class folders

    def place(self, name: str) -> tuple[str, str | None] | None:
        """Return the class and the split of an image; None outside any class folder."""
        parts = name.split("/")
        depth = len(self.wrapper)
        if self.splits is not None:
            split, level = self.splits.get(parts[depth], ("", len(parts)))
            return (parts[level], split) if len(parts) > level + 1 else None
        if self.splits_inside:
            return (parts[depth], split_of(parts[depth + 1])) if len(parts) > depth + 2 else None
        return (parts[depth], None) if len(parts) > depth + 1 else None

    def class_of_folder(self, folder: str) -> tuple[str, str] | None:
        """Return the class that a folder is or lies in, and that class's folder, or None."""
        parts = tuple(folder.split("/"))
        depth = len(self.wrapper)
        if parts[:depth] != self.wrapper or len(parts) <= depth:
            return None
        level = depth if self.splits is None else self.splits.get(parts[depth], ("", len(parts)))[1]
        return (parts[level], "/".join(parts[: level + 1])) if len(parts) > level else None


def find_layout(names: Iterable[str], source: str) -> Layout:
    """Return which folders are classes and which are splits.

    Raises:
        DataError: the names of the images leave doubt about the splits, or a folder next to the splits would become a class.
    """
    top = _tree(names)
    wrapper: list[str] = []
    while not top.pictures and len(top.below) == 1:
        [(name, inside)] = top.below.items()
        if inside.pictures:
            break
        top = inside
        wrapper.append(name)
    tops = top.below
    if splits := _splits(tops, source):
        levels = _levels(tops, splits)
        return Layout(tuple(wrapper), {name: (split, len(wrapper) + levels[name]) for name, split in splits.items()})
    if _hold_splits(tops):
        return Layout(tuple(wrapper), splits_inside=True)
    _refuse_if_doubtful(tops, source)
    return Layout(tuple(wrapper))


def split_of(name: str) -> str | None:
    """Return the one split in the name of a folder or cell, as train in `seg_train`."""
    word = unicodedata.normalize("NFC", name).strip()
    if exact := SPLIT_NAMES.get(word.lower()):
        return exact
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word).casefold()
    apart = re.sub("hold[-_]out", "holdout", apart)
    found = {split for token in re.findall(r"[a-z]+", apart) for split, words in _WORDS if words.fullmatch(token)}
    found |= {split for thai, split in _THAI_WORDS.items() if thai in word}
    return found.pop() if len(found) == 1 else None


def _tree(names: Iterable[str]) -> _Folder:
    root = _Folder()
    known = {"": root}
    for name in names:
        path = name.rpartition("/")[0]
        folder = known.get(path)
        if folder is None:
            folder = root
            for part in path.split("/"):
                folder = folder.below.setdefault(part, _Folder())
            known[path] = folder
        folder.pictures += 1
    return root


def _splits(tops: Mapping[str, _Folder], source: str) -> dict[str, str] | None:
    """Return the split of each top folder that is one; None where they may be classes."""
    deep = _classes(tops, tops)
    named = {name: split for name in tops if (split := split_of(name))}
    exact = all(name.lower() in SPLIT_NAMES for name in tops)
    if deep and exact and ("train" in named.values() or _are_alike(_classes(tops, named))):
        return named
    _refuse_doubles(tops, source)
    classes = _classes(tops, {name: split for name, split in named.items() if name in deep})
    if "train" not in (named[name] for name in classes):
        return None
    said = all(name.lower() in SPLIT_NAMES for name in classes)
    several = len({named[name] for name in classes}) > 1 and (said or _are_alike(classes))
    flat = all(name not in deep and (name in named or _UNLABELLED.search(name)) for name in tops if name not in classes)
    only = len(classes) == 1 < len(tops) and flat and len(next(iter(classes.values()))) > 1
    if not several and not only:
        return None
    odd = [name for name in tops if name not in named and (name in deep or not _UNLABELLED.search(name))]
    if odd:
        first = {named[name]: name for name in sorted(classes, reverse=True)}
        shown = " and ".join(first[split] for split in dict.fromkeys(SPLIT_NAMES.values()) if split in first)
        raise DataError(
            f"{source}: beside the folders {shown} lies '{odd[0]}'; move it elsewhere, or it would be a class"
        )
    evaluations = [name for name in named if named[name] == "test" and _EVALUATION.search(name)]
    if evaluations and "validation" not in named.values() and list(named.values()).count("test") > len(evaluations):
        named |= dict.fromkeys(evaluations, "validation")
    return named


def _level_of_classes(name: str, folder: _Folder) -> tuple[int, _Folder]:
    """Return how deep below a split its classes lie, and the folder that holds them.

    A folder inside with the split's own name, or a plain one such as `images`, counts as a wrapper.
    """
    level, own = 1, split_of(name)
    while len(folder.below) == 1:
        [(inner, inside)] = folder.below.items()
        same = inner.casefold() == name.casefold() or (own and split_of(inner) == own)
        if not same and not (inside.below and inner.casefold() in _PLAIN_WRAPPERS):
            break
        level, folder = level + 1, inside
    return level, folder


def _levels(tops: Mapping[str, _Folder], splits: Mapping[str, str]) -> dict[str, int]:
    """Return the level of the classes in each split, below a wrapper that all have."""
    found = {name: _level_of_classes(name, tops[name]) for name in splits}
    holding = {name: folder for name, (_, folder) in found.items() if folder.below}
    only = {next(iter(folder.below)) if len(folder.below) == 1 else "" for folder in holding.values()}
    wrapped = len(only) == 1 and "" not in only and len(holding) > 1
    inside = [next(iter(folder.below.values())) for folder in holding.values()] if wrapped else []
    if inside and all(len(folder.below) > 1 and not folder.pictures for folder in inside):
        return {name: level + (name in holding) for name, (level, _) in found.items()}
    return {name: level for name, (level, _) in found.items()}


def _classes(tops: Mapping[str, _Folder], names: Iterable[str]) -> dict[str, set[str]]:
    """Return the class folders in each of these top folders that has some."""
    found = {name: _level_of_classes(name, tops[name])[1] for name in names}
    return {name: set(map(_folded, folder.below)) for name, folder in found.items() if folder.below}


def _are_alike(classes: Mapping[str, Collection[str]]) -> bool:
    """Return whether the largest folder has half of the classes of each other."""
    most, *others = sorted((set(inside) for inside in classes.values()), key=len, reverse=True) or [set()]
    return bool(others) and all(2 * len(inside & most) >= len(inside) for inside in others)


def _refuse_doubles(tops: Mapping[str, _Folder], source: str) -> None:
    """Raise `DataError` where a top folder contains the others again."""
    folded = {_folded(name) for name in tops}
    for name, folder in tops.items():
        inside = set(map(_folded, _level_of_classes(name, folder)[1].below))
        if len(inside) > 1 and not folder.pictures and inside <= folded - {_folded(name)}:
            raise DataError(
                f"{source}: the folder '{name}' holds {_few(inside)} again, which are next to it too; "
                f"remove one of the two, or it would be a class"
            )


def _hold_splits(tops: Mapping[str, _Folder]) -> bool:
    """Return whether every top folder holds nothing but splits, among them train."""
    if len(tops) < 2 or any(folder.pictures or not folder.below for folder in tops.values()):
        return False
    found = {split_of(name) for folder in tops.values() for name in folder.below}
    return None not in found and "train" in found and len(found) > 1


def _refuse_if_doubtful(tops: Mapping[str, _Folder], source: str) -> None:
    """Raise `DataError` where top folders with equal subfolders may be splits."""
    if len(tops) < 2 or any(folder.pictures or not folder.below for folder in tops.values()):
        return
    classes = _classes(tops, tops)
    if len(classes) < len(tops):
        return
    common = set.intersection(*(set(inside) for inside in classes.values()))
    if len(common) < 2 or any(2 * len(common) < len(inside) for inside in classes.values()):
        return
    if all(_NUMBERED.fullmatch(name) for name in common):
        return
    raise DataError(
        f"{source}: the folders {_few(tops)} hold the same subfolders ({_few(common)}), so they look like splits of one data "
        f"set, or like classes that are divided further; call them train and test if they are splits, else put the pictures "
        f"of each class into its folder without subfolders, or list them in a CSV (path,label)"
    )


def _few(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return join_words(ordered if len(ordered) < 5 else [*ordered[:3], f"{len(ordered) - 3} more"])


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()

"""`whatsit explore`: what is in the data, and what is wrong with it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.cache import working
from whatsit.errors import DataError, MissingExtraError, UsageError, WhatsitError
from whatsit.files import write_text
from whatsit.images.audit import Audit, audit, faults
from whatsit.images.edits import apply_edits, in_force, read_edits
from whatsit.images.near import near_duplicates
from whatsit.images.quarantine import Moved, move_aside, put_back, quarantine_folder
from whatsit.images.scan import SPLITS, Dataset, Picture, count_by_label, label_numbers
from whatsit.images.walk import describe
from whatsit.progress import SILENT, Reporter
from whatsit.verbs.data import scan_data, tell_about
from whatsit.verbs.workplace import run_name

FOLDER = Path("explore")
SINGLE = ("unreadable", "dark", "bright", "blurred", "odd", "tiny", "grey")  # findings of one picture
GROUPS = ("duplicates", "near", "conflicts")  # of several
BAD = ("unreadable", "duplicates", "conflicts")  # what --quarantine moves aside by default
IMBALANCE = 5.0  # times as many pictures in the largest class as in the smallest


@dataclass(frozen=True)
class Finding:
    """Something that is to be looked at: a picture, or several that belong together."""

    kind: str  # of SINGLE, GROUPS or `label`
    images: tuple[str, ...]  # names in the data set
    labels: tuple[str, ...]  # theirs
    reason: str  # in words
    splits: tuple[str, ...] = ()  # where they are in more than one
    suggested: str = ""  # the label that a picture of the kind `label` likely has
    confidence: float | None = None  # of it, 0 to 1


@dataclass(frozen=True)
class Exploration:
    """What was found."""

    source: str
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]  # pictures by split ("" where none came) and label
    sizes: tuple[tuple[int, int], ...]  # (height, width) of every picture that was read
    findings: list[Finding]
    notes: tuple[str, ...] = ()
    moved: list[Moved] = field(default_factory=list)
    fingerprint: str = ""  # of DATA as it lies there

    @property
    def total(self) -> int:
        """Pictures that have a label."""
        return sum(sum(labels.values()) for labels in self.counts.values())

    def of(self, kind: str) -> list[Finding]:
        """The findings of a kind, the worst first."""
        return [finding for finding in self.findings if finding.kind == kind]

    def by_label(self) -> dict[str, int]:
        """Pictures by label, of all splits."""
        total: Counter[str] = Counter()
        for labels in self.counts.values():
            total.update(labels)
        return {label: total[label] for label in self.classes}

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures."""
        return {
            "source": self.source,
            "fingerprint": self.fingerprint,
            "pictures": self.total,
            "classes": self.by_label(),
            "splits": {name or "all": sum(labels.values()) for name, labels in self.counts.items()},
            "notes": list(self.notes),
            "findings": [
                {key: value for key, value in vars(one).items() if value not in ("", (), None)} for one in self.findings
            ],
            "moved": [vars(one) for one in self.moved],
        }


@working()
def explore(
    data: str | Path,
    *,
    out: str | Path | None = None,
    quarantine: bool = False,
    kinds: Sequence[str] = BAD,
    reporter: Reporter = SILENT,
) -> tuple[Exploration, Path]:
    """Look through DATA, and write `explore.html` and `explore.json`.

    Args:
        data: as for `train`.
        out: the folder to write into; `explore/DATA` by default.
        quarantine: move bad files aside, into `DATA.quarantine` beside DATA; `put_back` undoes it.
        kinds: which findings are bad: of SINGLE, GROUPS or `label`. Of a group the first picture stays, but for `conflicts`.
        reporter: is told about progress.

    Returns:
        What was found, and the folder with the page.

    Raises:
        UsageError: there is no such data, or a kind is unknown. DataError: it cannot be used. DiskError: nothing can be written.
    """
    if unknown := [kind for kind in kinds if kind not in (*SINGLE, *GROUPS, "label")]:
        raise UsageError(f"unknown kind '{unknown[0]}'; allowed: {', '.join((*SINGLE, *GROUPS, 'label'))}")
    if quarantine:
        quarantine_folder(data)  # where nothing can be moved, that is to be told before the work
    lying = scan_data(data, reporter)
    decided = in_force(read_edits(data))
    dataset = apply_edits(lying, decided.values())
    tell_about(dataset, reporter)
    looked = audit(dataset, reporter.stage("Looking at the pictures"))
    if not looked.pictures:
        name, reason = looked.unreadable[0]
        raise DataError(f"{data}: none of {len(looked.unreadable):,} pictures can be read, such as {name}: {reason}")
    features = _features(dataset, looked, reporter)
    given_up: list[str] = []
    groups = near_duplicates(looked.thumbs, features, looked.sides, given_up.append)
    settled = {image for image, _, _ in decided}  # a person looked at these already
    findings = [
        *_unreadable(looked),
        *(one for one in _faults(looked) if one.images[0] not in settled),
        *_exact(dataset),
        *_near(looked, groups),
        *(one for one in _labels(looked, dataset.classes, features, groups, reporter) if one.images[0] not in settled),
    ]
    counts = {name: count_by_label([p for p in dataset.pictures if (p.split or "") == name]) for name in ("", *SPLITS)}
    found = Exploration(
        source=str(data),
        classes=dataset.classes,
        counts={name: labels for name, labels in counts.items() if labels},
        sizes=tuple((one.height, one.width) for one in looked.measures),
        findings=findings,
        notes=(*_passed_over(dataset), *dataset.notes, *_imbalance(dataset), *_unjudged(dataset, features), *given_up),
        fingerprint=lying.fingerprint(),
    )
    bad = _bad(findings, kinds) if quarantine else []
    folder = Path(out) if out else explore_folder(data)
    drawing = reporter.stage("Writing the page")
    from whatsit.verbs.explore_page import render

    write_text(folder / "explore.html", render(found, dataset, looked, len(bad)))  # while all pictures are there
    if bad:
        found = replace(found, moved=move_aside(data, bad))
    write_text(folder / "explore.json", json.dumps(found.to_json(), ensure_ascii=False, indent=1) + "\n")
    drawing(1, 1)
    return found, folder


def explore_folder(data: str | Path) -> Path:
    """Where `explore` writes by default: `explore/DATA`."""
    return FOLDER / run_name(str(data), "").strip("-")


def undo(data: str | Path) -> list[Moved]:
    """Put back what was moved aside. Raises `UsageError` or `DataError`."""
    return put_back(data)


def _features(dataset: Dataset, looked: Audit, reporter: Reporter) -> Any:
    """Of the default frozen network, for every picture that was read; None where training is not installed."""
    try:
        from whatsit.training.default_network import default_network
    except (ImportError, MissingExtraError):
        reporter.warn("without whatsit[train] cut copies and wrong labels are not looked for")
        return None
    try:
        side = int(np.median([max(one.height, one.width) for one in looked.measures]))
        network = default_network(side)
        found = network.cached(dataset, looked.pictures, reporter)
    except WhatsitError as error:
        reporter.warn(f"cut copies and wrong labels are not looked for: {error}")
        return None
    return found.views["original"] if len(found.pictures) == len(looked.pictures) else None


def _unreadable(looked: Audit) -> list[Finding]:
    return [Finding("unreadable", (name,), (), reason) for name, reason in looked.unreadable]


_WORDS: dict[str, Callable[[Any], str]] = {
    "dark": lambda one: f"19 in 20 of its pixels are darker than {one.brightest:.0f} of 255",
    "bright": lambda one: f"19 in 20 of its pixels are brighter than {one.darkest:.0f} of 255",
    "blurred": lambda one: "its edges are much softer than those of the others",
    "odd": lambda one: f"{one.width} x {one.height} pixels: of other proportions than most",
    "tiny": lambda one: f"{one.width} x {one.height} pixels: much smaller than most",
    "grey": lambda one: "without colour, where most have some",
}


def _faults(looked: Audit) -> list[Finding]:
    return [
        Finding(
            kind, (looked.pictures[place].name,), (looked.pictures[place].label,), _WORDS[kind](looked.measures[place])
        )
        for kind, places in faults(looked.measures).items()
        for place in places
    ]


def _group(kind: str, pictures: Sequence[Picture], reason: str) -> Finding:
    splits = tuple(sorted({picture.split for picture in pictures if picture.split}))
    return Finding(
        kind,
        tuple(picture.name for picture in pictures),
        tuple(picture.label for picture in pictures),
        reason,
        splits if len(splits) > 1 else (),
    )


def _exact(dataset: Dataset) -> list[Finding]:
    same: defaultdict[bytes, list[Picture]] = defaultdict(list)
    for picture in dataset.pictures:
        same[picture.digest].append(picture)
    found = []
    for pictures in same.values():
        if len(pictures) > 1 and len({picture.label for picture in pictures}) > 1:
            found.append(_group("conflicts", pictures, "the same file under different labels"))
        elif len(pictures) > 1:
            found.append(_group("duplicates", pictures, "the same file more than once"))
    return found


def _near(looked: Audit, groups: Sequence[Sequence[int]]) -> list[Finding]:
    """Groups of different files, those under different labels or in different splits first."""
    found = []
    for group in groups:
        pictures = list({looked.pictures[place].digest: looked.pictures[place] for place in group}.values())
        if len(pictures) > 1:
            across = len({picture.label for picture in pictures}) > 1
            found.append(
                _group("near", pictures, "nearly the same picture" + (" under different labels" if across else ""))
            )
    return sorted(found, key=lambda one: (len(set(one.labels)) == 1, not one.splits))


def _labels(
    looked: Audit, classes: tuple[str, ...], features: Any, groups: Sequence[Sequence[int]], reporter: Reporter
) -> list[Finding]:
    if features is None:
        return []
    from whatsit.training.doctor import label_issues

    progress = reporter.stage("Checking the labels")
    numbers = np.array(label_numbers(looked.pictures, classes))
    bad = faults(looked.measures)
    unseen = {place for kind in ("dark", "bright", "blurred") for place in bad[kind]}  # which may be anything
    issues = [one for one in label_issues(features, numbers, groups, len(classes)) if one.place not in unseen]
    progress(1, 1)
    return [
        Finding(
            "label",
            (looked.pictures[issue.place].name,),
            (classes[issue.given],),
            f"looks like '{classes[issue.suggested]}'",
            suggested=classes[issue.suggested],
            confidence=round(issue.confidence, 4),
        )
        for issue in issues
    ]


def _imbalance(dataset: Dataset) -> list[str]:
    counts = count_by_label(dataset.pictures)  # a class of which no file could be read is not among them
    most, least = max(counts, key=lambda label: counts[label]), min(counts, key=lambda label: counts[label])
    if counts[most] < IMBALANCE * counts[least]:
        return []
    return [
        f"the classes are uneven: {counts[most]:,} pictures of '{most}', {counts[least]:,} of '{least}'; more of those help most"
    ]


def _passed_over(dataset: Dataset) -> list[str]:
    return [f"passed over: {describe(dataset.passed_over)}"] if dataset.passed_over else []


def _unjudged(dataset: Dataset, features: Any) -> list[str]:
    """That of some classes the labels were not checked."""
    if features is None:
        return []
    from whatsit.training.doctor import FEWEST

    few = [label for label, count in count_by_label(dataset.pictures).items() if count < FEWEST]
    if not few:
        return []
    named = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
    return [f"labels were not checked in {named}: that needs at least {FEWEST} pictures of a class"]


def _bad(findings: Sequence[Finding], kinds: Sequence[str]) -> list[tuple[str, str]]:
    """Files to move aside, each once, with the reason."""
    found: dict[str, str] = {}
    for finding in findings:
        if finding.kind in kinds:
            kept = 1 if finding.kind in ("duplicates", "near") else 0
            for name in finding.images[kept:]:
                found.setdefault(name, f"{finding.kind}: {finding.reason}")
    return list(found.items())

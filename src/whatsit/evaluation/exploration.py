"""Findings in a data set: unreadable files, faults, duplicates, label issues."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from whatsit.errors import MissingExtraError, WhatsitError
from whatsit.events import Reporter
from whatsit.images.audit import Audit, Measures, faults
from whatsit.images.edits import Moved
from whatsit.images.near import near_duplicates
from whatsit.images.pictures import SPLITS, Picture
from whatsit.images.scan import Dataset
from whatsit.images.walk import describe

SINGLE = ("unreadable", "dark", "bright", "blurred", "odd", "tiny", "grey")  # findings of one picture
GROUPS = ("duplicates", "near", "conflicts")  # of several
KINDS = (*SINGLE, *GROUPS, "label")
IMBALANCE = 5.0  # times as many pictures in the largest class as in the smallest

Groups = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Finding:
    """One picture to look at, or several that belong together."""

    kind: str  # one of KINDS
    images: tuple[str, ...]  # names in the data set
    labels: tuple[str, ...]  # theirs
    reason: str  # in words
    splits: tuple[str, ...] = ()  # where they are in more than one
    suggested: str = ""  # the label that a picture of the kind `label` likely has
    confidence: float | None = None  # of it, 0 to 1


@dataclass(frozen=True)
class Exploration:
    """Counts, sizes, findings and notes of a data set."""

    source: str
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]  # readable pictures by split ("" where none came) and label
    sizes: tuple[tuple[int, int], ...]  # (height, width) of every picture that was read
    findings: list[Finding]
    notes: tuple[str, ...] = ()
    moved: list[Moved] = field(default_factory=list)
    fingerprint: str = ""  # of DATA before labels were edited

    @property
    def total(self) -> int:
        """Return the number of pictures that can be read, as training counts them."""
        return sum(sum(labels.values()) for labels in self.counts.values())

    def of(self, kind: str) -> list[Finding]:
        """Return the findings of a kind, the worst first."""
        return [finding for finding in self.findings if finding.kind == kind]

    def by_label(self) -> dict[str, int]:
        """Count the pictures of each label over all splits."""
        total: Counter[str] = Counter()
        for labels in self.counts.values():
            total.update(labels)
        return {label: total[label] for label in self.classes}

    def bad(self, kinds: Collection[str]) -> list[tuple[str, str]]:
        """List the files of these kinds of findings, each once, as (name, reason).

        The first picture of duplicates and near-duplicates stays.
        """
        files: dict[str, str] = {}
        for finding in self.findings:
            if finding.kind in kinds:
                for name in finding.images[finding.kind in ("duplicates", "near") :]:
                    files.setdefault(name, f"{finding.kind}: {finding.reason}")
        return list(files.items())

    def to_json(self) -> dict[str, Any]:
        """Return everything but the pictures as plain dicts and lists."""
        return {
            "source": self.source,
            "fingerprint": self.fingerprint,
            "pictures": self.total,
            "classes": self.by_label(),
            "splits": {name or "all": sum(labels.values()) for name, labels in self.counts.items()},
            "notes": list(self.notes),
            "findings": [
                {key: value for key, value in vars(finding).items() if value not in ("", (), None)}
                for finding in self.findings
            ],
            "moved": [vars(moved) for moved in self.moved],
        }


def look_through(
    dataset: Dataset, audited: Audit, settled: Collection[str], fingerprint: str, reporter: Reporter
) -> Exploration:
    """Gather the findings of a data set.

    Args:
        dataset: with the labels that people corrected.
        audited: its pictures as measured.
        settled: names of pictures that a person has decided about; their faults and labels are not reported again.
        fingerprint: of the data as it lies on disk.
        reporter: gets progress and warnings.
    """
    features = _features(dataset, audited, reporter)
    skipped: list[str] = []
    groups = near_duplicates(audited.thumbs, features, audited.sides, skipped.append)
    issues = [] if features is None else _label_issues(audited, dataset.classes, features, groups, reporter)
    read = replace(dataset, pictures=audited.pictures)
    counts = {name: read.of(name).counts() for name in ("", *SPLITS)}
    return Exploration(
        source=dataset.source,
        classes=dataset.classes,
        counts={name: labels for name, labels in counts.items() if labels},
        sizes=tuple((height, width) for height, width in audited.values[:, :2].astype(int).tolist()),
        findings=[
            *(Finding("unreadable", (name,), (), reason) for name, reason in audited.unreadable),
            *(fault for fault in _faults(audited) if fault.images[0] not in settled),
            *_same_files(dataset),
            *_near_duplicates(audited, groups),
            *(issue for issue in issues if issue.images[0] not in settled),
        ],
        notes=(*_notes(read, labels_checked=features is not None), *skipped),
        fingerprint=fingerprint,
    )


def _features(dataset: Dataset, audited: Audit, reporter: Reporter) -> Any:
    """Return the default network's features of every picture that was read, or None."""
    try:
        from whatsit.training.default_network import default_network
    except (ImportError, MissingExtraError):
        reporter.warn("without whatsit[train] cut copies and wrong labels are not looked for")
        return None
    try:
        side = int(np.median(audited.values[:, :2].max(axis=1)))
        found = default_network(side).cached(dataset, audited.pictures, reporter)
    except WhatsitError as error:
        reporter.warn(f"cut copies and wrong labels are not looked for: {error}")
        return None
    return found.views["original"] if len(found.pictures) == len(audited.pictures) else None


_FAULTS: dict[str, Callable[[Measures], str]] = {
    "dark": lambda m: f"19 in 20 of its pixels are darker than {m.brightest:.0f} of 255",
    "bright": lambda m: f"19 in 20 of its pixels are brighter than {m.darkest:.0f} of 255",
    "blurred": lambda m: "its edges are much softer than those of the others",
    "odd": lambda m: f"{m.width} x {m.height} pixels: of other proportions than most",
    "tiny": lambda m: f"{m.width} x {m.height} pixels: much smaller than most",
    "grey": lambda m: "without colour, where most have some",
}


def _faults(audited: Audit) -> Iterator[Finding]:
    for kind, places in faults(audited.values).items():
        for place in places:
            yield _finding(kind, [audited.pictures[place]], _FAULTS[kind](audited.measures(place)))


def _finding(kind: str, pictures: Sequence[Picture], reason: str) -> Finding:
    splits = tuple(sorted({picture.split for picture in pictures if picture.split}))
    names, labels = (tuple(getattr(picture, key) for picture in pictures) for key in ("name", "label"))
    return Finding(kind, names, labels, reason, splits if len(splits) > 1 else ())


def _same_files(dataset: Dataset) -> Iterator[Finding]:
    by_digest: defaultdict[bytes, list[Picture]] = defaultdict(list)
    _, contents, counts = np.unique(dataset.pictures.keys, return_inverse=True, return_counts=True)
    for picture in dataset.pictures.take(counts[contents] > 1):
        by_digest[picture.digest].append(picture)
    for pictures in by_digest.values():
        if len({picture.label for picture in pictures}) > 1:
            yield _finding("conflicts", pictures, "the same file under different labels")
        elif len(pictures) > 1:
            yield _finding("duplicates", pictures, "the same file more than once")


def _near_duplicates(audited: Audit, groups: Groups) -> list[Finding]:
    """Return groups of different files, those across labels or splits first."""
    findings = []
    for group in groups:
        pictures = list({audited.pictures[place].digest: audited.pictures[place] for place in group}.values())
        if len(pictures) > 1:
            across = len({picture.label for picture in pictures}) > 1
            reason = "nearly the same picture" + (" under different labels" if across else "")
            findings.append(_finding("near", pictures, reason))
    return sorted(findings, key=lambda finding: (len(set(finding.labels)) == 1, not finding.splits))


def _label_issues(
    audited: Audit, classes: tuple[str, ...], features: Any, groups: Groups, reporter: Reporter
) -> list[Finding]:
    from whatsit.training.label_issues import label_issues

    progress = reporter.stage("Checking the labels")
    numbers = audited.pictures.numbers(classes)
    bad = faults(audited.values)
    unseen = {place for kind in ("dark", "bright", "blurred") for place in bad[kind]}  # which may show anything
    issues = [issue for issue in label_issues(features, numbers, groups, len(classes)) if issue.place not in unseen]
    progress(1, 1)
    return [
        Finding(
            "label",
            (audited.pictures[issue.place].name,),
            (classes[issue.given],),
            f"looks like '{classes[issue.suggested]}'",
            suggested=classes[issue.suggested],
            confidence=round(issue.confidence, 4),
        )
        for issue in issues
    ]


def _notes(dataset: Dataset, *, labels_checked: bool) -> Iterator[str]:
    """Say what was skipped, how uneven the classes are, and what was not checked."""
    if dataset.skipped:
        yield f"skipped: {describe(dataset.skipped)}"
    yield from dataset.notes
    counts = dataset.pictures.counts()  # a class of which no file could be read is not among them
    most, least = max(counts, key=lambda label: counts[label]), min(counts, key=lambda label: counts[label])
    if counts[most] >= IMBALANCE * counts[least]:
        yield (
            f"the classes are uneven: {counts[most]:,} pictures of '{most}', {counts[least]:,} of '{least}'; more of "
            f"those help most"
        )
    if labels_checked:
        from whatsit.training.label_issues import FEWEST

        few = [label for label, count in counts.items() if count < FEWEST]
        if few:
            named = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
            yield f"labels were not checked in {named}: that needs at least {FEWEST} pictures of a class"

"""What wrong labels cost, and what `whatsit explore` brings back.

python benchmarks/cleaning.py DATA [SHARE] [SEEDS]

DATA without splits of its own, such as cats-dogs.zip. A share of the labels (0.1 by default), but for those of the test pictures,
is changed at random. Trained by the recipe `fast`: as they were; changed; and changed, with every label that `whatsit explore`
calls wrong replaced by the one it suggests, test pictures left alone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import whatsit
from whatsit.events import SILENT
from whatsit.images.data import open_data, split_data
from whatsit.images.edits import Edit, add_edits, key_of
from whatsit.images.scan import Dataset


def main() -> None:
    data, share, seeds = sys.argv[1], float((sys.argv[2:] or ["0.1"])[0]), int((sys.argv[3:] or ["3"])[0])
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(scratch)
            dataset = split_data(open_data(data, SILENT), seed, SILENT)
            rng = np.random.default_rng(seed)
            clean, noisy = work / "clean", work / "noisy"
            write(dataset, clean, {})
            learned = [picture.name for picture in dataset.pictures if picture.split != "test"]
            chosen = {learned[place] for place in rng.permutation(len(learned))[: round(share * len(learned))]}
            wrong = {p.name: other(p.label, dataset.classes, rng) for p in dataset.pictures if p.name in chosen}
            write(dataset, noisy, wrong)
            metrics = [accuracy(clean, work / "run0", seed), accuracy(noisy, work / "run1", seed)]
            found, right = clean_up(noisy, {Path(name).name for name in chosen}, work)
            metrics.append(accuracy(noisy, work / "run2", seed))
            words = ("as they were", "changed", "cleaned")
            print(
                f"seed {seed}: " + ", ".join(f"{word} {value:.1%}" for word, value in zip(words, metrics, strict=True)),
                end="; ",
            )
            print(f"{len(chosen)} changed, {found} called wrong, {right} of them rightly")


def write(dataset: Dataset, folder: Path, labels: dict[str, str]) -> None:
    for picture in dataset.pictures:
        place = folder / str(picture.split) / labels.get(picture.name, picture.label) / Path(picture.name).name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(dataset.read(picture))


def other(label: str, classes: tuple[str, ...], rng: np.random.Generator) -> str:
    return str(rng.choice([name for name in classes if name != label]))


def clean_up(folder: Path, changed: set[str], work: Path) -> tuple[int, int]:
    found, _ = whatsit.explore(folder, out=work / "explore")
    suggested = {one.images[0]: one.suggested for one in found.of("label")}
    pictures = [p for p in open_data(folder, SILENT).pictures if p.name in suggested and p.split != "test"]
    add_edits(folder, [Edit(*key_of(p), "label", suggested[p.name]) for p in pictures])
    return len(pictures), sum(Path(p.name).name in changed for p in pictures)


def accuracy(folder: Path, out: Path, seed: int) -> float:
    return whatsit.train(folder, out=out, seed=seed, report=False).test.accuracy


if __name__ == "__main__":
    main()

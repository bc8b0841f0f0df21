"""How well a model detects images that belong to none of its classes.

AUROC, and the share of them that is accepted where 95 % of its own test images are.
They are images of folders or archives that belong to no class of the model, and, drawn here, noise and digits.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import whatsit
from record import Figure, add_option, save
from whatsit.errors import ImageError
from whatsit.evaluation.metrics import auroc
from whatsit.images.scan import scan
from whatsit.runtime.predictor import Predictor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a run folder")
    parser.add_argument("data", help="what it was trained on")
    parser.add_argument("strangers", help="a folder or archive of class folders")
    parser.add_argument("classes", nargs="+", help="the classes there that are strangers")
    parser.add_argument("--count", type=int, default=500, help="of each kind")
    add_option(parser)
    options = parser.parse_args()
    figures = []
    predictor = whatsit.load(options.run)
    with (Path(options.run) / "split.csv").open(encoding="utf-8", newline="") as file:
        test = {row["sha256"] for row in csv.DictReader(file) if row["split"] == "test"}
    data = scan(options.data)
    own = scores(predictor, [data.read(p) for p in data.pictures if p.digest.hex() in test])
    other = scan(options.strangers)
    kinds = {}
    for label in options.classes:
        pictures = [p for p in other.pictures if p.label == label][: options.count]
        kinds[label] = scores(predictor, [other.read(p) for p in pictures])
    kinds["digits"] = scores(predictor, digits(options.count))
    kinds["noise"] = scores(predictor, noise(options.count))
    kinds["all of them"] = np.concatenate(list(kinds.values()))
    threshold, at_95 = predictor.bundle.unknown.threshold, float(np.quantile(own, 0.95))
    print(f"{len(own)} test pictures, {(own <= threshold).mean():.1%} accepted by the bundle's threshold")
    for kind, found in kinds.items():
        area = auroc(np.arange(len(own) + len(found)) < len(found), np.concatenate([found, own]))
        figures.append(Figure(f"{kind} ({len(found):,}): AUROC", float(area), ""))
        accepted, strict = (found <= threshold).mean(), (found <= at_95).mean()
        print(
            f"{kind:14s} n {len(found):5d}  AUROC {area:.4f}  accepted by the threshold {accepted:.1%}, "
            f"where 95 % of the test pictures are: {strict:.1%}"
        )

    figures.append(Figure("all of them: accepted where 95 % of the test pictures are", 100 * float(strict), "%"))
    save(options.record, f"Unknown pictures, model of {Path(options.data).stem}", figures)


def scores(predictor: Predictor, pictures: Sequence[bytes]) -> np.ndarray:
    answers = [answer for _, answer in predictor.answers_each(pictures, lambda data: data)]
    return np.array([answer.ood_score for answer in answers if not isinstance(answer, ImageError)])


def digits(count: int) -> list[bytes]:
    from sklearn.datasets import load_digits

    return [png((image * 255 / 16).astype(np.uint8)) for image in load_digits().images[:count]]


def noise(count: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    return [png(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for side in rng.integers(16, 300, count)]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()

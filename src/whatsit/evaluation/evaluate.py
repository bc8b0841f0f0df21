"""Answers of the shipped model for labelled pictures, ready for the metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.errors import DataError, ImageError
from whatsit.evaluation.metrics import Figures, figures
from whatsit.images.scan import Dataset, Picture, label_numbers
from whatsit.runtime.predictor import Answer, Predictor


@dataclass(frozen=True)
class Evaluation:
    """What a model answered for every picture that could be read."""

    classes: tuple[str, ...]
    pictures: list[Picture]
    labels: npt.NDArray[Any]  # int [N]
    probabilities: npt.NDArray[np.float32]  # [N, K]
    ood_scores: npt.NDArray[np.float64]  # [N]; NaN where the bundle cannot tell strangers
    unknown: npt.NDArray[np.bool_]  # [N]: which were called unknown
    failed: list[tuple[str, str]]  # (name, reason) of the unreadable

    @cached_property
    def figures(self) -> Figures:
        """The figures of these answers."""
        return figures(self.labels, self.probabilities, self.classes)


def evaluate_pictures(
    predictor: Predictor,
    dataset: Dataset,
    pictures: Sequence[Picture],
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Let the predictor answer these pictures and compare with their labels, all among the predictor's classes."""
    read: list[Picture] = []
    answers: list[Answer] = []
    failed: list[tuple[str, str]] = []
    for picture, answer in predictor.answers_each(pictures, dataset.read):
        if isinstance(answer, ImageError):
            failed.append((picture.name, str(answer)))
        else:
            read.append(picture)
            answers.append(answer)
        if progress and (len(read) + len(failed)) % 64 == 0:
            progress(len(read) + len(failed), len(pictures))
    if not read:
        reason = f", such as {failed[0][0]}: {failed[0][1]}" if failed else ""
        raise DataError(f"{dataset.source}: there is no readable picture to evaluate on{reason}")
    if progress:
        progress(len(pictures), len(pictures))
    return Evaluation(
        predictor.classes,
        read,
        np.array(label_numbers(read, predictor.classes)),
        np.stack([answer.probabilities for answer in answers]),
        np.array([answer.ood_score for answer in answers]),
        np.array([predictor.is_unknown(answer) for answer in answers]),
        failed,
    )

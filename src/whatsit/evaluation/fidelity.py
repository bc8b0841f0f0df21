"""Fidelity: a bundle's graph must predict as what it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Probabilities
from whatsit.bundle.format import Bundle
from whatsit.errors import ModelError
from whatsit.evaluation.parity import TOLERANCE
from whatsit.evaluation.samples import in_turn
from whatsit.images.decode import Pixels, decode
from whatsit.images.scan import Dataset
from whatsit.runtime.predictor import Predictor

if TYPE_CHECKING:
    from whatsit.training.trained import Trained

PICTURES = 64  # validation pictures, fewer where each has several views: Keras takes 7 ms for one
EXTREMES = 2  # pictures of noise, and as many of black and white dots; one black picture and one white
UNUSUAL = 2 * EXTREMES + 2  # these
# Keras and a folded graph give features of real networks that differ by up to 2e-5 of the largest on extreme pictures, which
# moved probabilities by up to 84 times what a relative error of 1e-6 moves (62 trainings of five kinds).
ERROR = 3e-4
SAVED = 8  # pictures for the Keras model in the run folder
AT_ONCE = 224 * 224  # pixels for it: Keras holds every map of a picture until its last layer is done


def require_what_was_fitted(predictor: Predictor, trained: Trained, saved: Any) -> None:
    """Compare the shipped graph and the saved Keras model with what was fitted.

    On validation pictures spread over the classes, and on noise and the ends of the range of pixels. There a head may
    amplify rounding: the allowed difference is what slightly wrong features would cause.

    Args:
        predictor: of the graph, in float32.
        trained: what was fitted.
        saved: the Keras model of the run folder, or None.

    Raises:
        ModelError: a probability differs by more than is allowed, or is no number.
    """
    names, pixels = sample(trained.dataset, trained.input_size, PICTURES // len(trained.test_views))
    fitted = trained.probabilities(pixels)
    allowed = np.full(len(pixels), TOLERANCE)
    allowed[-UNUSUAL:] = np.maximum(TOLERANCE, trained.sensitivity(pixels[-UNUSUAL:], ERROR))
    require_alike(
        "the exported graph", "the network that was fitted", names, probabilities_of(predictor, pixels), fitted, allowed
    )
    if saved is None:
        return
    some = slice(None, None, -(-len(pixels) // SAVED))
    chosen, height, width = pixels[some], *trained.input_size
    step = max(1, AT_ONCE // (height * width))
    found = [np.asarray(saved(chosen[at : at + step], training=False)) for at in range(0, len(chosen), step)]
    require_alike(
        "best_model.keras",
        "the network that was fitted",
        names[some],
        np.concatenate(found),
        fitted[some],
        allowed[some],
    )


def require_mean_of_members(
    predictor: Predictor, members: Sequence[tuple[Bundle, float]], sharpness: float, dataset: Dataset
) -> None:
    """Compare an ensemble's graph with the weighted mean of its members.

    Members with another input size get pictures resized inside the graph, from fewer pixels than a file has. They do
    not predict the same on their own, so with such a member nothing is compared.

    Args:
        predictor: of the ensemble.
        members: those with a weight above 0, with their weights.
        sharpness: what their calibrated logits are multiplied by.
        dataset: with validation pictures.

    Raises:
        ModelError: a probability differs by more than `TOLERANCE`, or is no number.
    """
    size = predictor.size
    if any((member.input.height, member.input.width) != size for member, _ in members):
        return
    names, pixels = sample(dataset, size)
    total = np.zeros((len(pixels), len(predictor.classes)))
    for member, weight in members:
        sharpened = np.maximum(probabilities_of(Predictor(member), pixels), 1e-30) ** sharpness
        total += weight * sharpened / sharpened.sum(axis=1, keepdims=True)
    require_alike("the graph of the ensemble", "its members", names, probabilities_of(predictor, pixels), total)


def probabilities_of(predictor: Predictor, pixels: Pixels) -> Probabilities:
    """Return a predictor's probabilities of images, float64 `[N, K]`."""
    parts = (pixels[start : start + 8] for start in range(0, len(pixels), 8))
    answers = [answer for part in parts for answer in predictor.answer(part)]
    return np.stack([answer.probabilities for answer in answers]).astype(np.float64)


def sample(dataset: Dataset, size: tuple[int, int], count: int = PICTURES) -> tuple[list[str], Pixels]:
    """Return names and pixels of up to `count` validation pictures and extreme ones."""
    chosen = in_turn(dataset.of("validation"), dataset.classes, max(1, count))
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (EXTREMES, *size, 3), dtype=np.uint8)
    dots = 255 * rng.integers(0, 2, (EXTREMES, *size, 3), dtype=np.uint8)
    flat = np.stack([np.full((*size, 3), level, np.uint8) for level in (0, 255)])
    names = [
        *(picture.name for picture in chosen),
        *(f"{kind} {number}" for kind in ("noise", "dots") for number in range(1, EXTREMES + 1)),
        "a black picture",
        "a white picture",
    ]
    read = [decode(dataset.read(picture), size) for picture in chosen]
    return names, np.concatenate([np.stack(read), noise, dots, flat])


def require_alike(
    what: str,
    of: str,
    names: Sequence[str],
    found: Probabilities,
    wanted: Probabilities,
    allowed: npt.NDArray[np.float64] | None = None,
) -> None:
    """Compare probabilities `[N, K]`; `allowed` `[N]` is `TOLERANCE` by default.

    Raises `ModelError` for a larger difference, another shape, or what is no number.
    """
    if found.shape != wanted.shape:
        raise ModelError(f"{what} gives probabilities of the shape {found.shape}, {of} of {wanted.shape}; {_ADVICE}")
    apart = np.abs(found.astype(np.float64) - wanted).max(axis=1)
    apart = np.where(np.isfinite(apart), apart, np.inf)
    bounds = np.full(len(apart), TOLERANCE) if allowed is None else allowed
    worst = int((apart / bounds).argmax())
    if apart[worst] > bounds[worst]:
        difference = f"{apart[worst]:.2g}" if np.isfinite(apart[worst]) else "what is no number"
        raise ModelError(
            f"{what} does not say what {of} says: on {names[worst]} a probability differs by {difference}, "
            f"{bounds[worst]:.2g} is allowed; {_ADVICE}"
        )


_ADVICE = "the run is not finished: this is a fault of the exporter or of an installed runtime, please report it"

"""What ships is what was fitted: the graph of a bundle is held against the network, or the models, that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whatsit.bundle.format import Bundle
from whatsit.errors import ModelError
from whatsit.evaluation.parity import TOLERANCE
from whatsit.images.decode import Pixels, decode
from whatsit.images.scan import Dataset, Picture
from whatsit.runtime.predictor import Predictor

if TYPE_CHECKING:
    from whatsit.training.trained import Trained

PICTURES = 64  # validation pictures, fewer where each is looked at in several views: Keras takes 7 ms for one
EXTREMES = 2  # pictures of noise, and as many of black and white dots; one black picture and one white
UNUSUAL = 2 * EXTREMES + 2  # these
# Keras and a folded graph give features of real networks that differ by up to 2e-5 of the largest on extreme pictures, which
# moved probabilities by up to 84 times what a relative error of 1e-6 moves (62 trainings of five kinds).
ERROR = 3e-4
SAVED = 8  # pictures for the Keras model that the run folder holds

Probabilities = npt.NDArray[Any]


def require_what_was_fitted(bundle: Bundle, trained: Trained, saved: Any) -> None:
    """Hold the shipped graph and the saved Keras model against the network and the head as training left them.

    On validation pictures spread over the classes, and on noise and the ends of the range of pixels. On the latter a head may
    amplify rounding: they may differ by what features that are a little wrong would change.

    Args:
        bundle: with the graph, which the `Predictor` runs in float32.
        trained: what was fitted.
        saved: the Keras model of the run folder.

    Raises:
        ModelError: a probability differs by more than is allowed, or is no number.
    """
    names, pixels = sample(trained.dataset, trained.input_size, PICTURES // len(trained.test_views))
    fitted = trained.probabilities(pixels)
    allowed = np.full(len(pixels), TOLERANCE)
    allowed[-UNUSUAL:] = np.maximum(TOLERANCE, trained.sensitivity(pixels[-UNUSUAL:], ERROR))
    require_alike("the exported graph", "the network that was fitted", names, by(bundle)(pixels), fitted, allowed)
    some = slice(None, None, -(-len(pixels) // SAVED))
    said = np.asarray(saved(pixels[some], training=False))
    require_alike("best_model.keras", "the network that was fitted", names[some], said, fitted[some], allowed[some])


def require_mean_of_members(
    bundle: Bundle, members: Sequence[tuple[Bundle, float]], sharpness: float, dataset: Dataset
) -> None:
    """Hold the merged graph of an ensemble against the weighted mean of what its members say by themselves.

    Args:
        bundle: of the ensemble.
        members: those that have votes, with their weights.
        sharpness: what their calibrated logits are multiplied by.
        dataset: with validation pictures.

    Members that take pictures of another size than the ensemble get them resized inside the graph, from fewer pixels than
    a file has: they cannot be asked for the same by themselves, and where there is one nothing is compared.

    Raises:
        ModelError: a probability differs by more than `TOLERANCE`, or is no number.
    """
    size = (bundle.input.height, bundle.input.width)
    if any((member.input.height, member.input.width) != size for member, _ in members):
        return
    names, pixels = sample(dataset, size)
    total = np.zeros((len(pixels), len(bundle.classes)))
    for member, weight in members:
        sharpened = np.maximum(by(member)(pixels), 1e-30) ** sharpness
        total += weight * sharpened / sharpened.sum(axis=1, keepdims=True)
    require_alike("the graph of the ensemble", "its members", names, by(bundle)(pixels), total)


def by(bundle: Bundle) -> Callable[[Pixels], Probabilities]:
    """What the graph of a bundle says of pixels, by the fastest runtime in float32: float64 `[N, K]`."""
    predictor = Predictor(bundle)

    def infer(pixels: Pixels) -> Probabilities:
        return np.stack([answer.probabilities for answer in predictor.answer(pixels)]).astype(np.float64)

    return infer


def sample(dataset: Dataset, size: tuple[int, int], count: int = PICTURES) -> tuple[list[str], Pixels]:
    """Names and pixels uint8 `[N, H, W, 3]`: up to `count` validation pictures, every class in turn, and extreme ones."""
    by_class: dict[str, list[Picture]] = {}
    for picture in dataset.of("validation"):
        by_class.setdefault(picture.label, []).append(picture)
    in_turn = (picture for turn in zip_longest(*by_class.values()) for picture in turn if picture is not None)
    chosen = list(islice(in_turn, max(1, count)))
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
    """Raises `ModelError` where probabilities `[N, K]` differ by more than `allowed` `[N]` (`TOLERANCE`), or one is no number."""
    if found.shape != wanted.shape:
        raise ModelError(f"{what} gives probabilities of the shape {found.shape}, {of} of {wanted.shape}; {_ADVICE}")
    apart = np.abs(found.astype(np.float64) - wanted).max(axis=1)
    apart = np.where(np.isfinite(apart), apart, np.inf)
    bounds = np.full(len(apart), TOLERANCE) if allowed is None else allowed
    worst = int((apart / bounds).argmax())
    if apart[worst] > bounds[worst]:
        told = f"{apart[worst]:.2g}" if np.isfinite(apart[worst]) else "what is no number"
        raise ModelError(
            f"{what} does not say what {of} says: on {names[worst]} a probability differs by {told}, {bounds[worst]:.2g} is "
            f"allowed; {_ADVICE}"
        )


_ADVICE = "the run is not finished: this is a fault of the exporter or of an installed runtime, please report it"

"""The evidence for a class in a picture, from the bundle alone.

Grad-CAM (Selvaraju et al. 2017) where the graph has it in closed form, else occlusion (`runtime/occlusion.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whatsit.arrays import Float32
from whatsit.engines import EngineError, Images
from whatsit.errors import ModelError, UsageError
from whatsit.graph.check import output_names
from whatsit.images.decode import Source, decode
from whatsit.runtime.occlusion import occlusion_maps
from whatsit.runtime.predictor import Answer, Prediction, Predictor, to_answers

GRAD_CAM, OCCLUSION = "Grad-CAM", "occlusion"
_MAP = ("feature_map", "gradcam_weights")  # outputs of graphs with Grad-CAM


@dataclass(frozen=True)
class Explanation:
    """The evidence for a class in a picture."""

    prediction: Prediction
    label: str  # the class that is explained
    probability: float  # of that class
    evidence: Float32  # [h, w], 0 to 1, over the whole picture; all 0 where there is none
    method: str = GRAD_CAM  # or OCCLUSION


class Explainer:
    """A predictor's graph with what explaining needs. Thread-safe, no TensorFlow."""

    def __init__(self, predictor: Predictor) -> None:
        """Open the graph. Raises `ModelError` where it lacks what explaining needs."""
        self.predictor = predictor
        scores = ["ood_score"] if predictor.bundle.unknown else []
        has_map = {*_MAP} <= {*output_names(predictor.bundle.graph)}
        self.method = GRAD_CAM if has_map else OCCLUSION
        try:
            self._engine = predictor.open_engine("probabilities", *(_MAP if has_map else ("logits",)), *scores)
        except EngineError as error:
            raise ModelError(f"this model cannot be explained: {error}") from None
        self._check_outputs()

    def _check_outputs(self) -> None:
        classes = len(self.predictor.classes)
        _, features, *others = (
            value.shape for value in self._engine.run(np.zeros((2, *self.predictor.size, 3), np.uint8))
        )
        if self.method == OCCLUSION:
            if features != (2, classes):
                raise ModelError(f"this model cannot be explained: its logits {features} are not of {classes} classes")
            return
        weights = others[0]
        if len(features) != 4 or features[0] != 2 or weights != (2, classes, features[-1]):
            raise ModelError(f"this model cannot be explained: its maps {features} and weights {weights} do not fit")

    def __reduce__(self) -> tuple[Any, ...]:
        return Explainer, (self.predictor,)

    def explain(self, picture: Source, label: str | None = None) -> Explanation:
        """Explain the class that is answered for a picture, or the class `label`.

        Raises `ImageError` for an unreadable picture, `UsageError` for a class that the model does not know.
        """
        classes = self.predictor.classes
        if label is not None and label not in classes:
            raise UsageError(f"the model does not know the class '{label}'; its classes: {', '.join(classes[:20])}")
        pixels = decode(picture, self.predictor.size, rule=self.predictor.rule)
        place = None if label is None else [classes.index(label)]
        [answer], maps = self.evidence(pixels[None], place)
        prediction = self.predictor.to_prediction(answer)
        label = label or prediction.label
        return Explanation(prediction, label, float(answer.probabilities[classes.index(label)]), maps[0], self.method)

    def evidence(self, pixels: Images, classes: Sequence[int] | None = None) -> tuple[list[Answer], Float32]:
        """Return the outputs and an evidence map for each decoded picture.

        Pictures are uint8 `[N, H, W, 3]`, maps float32 `[N, h, w]`, 0 to 1.
        `classes` are the numbers of the classes to explain; by default those that are answered. Raises `ModelError`
        where the graph returns no numbers.
        """
        probabilities, *values = self._engine.run(pixels)
        scores = values.pop() if self.predictor.bundle.unknown else None
        chosen = self.predictor.decide(probabilities) if classes is None else np.asarray(classes)
        if self.method == OCCLUSION:
            maps = occlusion_maps(
                lambda hidden: self._engine.run(hidden)[1], pixels, [int(number) for number in chosen]
            )
        else:
            features, weights = values
            weights = weights[np.arange(len(pixels)), chosen]
            maps = np.maximum(np.einsum("nhwc,nc->nhw", features, weights), 0.0)
        highest = maps.max(axis=(1, 2), keepdims=True)
        if not np.isfinite(highest).all():
            raise ModelError("the model's graph gave evidence that is no number; it is damaged")
        maps = np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)
        return to_answers(probabilities, scores), maps.astype(np.float32)

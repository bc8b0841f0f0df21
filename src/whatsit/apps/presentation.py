"""A prediction as JSON, as the service, the command line and the apps write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whatsit.runtime.predictor import Prediction


def answer_json(answer: Prediction) -> dict[str, Any]:
    """Return a prediction as a JSON object."""
    found = {
        "label": answer.label,
        "probability": answer.probability,
        "unknown": answer.unknown,
        "top": [{"label": label, "probability": probability} for label, probability in answer.top],
    }
    return found if answer.labels is None else {**found, "set": list(answer.labels)}

"""The JSON of `/v1` as OpenAPI describes it.

The responses themselves are written from plain values.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_ERRORS = {
    400: "The request is malformed",
    401: "An API key is needed",
    403: "The owner did not allow it",
    404: "There is no such model",
    408: "The request did not arrive in time",
    413: "Too large, or too many pictures",
    415: "The content encoding is not read",
    422: "The picture cannot be read, or a parameter is out of range",
    429: "Too many pictures are waiting; see Retry-After",
    500: "An error inside the service",
    501: "This model cannot do it",
    503: "The service is stopping, or the model is not loaded",
    504: "There was no answer in time",
}


class ModelQuery(BaseModel):
    """Which model answers."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="The name of a model; the first one's by default.", max_length=200)
    version: str | None = Field(None, description="Of the model; the newest by default.", max_length=20)


class PredictQuery(ModelQuery):
    """What is asked of a model."""

    top: int = Field(5, ge=1, le=1000, description="How many classes to name.")
    coverage: float | None = Field(
        None, gt=0, lt=1, description="Also name the set of classes that holds the true one with this chance."
    )


class ExplainQuery(ModelQuery):
    """What is to be explained."""

    label: str | None = Field(None, description="The class to explain.", max_length=200)


class Problem(BaseModel):
    """What went wrong, in one line."""

    error: str = Field(examples=["the file holds text, not a picture"])


class Guess(BaseModel):
    """A class and its probability."""

    label: str = Field(examples=["cat"])
    probability: float = Field(ge=0, le=1, examples=[0.971])


class Overruled(BaseModel):
    """The most probable class, where another is answered because mistakes have prices."""

    label: str = Field(examples=["edible"])
    probability: float = Field(ge=0, le=1, examples=[0.93])
    cost: float = Field(ge=0, description="The expected cost of answering it.", examples=[7.0])
    answer_cost: float = Field(ge=0, description="That of the answer which is given, the least.", examples=[0.93])


class Prediction(BaseModel):
    """What is in a picture."""

    label: str = Field(
        description="The most probable class; of a model with costs the one of the least expected cost.",
        examples=["cat"],
    )
    probability: float = Field(ge=0, le=1, description="Calibrated.", examples=[0.971])
    unknown: bool = Field(description="The picture seems to belong to none of the classes.")
    top: list[Guess] = Field(description="The most probable classes, the first first.")
    set: list[str] | None = Field(
        None, description="Where a coverage was asked for: the classes among which the true one is, with that chance."
    )
    overruled: Overruled | None = Field(
        None, description="Of a model with costs: the most probable class, where that is not the answer."
    )


class Answer(Prediction):
    """What is in a picture, and which model says so."""

    model: str = Field(examples=["pets"])
    version: str = Field(examples=["1"])


class UnreadPicture(Problem):
    """A picture that could not be read, and why in a word."""

    image: str = Field(description="The name of its file.", examples=["notes.txt"])
    reason: str = Field(examples=["format"])


class NamedPrediction(Prediction):
    """The prediction for a file."""

    image: str = Field(description="The name of its file.", examples=["cat.jpg"])


class BatchAnswer(BaseModel):
    """A prediction or an error for each picture, in their order."""

    model: str
    version: str
    answers: list[NamedPrediction | UnreadPicture]


class ModelSummary(BaseModel):
    """A model that is served."""

    name: str
    version: str
    ready: bool
    classes: list[str]
    accuracy: float | None = Field(description="On test pictures that it never saw; null where nobody measured.")


class ModelList(BaseModel):
    """All models; the first answers where a request names no other."""

    models: list[ModelSummary]


class ModelDetails(ModelSummary):
    """A model with its metrics and its card."""

    size: list[int] = Field(description="Height and width in pixels to which pictures are brought.")
    runtime: str
    versions: list[str]
    test: dict[str, object] | None = Field(description="Its metrics on the test pictures, with 95 % intervals.")
    card: str = Field(description="The model card, in Markdown.")


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of error responses."""
    return {status: {"model": Problem, "description": _ERRORS[status]} for status in statuses}

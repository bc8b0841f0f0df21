"""The JSON of `/v1`, for the service's description (OpenAPI). Answers are written from plain values, not through these."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """What went wrong, in one line."""

    error: str = Field(examples=["the file holds text, not a picture"])


class Guess(BaseModel):
    """A class and its probability."""

    label: str = Field(examples=["cat"])
    probability: float = Field(ge=0, le=1, examples=[0.971])


class Prediction(BaseModel):
    """What is in a picture."""

    label: str = Field(description="The most probable class.", examples=["cat"])
    probability: float = Field(ge=0, le=1, description="Calibrated.", examples=[0.971])
    unknown: bool = Field(description="The picture seems to belong to none of the classes.")
    top: list[Guess] = Field(description="The most probable classes, the first first.")
    set: list[str] | None = Field(
        None, description="Where a coverage was asked for: the classes among which the true one is, with that chance."
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
    """An answer for a file."""

    image: str = Field(description="The name of its file.", examples=["cat.jpg"])


class BatchAnswer(BaseModel):
    """An answer or an error for each picture, in their order."""

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
    """All models; the first answers where none is asked for."""

    models: list[ModelSummary]


class ModelDetails(ModelSummary):
    """Everything that a model says of itself."""

    size: list[int] = Field(description="Height and width in pixels to which pictures are brought.")
    runtime: str
    versions: list[str]
    test: dict[str, object] | None = Field(description="Its figures on the test pictures, with 95 % intervals.")
    card: str = Field(description="The model card, in Markdown.")

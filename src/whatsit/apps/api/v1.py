"""`/v1`: whatsit's own, simple routes."""

from __future__ import annotations

import io
import re
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from whatsit.apps.api import answers as schema
from whatsit.apps.api.front import Shortcut
from whatsit.apps.api.models import Entry, Served
from whatsit.apps.api.service import Service
from whatsit.apps.api.settings import bad_request
from whatsit.apps.presentation import answer_json
from whatsit.errors import ImageError
from whatsit.images.decode import decode_within, picture_size
from whatsit.images.formats import CONTENT_TYPES
from whatsit.runtime.overlay import draw

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_ONE = {
    "required": True,
    "description": "The file of one picture: as the body itself, or as the only file of a form.",
    "content": {
        **dict.fromkeys(CONTENT_TYPES, _BINARY),
        "application/octet-stream": _BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}},
                "required": ["file"],
            }
        },
    },
}
_MANY = {
    "required": True,
    "description": "A form with a file for each picture.",
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "files": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
                },
                "required": ["files"],
            }
        }
    },
}
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


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The description of errors."""
    return {status: {"model": schema.Problem, "description": _ERRORS[status]} for status in statuses}


_WORK = errors(400, 401, 404, 408, 413, 415, 422, 429, 500, 503, 504)
Model = Annotated[str | None, Query(description="The name of a model; the first one's by default.", max_length=200)]
Version = Annotated[str | None, Query(description="Of the model; the newest by default.", max_length=20)]
Top = Annotated[int, Query(ge=1, le=1000, description="How many classes to name.")]
Coverage = Annotated[
    float | None,
    Query(gt=0, lt=1, description="Also name the set of classes that holds the true one with this chance."),
]


def as_json(value: object) -> Response:
    """What is no number becomes null."""
    return Response(orjson.dumps(value), media_type="application/json")


def routes(service: Service) -> APIRouter:
    """The routes over a service."""
    router = APIRouter(prefix="/v1", tags=["whatsit"])
    v1 = _Routes(service)
    post: dict[str, Any] = {"methods": ["POST"], "responses": _WORK}
    one, many = {"requestBody": _ONE}, {"requestBody": _MANY}
    router.add_api_route("/predict", v1.predict, response_model=schema.Answer, openapi_extra=one, **post)
    router.add_api_route(
        "/predict/batch", v1.predict_batch, response_model=schema.BatchAnswer, openapi_extra=many, **post
    )
    drawing = {200: {"content": {"image/png": _BINARY}, "description": "The drawing"}}
    post["responses"] = {**drawing, **_WORK, **errors(501)}
    router.add_api_route("/explain", v1.explain, response_class=Response, openapi_extra=one, **post)
    router.add_api_route("/models", v1.models, response_model=schema.ModelList, responses=errors(401))
    told = errors(401, 404, 422, 503)
    router.add_api_route("/models/{name}", v1.model, response_model=schema.ModelDetails, responses=told)
    return router


def shortcuts(service: Service) -> list[tuple[re.Pattern[str], Shortcut]]:
    """The busy routes, for `Front`."""
    return [(re.compile("/v1/predict"), Shortcut("/v1/predict", _Routes(service).predict))]


class _Routes:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def _one_picture(self, request: Request, served: Served, share: Any) -> bytes:
        served.gate.check()  # before anything is read
        if _is_form(request):
            files = await self._service.bodies.read_files(request, share)
            if len(files) != 1:
                raise bad_request(f"{len(files)} pictures in the form; send one, or several to /v1/predict/batch")
            return files[0][1]
        return await self._service.bodies.read(request, share)

    async def predict(
        self, request: Request, model: Model = None, version: Version = None, top: Top = 5, coverage: Coverage = None
    ) -> Response:
        """Say what is in one picture."""
        with self._service.models.get(model, version).in_use() as served, self._service.bodies.memory.share() as share:
            data = await self._one_picture(request, served, share)
            [answer] = await self._service.answer_files(served, [data], request.receive)
            if isinstance(answer, ImageError):
                raise answer
            found = answer_json(served.predictor.to_prediction(answer, top, coverage))
            return as_json({**found, "model": served.name, "version": served.version})

    async def predict_batch(
        self, request: Request, model: Model = None, version: Version = None, top: Top = 5, coverage: Coverage = None
    ) -> Response:
        """Say what is in many pictures. One that cannot be read gets its own error, the others are answered."""
        with self._service.models.get(model, version).in_use() as served, self._service.bodies.memory.share() as share:
            served.gate.check()
            if not _is_form(request):
                raise bad_request("send the pictures as the files of a form (multipart/form-data)")
            files = await self._service.bodies.read_files(request, share)
            if not files:
                raise bad_request("no file is in the form")
            found = await self._service.answer_files(served, [data for _, data in files], request.receive)
            answers = []
            for (name, _), answer in zip(files, found, strict=True):
                if isinstance(answer, ImageError):
                    self._service.metrics.rejections.labels(f"picture_{answer.reason}").inc()
                    answers.append({"image": name, "error": str(answer), "reason": answer.reason})
                else:
                    answers.append(
                        {"image": name, **answer_json(served.predictor.to_prediction(answer, top, coverage))}
                    )
            return as_json({"model": served.name, "version": served.version, "answers": answers})

    async def explain(
        self,
        request: Request,
        model: Model = None,
        version: Version = None,
        label: Annotated[str | None, Query(description="The class to explain.", max_length=200)] = None,
    ) -> Response:
        """Draw where in a picture the evidence for its class lies (Grad-CAM), as PNG."""
        with self._service.models.get(model, version).in_use() as served, self._service.bodies.memory.share() as share:
            data = await self._one_picture(request, served, share)
            drawing = await self._service.off_the_loop(
                served, lambda: _explain(served, data, label, self._service.settings.max_pixels), request.receive
            )
            return Response(drawing, media_type="image/png")

    async def models(self) -> Response:
        """List the models."""
        return as_json({"models": [_summary(entry) for entry in self._service.models.entries]})

    async def model(self, name: str, version: Version = None) -> Response:
        """What a model says of itself: classes, figures, card."""
        served = self._service.models.get(name, version)
        entries = self._service.models.versions(name)
        [entry] = [entry for entry in entries if entry.version == served.version]
        bundle = served.predictor.bundle
        return as_json(
            {
                **_summary(entry),
                "size": list(served.predictor.size),
                "runtime": served.predictor.runtime,
                "versions": [entry.version for entry in entries],
                "test": bundle.test,
                "card": bundle.card,
            }
        )


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


def _summary(entry: Entry) -> dict[str, Any]:
    bundle = entry.served.predictor.bundle if entry.served else None
    return {
        "name": entry.name,
        "version": entry.version,
        "ready": entry.served is not None,
        "classes": list(bundle.classes) if bundle else [],
        "accuracy": bundle.test.get("accuracy") if bundle and bundle.test else None,
    }


def _explain(served: Served, data: bytes, label: str | None, max_pixels: int) -> bytes:
    picture_size(data, max_pixels=max_pixels)  # before anything is decoded
    file = io.BytesIO()
    draw(decode_within(data, 1024), served.explainer.explain(data, label)).save(file, "PNG")
    return file.getvalue()

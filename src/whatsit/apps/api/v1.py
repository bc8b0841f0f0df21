"""`/v1`: whatsit's own, simple routes."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from whatsit.apps.api import schemas
from whatsit.apps.api.bodies import Share
from whatsit.apps.api.models import Entry, Served
from whatsit.apps.api.refusals import bad_request
from whatsit.apps.api.schemas import ExplainQuery, ModelQuery, PredictQuery, errors
from whatsit.apps.api.service import Service
from whatsit.errors import ImageError
from whatsit.images.decode import decode_within, picture_size
from whatsit.images.formats import CONTENT_TYPES
from whatsit.runtime.overlay import draw

_BINARY = {"type": "string", "format": "binary"}


def _form(field: str, schema: dict[str, Any]) -> dict[str, Any]:
    fields = {"type": "object", "properties": {field: schema}, "required": [field]}
    return {"multipart/form-data": {"schema": fields}}


_ONE = {
    "required": True,
    "description": "The file of one picture: as the body itself, or as the only file of a form.",
    "content": {
        **{kind: {"schema": _BINARY} for kind in (*CONTENT_TYPES, "application/octet-stream")},
        **_form("file", _BINARY),
    },
}
_MANY = {
    "required": True,
    "description": "A form with a file for each picture.",
    "content": _form("files", {"type": "array", "items": _BINARY, "minItems": 1}),
}
_DRAWING: dict[int | str, Any] = {
    200: {"content": {"image/png": {"schema": _BINARY}}, "description": "The drawing"},
    **errors(501),
}


def as_json(value: object) -> Response:
    """Return a value as a response; what is no number becomes null."""
    return Response(orjson.dumps(value), media_type="application/json")


class PlainRoute(Route):
    """A POST route without FastAPI's and Starlette's layers around it.

    Requests of other methods are left to FastAPI's route of the same path; errors are left to `RequestMiddleware`.
    """

    def __init__(self, path: str, respond: Callable[[Request], Awaitable[Response]]) -> None:
        super().__init__(path, respond, methods=["POST"])
        self._respond = respond

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match POST requests alone."""
        match, found = super().matches(scope)
        return (match, found) if match is Match.FULL else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scope["route"] = self  # for the metrics
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)


def query_of(request: Request) -> dict[str, str]:
    """Return the parameters of a request's query, of which most have none."""
    return dict(request.query_params) if request.scope["query_string"] else {}


def plain_routes(service: Service) -> list[Route]:
    """Return the busy routes."""
    v1 = _Routes(service)

    async def predict(request: Request) -> Response:
        return await v1.predict(request, PredictQuery.model_validate(query_of(request)))

    return [PlainRoute("/v1/predict", predict)]


def routes(service: Service) -> APIRouter:
    """Return all routes, with their description."""
    router = APIRouter(prefix="/v1", tags=["whatsit"])
    v1 = _Routes(service)
    refusals = errors(400, 401, 404, 408, 413, 415, 422, 429, 500, 503, 504)
    post: dict[str, Any] = {"methods": ["POST"], "responses": refusals}
    one, many = {"requestBody": _ONE}, {"requestBody": _MANY}
    router.add_api_route("/predict", v1.predict, response_model=schemas.Answer, openapi_extra=one, **post)
    router.add_api_route(
        "/predict/batch", v1.predict_batch, response_model=schemas.BatchAnswer, openapi_extra=many, **post
    )
    post["responses"] = {**refusals, **_DRAWING}
    router.add_api_route("/explain", v1.explain, response_class=Response, openapi_extra=one, **post)
    router.add_api_route("/models", v1.models, response_model=schemas.ModelList, responses=errors(401))
    about = errors(401, 404, 422, 503)
    router.add_api_route("/models/{name}", v1.model, response_model=schemas.ModelDetails, responses=about)
    return router


class _Routes:
    def __init__(self, service: Service) -> None:
        self._service = service

    @contextmanager
    def _work(self, query: ModelQuery) -> Iterator[tuple[Served, Share]]:
        """Hold the model of a request and its share of the memory.

        A request without room is refused before its body is read.
        """
        served = self._service.models.get(query.model, query.version)
        with served.in_use(), self._service.bodies.share() as share:
            served.gate.check()
            yield served, share

    async def _picture(self, request: Request, share: Share) -> bytes:
        if not _is_form(request):
            return await self._service.bodies.read(request, share)
        files = await self._service.bodies.read_files(request, share)
        if len(files) != 1:
            raise bad_request(f"{len(files)} pictures in the form; send one, or several to /v1/predict/batch")
        return files[0][1]

    async def predict(self, request: Request, query: Annotated[PredictQuery, Query()]) -> Response:
        """Say what is in one picture."""
        with self._work(query) as (served, share):
            data = await self._picture(request, share)
            [answer] = await self._service.answer_files(served, [data], request.receive)
            if isinstance(answer, ImageError):
                raise answer
            found = served.predictor.to_prediction(answer, query.top, query.coverage).to_json()
            return as_json({**found, "model": served.name, "version": served.version})

    async def predict_batch(self, request: Request, query: Annotated[PredictQuery, Query()]) -> Response:
        """Predict the classes of many pictures.

        A picture that cannot be read gets its own error; the others are answered.
        """
        with self._work(query) as (served, share):
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
                    prediction = served.predictor.to_prediction(answer, query.top, query.coverage)
                    answers.append({"image": name, **prediction.to_json()})
            return as_json({"model": served.name, "version": served.version, "answers": answers})

    async def explain(self, request: Request, query: Annotated[ExplainQuery, Query()]) -> Response:
        """Draw where in a picture the evidence for its class lies, as PNG."""
        with self._work(query) as (served, share):
            data = await self._picture(request, share)
            drawing = await self._service.off_the_loop(
                served, lambda: _explain(served, data, query.label, self._service.settings.max_pixels), request.receive
            )
            return Response(drawing, media_type="image/png")

    async def models(self) -> Response:
        """List the models."""
        return as_json({"models": [_summary(entry) for entry in self._service.models.entries]})

    async def model(
        self,
        name: str,
        version: Annotated[str | None, Query(max_length=20, description="The newest by default.")] = None,
    ) -> Response:
        """What a model says of itself: classes, metrics, card."""
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

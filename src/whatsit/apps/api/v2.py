"""`/v2`: the Open Inference Protocol v2, as clients of KServe and Triton use it."""

from __future__ import annotations

import functools
import time
import zlib
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.routing import Route

from whatsit.apps.api.keys import Keys
from whatsit.apps.api.models import Entry, Served
from whatsit.apps.api.oip import InferRequest, build_response, inputs_of, outputs_of, parse_request, read_object
from whatsit.apps.api.refusals import RefusedError, bad_request
from whatsit.apps.api.schemas import errors
from whatsit.apps.api.service import Service
from whatsit.apps.api.v1 import PlainRoute, as_json, query_of
from whatsit.errors import ImageError, WhatsitError
from whatsit.runtime.predictor import Answer
from whatsit.version import __version__

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
]
HEADER = "inference-header-content-length"
_PACK_FROM = 1024  # bytes of an answer; smaller ones are sent as they are
_TENSORS = {
    "required": True,
    "description": "See https://github.com/kserve/open-inference-protocol; binary tensors may follow the JSON.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"inputs": {"type": "array", "items": {"type": "object"}}},
                "required": ["inputs"],
            },
            "example": {
                "id": "7",
                "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["<a file in base64>"]}],
            },
        }
    },
}


def plain_routes(service: Service) -> list[Route]:
    """Return the busy routes."""
    v2 = _Routes(service)

    async def infer(request: Request) -> Response:
        return await v2.infer(request, request.path_params["name"], query_of(request).get("version"))

    return [PlainRoute("/v2/models/{name}/infer", infer)]


def routes(service: Service) -> APIRouter:
    """Return all routes, with their description."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])
    v2 = _Routes(service)
    empty: dict[str, Any] = {"response_class": Response}
    router.add_api_route("", v2.server, responses=errors(401))
    router.add_api_route("/health/live", v2.live)
    router.add_api_route("/health/ready", v2.ready, responses=errors(503))
    router.add_api_route("/models/stats", v2.all_statistics, responses=errors(401))
    infer: dict[str, Any] = {
        "responses": errors(400, 401, 404, 408, 413, 415, 422, 429, 500, 501, 503, 504),
        "openapi_extra": {"requestBody": _TENSORS},
        "methods": ["POST"],
    }
    for model in ("/models/{name}", "/models/{name}/versions/{version}"):
        router.add_api_route(model, v2.metadata, responses=errors(401, 404, 503))
        router.add_api_route(f"{model}/ready", v2.model_ready, responses=errors(401, 404, 503))
        router.add_api_route(f"{model}/config", v2.config, responses=errors(401, 404, 503))
        router.add_api_route(f"{model}/stats", v2.statistics, responses=errors(401, 404))
        router.add_api_route(f"{model}/infer", v2.infer, **infer)
    refusals = (400, 401, 408, 413, 415, 503)
    router.add_api_route("/repository/index", v2.index, responses=errors(*refusals), methods=["POST"])
    for verb, change in (("load", v2.load), ("unload", v2.unload)):
        path, described = f"/repository/models/{{name}}/{verb}", errors(*refusals, 403, 404)
        router.add_api_route(path, change, methods=["POST"], responses=described, **empty)
    for path in ("/systemsharedmemory/{rest:path}", "/cudasharedmemory/{rest:path}", "/trace/setting", "/logging"):
        router.add_api_route(path, _unsupported, methods=["GET", "POST"], include_in_schema=False)
    return router


class _Routes:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def server(self) -> Response:
        """The service's name, version and extensions."""
        return as_json({"name": "whatsit", "version": __version__, "extensions": EXTENSIONS})

    async def live(self) -> Response:
        """Whether the service is alive."""
        return as_json({"live": True})

    async def ready(self) -> Response:
        """Whether it takes requests."""
        if not self._service.ready:
            raise RefusedError(503, "the service is not ready", "not_ready")
        return as_json({"live": True, "ready": True})  # the protocol's text says `live`; KServe's client reads `ready`

    async def all_statistics(self) -> Response:
        """What all models have done since the start."""
        return as_json({"model_stats": [_statistics(self._service, entry) for entry in self._service.models.entries]})

    async def metadata(self, name: str, version: str | None = None) -> Response:
        """A model's inputs and outputs."""
        return as_json(_metadata(self._service, self._service.models.get(name, version)))

    async def model_ready(self, name: str, version: str | None = None) -> Response:
        """Whether a model takes requests."""
        served = self._service.models.get(name, version)
        if self._service.draining:
            raise RefusedError(503, "the service is stopping", "not_ready")
        return as_json({"name": served.name, "ready": True})

    async def config(self, name: str, version: str | None = None) -> Response:
        """A model's configuration, as Triton writes it."""
        return as_json(_config(self._service, self._service.models.get(name, version)))

    async def statistics(self, name: str, version: str | None = None) -> Response:
        """What a model has done since the start."""
        entries = [entry for entry in self._service.models.versions(name) if version in (None, entry.version)]
        if not entries:
            self._service.models.get(name, version)  # says what is missing
        return as_json({"model_stats": [_statistics(self._service, entry) for entry in entries]})

    async def infer(self, request: Request, name: str, version: str | None = None) -> Response:
        """Answer for pictures, as files or as pixels."""
        with self._service.models.get(name, version).in_use() as served, self._service.bodies.share() as share:
            counts = self._service.metrics.of(served.name, served.version)
            try:
                served.gate.check()
                body = await self._service.bodies.read(request, share)
                wanted = await self._parsed(body, request.headers.get(HEADER), served)
                if wanted.pixels is not None:
                    answers = await self._service.answer_pixels(served, wanted.pixels, request.receive, wanted.timeout)
                else:
                    found = await self._service.answer_files(served, wanted.files, request.receive, wanted.timeout)
                    answers = [_good(answer, place) for place, answer in enumerate(found, 1)]
                data, head = build_response(wanted, answers, served.predictor, served.name, served.version)
            except Exception:
                counts.failed += 1
                raise
        counts.requests += 1
        counts.last_ms = int(1000 * time.time())
        headers = {} if head is None else {HEADER: str(head)}
        if coding := _coding(request, data):
            data = await self._service.bodies.work(len(data), functools.partial(_pack, data, coding))
            headers["content-encoding"] = coding
        kind = "application/json" if head is None else "application/octet-stream"
        return Response(data, headers=headers, media_type=kind)

    async def _parsed(self, body: bytes, header: str | None, served: Served) -> InferRequest:
        size = int(header) if header and header.isdecimal() and len(header) < 20 else len(body)  # of its JSON
        parse = functools.partial(parse_request, body, header, served.predictor, self._service.settings)
        return await self._service.bodies.work(size, parse)

    async def index(self, request: Request) -> Response:
        """List the models; with `{"ready": true}` those at work."""
        only = (await self._object(request)).get("ready", False)
        return as_json([_indexed(entry) for entry in self._service.models.entries if entry.served or only is not True])

    async def _object(self, request: Request) -> dict[str, Any]:
        """A small JSON object, or none at all."""
        bodies = self._service.bodies
        with bodies.share() as share:
            body = await bodies.read(request, share) or b"{}"
            return await bodies.work(len(body), functools.partial(read_object, body, self._service.settings))

    async def _without_parameters(self, request: Request, verb: str, *allowed: str) -> None:
        """Raise `RefusedError` (400) for parameters of the repository extension."""
        parameters = (await self._object(request)).get("parameters", {})
        if not isinstance(parameters, dict):
            raise bad_request("the 'parameters' must be an object")
        for name in parameters:
            if name == "config":
                words = "a model's configuration is in its .whatsit file and cannot be given"
            elif name.startswith("file:"):
                words = f"'{name[:80]}': files are not taken from requests; put the .whatsit file where the service reads it"
            elif name not in allowed:
                words = f"the parameter '{name[:80]}' is unknown"
            else:
                continue
            raise bad_request(f"{verb}: {words}; nothing was changed", "unsupported")

    async def load(self, request: Request, name: str) -> Response:
        """Load a model's file again; needs the token (`X-Admin-Token`).

        If it fails, the model in use stays.
        """
        _authorize(self._service, request)
        await self._without_parameters(request, "load")
        for entry in self._service.models.versions(name):
            try:
                await self._service.reload(entry)
            except WhatsitError:
                raise bad_request(f"'{name}' cannot be loaded; the service's log says why", "reload_failed") from None
        return Response(status_code=200)

    async def unload(self, request: Request, name: str) -> Response:
        """Take a model out of service; needs the token (`X-Admin-Token`)."""
        _authorize(self._service, request)
        await self._without_parameters(request, "unload", "unload_dependents")  # of which no model here has any
        for entry in self._service.models.versions(name):
            self._service.models.unload(entry)
            self._service.log.write("unloaded", model=name, version=entry.version)
        return Response(status_code=200)


async def _unsupported() -> Response:
    raise RefusedError(501, "this service has no shared memory, tracing or log settings", "unsupported")


def _good(answer: Answer | ImageError, place: int) -> Answer:
    if isinstance(answer, ImageError):
        raise ImageError(f"picture {place}: {answer}", answer.reason)
    return answer


def _coding(request: Request, data: bytes) -> str | None:
    """How an answer is packed, where its client can read it so and it is worth it."""
    if len(data) < _PACK_FROM:
        return None
    parts = request.headers.get("accept-encoding", "").lower().replace(" ", "").split(",")
    wanted = [part.partition(";")[0] for part in parts if not part.endswith((";q=0", ";q=0.0"))]
    return next((coding for coding in ("gzip", "deflate") if coding in wanted), None)


def _pack(data: bytes, coding: str) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS if coding == "gzip" else zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def _authorize(service: Service, request: Request) -> None:
    token = service.settings.admin_token
    if token is None:
        words = "models are loaded and unloaded only where the service was started with --admin-token-file"
        raise RefusedError(403, words, "forbidden")
    if request.headers.get("x-admin-token", "").strip() not in Keys([token]):
        raise RefusedError(401, "the token is needed, in the header X-Admin-Token", "unauthorized")


def _tensors(described: dict[str, tuple[str, list[int]]]) -> list[dict[str, Any]]:
    return [{"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in described.items()]


def _metadata(service: Service, served: Served) -> dict[str, Any]:
    return {
        "name": served.name,
        "versions": [entry.version for entry in service.models.versions(served.name)],
        "platform": f"whatsit_{served.predictor.runtime}",
        "inputs": _tensors(inputs_of(served.predictor)),
        "outputs": _tensors(outputs_of(served.predictor)),
    }


def _config(service: Service, served: Served) -> dict[str, Any]:
    def tensors(described: dict[str, tuple[str, list[int]]]) -> list[dict[str, Any]]:
        kinds = {"BYTES": "TYPE_STRING"}
        return [
            {"name": name, "data_type": kinds.get(kind, f"TYPE_{kind}"), "dims": shape[1:] or [1]}
            for name, (kind, shape) in described.items()
        ]

    inputs = [{**tensor, "optional": True} for tensor in tensors(inputs_of(served.predictor))]
    return {
        "name": served.name,
        "platform": f"whatsit_{served.predictor.runtime}",
        "backend": "whatsit",
        "max_batch_size": service.settings.max_pictures,
        "input": inputs,
        "output": tensors(outputs_of(served.predictor)),
        "dynamic_batching": {
            "preferred_batch_size": [served.batcher.max_batch],
            "max_queue_delay_microseconds": int(1e6 * service.settings.max_delay),
        },
    }


def _statistics(service: Service, entry: Entry) -> dict[str, Any]:
    found = service.metrics.of(entry.name, entry.version)

    def times(count: int, ns: int) -> dict[str, int]:
        return {"count": count, "ns": ns}

    return {
        "name": entry.name,
        "version": entry.version,
        "last_inference": found.last_ms,
        "inference_count": found.pictures,
        "execution_count": found.batches,
        "inference_stats": {
            "success": times(found.requests, found.queue_ns + found.compute_ns),
            "fail": times(found.failed, 0),
            "queue": times(found.requests, found.queue_ns),
            "compute_infer": times(found.batches, found.compute_ns),
        },
    }


def _indexed(entry: Entry) -> dict[str, str]:
    state = "READY" if entry.served else "UNAVAILABLE"
    return {"name": entry.name, "version": entry.version, "state": state, "reason": "" if entry.served else "unloaded"}

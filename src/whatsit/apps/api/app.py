"""The ASGI application: routes, errors, page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from whatsit.apps.api import page, v1, v2
from whatsit.apps.api.bodies import ClientGoneError
from whatsit.apps.api.front import INTERNAL, Front, as_refusal, error_answer
from whatsit.apps.api.service import Service
from whatsit.apps.api.settings import RefusedError
from whatsit.apps.api.v1 import errors
from whatsit.errors import WhatsitError
from whatsit.version import __version__

_TEXT: dict[int | str, Any] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Counters"}
}
_ABOUT = """Says what is in pictures. Send the file of one to `POST /v1/predict`:

    curl --data-binary @cat.jpg http://127.0.0.1:8000{root}/v1/predict
"""


def create_app(service: Service) -> ASGIApp:
    """The application over a service, whose models are loaded."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(
        title="whatsit",
        version=__version__,
        description=_ABOUT.format(root=service.settings.root_path),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    _handle_errors(app, service)
    for routes in (page.routes, v1.routes, v2.routes):
        app.include_router(routes(service))

    @app.get("/livez", tags=["health"], response_class=Response)
    async def live() -> Response:
        """Whether the service is alive."""
        return Response(status_code=200)

    @app.get("/readyz", tags=["health"], response_class=Response, responses=errors(503))
    async def ready() -> Response:
        """Whether it takes requests: not while it is stopping."""
        if not service.ready:
            raise RefusedError(503, "the service is not ready", "not_ready")
        return Response(status_code=200)

    @app.get("/metrics", tags=["health"], responses={**_TEXT, **errors(401)}, response_class=Response)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    front = Front(app, service, [*v1.shortcuts(service), *v2.shortcuts(service)])
    if not service.settings.origins:
        return front
    return CORSMiddleware(  # around everything: a browser asks whether it may ask without a key
        front,
        allow_origins=service.settings.origins,
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=["*"],
        expose_headers=["X-Request-ID", "Retry-After", "Inference-Header-Content-Length"],
    )


def _handle_errors(app: FastAPI, service: Service) -> None:
    def answer(error: RefusedError) -> Response:
        service.metrics.rejections.labels(error.reason).inc()
        status, body, headers = error_answer(error)
        response = Response(body, status)
        response.raw_headers = headers
        return response

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> Response:
        return answer(error)

    @app.exception_handler(WhatsitError)
    async def ours(_: Request, error: WhatsitError) -> Response:
        if refusal := as_refusal(error):
            return answer(refusal)
        raise error

    @app.exception_handler(RequestValidationError)
    async def out_of_range(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return answer(RefusedError(422, f"'{place}': {first['msg']}; received {first.get('input')!r:.80}", "parameter"))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        words = {
            404: f"there is nothing at {request.url.path[:200]}; see {service.settings.root_path}/openapi.json",
            405: f"{request.method[:20]} is not possible at {request.url.path[:200]}",
        }
        headers = dict(error.headers or {})
        if "GET" in headers.get("Allow", "").split(", "):
            headers["Allow"] += ", HEAD"
        return answer(RefusedError(error.status_code, words.get(error.status_code, error.detail), "http", headers))

    @app.exception_handler(ClientGoneError)
    async def gone(_: Request, error: ClientGoneError) -> Response:
        service.metrics.rejections.labels("client_gone").inc()
        return Response(status_code=499)  # nobody reads it; nginx calls it so

    @app.exception_handler(Exception)
    async def internal(_: Request, error: Exception) -> Response:
        # Counted and logged by `Front`, which gets the error too.
        return Response(error_answer(INTERNAL)[1], INTERNAL.status, media_type="application/json")

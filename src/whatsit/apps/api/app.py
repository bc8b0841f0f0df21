"""The ASGI application: routes, errors, page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import ASGIApp

from whatsit.apps.api import page, v1, v2
from whatsit.apps.api.middleware import RequestMiddleware
from whatsit.apps.api.refusals import RefusedError
from whatsit.apps.api.schemas import errors
from whatsit.apps.api.service import Service
from whatsit.version import __version__

_TEXT: dict[int | str, Any] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Counters"}
}
_ABOUT = """Says what is in pictures. Send the file of one to `POST /v1/predict`:

    curl --data-binary @cat.jpg http://127.0.0.1:8000{root}/v1/predict
"""


def create_app(service: Service) -> ASGIApp:
    """Return the application of a service whose models are loaded."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(
        title="whatsit",
        version=__version__,
        description=_ABOUT.format(root=service.settings.root_path),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=dict.fromkeys((HTTPException, RequestValidationError, Exception), _leave_to_middleware),
    )
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

    if service.settings.keys:
        _describe_keys(app.openapi())  # which FastAPI makes once

    # Before FastAPI, which describes these routes too: its middlewares and its solving of parameters take longer than all that
    # the service does for a small picture.
    router = Router(
        [*v1.plain_routes(service), *v2.plain_routes(service)],
        redirect_slashes=False,  # behind https it would lead to http
        default=app,
        lifespan=lifespan,
    )
    around = RequestMiddleware(router, service)
    if not service.settings.origins:
        return around
    return CORSMiddleware(  # around everything: a browser asks whether it may ask without a key
        around,
        allow_origins=service.settings.origins,
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=["*"],
        expose_headers=["X-Request-ID", "Retry-After", "Inference-Header-Content-Length"],
    )


def _describe_keys(schema: dict[str, Any]) -> None:
    """Say where a key is wanted, so that generated clients bring it."""
    schema["components"]["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    for methods in schema["paths"].values():
        for route in methods.values():
            if "401" in route["responses"]:
                route["security"] = [{"key": []}, {"bearer": []}]


async def _leave_to_middleware(_: Request, error: Exception) -> NoReturn:
    raise error

"""What every request passes: its id, admission, errors, metrics and log."""

from __future__ import annotations

import asyncio
import re
import time
import traceback

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whatsit.apps.api.keys import Keys, key_of
from whatsit.apps.api.names import names_of, plain_name
from whatsit.apps.api.refusals import ClientGoneError, RefusedError, internal, overloaded, refusal_of
from whatsit.apps.api.service import Service

_HEALTH = {"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"}
_OPEN = _HEALTH | {"/", "/page.js", "/Sarabun.ttf"}  # without a key
_UNLOGGED = _HEALTH | {"/metrics"}
_WORK = re.compile(r"/v1/(predict|explain)|/v2/models/.*/infer$")
_READ = frozenset((b"x-request-id", b"x-api-key", b"authorization", b"host"))
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_METHODS = {"GET", "POST", "HEAD", "OPTIONS"}  # that the metrics name


class RequestMiddleware:
    """An ASGI application around the routes."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._keys = Keys(service.settings.keys)
        self._count = 0
        self._started = int(time.time())
        settings = service.settings
        self._names = names_of(settings.host, settings.allowed_hosts, keys=bool(settings.keys))
        self._root = settings.root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = {name: value for name, value in scope["headers"] if name in _READ}
        method, path = scope["method"], scope["path"]
        response = _Response(send, self._id(headers.get(b"x-request-id", b"")), without_body=method == "HEAD")
        if method == "HEAD":
            # As GET, without the body (RFC 9110, 9.3.2). A copy, as uvicorn looks at its own for what it is to send.
            scope = {**scope, "method": "GET"}
        if self._root:
            path = self._below_root(path)
            scope = {**scope, "path": self._root + path, "root_path": self._root}
        try:
            self._admit(method, path, headers)
            await self._app(scope, receive, response.send)
        except ClientGoneError:
            self._service.metrics.rejections.labels("client_gone").inc()
            response.status = 499  # nobody reads it; nginx calls it so
        except asyncio.CancelledError:  # the grace is over
            await response.refuse(RefusedError(503, "the service is stopping", "stopping", {"connection": "close"}))
        except Exception as error:
            refusal = refusal_of(error, Request(scope))
            if refusal is None:
                trace = "".join(traceback.format_exception(error))
                self._service.log.write("error", "error", id=response.id, trace=trace)
                refusal = internal()
            self._service.metrics.rejections.labels(refusal.reason).inc()
            await response.refuse(refusal)
        self._record(method, path, scope, response, time.perf_counter() - began)

    def _below_root(self, path: str) -> str:
        """Return a path as the routes know it, with the proxy's part or without."""
        if path == self._root:
            return "/"
        return path[len(self._root) :] if path.startswith(self._root + "/") else path

    def _id(self, wanted: bytes) -> str:
        text = wanted.decode("latin-1")
        if _ID.fullmatch(text):
            return text
        self._count += 1
        return f"{self._started:x}-{self._count:x}"

    def _admit(self, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        """Raise `RefusedError` for what is refused from the head alone.

        Under overload that is most requests, so it must be cheap.
        """
        if self._names and not self._names.has(headers.get(b"host", b"")):
            name = plain_name(headers[b"host"].decode("latin-1"))[:100]
            words = f"this service does not know the name '{name}'; if it is yours, start it with --allow-host {name}"
            raise RefusedError(403, words, "host", {"connection": "close"})
        if self._service.draining and path not in _UNLOGGED:
            words = "the service is stopping; ask another one"
            raise RefusedError(503, words, "stopping", {"connection": "close", "retry-after": "5"})
        if self._keys and path not in _OPEN and key_of(headers) not in self._keys:
            words = "an API key is needed, in the header X-API-Key or as Authorization: Bearer KEY"
            raise RefusedError(401, words, "unauthorized", {"www-authenticate": "Bearer"})
        if method == "POST" and self._service.models.full and _WORK.match(path):
            raise overloaded()

    def _record(self, method: str, path: str, scope: Scope, response: _Response, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "none"
        metrics = self._service.metrics
        metrics.requests.labels(route, method if method in _METHODS else "other", str(response.status)).inc()
        metrics.seconds.labels(route).observe(seconds)
        if path not in _UNLOGGED:
            self._service.log.write(
                "request",
                id=response.id,
                client=(scope.get("client") or ("",))[0],
                method=method,
                path=path[:200],
                status=response.status,
                ms=round(1000 * seconds, 2),
            )


class _Response:
    """A response on its way out."""

    def __init__(self, send: Send, request_id: str, *, without_body: bool) -> None:
        self.id = request_id
        self.status = 0  # until it begins
        self._send = send
        self._without_body = without_body

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
        elif self._without_body:
            message = {**message, "body": b""}
        await self._send(message)

    async def refuse(self, error: RefusedError) -> None:
        """Send an error, unless a response has begun."""
        if not self.status:
            headers = [(name.encode(), value.encode()) for name, value in error.headers.items()]
            await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
            await self.send({"type": "http.response.body", "body": error.body})

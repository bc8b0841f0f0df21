"""Around every request: its id, its key, its metrics, its line in the log; and errors that say nothing of the inside."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whatsit.apps.api.bodies import ClientGoneError
from whatsit.apps.api.names import names_of, plain_name
from whatsit.apps.api.service import Service
from whatsit.apps.api.settings import RefusedError, overloaded
from whatsit.errors import ImageError, MissingExtraError, ModelError, UsageError

OPEN = {
    "/livez",
    "/readyz",
    "/v2/health/live",
    "/v2/health/ready",
    "/",
    "/page.js",
    "/Sarabun.ttf",
}  # no key is asked for
_HEALTH = {"/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/metrics"}
INTERNAL = RefusedError(
    500, "an error inside the service; its log has it under the X-Request-ID of this answer", "internal"
)
_WORK = re.compile(r"/v1/(predict|explain)|/v2/models/.*/infer$")
_LOOKED_AT = frozenset((b"x-request-id", b"x-api-key", b"authorization", b"host"))
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


@dataclass(frozen=True)
class Shortcut:
    """A route that is found without FastAPI."""

    path: str  # as FastAPI calls it
    handle: Callable[..., Awaitable[Response]]


class Front:
    """An ASGI application around the routes."""

    def __init__(
        self, app: ASGIApp, service: Service, shortcuts: Sequence[tuple[re.Pattern[str], Shortcut]] = ()
    ) -> None:
        """`shortcuts` are busy POST routes without a query, by the pattern of their path; FastAPI's own way to them takes longer
        than all that the service does for a small picture.
        """
        self._app = app
        self._shortcuts = shortcuts
        self._service = service
        self._keys = [digest(key) for key in service.settings.keys]
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
        headers = {name: value for name, value in scope["headers"] if name in _LOOKED_AT}
        call = _Call(self._id(headers.get(b"x-request-id", b"")), send)
        if scope["method"] == "HEAD":
            # As GET, without the body (RFC 9110, 9.3.2). A copy, as the server below looks at its own for what it is to send.
            scope = {**scope, "method": "GET"}
            call.bare = True
        path = scope["path"]
        if self._root:
            path = self._below(path)
            scope = {**scope, "path": self._root + path, "root_path": self._root}
        try:
            self._admit(scope["method"], path, headers)
            await self._answer(path, scope, receive, call.send)
        except ClientGoneError:
            self._service.metrics.rejections.labels("client_gone").inc()
            call.status = 499  # nobody reads it; nginx calls it so
        except asyncio.CancelledError:  # the grace is over
            await call.fail(RefusedError(503, "the service is stopping", "stopping", {"connection": "close"}))
        except Exception as error:
            refusal = as_refusal(error)
            if refusal is None:  # ours, not the client's
                self._service.log.write("error", "error", id=call.id, trace="".join(traceback.format_exception(error)))
                refusal = INTERNAL
            self._service.metrics.rejections.labels(refusal.reason).inc()
            await call.fail(refusal)
        self._tell(path, scope, call, time.perf_counter() - began)

    def _below(self, path: str) -> str:
        """A path as the routes know it, whether the proxy takes its own part away or not."""
        if path == self._root:
            return "/"
        return path[len(self._root) :] if path.startswith(self._root + "/") else path

    async def _answer(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST" and not scope["query_string"]:
            for pattern, work in self._shortcuts:
                if found := pattern.fullmatch(path):
                    scope["route"] = work
                    response = await work.handle(Request(scope, receive), **found.groupdict())
                    await response(scope, receive, send)
                    return
        await self._app(scope, receive, send)

    def _id(self, wanted: bytes) -> str:
        text = wanted.decode("latin-1")
        if _ID.fullmatch(text):
            return text
        self._count += 1
        return f"{self._started:x}-{self._count:x}"

    def _admit(self, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        if self._names and not self._names.has(headers.get(b"host", b"")):
            name = plain_name(headers[b"host"].decode("latin-1"))[:100]
            words = f"this service does not know the name '{name}'; if it is yours, start it with --allow-host {name}"
            raise RefusedError(403, words, "host", {"connection": "close"})
        if self._service.draining and path not in _HEALTH:
            words = "the service is stopping; ask another one"
            raise RefusedError(503, words, "stopping", {"connection": "close", "retry-after": "5"})
        if self._keys and path not in OPEN and not is_allowed(headers, self._keys):
            words = "an API key is needed, in the header X-API-Key or as Authorization: Bearer KEY"
            raise RefusedError(401, words, "unauthorized", {"www-authenticate": "Bearer"})
        if method == "POST" and self._service.models.full and _WORK.match(path):
            raise overloaded()  # already here: under overload most requests end so, and it is to cost little

    def _tell(self, path: str, scope: Scope, call: _Call, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "none"
        metrics = self._service.metrics
        asked = "HEAD" if call.bare else scope["method"]
        method = asked if asked in ("GET", "POST", "HEAD", "OPTIONS") else "other"
        metrics.requests.labels(route, method, str(call.status)).inc()
        metrics.seconds.labels(route).observe(seconds)
        if path not in _HEALTH:
            self._service.log.write(
                "request",
                id=call.id,
                client=(scope.get("client") or ("",))[0],
                method=asked,
                path=path[:200],
                status=call.status,
                ms=round(1000 * seconds, 2),
            )


class _Call:
    """One request's answer on its way out."""

    def __init__(self, number: str, send: Send) -> None:
        self.id = number
        self.status = 0  # until the answer begins
        self.bare = False  # whether its body is left out
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
        elif self.bare:
            message = {**message, "body": b""}
        await self._send(message)

    async def fail(self, error: RefusedError) -> None:
        """Answer with an error, unless an answer has begun."""
        if not self.status:
            status, body, headers = error_answer(error)
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
            await self.send({"type": "http.response.body", "body": body})


def error_answer(error: RefusedError) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, body and headers of an error."""
    body = orjson.dumps({"error": error.message})
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
    return error.status, body, [(name.encode(), value.encode()) for name, value in headers.items()]


def as_refusal(error: Exception) -> RefusedError | None:
    """An error as the answer to a request; None for what is no fault of the client's."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, ImageError):
        return RefusedError(422, str(error), f"picture_{error.reason}")
    if isinstance(error, UsageError):
        return RefusedError(422, str(error), "usage")
    if isinstance(error, ModelError | MissingExtraError):
        return RefusedError(501, str(error), "unsupported")
    return None


def is_allowed(headers: Mapping[bytes, bytes], digests: list[bytes]) -> bool:
    """Whether a request brings one of the keys; in the same time for every key, right or wrong."""
    brought = digest(key_of(headers))
    return any([hmac.compare_digest(brought, digest) for digest in digests])  # noqa: C419 - all are compared


def key_of(headers: Mapping[bytes, bytes]) -> str:
    """The key in a request's headers; empty where there is none."""
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get(b"x-api-key", b"").decode("latin-1").strip()


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()

"""Around every request: its id, its key, its metrics, its line in the log; and errors that say nothing of the inside."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
import traceback
from collections.abc import Mapping

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whatsit.apps.api.service import Service
from whatsit.apps.api.settings import RefusedError
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
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Front:
    """An ASGI application around the routes."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._keys = [digest(key) for key in service.settings.keys]
        self._count = 0
        self._started = int(time.time())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = {
            name: value for name, value in scope["headers"] if name in (b"x-request-id", b"x-api-key", b"authorization")
        }
        call = _Call(self._id(headers.get(b"x-request-id", b"")), send)
        try:
            self._admit(scope, headers)
            await self._app(scope, receive, call.send)
        except asyncio.CancelledError:  # the grace is over
            await call.fail(RefusedError(503, "the service is stopping", "stopping", {"connection": "close"}))
        except RefusedError as error:
            self._service.metrics.rejections.labels(error.reason).inc()
            await call.fail(error)
        except Exception as error:  # ours, not the client's, who was told that much by the routes
            self._service.log.write("error", "error", id=call.id, trace="".join(traceback.format_exception(error)))
            await call.fail(INTERNAL)
        self._tell(scope, call, time.perf_counter() - began)

    def _id(self, wanted: bytes) -> str:
        text = wanted.decode("latin-1")
        if _ID.fullmatch(text):
            return text
        self._count += 1
        return f"{self._started:x}-{self._count:x}"

    def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        path = scope["path"]
        if self._service.draining and path not in _HEALTH:
            words = "the service is stopping; ask another one"
            raise RefusedError(503, words, "stopping", {"connection": "close", "retry-after": "5"})
        if self._keys and path not in OPEN and not is_allowed(headers, self._keys):
            words = "an API key is needed, in the header X-API-Key or as Authorization: Bearer KEY"
            raise RefusedError(401, words, "unauthorized", {"www-authenticate": "Bearer"})

    def _tell(self, scope: Scope, call: _Call, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "none"
        metrics = self._service.metrics
        method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS") else "other"
        metrics.requests.labels(route, method, str(call.status)).inc()
        metrics.seconds.labels(route).observe(seconds)
        if scope["path"] not in _HEALTH:
            self._service.log.write(
                "request",
                id=call.id,
                client=(scope.get("client") or ("",))[0],
                method=scope["method"],
                path=scope["path"][:200],
                status=call.status,
                ms=round(1000 * seconds, 2),
            )


class _Call:
    """One request's answer on its way out."""

    def __init__(self, number: str, send: Send) -> None:
        self.id = number
        self.status = 0  # until the answer begins
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
        await self._send(message)

    async def fail(self, error: RefusedError) -> None:
        """Answer with an error, unless an answer has begun."""
        if not self.status:
            status, body, headers = error_answer(error)
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
            await self._send({"type": "http.response.body", "body": body})


def error_answer(error: RefusedError) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, body and headers of an error."""
    body = orjson.dumps({"error": error.message})
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
    return error.status, body, [(name.encode(), value.encode()) for name, value in headers.items()]


def as_refusal(error: Exception) -> RefusedError | None:
    """What whatsit raises, as the answer to a request; None for what is no fault of the client's."""
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

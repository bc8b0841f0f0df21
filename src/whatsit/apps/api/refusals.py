"""Refused requests: the error, its response, and which errors become one."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from whatsit.errors import ImageError, MissingExtraError, ModelError, UsageError


class ClientGoneError(Exception):
    """The client has closed the connection before its response."""


class RefusedError(Exception):
    """A request whose response is `{"error": message}` with an HTTP status."""

    def __init__(self, status: int, message: str, reason: str, headers: Mapping[str, str] | None = None) -> None:
        """Make the error; `reason` is the message in a word, for the metrics."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.body = orjson.dumps({"error": message})
        self.headers = {
            "content-type": "application/json",
            "content-length": str(len(self.body)),
            **(headers or {}),
        }


def bad_request(message: str, reason: str = "malformed") -> RefusedError:
    """Return a 400."""
    return RefusedError(400, message, reason)


def too_large(message: str) -> RefusedError:
    """Return a 413 that closes the connection, as the rest may be anything."""
    return RefusedError(413, message, "too_large", {"connection": "close"})


def overloaded() -> RefusedError:
    """Return a 429."""
    return RefusedError(429, "too many pictures are waiting; try again in a second", "queue_full", {"retry-after": "1"})


def internal() -> RefusedError:
    """Return a 500, which says nothing about the inside."""
    words = "an error inside the service; its log has it under the X-Request-ID of this answer"
    return RefusedError(500, words, "internal")


def refusal_of(error: Exception, request: Request) -> RefusedError | None:
    """Return the refusal for an error; None for an error of the service's own."""
    match error:
        case RefusedError():
            return error
        case ImageError():
            return RefusedError(422, str(error), f"picture_{error.reason}")
        case UsageError():
            return RefusedError(422, str(error), "usage")
        case ModelError() | MissingExtraError():
            return RefusedError(501, str(error), "unsupported")
        case RequestValidationError() | ValidationError():
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"] if part != "query") or "the request"
            if first["type"] == "extra_forbidden":
                there = f"{request.scope['root_path']}/openapi.json"
                return RefusedError(422, f"there is no parameter '{name:.80}' here; see {there}", "parameter")
            words = f"'{name}': {first['msg']}; received {first.get('input')!r:.80}"
            return RefusedError(422, words, "parameter")
        case HTTPException():
            return _http_refusal(error, request)
    return None


def _http_refusal(error: HTTPException, request: Request) -> RefusedError:
    path = request.url.path[:200]
    headers = dict(error.headers or {})
    words = error.detail
    if error.status_code == 404:
        words = f"there is nothing at {path}; see {request.scope['root_path']}/openapi.json"
    elif error.status_code == 405:
        words = f"{request.method[:20]} is not possible at {path}"
        if "GET" in headers.get("Allow", "").split(", "):
            headers["Allow"] += ", HEAD"
    return RefusedError(error.status_code, words, "http", headers)

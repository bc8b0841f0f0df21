"""A limit on the size of request bodies, checked before they are in memory.

For servers that set no limit.
"""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """An ASGI layer that limits request bodies.

    The path of uploads, which are stored on disk, has a limit of its own.
    """

    def __init__(self, app: ASGIApp, most: int, most_upload: int, upload: str) -> None:
        """Limits in bytes; `upload` is how the path of uploads ends."""
        self._app, self._most, self._most_upload, self._upload = app, most, most_upload, upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        limit = self._most_upload if scope["path"].endswith(self._upload) else self._most
        words = f"The request has more than {limit // 1_000_000} MB; send fewer or smaller pictures."
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            await PlainTextResponse(words, 413, {"Connection": "close"})(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message: Any = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(413, words)
            return message  # type: ignore[no-any-return]

        await self._app(scope, counted, send)

"""The page at `/`, where a person can try the service: one picture in, its answer and its evidence out."""

from __future__ import annotations

import html
from pathlib import Path

import orjson
from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, Response

from whatsit.apps.api.service import Service
from whatsit.apps.texts import LANGUAGES, Texts, language_of
from whatsit.images.formats import EXTENSIONS
from whatsit.runtime.overlay import FONT

_FOLDER = Path(__file__).parent / "static"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; font-src 'self'; "
    "img-src 'self' blob: data:"
)
_KEYS = (
    "title",
    "choose",
    "drop",
    "unknown",
    "nearest",
    "evidence",
    "models",
    "key",
    "docs",
    "failed",
    "working",
    "local",
)


def routes(service: Service) -> APIRouter:
    """The page and its script."""
    router = APIRouter(include_in_schema=False)
    page = (_FOLDER / "index.html").read_text(encoding="utf-8")
    page = page.replace(
        "{{formats}}", ",".join(("image/*", *sorted(EXTENSIONS)))
    )  # browsers do not know each as a picture
    # Below a proxy's path the page may be at /pets, without the slash that its links would need.
    root = service.settings.root_path
    page = page.replace("{{base}}", f'<base href="{html.escape(root)}/">' if root else "")
    script = (_FOLDER / "page.js").read_bytes()

    @router.get("/")
    async def show(request: Request, lang: str | None = None) -> Response:
        language = lang if lang in LANGUAGES else language_of(request.headers.get("accept-language", "").split(",")[0])
        words = Texts(language)
        text = page.replace("{{language}}", language).replace("{{needs_key}}", str(bool(service.settings.keys)).lower())
        for key in _KEYS:
            text = text.replace(f"{{{{{key}}}}}", html.escape(words(f"api.{key}")))
        spoken = {key: words(f"api.{key}") for key in _KEYS}
        text = text.replace("{{words}}", html.escape(orjson.dumps(spoken).decode()))
        headers = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff", "vary": "accept-language"}
        return HTMLResponse(text, headers=headers)

    @router.get("/page.js")
    async def code() -> Response:
        return Response(script, media_type="text/javascript", headers={"cache-control": "no-cache"})

    @router.get("/Sarabun.ttf")
    async def font() -> Response:
        return FileResponse(FONT, headers={"cache-control": "max-age=86400"})

    return router

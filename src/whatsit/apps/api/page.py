"""The page at `/`, where a person can try the service with one picture."""

from __future__ import annotations

import html
from pathlib import Path

import orjson
from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, Response

from whatsit.apps.api.service import Service
from whatsit.apps.texts import LANGUAGES, TEXTS, Texts, language_of
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
    """Return the routes of the page, its script and its font."""
    router = APIRouter(include_in_schema=False)
    pages = {language: _page(language, service) for language in LANGUAGES}
    script = (_FOLDER / "page.js").read_bytes()
    headers = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff", "vary": "accept-language"}

    @router.get("/")
    async def show(request: Request, lang: str | None = None) -> Response:
        wanted = language_of(request.headers.get("accept-language", "").split(",")[0])
        return HTMLResponse(pages[lang if lang in pages else wanted], headers=headers)

    @router.get("/page.js")
    async def code() -> Response:
        return Response(script, media_type="text/javascript", headers={"cache-control": "no-cache"})

    @router.get("/Sarabun.ttf")
    async def font() -> Response:
        return FileResponse(FONT, headers={"cache-control": "max-age=86400"})

    return router


def _page(language: str, service: Service) -> str:
    """Return the page in a language."""
    spoken = {key: Texts(language)(f"api.{key}") for key in _KEYS}
    spoken["overruled"] = TEXTS[language]["answer.overruled"]
    root = service.settings.root_path
    values = {
        **{key: html.escape(text) for key, text in spoken.items()},
        "language": language,
        "words": html.escape(orjson.dumps(spoken).decode()),
        "needs_key": str(bool(service.settings.keys)).lower(),
        "formats": ",".join(("image/*", *sorted(EXTENSIONS))),  # browsers do not know each as a picture
        # Below a proxy's path the page may be at /pets, without the slash that its links would need.
        "base": f'<base href="{html.escape(root)}/">' if root else "",
    }
    text = (_FOLDER / "index.html").read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"{{{{{key}}}}}", value)
    return text

"""The site of an app: at which host, below which path, and whose pages may ask it.

A browser asks for whatever page it shows, so an app that only this computer reaches is still asked by pages of the whole
internet. Two headers tell them apart, which no page can choose: `Origin`, of which site the asking page is, and `Host`, by
which name the browser found the app. By a name that its owner points at 127.0.0.1 (DNS rebinding) the former would be right.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from whatsit.apps.address import is_private, url
from whatsit.errors import UsageError

_PART = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
_TOLD = 5  # foreign sites that are logged
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Site:
    """Where an app is found."""

    host: str  # that it is bound to
    root_path: str = ""  # below which a reverse proxy shows it, such as `/pets`
    public: str = ""  # the origin that visitors see, such as `https://example.org`, where the owner has said it
    allowed: frozenset[str] = frozenset()  # host names whose pages may ask, beside the app's own
    is_checked: bool = True  # whether hosts and origins are looked at

    @property
    def is_behind_proxy(self) -> bool:
        """Whether a reverse proxy shows it, and so may others than this computer's users."""
        return bool(self.root_path or self.public)

    @property
    def is_private(self) -> bool:
        """Whether only this computer's users reach it."""
        return is_private(self.host) and not self.is_behind_proxy

    @property
    def base(self) -> str:
        """The root path as Gradio wants it: with the origin, where that is known."""
        return self.public + self.root_path

    def url(self, port: int) -> str:
        """Return the address at which this computer's browser finds it."""
        return url(self.host, port, f"{self.root_path}/" if self.root_path else "")

    def trouble(self, headers: Headers) -> str | None:
        """Return why a request is refused; None for the app's own pages and programs."""
        host, origin = _name(f"//{headers.get('host', '')}"), headers.get("origin")
        if not self.is_checked:
            return None
        if is_private(self.host) and host and not (_is_local(host) or self._may_be_called(host)):
            return (
                f"this app is for the browsers of its own computer, where it is not called {host}; behind a proxy it is "
                f"started with --root-path https://{host}"
            )
        if origin is None or (_name(origin) or "null") in self._own(host, headers):
            return None
        if host and _is_local(host) and _is_local(_name(origin)):
            return None
        return f"this is a page of {origin[:100]}, and only the app's own pages may ask it"

    def _may_be_called(self, host: str) -> bool:
        """Return whether a proxy may pass on this host name.

        Any is right where the owner named a proxy's path and not its host.
        """
        return host == _name(self.public) if self.public else bool(self.root_path)

    def _own(self, host: str, headers: Headers) -> Iterable[str]:
        # No page of another site can set this header: its browser would ask first, and be refused.
        forwarded = headers.get("x-forwarded-host", "").split(",")
        return {host, *(_name(f"//{one.strip()}") for one in forwarded), _name(self.public), *self.allowed} - {""}


def site_at(host: str, root_path: str | None) -> Site:
    """Return the site for `--host` and `--root-path`, a path or a whole address.

    Raises `UsageError`.
    """
    text = (root_path or "").strip()
    public = ""
    path = text
    if "://" in text:
        try:
            parts = urlsplit(text)
            known = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
            public = f"{parts.scheme}://{parts.netloc}" if known and "@" not in parts.netloc and parts.port != 0 else ""
        except ValueError:
            public = ""
        if not public:
            raise _wrong(text)
        path = parts.path
    names = [name for name in path.split("/") if name]
    if not all(_PART.fullmatch(name) for name in names):
        raise _wrong(text)
    return Site(host, "".join(f"/{name}" for name in names), public)


def _wrong(text: str) -> UsageError:
    return UsageError(
        f"--root-path {text[:100]!r} is neither a path nor an address; give what the proxy shows the app as, such as "
        "/pets or https://example.org/pets"
    )


def _name(address: str) -> str:
    """Return the lower-case host name of an origin or address; empty without one."""
    try:
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_local(name: str) -> bool:
    """Whether a browser finds this computer by the name, whatever the network says."""
    return is_private(name) or name.endswith(".localhost")


class OwnPages:
    """An ASGI layer that refuses the pages of other sites and handles the root path.

    A proxy may hand on a path with the root path or without it, and the app's own computer asks without: all are answered.
    """

    def __init__(
        self, app: ASGIApp, site: Site | Callable[[], Site], *, keeps: bool = False, without: tuple[str, ...] = ()
    ) -> None:
        """Make the layer.

        Args:
            app: what answers.
            site: where it is found; a function of that, where it is known only later.
            keeps: whether what answers wants its paths with the root path.
            without: how paths begin that have none even so.
        """
        self._app, self._site, self._keeps, self._without = app, site, keeps, without
        self._told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        site = self._site if isinstance(self._site, Site) else self._site()
        if reason := site.trouble(Headers(scope=scope)):
            self._tell(reason)
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": ""})
            else:
                await PlainTextResponse(f"Refused: {reason}.\n", 403)(scope, receive, send)
            return
        root, path = site.root_path, scope["path"]
        if root and path == root and scope["type"] == "http":  # links of a page are below the last slash of its address
            query = scope["query_string"].decode("latin-1")
            await RedirectResponse(f"{root}/{'?' if query else ''}{query}", 307)(scope, receive, send)
            return
        inner = path.removeprefix(root) if path.startswith(f"{root}/") else path
        raw = scope.get("raw_path") or b""
        raw = raw.removeprefix(root.encode()) if inner != path else raw
        if root and self._keeps and not inner.startswith(self._without or "\0"):
            inner, raw = root + inner, root.encode() + raw
        # What is behind has rules of its own, for which Streamlit would ask an outside host who it is itself.
        headers = [one for one in scope["headers"] if one[0] != b"origin"] if site.is_checked else scope["headers"]
        await self._app({**scope, "path": inner, "raw_path": raw, "headers": headers}, receive, send)

    def _tell(self, reason: str) -> None:
        """Warn the owner of the first few refusals.

        The name of the proxy may have been forgotten.
        """
        if len(self._told) < _TOLD and reason not in self._told:
            self._told.add(reason)
            _log.warning("Refused a request: %s", reason)

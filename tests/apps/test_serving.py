"""The server of the apps."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import uvicorn

from whatsit.apps.serving import serve_app
from whatsit.apps.site import site_at


def test_app_without_web_sockets_needs_no_library_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def run(server: uvicorn.Server, sockets: Any) -> None:
        server.config.load()
        loaded.append(server.config.loaded)
        server.should_exit = True

    monkeypatch.setattr(uvicorn.Server, "run", run)
    for name in [*sys.modules, "websockets"]:
        if name.startswith(("websockets", "uvicorn.protocols.websockets")):
            monkeypatch.setitem(sys.modules, name, None)
    serve_app(lambda *_: None, site_at("127.0.0.1", ""), [0])
    assert loaded == [True]

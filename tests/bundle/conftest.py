"""The website of a small model, exported once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import MappingProxyType
from typing import Any

import pytest

from tests.conftest import made_once
from whatsit.bundle.web_runtime import RuntimeMissingError, web_runtime


@pytest.fixture(scope="session")
def runtime() -> dict[str, bytes]:
    """The runtime of exported pages, from the cache of these tests or by npm."""
    try:
        return web_runtime()
    except RuntimeMissingError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(f"the runtime of exported pages is not here: {error}")


@pytest.fixture(scope="session")
def website(baseline_run: Any, runtime: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a website with weights in float32."""
    import whatsit
    from whatsit.bundle.website import WebOptions

    def make(out: Path) -> Path:
        [exported] = whatsit.export(baseline_run.model, "web", out=out, web=WebOptions(precision="float32"))
        return exported.path

    return made_once(tmp_path_factory, "website", make)


class Host(SimpleHTTPRequestHandler):
    """A host of files: its oddities are attributes of subclasses."""

    types: Mapping[str, str] = MappingProxyType({})  # by the end of a name
    missing: tuple[str, ...] = ()
    below = "/"
    headers_too: Mapping[str, str] = MappingProxyType({})

    def do_GET(self) -> None:
        if not self.path.startswith(self.below) or self.path.endswith(self.missing or ("\0",)):
            return self.send_error(404)
        self.path = self.path.removeprefix(self.below.rstrip("/"))
        return super().do_GET()

    def end_headers(self) -> None:
        for name, value in self.headers_too.items():
            self.send_header(name, value)
        super().end_headers()

    def guess_type(self, path: Any) -> str:
        return next((kind for end, kind in self.types.items() if str(path).endswith(end)), super().guess_type(path))

    def log_message(self, *args: Any) -> None:
        pass

    def copyfile(self, source: Any, outputfile: Any) -> None:
        with suppress(ConnectionError):  # the page has seen enough
            super().copyfile(source, outputfile)


@pytest.fixture(scope="session")
def host() -> Callable[..., Any]:
    """A function that serves a folder: `with host(folder, missing=("model.onnx",)) as address:`."""

    @contextmanager
    def serve(folder: Path, **oddities: Any) -> Iterator[str]:
        handler = type("OddHost", (Host,), oddities)
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
            thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}{oddities.get('below', '/')}"
            server.shutdown()
            thread.join()

    return serve

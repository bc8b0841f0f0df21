"""The website of a model: a folder for any host of files, or one HTML file.

Its pages, scripts and styles lie in `bundle/web/`; beside them go the graph, the runtime and `about.json`, which says to the
scripts all that they know of the model.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.bundle.companions import companions, fingerprint, preprocessing
from whatsit.bundle.format import Bundle
from whatsit.bundle.web_runtime import GPU_SCRIPT, PACKAGE, VERSION, web_runtime
from whatsit.engines import open_engine
from whatsit.errors import BundleError, ModelError, UsageError, suggest
from whatsit.graph.check import output_names
from whatsit.graph.formats import WEB
from whatsit.graph.precision import PRECISIONS
from whatsit.images.names import plain
from whatsit.run_files import MODEL
from whatsit.version import __version__

ABOUT, GRAPH, PAGE = "about.json", "model.onnx", "index.html"
MOST = 200  # MB of a graph that phones can hold
MOST_SINGLE = 25  # MB of a graph within a single file, which a browser holds three times
_STATIC = Path(__file__).parent / "web"
_FONTS = Path(__file__).parent.parent / "fonts"
_RUNTIME = "runtime"
_NOT_OFFLINE = (
    "examples/",
    "README.txt",
    "NOTICES.txt",
    "whatsit.d.ts",
    "sw.js",
)  # what the page itself never asks for
_NO_MODULES = ("boot.js", "sw.js", f"{_RUNTIME}/{GPU_SCRIPT}")  # that the page starts with
_PROBE = 16  # classes whose probabilities a page knows of a drawn picture
_BASE = re.compile(r"/(?:[A-Za-z0-9._~-]+/)*")
_INLINE = re.compile(r'\s*<script type="application/octet-stream" data-file="([\w./-]+)">([A-Za-z0-9+/=]*)</script>')


@dataclass(frozen=True)
class WebOptions:
    """What `whatsit export --format web` can be told.

    `precision` is that of the weights, one of `PRECISIONS`; `runtime` a folder with the npm package, where there is no network;
    `base_path` the path of the page on its site, such as `/shop/`, for hosts that also show it without the last slash. `webgpu`
    adds the runtime for graphics processors, which a page uses where it gives the same answers.
    """

    precision: str = "int16"
    runtime: Path | None = None
    base_path: str | None = None
    single_file: bool = False
    webgpu: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError(f"unknown precision '{self.precision}'{suggest(self.precision, PRECISIONS)}")
        if self.webgpu and self.single_file:
            raise UsageError("--webgpu is for a folder, not for --single-file")
        if self.base_path is not None:
            path = f"/{self.base_path.strip('/')}/".replace("//", "/")
            if not _BASE.fullmatch(path) or {".", ".."} & {*path.split("/")}:
                raise UsageError(
                    f"--base-path is the path of the page on its site, such as /shop/ or /en/shop/; received '{self.base_path}'"
                )
            object.__setattr__(self, "base_path", path)

    def require_room(self, graph: int) -> None:
        """Raise `ModelError` where a graph of this many bytes is too large for a page."""
        most = MOST_SINGLE if self.single_file else MOST
        if graph <= most * 1e6:
            return
        hint = "export the folder, without --single-file" if graph <= MOST * 1e6 else "export one of its members"
        smaller = "; --precision int8 makes it smaller" if self.precision != "int8" else ""
        what = "a single file" if self.single_file else "a web page"
        raise ModelError(
            f"the model's {graph / 1e6:.0f} MB are too many for {what}: at most {most} MB; {hint}{smaller}"
        )


def web_options(
    formats: str, *, precision: str | None, runtime: Path | None, base_path: str | None, single_file: bool, webgpu: bool
) -> WebOptions:
    """Return the options given by a user.

    Raises `UsageError` where there are any, and the format web is not among the formats.
    """
    given: dict[str, Any] = {
        "precision": precision,
        "runtime": runtime,
        "base_path": base_path,
        "single_file": single_file or None,
        "webgpu": webgpu or None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if given and WEB not in [name.strip() for name in formats.split(",")]:
        option = f"--{next(iter(given)).replace('_', '-')}"
        raise UsageError(f"{option} is for --format web only; received --format {formats}")
    return WebOptions(**given)


def write_website(
    bundle: Bundle, folder: Path, options: WebOptions, *, name: str, gate: Mapping[str, Any] | None = None
) -> Path:
    """Write the website around a graph; return its path.

    That is the folder that holds the graph as `model.onnx`, or with `single_file` a file beside it.

    Args:
        bundle: the model.
        folder: holds `model.onnx` and nothing else.
        options: see there.
        name: what the model is called, such as its run.
        gate: the comparison with the model on the test pictures, where there was one.

    Raises:
        ModelError: the graph is too large for a page.
        RuntimeMissingError: the runtime cannot be fetched.
        OSError: the folder cannot be written.
    """
    graph = (folder / GRAPH).read_bytes()
    options.require_room(len(graph))
    files = {name: data.read_bytes() for name, data in _static_files().items()}
    files |= {f"{_RUNTIME}/{name}": data for name, data in web_runtime(options.runtime, webgpu=options.webgpu).items()}
    files |= {name: text.encode() for name, text in companions(bundle).items()}
    files["Sarabun.ttf"] = (_FONTS / "Sarabun-Regular.ttf").read_bytes()
    files["NOTICES.txt"] = files["NOTICES.txt"].replace(b"{{font}}", (_FONTS / "OFL.txt").read_bytes())
    about = _about(bundle, graph, options, name, gate)
    sizes = {GRAPH: len(graph)} | {name: len(data) for name, data in files.items() if name.endswith(".bin")}
    files[ABOUT] = json.dumps(about | {"files": sizes}, ensure_ascii=False, indent=1).encode()
    base = options.base_path
    files[PAGE] = _page(files[PAGE].decode(), name, base).encode()
    scripts = json.dumps(sorted(name for name in files if name.endswith(".js") and name not in _NO_MODULES))
    files["boot.js"] = files["boot.js"].replace(b'"{{scripts}}"', scripts.encode())
    files["manifest.webmanifest"] = _manifest(files["manifest.webmanifest"], name, base)
    files["sw.js"] = _service_worker(files["sw.js"].decode(), {**files, GRAPH: graph}).encode()
    if options.single_file:
        path = folder.with_suffix(".html")
        path.write_text(_inlined({**files, GRAPH: graph}), encoding="utf-8")
        return path
    for file, data in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
    return folder


def website_name(model: Path) -> str:
    """Return the name of a model on its page: of its run, or of its file."""
    name = model.absolute().parent.name if model.name == MODEL else model.stem
    return plain(name) or "whatsit"


def read_website(page: Path) -> tuple[dict[str, Any], bytes]:
    """Return what a website says of its model, and the graph.

    `page` is its `model.onnx`, or a page in a single file. Raises `BundleError`.
    """
    try:
        if page.suffix != ".html":
            about, graph = (page.parent / ABOUT).read_bytes(), page.read_bytes()
        else:
            inline = dict(_INLINE.findall(page.read_text(encoding="utf-8")))
            about, graph = base64.b64decode(inline[ABOUT]), base64.b64decode(inline[GRAPH])
        found = json.loads(about)
        if not isinstance(found, dict) or found.get("precision") not in PRECISIONS:
            raise ValueError("it says nothing of a model")
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise BundleError(f"{page}: this is no page of a model, or it is incomplete: {error}") from None
    return found, graph


def _static_files() -> dict[str, Path]:
    paths = sorted(path for path in _STATIC.rglob("*") if path.is_file() and not path.name.startswith((".", "_")))
    return {path.relative_to(_STATIC).as_posix(): path for path in paths}


def _about(
    bundle: Bundle, graph: bytes, options: WebOptions, name: str, gate: Mapping[str, Any] | None
) -> dict[str, Any]:
    test: dict[str, Any] | None = None
    if bundle.test:
        low, high = bundle.test["accuracy_ci95"]
        test = {"accuracy": bundle.test["accuracy"], "low": low, "high": high, "n": bundle.test["n"]}
        test["refused"] = bundle.test.get("refused")
    return {
        "format": 1,
        "name": name,
        "classes": list(bundle.classes),
        "size": preprocessing(bundle)["size"],
        "resize": bundle.input.resize,
        "outputs": list(output_names(graph)),
        "probe": _probe(bundle, graph),
        "unknown": bundle.unknown and {"threshold": bundle.unknown.threshold, "accepts": bundle.unknown.accepts},
        **({"costs": [list(row) for row in bundle.costs.matrix]} if bundle.costs else {}),
        "precision": options.precision,
        "test": test,
        "gate": gate,
        "created": str(bundle.provenance.get("created", ""))[:10],
        "model": fingerprint(bundle),
        "whatsit": __version__,
        "runtime": f"{PACKAGE} {VERSION}",
        "base_path": options.base_path,
    }


def _probe(bundle: Bundle, graph: bytes) -> list[float]:
    """Return the probabilities of a drawn picture, by which a page tests a browser."""
    places = np.arange(bundle.input.height * bundle.input.width * 3, dtype=np.int64)
    pixels = ((places * 7919 + (places >> 8) * 104729) % 256).astype(np.uint8)
    engine = open_engine(graph, ["probabilities"], runtime="onnxruntime")
    [probabilities] = engine.run(pixels.reshape(1, bundle.input.height, bundle.input.width, 3))
    return [float(value) for value in probabilities[0, :_PROBE]]


def _page(text: str, name: str, base: str | None) -> str:
    text = text.replace("{{name}}", html.escape(name))
    return text.replace("<!-- base -->", f'<base href="{base}">' if base else "")


def _manifest(template: bytes, name: str, base: str | None) -> bytes:
    manifest = json.loads(template)
    manifest |= {"name": name, "short_name": name[:20]}
    if base:
        manifest |= {"id": base, "start_url": base, "scope": base}
    return json.dumps(manifest, ensure_ascii=False, indent=1).encode()


def _service_worker(text: str, files: Mapping[str, bytes]) -> str:
    """Name the files to keep for use without a network, and their version.

    The version changes with any file.
    """
    kept = sorted(name for name in files if not name.startswith(_NOT_OFFLINE))
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{hashlib.sha256(files[name]).hexdigest()}\n".encode())
    return text.replace("{{version}}", digest.hexdigest()[:16]).replace('"{{files}}"', json.dumps(kept))


def _inlined(files: Mapping[str, bytes]) -> str:
    """Return the page as one HTML file, which fetches nothing.

    Scripts and the model lie in it as base64, which `boot.js` makes files of.
    """
    boot, style = files["boot.js"].decode(), files["style.css"].decode()
    font = base64.b64encode(files["Sarabun.ttf"]).decode()
    style = style.replace('url("Sarabun.ttf")', f"url(data:font/ttf;base64,{font})")
    icon = base64.b64encode(files["icon.svg"]).decode()
    left_out = (
        PAGE,
        "boot.js",
        "style.css",
        "sw.js",
        "manifest.webmanifest",
        "Sarabun.ttf",
        "labels.txt",
        "preprocess.json",
    )
    data = "\n".join(
        f'<script type="application/octet-stream" data-file="{name}">{base64.b64encode(content).decode()}</script>'
        for name, content in files.items()
        if name not in left_out and not name.startswith(_NOT_OFFLINE) and not name.startswith("icon")
    )
    policy = (
        f"default-src 'none'; script-src '{_hash(boot)}' blob: 'wasm-unsafe-eval'; worker-src blob:; connect-src blob:; "
        f"img-src blob: data:; media-src blob:; style-src '{_hash(style)}'; font-src data:; base-uri 'none'; form-action 'none'"
    )
    page = files[PAGE].decode()
    page = re.sub(
        r'(http-equiv="Content-Security-Policy" content=)"[^"]*"', lambda found: f'{found[1]}"{policy}"', page
    )
    page = re.sub(r'<link rel="(?:manifest|apple-touch-icon)"[^>]*>\n?', "", page)
    page = page.replace('href="icon.svg"', f'href="data:image/svg+xml;base64,{icon}"')
    page = page.replace('src="icon.svg"', f'src="data:image/svg+xml;base64,{icon}"')
    page = page.replace('<link rel="stylesheet" href="style.css">', f"<style>{style}</style>")
    return page.replace('<script src="boot.js"></script>', f"{data}\n<script>{boot}</script>")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

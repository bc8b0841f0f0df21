"""What exported pages run on: from npm or a folder, checked, cached."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from whatsit.bundle import web_runtime as module
from whatsit.bundle.web_runtime import BINARY, PROCESSOR, SCRIPT, RuntimeMissingError, web_runtime
from whatsit.errors import UsageError


@pytest.fixture
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a cache, npm or a registry; its home."""
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WHATSIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(module.shutil, "which", lambda *_, **__: None)
    return tmp_path


def unpacked(folder: Path, files: dict[str, bytes]) -> Path:
    """The runtime as the npm package has it."""
    dist = folder / "package" / "dist"
    dist.mkdir(parents=True)
    for name, data in zip(PROCESSOR, (files[SCRIPT], gzip.decompress(files[BINARY])), strict=True):
        (dist / name).write_bytes(data)
    return folder


def test_it_is_read_from_the_cache_without_npm(
    runtime: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_download", lambda: pytest.fail("it is in the cache"))
    assert web_runtime() == runtime


def test_without_npm_and_network_the_folder_is_asked_for(nothing_here: Path) -> None:
    with pytest.raises(RuntimeMissingError, match=r"npm pack onnxruntime-web@1\.30\.0.* --runtime DIR"):
        web_runtime()


def test_a_folder_takes_the_place_of_npm(nothing_here: Path, runtime: dict[str, bytes]) -> None:
    assert web_runtime(unpacked(nothing_here / "by-hand", runtime)) == runtime


def test_another_version_in_the_folder_is_refused(nothing_here: Path, runtime: dict[str, bytes]) -> None:
    folder = unpacked(nothing_here / "by-hand", runtime)
    (folder / "package" / "dist" / "ort.wasm.bundle.min.mjs").write_bytes(b"another")
    with pytest.raises(UsageError, match=r"is not that of onnxruntime-web 1\.30\.0"):
        web_runtime(folder)


def test_a_folder_without_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no ort\.wasm\.bundle\.min\.mjs"):
        web_runtime(tmp_path)


@pytest.mark.parametrize("where", ["environment", "npmrc"])
def test_what_a_registry_sends_must_have_the_published_hash(
    nothing_here: Path, host, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    archive = nothing_here / "served" / "onnxruntime-web" / "-" / "onnxruntime-web-1.30.0.tgz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"something else")
    with host(nothing_here / "served") as address:
        if where == "environment":
            monkeypatch.setenv("npm_config_registry", address)
        else:
            (nothing_here / ".npmrc").write_text(f"fund=false\nregistry={address}\n")
        with pytest.raises(RuntimeMissingError, match="another hash than published; nothing was kept"):
            web_runtime()
    assert not (nothing_here / "cache").exists()


def test_a_registry_without_the_package_is_named(nothing_here: Path, host, monkeypatch: pytest.MonkeyPatch) -> None:
    with host(nothing_here) as address:
        monkeypatch.setenv("npm_config_registry", address)
        with pytest.raises(RuntimeMissingError, match=r"cannot be downloaded here \(http://127.*404"):
            web_runtime()


def test_a_damaged_cache_is_not_used(runtime: dict[str, bytes], nothing_here: Path) -> None:
    folder = nothing_here / "cache" / "runtimes" / "onnxruntime-web-1.30.0"
    folder.mkdir(parents=True)
    (folder / SCRIPT).write_bytes(b"damaged")
    (folder / BINARY).write_bytes(runtime[BINARY])
    with pytest.raises(RuntimeMissingError, match="cannot be downloaded here"):
        web_runtime()

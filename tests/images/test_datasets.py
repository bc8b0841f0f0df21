from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from whatsit.errors import DataError
from whatsit.images.datasets import RemoteFile, download, load_named
from whatsit.images.decode import decode


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which a server on this machine offers it."""
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def publish(site: tuple[Path, str], name: str, data: bytes) -> RemoteFile:
    (site[0] / name).write_bytes(data)
    return RemoteFile(f"{site[1]}/{name}", f"sha256:{hashlib.sha256(data).hexdigest()}")


def test_digits_are_embedded() -> None:
    dataset = load_named("digits")
    assert dataset.classes == tuple("0123456789")
    assert len(dataset.pictures) == 1797
    assert decode(dataset.read(dataset.pictures[0])).shape == (32, 32, 3)


def test_download_is_checked_and_cached(site: tuple[Path, str], tmp_path: Path) -> None:
    file = publish(site, "data.bin", b"x" * 1000)
    path = download(file, tmp_path / "cache")
    (site[0] / "data.bin").unlink()
    assert download(file, tmp_path / "cache") == path
    assert path.read_bytes() == b"x" * 1000


def test_download_with_a_wrong_hash_is_not_kept(site: tuple[Path, str], tmp_path: Path) -> None:
    file = RemoteFile(publish(site, "data.bin", b"tampered").url, "md5:" + "0" * 32)
    with pytest.raises(DataError, match="another md5 hash than published"):
        download(file, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_file_put_there_by_hand_is_checked_too(site: tuple[Path, str], tmp_path: Path) -> None:
    file = publish(site, "data.bin", b"right")
    (tmp_path / "data.bin").write_bytes(b"<html>an error page")
    with pytest.raises(DataError, match=r"data\.bin: this file has another sha256 hash than published"):
        download(file, tmp_path)


def test_download_that_fails_says_where_to_put_the_file(site: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the download failed .*put it at .*cache.missing.bin, or use .*'digits'"):
        download(RemoteFile(f"{site[1]}/missing.bin", "md5:0"), tmp_path / "cache")


def test_cifar10_binary_format(site: tuple[Path, str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    records = b"".join(bytes([i % 2]) + picture.transpose(2, 0, 1).tobytes() for i, picture in enumerate(pixels))
    contents = {
        "batches.meta.txt": b"cat\ndog\n",
        "data_batch_1.bin": records[: 2 * 3073],
        "test_batch.bin": records[2 * 3073 :],
    }
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in contents.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    dataset = load_named("cifar10", files={"cifar10": (publish(site, "cifar-10-binary.tar.gz", file.getvalue()),)})
    assert [(p.label, p.split) for p in dataset.pictures] == [
        ("cat", "train"), ("dog", "train"), ("cat", "test"), ("dog", "test"),
    ]  # fmt: skip
    assert np.array_equal(decode(dataset.read(dataset.pictures[3])), pixels[3])


def test_mnist_format(site: tuple[Path, str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    images = gzip.compress(b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in pixels.shape) + pixels.tobytes())
    labels = gzip.compress(b"\0\0\x08\x01" + (3).to_bytes(4, "big") + bytes([7, 0, 7]))
    names = ("a-images.gz", "a-labels.gz", "b-images.gz", "b-labels.gz")
    files = tuple(publish(site, name, data) for name, data in zip(names, (images, labels, images, labels), strict=True))
    dataset = load_named("mnist", files={"mnist": files})
    assert dataset.classes == ("0", "7")
    assert np.array_equal(decode(dataset.read(dataset.pictures[1]))[..., 0], pixels[1])

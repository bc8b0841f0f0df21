"""Data sets by name: `digits` of scikit-learn, others downloaded and checked."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from whatsit.cache import cache_folder, mark_used
from whatsit.errors import DataError, needing
from whatsit.files import replacing
from whatsit.images.scan import Dataset, list_folders
from whatsit.images.stores import ZipStore
from whatsit.images.walk import LeftOut

Arrays = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file to download, with the hash that its publisher states, as `sha256:...`."""

    url: str
    hash: str

    @property
    def name(self) -> str:
        """Return the last part of the address."""
        return self.url.rsplit("/", 1)[-1]


_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_TORONTO = "https://www.cs.toronto.edu/~kriz/"


def _idx_files(address: str, *hashes: str) -> tuple[RemoteFile, ...]:
    """Return the four files of a data set in MNIST's format, with their MD5 hashes."""
    names = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return tuple(RemoteFile(address + name, f"md5:{digest}") for name, digest in zip(names, hashes, strict=True))


FILES: Mapping[str, tuple[RemoteFile, ...]] = {
    "digits": (),
    "cifar10": (RemoteFile(_TORONTO + "cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530"),),
    "cifar100": (RemoteFile(_TORONTO + "cifar-100-binary.tar.gz", "md5:03b5dce01913d631647c71ecec9e9cb8"),),
    "mnist": _idx_files(
        _MNIST,
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion-mnist": _idx_files(
        _FASHION,
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "cats-vs-dogs": (
        RemoteFile(
            "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip",
            "sha256:b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
        ),
    ),
}

_MNIST_CLASSES = tuple("0123456789")
_FASHION_CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


class ArrayStore:
    """Images in memory, uint8 `[h, w]` grey or `[h, w, 3]` RGB, read as BMP files."""

    def __init__(self, arrays: Mapping[str, Arrays]) -> None:
        self._arrays = arrays

    def pictures(self, left_out: LeftOut) -> Iterator[str]:
        """Yield all names."""
        return iter(self._arrays)

    def read(self, name: str) -> bytes:
        """Return an image as a BMP file."""
        file = io.BytesIO()
        Image.fromarray(self._arrays[name]).save(file, "BMP")
        return file.getvalue()


def load_named(
    name: str, *, files: Mapping[str, tuple[RemoteFile, ...]] = FILES, progress: Progress | None = None
) -> Dataset:
    """Return a data set by its name, without fingerprints yet.

    Raises:
        DataError: the download failed or does not have the published hash; the message says where to put the file.
        MissingExtraError: `digits` was asked for and scikit-learn is not installed.
    """
    paths = [download(file, cache_folder() / "datasets" / name, progress) for file in files[name]]
    if name == "cats-vs-dogs":
        return list_folders(name, ZipStore(paths[0]))
    arrays: dict[str, Arrays]
    if name == "digits":
        arrays = _digits()
    elif name in ("cifar10", "cifar100"):
        arrays = _cifar(paths[0], fine=name == "cifar100")
    else:
        arrays = _idx_pictures(paths, _MNIST_CLASSES if name == "mnist" else _FASHION_CLASSES)
    return list_folders(name, ArrayStore(arrays))


def download(file: RemoteFile, folder: Path, progress: Progress | None = None) -> Path:
    """Download a file into `folder` unless it is there, and check its hash."""
    path = folder / file.name
    algorithm, expected = file.hash.split(":")
    new_digest = partial(hashlib.new, algorithm, usedforsecurity=False)
    if path.exists():
        with path.open("rb") as present:
            digest = hashlib.file_digest(present, new_digest)
        if digest.hexdigest() == expected:
            mark_used(path)
            return path
        raise DataError(f"{path}: this file has another {algorithm} hash than published at {file.url}; remove it")
    digest = new_digest()
    request = urllib.request.Request(file.url, headers={"User-Agent": "whatsit"})  # noqa: S310 - a fixed table
    try:
        with urllib.request.urlopen(request, timeout=30) as answer, replacing(path) as out:  # noqa: S310
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            while block := answer.read(1 << 18):
                digest.update(block)
                out.write(block)
                done += len(block)
                if progress:
                    progress(done, total)
            if digest.hexdigest() != expected:
                raise DataError(
                    f"{file.url}: what was downloaded has another {algorithm} hash than published; nothing was kept"
                )
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"{file.url}: the download failed ({reason}); fetch the file by other means and put it at {path}, "
            f"or use the embedded data set 'digits'"
        ) from None
    return path


def _digits() -> dict[str, Arrays]:
    """Return scikit-learn's 1,797 digits (Alpaydin and Kaynak 1998), at 32x32."""
    with needing("The data set 'digits'", "train", "scikit-learn"):
        from sklearn.datasets import load_digits
    digits = load_digits()
    small = np.rint(digits.images * (255.0 / 16.0)).astype(np.uint8)
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    return {
        f"{label}/{i:04d}.bmp": picture for i, (picture, label) in enumerate(zip(large, digits.target, strict=True))
    }


def _cifar(path: Path, *, fine: bool) -> dict[str, Arrays]:
    """Read CIFAR's binary version (Krizhevsky 2009).

    A record is one label byte (two in CIFAR-100) and 3x32x32 samples.
    """
    arrays: dict[str, Arrays] = {}
    with tarfile.open(path) as archive:
        contents = {Path(m.name).name: m for m in archive.getmembers() if m.isreg()}
        names = _member(archive, contents["fine_label_names.txt" if fine else "batches.meta.txt"]).decode().split()
        for member_name, member in sorted(contents.items()):
            if not member_name.endswith(".bin"):
                continue
            records = np.frombuffer(_member(archive, member), np.uint8).reshape(-1, 3074 if fine else 3073)
            pictures = records[:, -3072:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            part = "test" if member_name.startswith("test") else "train"
            for i, (picture, label) in enumerate(zip(pictures, records[:, int(fine)], strict=True)):
                arrays[f"{part}/{names[label]}/{member_name[:-4]}-{i:05d}.bmp"] = np.ascontiguousarray(picture)
    return arrays


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file: Any = archive.extractfile(member)
    content: bytes = file.read()
    return content


def _idx_pictures(paths: list[Path], classes: tuple[str, ...]) -> dict[str, Arrays]:
    """Read MNIST's format (LeCun 1998).

    A header of 4 bytes and one big-endian size a dimension, then the samples.
    """
    arrays: dict[str, Arrays] = {}
    for part, images, labels in (("train", paths[0], paths[1]), ("test", paths[2], paths[3])):
        for i, (picture, label) in enumerate(zip(_idx(images), _idx(labels), strict=True)):
            arrays[f"{part}/{classes[int(label)]}/{i:05d}.bmp"] = picture
    return arrays


def _idx(path: Path) -> Arrays:
    data = gzip.decompress(path.read_bytes())
    dimensions = data[3]
    shape = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions))
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)

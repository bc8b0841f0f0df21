"""A manifest as a data set to train on."""

from __future__ import annotations

import contextlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from whatsit.cache import cache_folder
from whatsit.errors import DataError
from whatsit.files import DiskError
from whatsit.images.audit import audit_cache
from whatsit.images.locate import Reader
from whatsit.images.manifest import ImageRow, Manifest
from whatsit.images.names import label_fault
from whatsit.images.pictures import Picture, Pictures
from whatsit.images.places import is_address, open_place
from whatsit.images.scan import Dataset, with_digests
from whatsit.images.walk import LeftOut
from whatsit.images.workers import Handled, SharedWork, Workers


class ManifestStore:
    """The images of a manifest, by name."""

    def __init__(self, manifest: Manifest) -> None:
        """Read all rows. Raises `DataError`, `PlaceError`."""
        self.root = manifest.root
        self.rows: dict[str, ImageRow] = {}
        for number, row in enumerate(manifest.rows(), 1):
            before = self.rows.get(row.name)
            if before is None:
                self.rows[row.name] = row
            elif before.label != row.label:  # the contents are compared later; both are images of their own until then
                self.rows[f"{row.name} (row {number})"] = row
        self._reader = Reader(manifest.root)

    def pictures(self, left_out: LeftOut) -> Iterator[str]:
        """Yield the names of the images, as `Store` says."""
        return iter(self.rows)

    def read(self, name: str) -> bytes:
        """Return a file's bytes. Raises `ImageError`."""
        return self._reader.read(self.rows[name])


def list_manifest(address: str, workers: Callable[[ManifestStore], Workers] | None = None) -> Dataset:
    """Return the data set of a manifest; its files are still to be fingerprinted.

    `workers` returns those who will work on the images of a store.

    Raises:
        DataError: it has no classes, or is damaged. PlaceError: it cannot be read.
    """
    manifest = Manifest(open_place(address))
    store = ManifestStore(manifest)
    require_root(manifest)
    unlabelled = sum(row.label is None for row in store.rows.values())
    if unlabelled:
        raise DataError(
            f"{address}: {unlabelled:,} of {len(store.rows):,} pictures have no class; put them into class folders, or list "
            f"them with the columns path,label, and cut the manifest again"
        )
    pictures = Pictures.of(_picture(name, row, address) for name, row in store.rows.items())
    if len({picture.split is None for picture in pictures}) > 1:
        raise DataError(f"{address}: every picture must have a split, or none")
    classes = tuple(sorted(pictures.counts()))
    return Dataset(address, store, pictures, classes, Counter(), workers=workers(store) if workers else None)


def require_root(manifest: Manifest) -> None:
    """Raise `DataError` where the folder of the images is gone."""
    if not is_address(manifest.root) and not Path(manifest.root).is_dir():
        raise DataError(
            f"{manifest.address}: the pictures were in {manifest.root}, which is no longer there; put them back, or cut the "
            f"manifest again with: whatsit shard"
        )


def _picture(name: str, row: ImageRow, address: str) -> Picture:
    label = unicodedata.normalize("NFC", (row.label or "").strip())
    if fault := label_fault(label):
        raise DataError(f"{address}: {row.name}: the class name {label[:40]!r} {fault}")
    return Picture(name, label, row.split, group=row.group)


def measure_by(workers: Workers, dataset: Dataset, progress: Callable[[int, int], None]) -> Dataset:
    """Take the fingerprints of all files, and their measures for the audit, by others."""
    names = [picture.name for picture in dataset.pictures]
    digests = np.zeros((len(names), 32), np.uint8)
    errors: dict[int, str] = {}
    cache = audit_cache(cache_folder())
    done = 0

    def take(places: Sequence[int], found: Sequence[Handled]) -> None:
        nonlocal done
        good = [place for place, one in zip(places, found, strict=True) if not one.error]
        rows = [one for one in found if not one.error]
        errors.update({place: one.error for place, one in zip(places, found, strict=True) if one.error})
        if good:
            digests[good] = np.frombuffer(b"".join(one.digest for one in rows), np.uint8).reshape(-1, 32)
            values = np.frombuffer(b"".join(one.data for one in rows), np.uint8).reshape(len(rows), -1)
            with contextlib.suppress(DiskError):  # they are measured again then
                cache.add("rows", digests[good].view("S32")[:, 0], values)
        done += len(places)
        progress(done, len(names))

    workers.handle(SharedWork("measure", {}, b"", cache.width), names, take)
    return with_digests(dataset, digests, [(names[place], why) for place, why in sorted(errors.items())])

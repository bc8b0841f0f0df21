"""Read a bundle that may come from anybody, and trust nothing in it.

It is read in memory; every member is listed, hashed and bounded.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import stat
import zipfile
import zlib
from pathlib import Path
from typing import Any

from whatsit.bundle.costs_file import costs_from
from whatsit.bundle.format import (
    CARD,
    COSTS_FORMAT,
    FORMAT,
    GRAPH,
    MANIFEST,
    MAX_BUNDLE,
    MAX_GOLDEN,
    MAX_MEMBERS,
    MAX_TEXT,
    REFERENCE_PREDICTIONS,
    Bundle,
    Conformal,
    InputSpec,
    Reference,
    UnknownRule,
)
from whatsit.errors import BundleError, MissingBundleError
from whatsit.graph.check import check_graph
from whatsit.images.decode import RULES
from whatsit.images.names import label_fault, plain, plain_text
from whatsit.images.walk import list_folder
from whatsit.run_files import BEST, MODEL, REPLACES, UNFINISHED

_GOLDEN_FILE = re.compile(r"golden/[0-9]{2}\.[a-z]{3,4}")
_MAX_SIDE = 4096
_NAMED = 5  # models in a folder that is none itself


def find_bundle(path: str | Path) -> Path:
    """Return the `.whatsit` file of a path to it, to its run folder, or to a study.

    Raises `BundleError` for an empty path.
    """
    if not str(path).strip():  # `Path` would take it for the current folder
        raise BundleError("MODEL is empty; give a .whatsit file or a run folder")
    path = Path(path)
    if not path.is_dir():
        return path
    whole = path / MODEL
    return path / BEST / MODEL if not whole.exists() and (path / BEST).is_dir() else whole


def run_folder(path: str | Path) -> Path | None:
    """Return the run folder of a model; None for a `.whatsit` file outside of one."""
    bundle = find_bundle(path)
    return bundle.parent if bundle.name == MODEL else None


def read_bundle(path: str | Path) -> Bundle:
    """Return the checked contents of a `.whatsit` file or of a run folder's model.

    Raises:
        BundleError: the file is missing, cut short, tampered with, hostile, or of another format.
    """
    try:
        path = find_bundle(path)
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise BundleError(f"{path}: this is not a file, so it is no model")
        if info.st_size > MAX_BUNDLE:
            raise BundleError(f"{path}: {info.st_size:,} bytes are too many for a bundle; at most {MAX_BUNDLE:,}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise MissingBundleError(_missing(Path(path))) from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return parse_bundle(data, str(path))


def _missing(path: Path) -> str:
    """Say that there is no model, and what to do.

    That is to name one of those in the folder, or to train one.
    """
    folder = path.parent if path.name == MODEL else path
    found = _models_in(folder)
    if not found:
        return f"{path}: there is no such model; {_way_out(folder)}"
    such = ", ".join(map(str, found[:_NAMED]))
    which = "only one: name" if len(found) == 1 else f"{len(found):,} models; name one, such as"
    return f"{folder} is no model, but holds {which} {such}"


def _models_in(folder: Path) -> list[Path]:
    """Return the models in a folder, the newest first: runs, studies and files."""
    try:
        folders, files = list_folder(folder)
        found = {
            folder / name: find_bundle(folder / name) for name in (*folders, *files) if not name.endswith(UNFINISHED)
        }
        times = {path: model.stat().st_mtime for path, model in found.items() if _is_model(model)}
    except (OSError, ValueError):
        return []
    return sorted(times, key=lambda path: (-times[path], path))


def _is_model(path: Path) -> bool:
    return path.suffix == Path(MODEL).suffix and path.is_file()


def _way_out(folder: Path) -> str:
    whole = folder.absolute()  # `.` has no name
    if (whole.parent / f"{whole.name}{UNFINISHED}" / REPLACES).is_file():
        return f"an update of it was killed just before its end; end it with: whatsit train --update {folder} --resume"
    return "train one with: whatsit train DATA"


def parse_bundle(data: bytes, name: str) -> Bundle:
    """Return the checked contents of a file's bytes; `name` is what errors call it."""
    try:
        members = _members(data)
        manifest = json.loads(members.pop(MANIFEST))
        _check_format(manifest["format"])
        _check_hashes(manifest["sha256"], members)
        bundle = _bundle(manifest, members)
    except BundleError as error:  # from below, where the name is not known
        raise BundleError(f"{name}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise BundleError(f"{name}: {MANIFEST} is damaged: {type(error).__name__} {plain(str(error)[:100])}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise BundleError(f"{name}: not a whole .whatsit file, it may be cut short: {error}") from None
    try:
        check_graph(bundle.graph)
    except ValueError as error:
        raise BundleError(f"{name}: {GRAPH} was refused: {error}") from None
    return bundle


def _members(data: bytes) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        if any(info.header_offset < 0 for info in infos):
            raise zipfile.BadZipFile("its beginning is missing")
        total = sum(info.file_size for info in infos)
        if total > MAX_BUNDLE or total > 100 * len(data) + (1 << 20):
            raise BundleError(f"refused as a decompression bomb: {len(data):,} bytes unpack to {total:,}")
        if len(infos) > MAX_MEMBERS:
            raise BundleError(f"refused, because it has {len(infos):,} members; at most {MAX_MEMBERS} are in a bundle")
        for info in infos:
            member, most = info.filename, _most_bytes(info.filename)
            if most is None or member in members:
                raise BundleError(f"refused, because '{plain(member[:100])}' does not belong in a bundle")
            if info.file_size > most:
                raise BundleError(
                    f"refused, because '{member}' has {info.file_size:,} bytes; at most {most:,} are read"
                )
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without bounds
                raise BundleError(f"refused, because '{plain(member[:100])}' is neither stored nor deflated")
            with archive.open(info) as file:
                # Never more than the table of contents promised, even if there are more.
                members[member] = file.read(info.file_size)
    if MANIFEST not in members:
        raise BundleError(f"not a whatsit model: {MANIFEST} is missing")
    return members


def _most_bytes(member: str) -> int | None:
    """Return how large a member may be; None for one that does not belong in a bundle."""
    if member in (MANIFEST, CARD, REFERENCE_PREDICTIONS):
        return MAX_TEXT
    if member == GRAPH:
        return MAX_BUNDLE
    return MAX_GOLDEN if _GOLDEN_FILE.fullmatch(member) else None


def _check_format(found: Any) -> None:
    if isinstance(found, int) and found > COSTS_FORMAT:
        raise BundleError(
            f"format {found} is newer than this whatsit reads ({COSTS_FORMAT}); run: pip install -U whatsit"
        )
    if found not in (FORMAT, COSTS_FORMAT):
        raise BundleError(
            f"unknown bundle format {str(found)[:50]!r}; this whatsit reads formats {FORMAT} and {COSTS_FORMAT}"
        )


def _check_hashes(hashes: dict[str, str], members: dict[str, bytes]) -> None:
    if GRAPH not in members:
        raise BundleError(f"{GRAPH} is missing")
    if odd := sorted(set(hashes) ^ set(members)):
        raise BundleError(f"its list of contents and its contents differ in '{plain(odd[0][:100])}'")
    for member, data in members.items():
        if hashlib.sha256(data).hexdigest() != hashes[member]:
            raise BundleError(f"'{member}' is damaged or was changed (wrong SHA-256)")


def _bundle(manifest: Any, members: dict[str, bytes]) -> Bundle:
    classes = _classes(manifest["classes"])
    temperature = float(manifest["calibration"]["temperature"])
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError("the temperature is out of range")
    if not isinstance(manifest["provenance"], dict) or not isinstance(manifest["test"], dict | None):
        raise ValueError("the provenance or the test metrics are not tables")
    return Bundle(
        classes=classes,
        input=_input(manifest["input"]),
        graph=members[GRAPH],
        temperature=temperature,
        unknown=_unknown(manifest["unknown"]),
        conformal=_conformal(manifest.get("conformal")),
        costs=costs_from(manifest.get("costs"), classes),
        test=_plain_values(manifest["test"]),
        provenance=_plain_values(manifest["provenance"]),
        references=_references(members, len(classes)),
        card=plain_text(members.get(CARD, b"").decode()),
    )


def _classes(labels: Any) -> tuple[str, ...]:
    texts = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    if not texts or len(labels) < 2 or len(set(labels)) < len(labels):
        raise BundleError("its classes are damaged")
    for place, label in enumerate(labels, 1):
        if fault := label_fault(label):
            raise BundleError(f"refused, because the name of class {place} {fault}")
    return tuple(labels)


def _input(value: Any) -> InputSpec:
    spec = InputSpec(int(value["height"]), int(value["width"]), str(value["resize"]))
    if not (1 <= spec.height <= _MAX_SIDE and 1 <= spec.width <= _MAX_SIDE):
        raise BundleError(f"its input size {spec.height} x {spec.width} is out of range")
    if spec.resize not in RULES or value["channels"] != "RGB" or value["dtype"] != "uint8":
        raise BundleError(
            f"this whatsit cannot prepare pictures by the rule '{plain(spec.resize[:50])}'; update whatsit"
        )
    return spec


def _references(members: dict[str, bytes], classes: int) -> tuple[Reference, ...]:
    references = tuple(
        Reference(
            str(one["file"]),
            members[f"golden/{one['file']}"],
            str(one["label"]),
            tuple(float(p) for p in one["probabilities"]),
            None if one.get("ood_score") is None else float(one["ood_score"]),
        )
        for one in json.loads(members.get(REFERENCE_PREDICTIONS, b"[]"))
    )
    for one in references:
        if len(one.probabilities) != classes:
            raise BundleError("a reference prediction has the wrong number of probabilities")
        if not all(0 <= p <= 1 for p in one.probabilities):
            raise BundleError("a reference prediction has a probability outside 0 to 1")
        if one.ood_score is not None and not math.isfinite(one.ood_score):
            raise BundleError("a reference prediction has a score that is not a number")
    return references


def _plain_values(value: Any) -> Any:
    """Return a JSON value whose texts hold no invisible characters."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, list):
        return [_plain_values(item) for item in value]
    if isinstance(value, dict):
        return {plain_text(key): _plain_values(item) for key, item in value.items()}
    return value


def _unknown(value: Any) -> UnknownRule | None:
    if value is None:
        return None
    rule = UnknownRule(str(value["method"])[:200], float(value["threshold"]), float(value["accepts"]))
    if not 0 <= rule.threshold < math.inf or not 0 <= rule.accepts <= 1:
        raise ValueError("the rule for unknown pictures is out of range")
    return rule


def _conformal(value: Any) -> Conformal | None:
    if value is None:
        return None
    scores = tuple(float(score) for score in value["scores"])
    if not scores or not all(0 <= score <= 1 for score in scores) or list(scores) != sorted(scores):
        raise ValueError("the conformal scores are damaged")
    return Conformal(scores)

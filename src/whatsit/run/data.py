"""The images that a model was trained, validated and tested on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from whatsit.bundle.format import Bundle, InputSpec
from whatsit.bundle.read import run_folder
from whatsit.bundle.renamed import earlier_names
from whatsit.engines import Images
from whatsit.errors import DataError, UsageError
from whatsit.events import Reporter
from whatsit.graph.formats import Format
from whatsit.images.batches import decode_batches
from whatsit.images.data import open_data, require_classes, split_data
from whatsit.images.datasets import FILES
from whatsit.images.pictures import Pictures, find_keys
from whatsit.images.places import is_address
from whatsit.images.scan import Dataset
from whatsit.images.split import parse_fractions
from whatsit.run.record import RecordError, read_metrics, read_split
from whatsit.training.knobs import AUTO

SAMPLES = 300  # training images that show an int8 format the range of each value


def open_as_in_run(model: str | Path, bundle: Bundle, data: str | Path | None, reporter: Reporter) -> Dataset:
    """Return the data set of a run, split as in that run; for a model alone, DATA.

    For a model alone, which images it was trained on may not be known. Where DATA does not come with a test split, and is not
    exactly what the bundle was made of, all of DATA is the test split, with a warning.

    Args:
        model: the run folder, or a `.whatsit` file in one or alone.
        bundle: its contents.
        data: where the images are now; None for where they were.
        reporter: gets progress and warnings.

    Raises:
        UsageError: where the images are is not known. DataError: they are gone or have changed.
    """
    folder = run_folder(model)
    data = data or (_data_of(folder) if folder else None)
    if data is None:
        raise UsageError(f"{model}: this needs the pictures that the model was trained on; give them with --data DATA")
    dataset = with_new_names(open_data(data, reporter), bundle)
    require_classes(dataset, bundle.classes)
    dataset = replace(dataset, classes=bundle.classes)
    recorded = read_split(folder) if folder else Pictures.of(())
    if not recorded:
        return _split_again(dataset, bundle, reporter)
    places = find_keys(dataset.pictures.keys, recorded.keys)
    pictures = dataset.pictures.take(places >= 0).with_splits(recorded.splits[places[places >= 0]])
    found, had = (int(some.where("test").sum()) for some in (pictures, recorded))
    if 0 < found < had:
        reporter.warn(f"{data}: only {found:,} of the run's {had:,} test pictures are there")
    if not found:
        raise DataError(f"{data}: none of these are test pictures of {folder}; give those with --data DATA")
    return replace(dataset, pictures=pictures)


def test_images(
    model: str | Path, bundle: Bundle, data: str | Path | None, targets: Sequence[Format], reporter: Reporter
) -> Dataset | None:
    """Return the data set whose test split the gate of some formats looks at, or None.

    int8 must pass the gate, so its images must be there. The page of a model with weights of 16 bits passes it where they are.

    Raises:
        UsageError: where the images are is not known. DataError: they are gone or have changed.
    """
    if any(target.int8 for target in targets) or (data and any(target.gated for target in targets)):
        return open_as_in_run(model, bundle, data, reporter)
    if any(target.gated for target in targets):
        with contextlib.suppress(UsageError, DataError):
            return open_as_in_run(model, bundle, data, reporter)
    return None


def with_new_names(dataset: Dataset, bundle: Bundle) -> Dataset:
    """Return data whose classes have the names of a renamed model's.

    Data that know the model's own names only stay as they are.
    """
    new = earlier_names(bundle)
    if not new or set(dataset.classes) <= set(bundle.classes):
        return dataset
    names = {label: new.get(label, label) for label in dataset.classes}
    return relabelled(dataset, names, tuple(sorted({*names.values()})))


def relabelled(dataset: Dataset, names: Mapping[str, str], classes: tuple[str, ...]) -> Dataset:
    """Return a data set with other names of classes, of which several may be one.

    `names` has them by the former ones.
    """
    pictures = Pictures.of(replace(one, label=names[one.label]) for one in dataset.pictures)
    return replace(dataset, pictures=pictures, classes=classes)


def _split_again(dataset: Dataset, bundle: Bundle, reporter: Reporter) -> Dataset:
    if dataset.pictures.where("test").any():
        return dataset
    recipe, made_of = bundle.provenance.get("recipe"), bundle.provenance.get("data")
    recipe = recipe if isinstance(recipe, dict) else {}
    seed, split = recipe.get("seed"), recipe.get("split") or AUTO
    if isinstance(seed, int) and seed >= 0 and isinstance(made_of, dict):
        with contextlib.suppress(DataError, ValueError):  # too few pictures for a split, or shares that are damaged
            fractions = None if split == AUTO else parse_fractions(str(split))
            as_then = split_data(dataset, seed, reporter, fractions=fractions)
            if as_then.fingerprint() == made_of.get("fingerprint"):
                return as_then
    reporter.warn(
        f"{dataset.source}: which of these pictures the model was trained on is not known, so the metrics may be too good; give "
        f"its run folder instead of the .whatsit file for honest ones"
    )
    return replace(dataset, pictures=dataset.pictures.with_splits("test"))


def calibration_pixels(dataset: Dataset, spec: InputSpec) -> Images:
    """Return training images (of a model alone: any) spread over the classes.

    Returns:
        uint8 `[N, H, W, 3]`, as the model takes them.

    Raises:
        DataError: none can be read.
    """
    pictures = dataset.of("train") or dataset.pictures
    order = np.random.default_rng(0).permutation(len(pictures))
    ranks = np.empty(len(pictures), np.int64)  # of each image within its class, in that order
    for rows in pictures.take(order).rows_by_label().values():
        ranks[order[rows]] = np.arange(len(rows))
    chosen = pictures.take(np.argsort(ranks, kind="stable")[:SAMPLES])
    size = (spec.height, spec.width)
    parts = [batch.pixels for batch in decode_batches(chosen, dataset.read, size, rule=spec.resize)]
    pixels = np.concatenate(parts) if parts else np.empty((0, *size, 3), np.uint8)
    if not len(pixels):
        raise DataError(f"{dataset.source}: no training picture of this model can be read")
    return pixels


def known_data(model: str | Path) -> str | None:
    """Return the DATA of a run, for a command that takes it.

    None where it is not known or not there any more.
    """
    folder = run_folder(model)
    data = _data_of(folder) if folder else None
    return data if data and (data in FILES or is_address(data) or Path(data).exists()) else None


def _data_of(folder: Path) -> str | None:
    try:
        data = read_metrics(folder).get("data")
    except RecordError:
        return None
    return data if isinstance(data, str) and data else None

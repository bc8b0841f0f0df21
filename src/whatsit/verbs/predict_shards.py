"""`whatsit predict --out`: answer the images of a manifest, shard by shard."""

from __future__ import annotations

import tempfile
from pathlib import Path

from whatsit.bundle.read import find_bundle, parse_bundle, read_bundle
from whatsit.engines import RUNTIMES
from whatsit.errors import UsageError
from whatsit.events import SILENT, Reporter
from whatsit.images.manifest import NAME, Manifest, holds_manifest
from whatsit.images.manifest_data import require_root
from whatsit.images.places import Place, absolute, open_place
from whatsit.scale.answers import Summary, summarize
from whatsit.scale.job import join, new_job, parts, require_free, share
from whatsit.scale.opening import open_scheduler, require_one_kind
from whatsit.scale.progress import Tally
from whatsit.scale.supervise import Task
from whatsit.verbs.shard import shard as cut


def predict_shards(
    model: str | Path,
    source: str | Path,
    out: str | Path,
    *,
    workers: int | None = None,
    ray: str | None = None,
    part: str | None = None,
    top: int = 5,
    runtime: str = "auto",
    reporter: Reporter = SILENT,
) -> Summary:
    """Predict every image of a manifest, and write one Parquet file a shard.

    Shards that are there are not made again.

    Args:
        model: a `.whatsit` file or a run folder.
        source: the place of a manifest; or what `whatsit shard` takes, whose manifest is written into `out` then.
        out: a folder or an address for the answers.
        workers: processes on this machine; by default one a processor.
        ray: the address of a Ray cluster to work on instead.
        part: only the shards of part `i/n`, i from 0: for one of n machines that know nothing of each other.
        top: how many classes to keep of each image.
        runtime: `auto`, `openvino` or `onnxruntime`.
        reporter: of progress.

    Raises:
        BundleError: the model cannot be read.
        UsageError: an argument is wrong, or `out` holds answers of other work.
        DataError, PlaceError, DiskError: a place cannot be read or written.
        WorkerError: the processes cannot be started.
    """
    if part is not None:
        share(1, part)  # raises where it is wrong, before anything is written
    if runtime not in ("auto", *RUNTIMES):
        raise UsageError(f"unknown runtime '{runtime[:50]}'; allowed: auto, {', '.join(RUNTIMES)}")
    require_one_kind(ray, workers)
    read_bundle(model)  # says what is wrong with it
    data = find_bundle(model).read_bytes()
    bundle = parse_bundle(data, str(model))
    answers = open_place(out)
    require_free(answers)
    manifest_place = _manifest_place(source, out, reporter)
    manifest = Manifest(manifest_place)
    require_root(manifest)
    settings = {"top": top, "runtime": runtime}
    join(new_job(manifest, data, settings, bundle.classes), answers)
    there = set(parts(answers))
    mine = share(len(manifest.counts), part) if part is not None else range(len(manifest.counts))
    todo = [number for number in mine if number not in there]
    if len(todo) < len(mine):
        reporter.say(f"{len(mine) - len(todo):,} of {len(mine):,} shards are there already")
    total = sum(manifest.counts[number] for number in todo)
    tally = Tally(reporter, total)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "model.whatsit")  # so that a model that is replaced meanwhile does not mix in
        copy.write_bytes(data)
        task = Task("predict", {"model": str(copy), **settings}, manifest.root)
        if todo:
            scheduler = open_scheduler(task, data, ray, workers)
            scheduler.write_parts(manifest, answers, todo, tally.add)
    return summarize(answers, only=mine)


def _manifest_place(source: str | Path, out: str | Path, reporter: Reporter) -> Place:
    """Return the place of the manifest; where there is none, cut it into `out`.

    Raises `UsageError` where the list in `out` is of another source.
    """
    text = str(source)
    if text.rpartition("/")[2] == NAME:  # its file, as `whatsit shard` prints it
        text = text.rpartition("/")[0] or "."
    if holds_manifest(text):
        return open_place(text)
    place = open_place(out)
    if not holds_manifest(str(out)):
        try:
            cut(source, out, reporter=reporter)
            return place
        except UsageError:
            if not holds_manifest(str(out)):  # else another process has made it, such as another share's
                raise
    before = Manifest(place).source
    if before != absolute(text):
        raise UsageError(f"{place.address}: holds answers about {before}; give another folder for these")
    reporter.say(f"The list of pictures in {place.address} is used; what was added since is not in it")
    return place

"""The `fast` way: a frozen backbone, its features computed once, a head trained on them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.cache import cache_folder, mark_used
from whatsit.engines import Images, available, open_engine, training_precision
from whatsit.errors import MissingExtraError
from whatsit.events import SILENT, Reporter, Work
from whatsit.files import DiskError, write_bytes, write_text
from whatsit.images.kept import Kept
from whatsit.images.scan import Dataset, Picture, label_numbers
from whatsit.models import backbones, classifier
from whatsit.models.backend import load_keras
from whatsit.models.weights import efficientnet_lite0_file
from whatsit.training.batches import FeatureBatches, Targets
from whatsit.training.calibration import beats, calibrated_losses, clearly_less, log_losses
from whatsit.training.clock import Clock, duration
from whatsit.training.features import Features, extract, feature_cache
from whatsit.training.history import CHOSEN_BY, LOGGED
from whatsit.training.loop import Fitted, Task, TrainingError, fit, in_slices
from whatsit.training.probe import fit_probe
from whatsit.training.recipe import Recipe
from whatsit.training.resolve import working_batch_size, working_size
from whatsit.training.trained import Job, Labels, Trained, finish, logits_of_views
from whatsit.training.unknown import FEW, MAX_PICTURES, enough_rows, fit_mahalanobis
from whatsit.training.watch import FAR_BELOW

SAMPLE = 64  # pictures by which the pace is measured
FEWEST = 10  # training pictures a class, below which a model is not worth its time
MOST_OPEN = 4  # networks
FEATURES_SHARE = 0.7  # of the time for a frozen backbone, at most, that its features may take

HalfFloats = npt.NDArray[np.float16]


@dataclass(frozen=True)
class FrozenHead:
    """A frozen backbone with a fitted head."""

    job: Job  # less the pictures that turned out to be unreadable
    features: Any  # the Keras model from `image` to (feature_map, embedding)
    fitted: Fitted
    train_labels: Labels
    validation_labels: Labels
    trained: Trained


def train_frozen(job: Job, share: float = 0.9) -> FrozenHead:
    """Train a head on a frozen backbone, in that share of the time that is left."""
    depths = ("last", "all") if job.recipe.features == "auto" else (job.recipe.features,)
    networks, frozen = _networks(job, depths)
    job.reserve(networks[depths[-1]])
    job, clock = _chosen(job, frozen, share), job.clock.part(share)
    job, seen = _look(job, frozen)
    heads: list[_Head] = []
    for depth, network in networks.items():
        ours = clock.part(1.0 / (len(networks) - len(heads))) if clock.limited else None
        heads.append(_fit_one(job, depth, network, seen, ours))
    best = heads[0]  # within two standard errors the simpler head; a small validation set would choose by chance
    losses = [calibrated_losses(head.logits, seen.held_labels) for head in heads]
    if len(heads) > 1 and clearly_less(losses[1], losses[0], errors=2):
        best = heads[1]
    rival = None if job.brief else _probe(job, networks[depths[-1]], seen)
    warnings: tuple[str, ...] = ()
    if rival and beats(_right(rival, seen), _right(best, seen)):
        warnings = _ship_the_probe(job, rival, best, seen)
        best = rival
    classes, seed = len(job.dataset.classes), job.recipe.seed
    rows = enough_rows(seen.labels, classes, seed, FEW if job.brief else MAX_PICTURES)
    embedding = seen.train["original"][rows, -_width(best.network) :]
    known = fit_mahalanobis(embedding, seen.labels[rows], classes, seed)
    probe = rival.fitted.best["val_accuracy"] if rival else None
    trained = finish(job, best.network, best.fitted, seen.held_labels, best.logits, known, frozen, probe)
    trained = replace(trained, warnings=(*warnings, *trained.warnings))
    return FrozenHead(job, best.network, best.fitted, seen.labels, seen.held_labels, trained)


_OPEN: dict[tuple[object, ...], tuple[dict[str, Any], FrozenNetwork]] = {}  # the latest few, for the next training


def _networks(job: Job, depths: tuple[str, ...]) -> tuple[dict[str, Any], FrozenNetwork]:
    """The frozen network up to each depth, the deepest opened; nothing is built twice that was built a moment ago."""
    import keras

    recipe = job.recipe
    given = Path(recipe.weights)
    stamp = given.stat().st_mtime_ns if given.is_file() else recipe.seed if recipe.weights == "none" else 0
    key = (recipe.model, recipe.weights, stamp, job.size, job.upscale, depths)
    if key not in _OPEN:
        backbone = backbones.build(recipe.model, job.size, upscale=job.upscale, weights=recipe.weights)
        networks = {depth: classifier.pooled_features(backbone, depth) for depth in depths}
        while len(_OPEN) >= MOST_OPEN:
            _OPEN.pop(next(iter(_OPEN)))
        _OPEN[key] = networks, FrozenNetwork.of_model(networks[depths[-1]])
    keras.utils.set_random_seed(recipe.seed)  # a head begins alike, whether its network was built now or before
    return _OPEN[key]


@dataclass(frozen=True)
class _Seen:
    """What a frozen network says of the pictures: float16 `[N, F]` of each view, and their labels `[N]`."""

    train: dict[str, HalfFloats]
    labels: Labels
    held: dict[str, HalfFloats]  # of the validation pictures
    held_labels: Labels


@dataclass(frozen=True)
class _Head:
    network: Any
    fitted: Fitted
    logits: npt.NDArray[np.float32]  # [N, classes], of the validation pictures, as it ships


def _look(job: Job, frozen: FrozenNetwork) -> tuple[Job, _Seen]:
    """The features of all pictures; the job is less those that turned out to be unreadable."""
    train = frozen.features(job.dataset, "train", job.recipe.views, job.reporter)
    held = frozen.features(job.dataset, "validation", job.test_views, job.reporter)
    job = job.without([*train.failed, *held.failed])
    labels, held_labels = (np.array(label_numbers(part.pictures, job.dataset.classes)) for part in (train, held))
    return job, _Seen(train.views, labels, held.views, held_labels)


def _fit_one(job: Job, depth: str, network: Any, seen: _Seen, clock: Clock | None) -> _Head:
    """A head on one of the networks, whose features stand side by side, the deepest last."""
    width = _width(network)
    views = [seen.train[view][:, -width:] for view in job.recipe.views]
    held = [seen.held[view][:, -width:] for view in job.test_views]
    stage = f"{job.stage_prefix}head-{depth}"
    fitted = fit_head(job, stage, views, seen.labels, held[0], seen.held_labels, clock)
    return _Head(network, fitted, logits_of_views(fitted.model, held))


def _probe(job: Job, network: Any, seen: _Seen) -> _Head:
    """Fit a linear probe on the deepest network's features of the plain images, as a head like any other."""
    width, classes = _width(network), len(job.dataset.classes)
    train, held = seen.train["original"][:, -width:], [seen.held[view][:, -width:] for view in job.test_views]
    probe = fit_probe((train, seen.labels), (held[0], seen.held_labels), classes, job.recipe.seed)
    model = classifier.linear_head(probe.standard.mean, probe.standard.scale, probe.weights, probe.offset)
    logits = logits_of_views(model, held)
    best = {
        "stage": f"{job.stage_prefix}probe",
        "epoch": 1,
        "loss": float(log_losses(in_slices(model, train), seen.labels).mean()),
        "accuracy": float((probe.predict(train) == seen.labels).mean()),
        "val_loss": float(log_losses(logits, seen.held_labels).mean()),
        "val_accuracy": float((logits.argmax(axis=1) == seen.held_labels).mean()),
        CHOSEN_BY: float(calibrated_losses(logits, seen.held_labels).mean()),
    }
    return _Head(network, Fitted(model, best, logits), logits)


def _right(head: _Head, seen: _Seen) -> npt.NDArray[np.bool_]:
    right: npt.NDArray[np.bool_] = head.logits.argmax(axis=1) == seen.held_labels
    return right


def _ship_the_probe(job: Job, probe: _Head, head: _Head, seen: _Seen) -> tuple[str, ...]:
    """Add the probe to the history as an epoch of its own, and say so; return a warning where the head is far worse."""
    best, right = probe.fitted.best, float(_right(head, seen).mean())
    job.history.add(best["stage"], 1, {key: best[key] for key in LOGGED}, 0.0, 1)
    text = (
        f"a linear probe ships instead of the head trained step by step: it is right for {best['val_accuracy']:.1%} of the "
        f"validation images, the head for {right:.1%}"
    )
    if best["val_accuracy"] - right < FAR_BELOW:
        job.reporter.say(text[0].upper() + text[1:])
        return ()
    return (
        f"{text}; that is far less: try another learning rate (--set learning_rate=..., now {job.recipe.learning_rate:g}) or "
        f"more epochs (--set epochs=..., now {job.recipe.epochs})",
    )


def _chosen(job: Job, frozen: FrozenNetwork, share: float) -> Job:
    """The pictures and views that are used: those chosen before where the run was interrupted, else what time allows."""
    path = job.folder / "checkpoints" / f"{job.stage_prefix}pictures.json"
    if not path.is_file():
        job = _within_time(job, frozen, share)
        if not job.clock.limited:
            return job
        kept = [picture.digest.hex() for picture in job.dataset.of("train")]
        write_text(path, json.dumps({"views": job.recipe.views, "train": kept}) + "\n")
        return job
    told = json.loads(path.read_text(encoding="utf-8"))
    return _with_pictures(job, set(told["train"]), tuple(told["views"]))


def _with_pictures(job: Job, train: set[str], views: tuple[str, ...]) -> Job:
    chosen = tuple(p for p in job.dataset.pictures if p.split != "train" or p.digest.hex() in train)
    return replace(job, dataset=replace(job.dataset, pictures=chosen), recipe=replace(job.recipe, views=views))


def _within_time(job: Job, frozen: FrozenNetwork, share: float) -> Job:
    """Tell how long the features will take; where that is too long, fewer views and fewer training pictures."""
    train, views = job.dataset.of("train"), job.recipe.views
    held = frozen.missing(job.dataset.of("validation"), job.test_views)
    missing = frozen.missing(train, views) + held
    if not missing:
        return job
    order = np.random.default_rng(job.recipe.seed).permutation(len(train))
    sample = [train[row] for row in order[:SAMPLE]]
    started = time.perf_counter()
    frozen.of(job.dataset, sample, views)
    per_view = (time.perf_counter() - started) / (len(sample) * len(views))
    needed = per_view * missing
    allowed = FEATURES_SHARE * share * job.clock.left()
    if needed <= allowed:
        job.clock.tell("Computing features", needed)
        return job
    pictures, fewest = int(allowed / per_view) - held, min(len(train), FEWEST * len(job.dataset.classes))
    if job.complete:
        raise TrainingError(
            f"too little time is left to look at the pictures at {job.size} pixels: about {duration(needed)}"
        )
    if pictures < fewest:
        raise TrainingError(
            f"the time limit is too short: beside what the test and the report will take, {duration(job.clock.left())} are left, "
            f"and the features of {fewest:,} training pictures and of those for validation take about "
            f"{duration(per_view * (fewest + held))} on this machine; give more time"
        )
    kept = {train[row].digest.hex() for row in _of_every_class(train, order)[:pictures]}
    if not job.brief:
        job.reporter.warn(
            f"the time limit is short for these pictures: {len(kept):,} of {len(train):,} training pictures are used"
            + (", and no mirror images" if len(views) > 1 else "")
        )
    return _with_pictures(job, kept, ("original",))


def _of_every_class(pictures: list[Picture], order: npt.NDArray[np.int64]) -> list[int]:
    """The order, with a picture of each class moved to its front."""
    first: dict[str, int] = {}
    for row in order:
        first.setdefault(pictures[row].label, int(row))
    return list(dict.fromkeys([*first.values(), *(int(row) for row in order)]))


def fit_head(
    job: Job,
    stage: str,
    views: list[HalfFloats],
    labels: Labels,
    held: HalfFloats,
    held_labels: Labels,
    clock: Clock | None = None,
) -> Fitted:
    """Train the head on features; each view of the training pictures is an array `[N, F]`, N as in `labels`."""
    import keras

    recipe, classes = job.recipe, len(job.dataset.classes)
    embedding = keras.Input((views[0].shape[1],), name="features")
    logits = classifier.add_head(embedding, classes, hidden=recipe.hidden, dropout=recipe.dropout, standardize=True)
    model = keras.Model(embedding, logits)
    classifier.set_standard(model, *_mean_and_variance(views))
    size = working_batch_size(recipe, len(views) * len(labels))
    batches = FeatureBatches(views, labels, Targets.of(labels, classes, recipe), size, recipe.seed)
    return fit(Task(stage, model, batches, held, held_labels, rarely=job.brief), recipe, job.history, clock)


class FrozenNetwork:
    """A frozen network as a fast function of a data set's pictures, whose results are kept on disk."""

    def __init__(self, graph: bytes, width: int, size: tuple[int, int]) -> None:
        """Open a graph from pictures of this size to an `embedding` of this width, in the fastest precision of this machine."""
        runtime = available()[0]
        precision = training_precision(runtime)
        self.width = width
        self._engine = open_engine(graph, ["embedding"], runtime=runtime, precision=precision)
        self._cache = feature_cache(graph, f"{runtime} {precision}", width)
        self._size = size

    @classmethod
    def of_model(cls, network: Any) -> FrozenNetwork:
        """Open `pooled_features`."""
        return cls(classifier.features_to_onnx(network), _width(network), _size(network))

    def features(self, dataset: Dataset, split: str, views: tuple[str, ...], reporter: Reporter) -> Features:
        """Of the pictures of one split, from the cache as far as they are there."""
        told = reporter.stage(f"Computing features ({split})", Work.FEATURES, split)
        return self.of(dataset, dataset.of(split), views, told, self._cache, reporter)

    def cached(self, dataset: Dataset, pictures: list[Picture], reporter: Reporter) -> Features:
        """Of these pictures, from the cache as far as they are there."""
        told = reporter.stage("Computing features", Work.FEATURES)
        return self.of(dataset, pictures, ("original",), told, self._cache, reporter)

    def of(
        self,
        dataset: Dataset,
        pictures: list[Picture],
        views: tuple[str, ...] = ("original",),
        progress: Any = None,
        cache: Kept | None = None,
        reporter: Reporter = SILENT,
    ) -> Features:
        """Of these pictures, without a cache where none is given."""
        return extract(
            dataset,
            pictures,
            self._engine,
            self._size,
            width=self.width,
            views=views,
            cache=cache,
            progress=progress,
            warn=reporter.warn,
        )

    def missing(self, pictures: list[Picture], views: tuple[str, ...]) -> int:
        """How many features of these pictures are not in the cache, over all views."""
        digests = [picture.digest for picture in pictures]
        return sum(self._cache.missing(view, digests) for view in views)

    def bytes(self, pictures: int, views: tuple[str, ...]) -> int:
        """How much memory the features of so many pictures take."""
        return 2 * self.width * pictures * len(views)

    def run(self, pixels: Images) -> npt.NDArray[Any]:
        """Of pictures in memory, uint8 `[N, H, W, 3]`; float32 `[N, F]`."""
        features: npt.NDArray[Any] = self._engine.run(pixels)[0]
        return features


def default_network(side: int) -> FrozenNetwork:
    """The backbone whose weights come along, for pictures whose longer side is `side`.

    Its graph is kept on disk, so that the next time nothing of TensorFlow is loaded.
    """
    recipe = Recipe()
    size, upscale = working_size(recipe, side)
    key = _key_of_graph(f"{recipe.model} {size} {upscale}")
    folder = cache_folder() / "networks"
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        about = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        graph = (folder / f"{key}.onnx").read_bytes()
        if hashlib.sha256(graph).hexdigest() == about["sha256"]:
            mark_used(folder / f"{key}.onnx")
            return FrozenNetwork(graph, int(about["width"]), (int(about["height"]), int(about["wide"])))
    load_keras()
    network = classifier.pooled_features(backbones.build(recipe.model, size, upscale=upscale))
    graph, width, (height, wide) = classifier.features_to_onnx(network), _width(network), _size(network)
    about = {"sha256": hashlib.sha256(graph).hexdigest(), "width": width, "height": height, "wide": wide}
    with contextlib.suppress(DiskError):  # it is only built again the next time
        write_bytes(folder / f"{key}.onnx", graph)
        write_text(folder / f"{key}.json", json.dumps(about))
    return FrozenNetwork(graph, width, (height, wide))


def _key_of_graph(network: str) -> str:
    """Of everything that the graph of a network depends on: its weights, and the code that builds and exports it."""
    made_by = Path(backbones.__file__).parent
    files = [efficientnet_lite0_file(), *sorted(made_by.glob("*.py"))]
    try:
        keras = metadata.version("keras")
    except metadata.PackageNotFoundError:
        raise MissingExtraError("Training", "train", "keras") from None
    parts = [network.encode(), keras.encode(), *(path.read_bytes() for path in files)]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]


def _size(network: Any) -> tuple[int, int]:
    height, width = (int(side) for side in network.input.shape[1:3])
    return height, width


def _width(network: Any) -> int:
    return int(network.outputs[1].shape[-1])


def _mean_and_variance(views: list[HalfFloats]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Of each column over all views, in float64, a slice at a time."""
    width, count = views[0].shape[1], sum(len(view) for view in views)
    total, squares = np.zeros(width), np.zeros(width)
    for view in views:
        for start in range(0, len(view), 1024):
            chunk = view[start : start + 1024].astype(np.float64)
            total += chunk.sum(axis=0)
            squares += np.square(chunk).sum(axis=0)
    mean = total / count
    return mean, np.maximum(squares / count - np.square(mean), 1e-6)

"""Pictures, data sets and models that the tests make for themselves, small enough to take no time."""

from __future__ import annotations

import gc
import importlib.util
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from tests.drawn import photos
from whatsit.events import EpochDone, Event, Message, Reporter, StageStarted, Warned

ONE_OF_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ
SHARED = Path(__file__).parent.parent.parent / "shared"
WORKER_BYTES = 4 * 10**9  # of memory, as a test process grows to 3.6 GB
NO_CHROMIUM = "Chromium is not installed"
# What `tests/isa.py` says to the tests, and to nothing else.
SEED = int(os.environ.get("WHATSIT_TEST_SEED", "0"))  # is added to the seeds of trainings
for _name in os.environ.get("WHATSIT_TEST_WITHOUT", "").split():
    sys.modules[_name] = None  # type: ignore[assignment]  # as if it were not installed
if os.environ.get("WHATSIT_TEST_THREADS") != "all":
    # One thread a process, as every core has a test process of its own: a fifth less work. Libraries look when they are loaded.
    for _name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(_name, "1")
# How long an example takes says how busy the machine is; slowness of our own is measured in `benchmarks/`.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
# To build networks is to make objects by the hundred thousand: looking for garbage less often is a fortieth less work.
gc.set_threshold(50_000, 20, 100)


def pytest_xdist_auto_num_workers() -> int:
    """One more than the processors that may be used, as browsers and services are waited for; fewer where memory is short."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not hasattr(os, "sysconf"):
        return processors
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(processors + 1, memory // WORKER_BYTES))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs OpenVINO where it is not."""
    if importlib.util.find_spec("openvino") is None:
        for item in items:
            values = item.callspec.params.values() if hasattr(item, "callspec") else ()
            if item.get_closest_marker("openvino") or any("openvino" in str(value) for value in values):
                item.add_marker(pytest.mark.skip(reason="OpenVINO is not installed"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what was not tested for want of a browser."""
    skipped = [report for report in terminalreporter.getreports("skipped") if NO_CHROMIUM in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(
            f"Skipped for want of a browser: {len(skipped)}; to have them tested, install Chromium "
            "(Debian, Ubuntu: apt-get install chromium)"
        )


_looked_through: set[str] = set()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After each module, and once TensorFlow is there, set aside what lives.

    Every collection of garbage would look through the half million objects of libraries again: a quarter of a second, and
    each training begins with one.
    """
    loaded = {"tensorflow"} & sys.modules.keys()
    if nextitem is None or nextitem.path != item.path or loaded - _looked_through:
        _looked_through.update(loaded)
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache; all share one, so that features are computed once."""
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.getbasetemp()
        patch.setenv("WHATSIT_CACHE", str((base.parent if ONE_OF_SEVERAL else base) / "cache"))
        yield


@pytest.fixture(autouse=True, scope="session")
def _signals_arrive() -> None:
    """What the tests start hears signals, also where the tests themselves were started deaf to them (`nohup`)."""
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def encode(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """An array as the bytes of a picture file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def tarred(path: Path, files: dict[str, bytes], mode: str) -> Path:
    """A tar of these files."""
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def shapes(kind: str, seed: int, side: int = 32) -> np.ndarray:
    """A picture of one of three easy classes: a disc, horizontal or vertical stripes, in some colour on some ground."""
    rng = np.random.default_rng(seed)
    ground, ink = rng.integers(0, 90, 3), rng.integers(160, 255, 3)
    y, x = np.mgrid[0:side, 0:side]
    if kind == "disc":
        cy, cx = rng.uniform(0.35, 0.65, 2) * side
        inside = (y - cy) ** 2 + (x - cx) ** 2 < (side * rng.uniform(0.2, 0.32)) ** 2
    else:
        along = y if kind == "rows" else x
        inside = (along + rng.integers(0, 8)) % 8 < 4
    picture = np.where(inside[..., None], ink, ground) + rng.normal(0, 6, (side, side, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


CLASSES = ("columns", "disc", "rows")


@pytest.fixture(scope="session")
def shape_files() -> dict[str, bytes]:
    """`class/NN.png` of 20 pictures of each of three classes."""
    return {
        f"{kind}/{i:02d}.png": encode(shapes(kind, 100 * k + i)) for k, kind in enumerate(CLASSES) for i in range(20)
    }


class Listener(Reporter):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.epochs: list[Mapping[str, Any]] = []
        self.stages: list[str] = []

    def emit(self, event: Event) -> None:
        match event:
            case Message(text):
                self.said.append(text)
            case Warned(text):
                self.warned.append(text)
            case EpochDone(entry):
                self.epochs.append(entry)
            case StageStarted(name):
                self.stages.append(name)


class Impatient(Listener):
    """Interrupts, as Ctrl-C does, at the end of an epoch of a stage, once."""

    def __init__(self, stage: str, epoch: int = 1) -> None:
        super().__init__()
        self._at: tuple[str, int] | None = (stage, epoch)

    def emit(self, event: Event) -> None:
        super().emit(event)
        if isinstance(event, EpochDone) and (event.entry["stage"], event.entry["epoch"]) == self._at:
            self._at = None
            raise KeyboardInterrupt


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Any]) -> Any:
    """What is made of a path, by whichever of the test processes comes first.

    Of a run, and of a study, each gets a copy to write in.
    """
    own = factory.getbasetemp()
    base = own.parent if ONE_OF_SEVERAL else own
    kept = base / f"{name}.pickle"
    with FileLock(base / f"{name}.lock"):
        if not kept.is_file():
            kept.write_bytes(pickle.dumps(make(base / "made" / name)))
        value = pickle.loads(kept.read_bytes())
    if ONE_OF_SEVERAL and hasattr(value, "folder"):
        folder = shutil.copytree(value.folder, factory.mktemp("runs") / value.folder.name)
        model = {"model": folder / "model.whatsit"} if hasattr(value, "model") else {}
        value = replace(value, folder=folder, **model)
    return value


def draw_shapes(folder: Path, count: int, *, first: int = 0) -> Path:
    """A folder of class folders with `count` drawn shapes in all, by turns of each class, the seeds from `first` on."""
    for number in range(count):
        path = folder / CLASSES[number % 3] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(shapes(CLASSES[number % 3], first + number)))
    return folder


@pytest.fixture(scope="session")
def shapes_folder(shape_files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`shape_files` as a folder of class folders."""
    return made_once(tmp_path_factory, "shapes", lambda path: write_files(path, shape_files))


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """A function that writes files below a new folder."""
    return lambda files: write_files(tmp_path / "data", files)


@pytest.fixture(scope="session")
def baseline_run(shapes_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    """A run of the small CNN on the shapes: a few epochs, a second or two."""
    import whatsit

    settings = {"epochs": 12, "batch_size": 8, "rotation": 0.0, "shear": 0.0, "zoom": 0.0, "shift": 0.05, "flip": False}
    settings |= {"schedule": "plateau", "dropout": 0.5}
    return made_once(
        tmp_path_factory,
        "baseline",
        lambda out: whatsit.train(shapes_folder, recipe="baseline", out=out, seed=1 + SEED, settings=settings),
    )


HOSTILE = {"disc": "ส้มตำ ไทย", "rows": "<script>alert(1)</script>", "columns": '=HYPERLINK("http://evil")'}


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory):
    """A run on classes and files with names that look like HTML, formulas and Thai, some labels wrong on purpose."""
    return made_once(tmp_path_factory, "hostile", _hostile)


def _hostile(out: Path):
    import whatsit

    root = out.with_name("hostile-data")
    root.mkdir(parents=True)
    lines = ["path,label"]
    for k, kind in enumerate(CLASSES):
        for i in range(20):
            name = f"=cmd<img src=x onerror=alert(1)>\u202e{kind}{i}.png"
            (root / name).write_bytes(encode(shapes(kind, 100 * k + i)))
            label = HOSTILE[CLASSES[(k + (i % 5 == 0)) % 3]].replace('"', '""')
            lines.append(f'{name},"{label}"')
    (root / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    settings = {"epochs": 3, "batch_size": 8, "rotation": 0.0, "shear": 0.0, "zoom": 0.0}
    return whatsit.train(root / "labels.csv", recipe="baseline", out=out, seed=SEED, settings=settings)


def data_of(run: Any) -> Path:
    """DATA of a run."""
    return Path(json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))["data"])


@pytest.fixture(scope="session")
def fruit_run(tmp_path_factory: pytest.TempPathFactory):
    """A run of the default recipe at 224 pixels on drawn fruit, whose classes have Thai names: about ten seconds."""
    import whatsit

    def make(out: Path):
        folder = write_files(out.with_name("fruit-data") / "ผลไม้", photos(12))
        settings = {"views": ["original"], "epochs": 12}
        return whatsit.train(folder, out=out, seed=1 + SEED, settings=settings, report=False)

    return made_once(tmp_path_factory, "fruit", make)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real pictures beside a developer's checkout; tests that want them are skipped elsewhere."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real data sets (../shared/data) are not here")
    return SHARED / "data"


@pytest.fixture(scope="session")
def ready(shapes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one real training of the smallest network came to, a `Trained` of three classes."""
    import whatsit
    from whatsit.training import train as training

    kept: list[Any] = []
    really = training.train_by_recipe

    def keeping(context: Any) -> Any:
        kept.append(really(context))
        return kept[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train_by_recipe", keeping)
        out = tmp_path_factory.mktemp("ready") / "run"
        settings = {"epochs": 1, "filters": [4, 8], "batch_size": 16}
        whatsit.train(shapes_folder, recipe="baseline", out=out, settings=settings, report=False)
    return kept[0]


@pytest.fixture
def instant(ready: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Hand in `ready` instead of a training, of whatever three classes and by whatever recipe."""

    from whatsit.files import write_text

    def train_by_recipe(context: Any) -> Any:
        rows = [",".join(ready.history[0]), *(",".join(map(str, epoch.values())) for epoch in ready.history)]
        write_text(context.folder / "history.csv", "\n".join(rows) + "\n")
        return replace(ready, dataset=context.dataset, recipe=context.recipe)

    monkeypatch.setattr("whatsit.training.train.train_by_recipe", train_by_recipe)
    return train_by_recipe


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks that Keras has ready get a quarter of their channels, and a sixteenth of their weights.

    Their layers, and so what is done with them, stay as many and the same; to fill and to copy 24 million weights takes a
    third of the time.
    """
    import keras

    def thinned(make: Callable[..., Any]) -> Callable[..., Any]:
        layers = make.__globals__["layers"]  # type: ignore[attr-defined]
        wide = layers.Conv2D

        def made(*args: Any, **options: Any) -> Any:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(layers, "Conv2D", lambda filters, *rest, **more: wide(filters // 4, *rest, **more))
                return make(*args, **options)

        return made

    for name in ("VGG16", "ResNet50"):
        monkeypatch.setattr(keras.applications, name, thinned(getattr(keras.applications, name)))


@pytest.fixture
def predict_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify` runs `whatsit predict` in this process: seven processes are of use where they are the matter."""
    from tests.command import whatsit

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return whatsit(*command[command.index("whatsit.apps.cli") + 1 :])

    monkeypatch.setattr("whatsit.apps.entry_points.subprocess", SimpleNamespace(run=run))

"""Growth of a process that trains many times.

Either the button of the Teach page is pressed again and again, or a search makes trials.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("disc", "square", "cross")
SETTLED = 5  # presses or trials until everything that is loaded once has been loaded
ALLOWED = 50.0  # MB of growth after those


def draw(label: str, seed: int) -> Image.Image:
    """A bright shape of that class in noise, 48 x 48."""
    rng = np.random.default_rng([seed, CLASSES.index(label)])
    image = Image.fromarray(rng.integers(0, 70, (48, 48, 3), dtype=np.uint8))
    brush, colour = ImageDraw.Draw(image), tuple(int(level) for level in rng.integers(150, 256, 3))
    x, y = (int(start) for start in rng.integers(2, 16, 2))
    if label == "disc":
        brush.ellipse((x, y, x + 24, y + 24), fill=colour)
    elif label == "square":
        brush.rectangle((x, y, x + 24, y + 24), fill=colour)
    else:
        brush.line((x, y, x + 24, y + 24), fill=colour, width=4)
        brush.line((x + 24, y, x, y + 24), fill=colour, width=4)
    return image


def make_data(folder: Path, count: int) -> Path:
    """A folder of `count` drawn images of each class."""
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        for number in range(count):
            draw(label, number).save(folder / label / f"{number:03}.png")
    return folder


def resident(process: int | str = "self") -> float:
    """Memory of a process, MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def children() -> list[str]:
    """The processes that this one has started."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def teach(data: Path, out: Path, times: int, note: Callable[[float], None]) -> None:
    """Press Teach's button and note the memory of its training process each time."""
    from whatsit.apps.trainer import Trainer

    trainer = Trainer()
    [process] = children()
    for number in range(times):
        trainer.train(data, out / f"run-{number}", lambda stage: None)
        time.sleep(0.5)  # it tidies up when it has answered
        note(resident(process))
    trainer.close()


def search(data: Path, out: Path, trials: int, note: Callable[[float], None]) -> None:
    """A search of that many trials; `note` gets the memory of this process after each."""
    from whatsit.events import Event, Progress, Reporter, Work
    from whatsit.verbs.tune import tune

    class Listener(Reporter):
        seen = 0

        def emit(self, event: Event) -> None:
            if isinstance(event, Progress) and event.stage.work == Work.TRIALS and event.done > self.seen:
                self.seen = event.done
                note(resident())

    tune(data, trials=trials, out=out, report=False, reporter=Listener())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("teach", "tune"))
    parser.add_argument("--times", type=int, help="presses (30) or trials (50)")
    parser.add_argument("--images", type=int, default=10, help="of each class")
    options = parser.parse_args()
    times = options.times or {"teach": 30, "tune": 50}[options.what]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WHATSIT_CACHE"] = f"{folder}/cache"
        data = make_data(Path(folder) / "data", options.images)
        measured: list[float] = []
        started = time.perf_counter()

        def note(megabytes: float) -> None:
            nonlocal started
            measured.append(megabytes)
            took, started = time.perf_counter() - started, time.perf_counter()
            print(f"{len(measured):3} {measured[-1]:8.1f} MB {took:6.1f} s", flush=True)

        work = {"teach": teach, "tune": search}[options.what]
        work(data, Path(folder) / "out", times, note)
    growth = measured[-1] - measured[min(SETTLED, len(measured)) - 1]
    print(f"after the first {SETTLED}, {len(measured) - SETTLED} more grew the process by {growth:.1f} MB")
    raise SystemExit(growth >= ALLOWED)


if __name__ == "__main__":
    main()

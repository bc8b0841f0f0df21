"""`whatsit demo`: the whole way once, on data that come along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whatsit.files import write_bytes
from whatsit.progress import SILENT, Reporter
from whatsit.run.record import Run
from whatsit.runtime.predictor import Prediction
from whatsit.verbs.train import train


@dataclass(frozen=True)
class Demo:
    """What the demo made."""

    run: Run
    picture: Path  # a test picture, saved beside the model
    label: str  # what it truly is
    prediction: Prediction


def demo(*, out: str | Path | None = None, reporter: Reporter = SILENT) -> Demo:
    """Train on the 1,797 embedded digits, measure, save one held-out digit as a picture and predict it."""
    run = train("digits", out=out, reporter=reporter)
    golden = next(golden for golden in run.load().bundle.golden)
    picture = run.folder / f"held-out-{golden.file}"
    write_bytes(picture, golden.data)
    [prediction] = run.load().predict([picture])
    return Demo(run, picture, golden.label, prediction)

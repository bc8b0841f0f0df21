"""`whatsit demo`: the whole way once, on data that need no download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whatsit.events import SILENT, Reporter
from whatsit.files import write_bytes
from whatsit.run.record import Run
from whatsit.runtime.predictor import Prediction
from whatsit.verbs.train import train


@dataclass(frozen=True)
class Demo:
    """The run and the prediction of the demo."""

    run: Run
    picture: Path  # a test picture, saved beside the model
    label: str  # the true one
    prediction: Prediction


def demo(*, out: str | Path | None = None, reporter: Reporter = SILENT) -> Demo:
    """Train on the 1,797 embedded digits, measure, and predict one held-out digit.

    Args:
        out: the run folder to make; `runs/digits-fast` by default.
        reporter: gets progress and warnings.

    Returns:
        The run, and the held-out picture with its prediction.

    Raises:
        UsageError: `out` exists.
    """
    run = train("digits", out=out, reporter=reporter)
    predictor = run.load()
    held_out = predictor.bundle.references[0]
    picture = run.folder / f"held-out-{held_out.file}"
    write_bytes(picture, held_out.data)
    [prediction] = predictor.predict([picture])
    return Demo(run, picture, held_out.label, prediction)

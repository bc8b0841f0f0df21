"""The run that `train --update` starts from: its recipe, split and model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whatsit.bundle.costs import Prices
from whatsit.bundle.costs_file import prices_from
from whatsit.bundle.read import read_bundle
from whatsit.errors import DataError, UsageError
from whatsit.evaluation.shipping import Shipped
from whatsit.evaluation.update import Update, data_changes, measure_update
from whatsit.events import Reporter
from whatsit.images.pictures import Pictures
from whatsit.images.scan import Dataset
from whatsit.run.record import read_split
from whatsit.run.repeat import RunToRepeat, run_to_repeat
from whatsit.runtime.predictor import Predictor


@dataclass(frozen=True)
class EarlierRun:
    """A run folder whose pictures have changed since."""

    made_of: RunToRepeat
    pictures: Pictures  # with their labels and splits

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.made_of.folder

    def prices(self, classes: Sequence[str]) -> Prices | None:
        """Return the prices of mistakes of the run's model; None where it has none.

        Raises:
            UsageError: they are about a class that is gone.
        """
        prices = self.made_of.prices()
        try:
            return prices_from(prices.to_json(), classes) if prices else None
        except ValueError:
            raise UsageError(
                f"{self.folder}: its costs are about a class that is gone; give others with --costs"
            ) from None

    def report_changes(self, dataset: Dataset, reporter: Reporter) -> None:
        """Say how the pictures differ; raise `DataError` for wholly other ones."""
        changes = data_changes(self.pictures, dataset.pictures)
        reporter.say(f"Since {self.folder}: {changes.sentence}")
        if changes.nothing:
            reporter.warn(f"the pictures and labels are those of {self.folder}: there is nothing to update")
        elif not changes.kept:
            raise DataError(
                f"{dataset.source}: none of these pictures is one that {self.folder} was made of, so there is nothing to update; "
                "train without --update"
            )

    def measure(self, shipped: Shipped, dataset: Dataset, reporter: Reporter) -> Update:
        """Compare the new model with the run's on the new model's test pictures."""
        before = str(self.folder), Predictor(self.folder)
        return measure_update(before, shipped.test, dataset, self.pictures, reporter)


def earlier_run(run: str | Path, data: str | Path | None) -> EarlierRun:
    """Return the run in a folder, to be updated.

    Args:
        run: the folder, or the model in it.
        data: where its pictures are now; None for where they were.

    Raises:
        UsageError: the folder holds no run that was trained. DataError: `split.csv` is damaged. BundleError: so is the model.
    """
    found = run_to_repeat(run, data, "--update")
    read_bundle(found.folder)
    return EarlierRun(found, read_split(found.folder))

"""`whatsit costs`: put prices of mistakes into a finished model, or take them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whatsit.bundle.costs import Costs
from whatsit.bundle.costs_file import read_prices
from whatsit.bundle.read import read_bundle
from whatsit.bundle.write import require_new
from whatsit.errors import UsageError, require_packages
from whatsit.evaluation.evaluate import evaluate_pictures
from whatsit.evaluation.metrics import Metrics
from whatsit.evaluation.prices import CostMetrics, measure_costs
from whatsit.evaluation.shipping import ship, ship_unmeasured, with_prices
from whatsit.events import SILENT, Reporter
from whatsit.files import becoming
from whatsit.run.data import open_as_in_run
from whatsit.runtime.predictor import Predictor


@dataclass(frozen=True)
class Costed:
    """A model with costs, or without them again."""

    model: Path
    costs: Costs | None
    test: Metrics | None  # None where the model was never measured
    measured: CostMetrics | None  # what mistakes cost on the test pictures


def put_costs(
    model: str | Path,
    costs: str | Path | Mapping[str, Any] | None,
    out: str | Path,
    *,
    data: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> Costed:
    """Write a model that answers the class of the least expected cost.

    Nothing is trained.

    Promises (`never_miss`) are kept on the run's validation pictures, and the model is measured again on its test pictures.

    Args:
        model: a run folder, or a `.whatsit` file.
        costs: the path of a `costs.toml`, its contents as a table, or None to take the costs out of the model.
        out: the `.whatsit` file to write. It must not exist.
        data: where the run's pictures are now; by default where they were.
        reporter: gets progress and warnings.

    Returns:
        The new model, with its cost and its metrics.

    Raises:
        UsageError: the costs are wrong, `out` exists, or the pictures are not known.
    """
    require_packages("Putting costs into a model", "train", "onnx")
    out, bundle = Path(out), read_bundle(model)
    prices = None if costs is None else read_prices(costs, bundle.classes)
    if prices is None and bundle.costs is None:
        raise UsageError(f"{model}: this model has no costs to take out; give a file such as costs.toml to put some in")
    require_new(out)
    promises = prices is not None and bool(prices.never_miss)
    dataset = open_as_in_run(model, bundle, data, reporter) if bundle.test or promises or data else None
    with becoming(out) as path:
        if dataset is None:  # nothing was ever measured of it
            made = with_prices(bundle, prices, None, reporter)
            ship_unmeasured(made, path)
            return Costed(out, made.costs, None, None)
        seen = None
        if promises:
            held_out = dataset.of("validation")
            if not held_out:
                raise UsageError(
                    f"{dataset.source}: no validation pictures to keep 'never_miss' by; give the run folder as MODEL"
                )
            plain = Predictor(replace(bundle, costs=None))
            seen = evaluate_pictures(plain, dataset, held_out, reporter.stage("Keeping promises (validation)"))
        made = with_prices(replace(bundle, references=(), test=None), prices, seen, reporter)
        shipped = ship(Predictor(made), path, dataset, reporter)
    return Costed(out, made.costs, shipped.test.metrics, measure_costs(shipped.test))

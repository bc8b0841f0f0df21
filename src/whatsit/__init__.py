"""Image classification from your own examples.

import whatsit

run = whatsit.train("photos/")
predictor = whatsit.load(run.model)
[answer] = predictor.predict(["new.jpg"])
print(answer.label, answer.probability)
"""

from __future__ import annotations

import importlib
from typing import Any

from whatsit.version import __version__

# Loaded when first used, so that `import whatsit` is quick and serving needs nothing of training. For type checkers the same
# names are in `__init__.pyi`.
_HOMES = {
    "Client": "whatsit.apps.client:Client",
    "Prediction": "whatsit.runtime.predictor:Prediction",
    "Predictor": "whatsit.runtime.predictor:Predictor",
    "Run": "whatsit.run.record:Run",
    "WhatsitError": "whatsit.errors:WhatsitError",
    "benchmark": "whatsit.verbs.benchmark:benchmark",
    "check": "whatsit.verbs.check:check",
    "checks": "whatsit.verbs.checks:checks",
    "compare": "whatsit.verbs.compare:compare",
    "cross_validate": "whatsit.verbs.cross_validate:cross_validate",
    "demo": "whatsit.verbs.demo:demo",
    "ensemble": "whatsit.verbs.ensemble:ensemble",
    "evaluate": "whatsit.verbs.evaluate:evaluate",
    "explain": "whatsit.verbs.explain:explain",
    "explore": "whatsit.verbs.explore:explore",
    "export": "whatsit.verbs.export:export",
    "import_model": "whatsit.verbs.import_model:import_model",
    "load": "whatsit.runtime.predictor:Predictor",
    "predict_files": "whatsit.verbs.predict_files:predict_files",
    "put_costs": "whatsit.verbs.costs:put_costs",
    "rename": "whatsit.verbs.rename:rename",
    "runs": "whatsit.run.summary:list_runs",
    "similar": "whatsit.verbs.similar:similar",
    "suggest": "whatsit.verbs.suggest:suggest",
    "track": "whatsit.apps.tracking:track",
    "train": "whatsit.verbs.train:train",
    "tune": "whatsit.verbs.tune:tune",
    "undo_sorting": "whatsit.runtime.unsorting:undo",
    "verify": "whatsit.apps.entry_points:verify",
    "watch": "whatsit.verbs.watch:watch",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'whatsit' has no attribute '{name}'")
    module, attribute = _HOMES[name].split(":")
    return getattr(importlib.import_module(module), attribute)

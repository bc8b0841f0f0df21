"""whatsit tells you what is in a picture, from your own examples.

import whatsit

run = whatsit.train("photos/")
predictor = whatsit.load(run.model)
[answer] = predictor.predict(["new.jpg"])
print(answer.label, answer.probability)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from whatsit.version import __version__

if TYPE_CHECKING:
    from whatsit.apps.client import Client
    from whatsit.apps.proof import verify
    from whatsit.apps.tracking import track
    from whatsit.errors import WhatsitError
    from whatsit.run.record import Run
    from whatsit.run.summary import list_runs as runs
    from whatsit.runtime.predictor import Prediction, Predictor
    from whatsit.runtime.predictor import Predictor as load  # noqa: N813 - opening a model reads as a verb
    from whatsit.verbs.benchmark import benchmark
    from whatsit.verbs.check import check
    from whatsit.verbs.demo import demo
    from whatsit.verbs.ensemble import ensemble
    from whatsit.verbs.evaluate import evaluate
    from whatsit.verbs.explain import explain
    from whatsit.verbs.explore import explore
    from whatsit.verbs.export import export
    from whatsit.verbs.train import train
    from whatsit.verbs.tune import tune

# Loaded when first used, so that `import whatsit` is quick and serving needs nothing of training.
_HOMES = {
    "Client": "whatsit.apps.client:Client",
    "Prediction": "whatsit.runtime.predictor:Prediction",
    "Predictor": "whatsit.runtime.predictor:Predictor",
    "Run": "whatsit.run.record:Run",
    "WhatsitError": "whatsit.errors:WhatsitError",
    "benchmark": "whatsit.verbs.benchmark:benchmark",
    "check": "whatsit.verbs.check:check",
    "demo": "whatsit.verbs.demo:demo",
    "ensemble": "whatsit.verbs.ensemble:ensemble",
    "evaluate": "whatsit.verbs.evaluate:evaluate",
    "explain": "whatsit.verbs.explain:explain",
    "explore": "whatsit.verbs.explore:explore",
    "export": "whatsit.verbs.export:export",
    "load": "whatsit.runtime.predictor:Predictor",
    "runs": "whatsit.run.summary:list_runs",
    "track": "whatsit.apps.tracking:track",
    "train": "whatsit.verbs.train:train",
    "tune": "whatsit.verbs.tune:tune",
    "verify": "whatsit.apps.proof:verify",
}

__all__ = [
    "Client",
    "Prediction",
    "Predictor",
    "Run",
    "WhatsitError",
    "__version__",
    "benchmark",
    "check",
    "demo",
    "ensemble",
    "evaluate",
    "explain",
    "explore",
    "export",
    "load",
    "runs",
    "track",
    "train",
    "tune",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'whatsit' has no attribute '{name}'")
    module, attribute = _HOMES[name].split(":")
    return getattr(importlib.import_module(module), attribute)

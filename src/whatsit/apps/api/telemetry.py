"""Telemetry of a service: Prometheus metrics, and a log of JSON lines."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from whatsit.apps.api.batching import Observe
from whatsit.apps.api.models import Models

disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PICTURES = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass
class Statistics:
    """Work of a model since the start, as Triton counts it.

    Times are in nanoseconds.
    """

    requests: int = 0
    pictures: int = 0
    batches: int = 0
    failed: int = 0
    queue_ns: int = 0
    compute_ns: int = 0
    last_ms: int = 0  # since 1970


class Metrics:
    """Counters of a service, for `/metrics`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests answered", "route", "method", "status")
        self.rejections = self._counter("rejections", "Requests and pictures refused, by reason", "reason")
        self.reloads = self._counter("reloads", "Models opened anew", "model", "version", "outcome")
        self.seconds = self._histogram("request_seconds", "From a request's head to its answer", _SECONDS, "route")
        self._queue = self._histogram("queue_seconds", "Wait for the model", _SECONDS, "model", "version")
        self._compute = self._histogram("compute_seconds", "Computing a batch", _SECONDS, "model", "version")
        self._batch = self._histogram("batch_size", "Pictures answered together", _PICTURES, "model", "version")
        self._statistics: dict[tuple[str, str], Statistics] = {}

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"whatsit_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"whatsit_{name}", about, labels, buckets=buckets, registry=self.registry)

    def watch(self, models: Models) -> None:
        """Also report how many images wait."""
        self.registry.register(_Depth(models))

    def of(self, model: str, version: str) -> Statistics:
        """Return what a version of a model has done."""
        return self._statistics.setdefault((model, version), Statistics())

    def observer(self, model: str, version: str) -> Observe:
        """Return the counter of a model version's batches, for the model's thread."""
        queue, compute, batch = (one.labels(model, version) for one in (self._queue, self._compute, self._batch))
        statistics = self.of(model, version)

        def observe(images: int, waited: Sequence[float], seconds: float) -> None:
            batch.observe(images)
            compute.observe(seconds)
            for wait in waited:
                queue.observe(wait)
            statistics.batches += 1
            statistics.pictures += images
            statistics.queue_ns += int(1e9 * sum(waited))
            statistics.compute_ns += int(1e9 * seconds)

        return observe

    def text(self) -> bytes:
        """Return all in Prometheus' text format."""
        return generate_latest(self.registry)


class _Depth(Collector):
    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> list[GaugeMetricFamily]:
        depth = GaugeMetricFamily(
            "whatsit_queue_depth", "Pictures that wait for the model", labels=["model", "version"]
        )
        inside = GaugeMetricFamily(
            "whatsit_in_flight", "Pictures between arrival and answer", labels=["model", "version"]
        )
        for entry in self._models.entries:
            if entry.served:
                depth.add_metric([entry.name, entry.version], entry.served.batcher.depth)
                inside.add_metric([entry.name, entry.version], entry.served.gate.inside)
        return [depth, inside]


class Log:
    """A line of JSON for each event, on stderr by default."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def write(self, event: str, level: str = "info", **values: object) -> None:
        """Write numbers and texts; whatever they hold, it stays one line."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "event": event, **values}
        with contextlib.suppress(OSError, ValueError):  # nobody reads the log any more; the service goes on
            print(json.dumps(line), file=self._stream or sys.stderr, flush=True)

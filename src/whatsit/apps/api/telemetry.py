"""What a service tells its owner: Prometheus metrics, and a line of JSON for each request."""

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

from whatsit.apps.api.models import Models

disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PICTURES = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass
class Statistics:
    """What a model has done since the start; times in nanoseconds, as Triton counts them."""

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
        self.requests = Counter(
            "whatsit_requests", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self.rejections = Counter(
            "whatsit_rejections", "Requests and pictures refused, by reason", ["reason"], registry=self.registry
        )
        self.seconds = Histogram(
            "whatsit_request_seconds",
            "From a request's head to its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.queue = Histogram(
            "whatsit_queue_seconds",
            "Wait for the model",
            ["model", "version"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.compute = Histogram(
            "whatsit_compute_seconds",
            "Computing a batch",
            ["model", "version"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch = Histogram(
            "whatsit_batch_size",
            "Pictures answered together",
            ["model", "version"],
            buckets=_PICTURES,
            registry=self.registry,
        )
        self.reloads = Counter(
            "whatsit_reloads", "Models opened anew", ["model", "version", "outcome"], registry=self.registry
        )
        self._statistics: dict[tuple[str, str], Statistics] = {}

    def watch(self, models: Models) -> None:
        """Also tell how many pictures wait."""
        self.registry.register(_Depth(models))

    def of(self, model: str, version: str) -> Statistics:
        """What a version of a model has done."""
        return self._statistics.setdefault((model, version), Statistics())

    def observer(self, model: str, version: str) -> BatchObserver:
        """For the batches of a version of a model."""
        return BatchObserver(self, model, version)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)


class BatchObserver:
    """See `batching.Observer`. Called by a model's own thread."""

    def __init__(self, metrics: Metrics, model: str, version: str) -> None:
        self._queue = metrics.queue.labels(model, version)
        self._compute = metrics.compute.labels(model, version)
        self._batch = metrics.batch.labels(model, version)
        self._statistics = metrics.of(model, version)

    def batch(self, pictures: int, waited: Sequence[float], seconds: float) -> None:
        self._batch.observe(pictures)
        self._compute.observe(seconds)
        for wait in waited:
            self._queue.observe(wait)
        found = self._statistics
        found.batches += 1
        found.pictures += pictures
        found.queue_ns += int(1e9 * sum(waited))
        found.compute_ns += int(1e9 * seconds)


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
        """Numbers and texts only; whatever they hold, it stays one line."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "event": event, **values}
        with contextlib.suppress(OSError, ValueError):  # nobody reads the log any more; the service goes on
            print(json.dumps(line), file=self._stream or sys.stderr, flush=True)

"""A Ray cluster, which is joined and never started, and actors on its machines.

Actors and not tasks: a plain task on a machine that froze stays pending for ever.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from whatsit.errors import WhatsitError, needing
from whatsit.process import environment, silent_descriptor
from whatsit.scale.supervise import WorkerError
from whatsit.version import __version__

START = 300.0  # seconds without any worker
LOOK = 10.0  # seconds between two looks at the size of the cluster
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def require_cluster(address: str) -> Any:
    """Return Ray, which is not asked for anything yet.

    Raises `MissingExtraError` where it is not installed, `WorkerError` for an address that would start a cluster.
    """
    with needing("work on a Ray cluster", "ray", "ray"), environment(_QUIET):
        import ray
    if address == "local":
        raise WorkerError("whatsit joins a Ray cluster and starts none; leave out --ray to work on this machine alone")
    return ray


@contextmanager
def joined(address: str) -> Iterator[Any]:
    """Join the cluster within a `with`, unless this process has; yield Ray.

    Raises `WorkerError`.
    """
    ray = require_cluster(address)
    with silent_descriptor(1), environment(_QUIET):  # Ray prints on stdout in any case
        mine = not ray.is_initialized()
        try:
            if mine:
                _require_answer(address)
                ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
            raise WorkerError(f"{address}: no Ray cluster can be joined there: {short(error)}") from None
        try:
            yield ray
        finally:
            if mine:
                ray.shutdown()


@dataclass
class Slot:
    """An actor, and what it is at."""

    actor: Any
    reference: Any  # of what it is asked; at first whether it is there
    item: int | None = None
    is_there: bool = False


class Actors:
    """The actors of one kind, as many as the cluster has processors for."""

    def __init__(self, ray: Any, address: str, kind: type, arguments: tuple[Any, ...], processors: int = 1) -> None:
        """Take the class of the actors, which has `ready` and `close`, and its arguments.

        Each has this number of `processors`, or where no machine has as many, as many as the largest has.
        """
        self.slots: list[Slot] = []
        self._ray, self._address = ray, address
        self._kind, self._arguments, self._processors = kind, arguments, processors
        self._looked, self._heard = -LOOK, time.monotonic()  # at the size of the cluster; from an actor

    def look(self) -> None:
        """Have actors on machines that came, from time to time."""
        if time.monotonic() - self._looked >= LOOK:
            self._looked = time.monotonic()
            self.grow()

    def wait(self) -> list[Slot]:
        """Return those that have answered, within a second.

        Raises `WorkerError` where no actor is there after minutes.
        """
        waiting = {slot.reference: slot for slot in self.slots if slot.reference is not None}
        some = self._ray.wait(list(waiting), timeout=1.0, fetch_local=False)[0]  # one, the first in the list
        ready = some and self._ray.wait(list(waiting), num_returns=len(waiting), timeout=0, fetch_local=False)[0]
        self._heard = time.monotonic() if ready else self._heard
        if time.monotonic() - self._heard > START and not any(slot.is_there for slot in self.slots):
            raise WorkerError(f"{self._address}: no worker of the cluster started within {START:.0f} s")
        return [waiting[reference] for reference in ready]

    def grow(self) -> None:
        """Have actors for all processors of the cluster."""
        machines = [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]
        each = max(1, min(self._processors, max(machines, default=1)))
        wanted = max(1, sum(count // each for count in machines))
        options = {"num_cpus": each, "max_restarts": 0, "max_task_retries": 0, "enable_task_events": False}
        for _ in range(wanted - len(self.slots)):
            actor = self._ray.remote(self._kind).options(**options).remote(*self._arguments)
            self.slots.append(Slot(actor, actor.ready.remote()))

    def replace(self, slot: Slot) -> None:
        """Replace an actor that was lost, where the cluster is still as large."""
        self._ray.kill(slot.actor, no_restart=True)
        self.slots.remove(slot)
        self.grow()

    def end(self) -> None:
        """End all actors, after a moment to tidy up for those that are idle."""
        closing = [slot.actor.close.remote() for slot in self.slots if slot.is_there and slot.item is None]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=3.0, fetch_local=False)
        for slot in self.slots:
            self._ray.kill(slot.actor, no_restart=True)


def require_version(version: str) -> None:
    """Raise `WorkerError` on a machine with another version of whatsit than that one."""
    if version != __version__:
        raise WorkerError(
            f"a machine of the cluster has whatsit {__version__}, this one {version}; install the same everywhere"
        )


def _require_answer(address: str) -> None:
    """Raise `OSError` where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def raise_if_refused(error: Any) -> None:
    """Raise what an actor refused to start with, such as another version of whatsit."""
    cause = getattr(error, "cause", None) or error
    if "WorkerError" in str(cause) or "ModuleNotFoundError" in str(cause):
        raise WorkerError(f"a worker of the cluster cannot start: {short(cause)}")


def cause_of(error: Any) -> Exception:
    """Return what was raised in an actor."""
    cause = error.cause
    return cause if isinstance(cause, WhatsitError) else WorkerError(f"a worker failed: {short(error)}")


def short(error: BaseException) -> str:
    """Return the last line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__

"""Choice of who does the work."""

from __future__ import annotations

from whatsit.errors import UsageError
from whatsit.process import processors
from whatsit.scale.schedulers import LocalPool, Scheduler
from whatsit.scale.supervise import Task
from whatsit.scale.trial_crew import LocalCrew
from whatsit.scale.trial_worker import TrialData
from whatsit.tuning.folder import StudyFolder
from whatsit.tuning.trial import Crew


def open_scheduler(task: Task, model: bytes, ray: str | None, workers: int | None) -> Scheduler:
    """Return the workers of a Ray cluster at an address, or of this machine.

    `model` is the file that the task's setting `model` names, for other machines. Raises `UsageError`, `WorkerError`,
    `MissingExtraError`.
    """
    require_one_kind(ray, workers)
    if ray is not None:
        from whatsit.scale.ray_actors import RayActors

        return RayActors(ray, task, model)
    return LocalPool(task, workers or processors())


def crew_of(study: StudyFolder, ray: str | None, workers: int | None) -> Crew | None:
    """Return who runs the trials of a study: a Ray cluster, or processes here.

    None for this process. Raises as `open_scheduler`.
    """
    require_one_kind(ray, workers)
    data = TrialData(study.data, study.limit, study.fingerprint, vars(study.recipe))
    if ray is not None:
        from whatsit.scale.ray_trials import RayCrew

        return RayCrew(ray, data)
    return None if workers is None else LocalCrew(data, workers, study.trial_folder)


def require_one_kind(ray: str | None, workers: int | None) -> None:
    """Raise `UsageError` where both are asked for, or either is no number or address."""
    if workers is not None and (workers < 1 or ray is not None):
        raise UsageError("--workers is a number of local processes, 1 or more, and does not go with --ray")
    if ray is not None and not ray.strip():
        raise UsageError("--ray is empty; give the address of a cluster, or auto on one of its machines")

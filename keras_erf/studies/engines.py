"""Runs tasks with joblib, in processes of this machine or of a cluster."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from keras_erf.errors import InvalidInputError
from keras_erf.studies.measuring import TaskOutcome, measure
from keras_erf.studies.plan import Task

__all__ = ["DEATHS", "ENGINES", "parallel", "started"]

# Engines, and joblib's names of them.
ENGINES = {"local": "loky", "dask": "dask", "ray": "ray"}
# Ray returns the results of a window together; the others one by one.
RETURNED = {"ray": "list"}
# Errors of joblib, Dask and Ray after the process of a worker died.
DEATHS = {
    "TerminatedWorkerError", "BrokenProcessPool", "KilledWorker", "WorkerCrashedError",
    "RayActorError", "ActorDiedError", "CommClosedError",
}  # fmt: skip


@contextlib.contextmanager
def started(engine: str, workers: int) -> Iterator[None]:
    """Sets up an engine for the tasks of a study, and shuts it down.

    Raises:
        InvalidInputError: The engine is not installed, or there is no cluster.
    """
    if engine == "local":
        try:
            yield
        finally:
            # Idle workers would hold memory and keep the parent process alive.
            if workers > 1 and "joblib" in sys.modules:
                from joblib.externals.loky import get_reusable_executor

                get_reusable_executor().shutdown(wait=True)
        return
    with contextlib.ExitStack() as ended:
        try:
            if engine == "dask":
                client = _new_client()
                ended.enter_context(client or contextlib.nullcontext())
            else:
                from ray.util.joblib import register_ray

                register_ray()
        except (ImportError, OSError, ValueError) as error:
            raise InvalidInputError(
                argument="engine",
                expected=f"{engine!r} needs the extra of that name, and a cluster: pip install "
                f"'keras-erf[{engine}]', and name the cluster by {ADDRESSES[engine]}",
                received=f"{' '.join(str(error).split())[:200]}",
            ) from error
        yield


# Environment variables that name a cluster.
ADDRESSES = {"dask": "DASK_SCHEDULER_ADDRESS", "ray": "RAY_ADDRESS"}


def _new_client() -> Any:
    """A Dask client of the scheduler that the environment names; `None` if a client is running."""
    import dask
    from distributed import Client, get_client

    try:
        get_client()
        return None
    except ValueError:
        # Without an address, Dask would start a cluster of its own.
        if not dask.config.get("scheduler-address", None):
            raise
    return Client()


def parallel(
    tasks: Sequence[Task], engine: str, workers: int, folder: str
) -> Iterator[TaskOutcome]:
    """Yields outcomes of several processes, in the order of their completion."""
    import joblib

    if not tasks:
        return
    # Counts the cores that this process may use: the machine may have more.
    share = (max(joblib.cpu_count() // workers, 1), folder) if engine == "local" else ()
    # With one process, tasks would run in this process, which must outlive its workers.
    processes = max(workers, 2) if engine == "local" else workers
    backend = joblib.parallel_config(backend=ENGINES[engine], n_jobs=processes, **_wanted(engine))
    with backend:
        pool: Any = joblib.Parallel(
            return_as=RETURNED.get(engine, "generator_unordered"),
            pre_dispatch="2*n_jobs",
            batch_size=1,
        )
        yield from pool(joblib.delayed(measure)(task, *share) for task in tasks)


def _wanted(engine: str) -> dict[str, Any]:
    """The resources that each worker requests: Ray hides accelerators otherwise."""
    if engine != "ray":
        return {}
    import ray

    there = ray.is_initialized() and ray.cluster_resources().get("GPU", 0) >= 1
    return {"ray_remote_args": {"num_gpus": 1}} if there else {}

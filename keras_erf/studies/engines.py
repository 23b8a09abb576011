"""Where tasks are measured: processes of this machine, or those of a cluster, by joblib."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from keras_erf.errors import InvalidInputError
from keras_erf.studies.measuring import TaskOutcome, measure
from keras_erf.studies.plan import Task

__all__ = ["DEATHS", "ENGINES", "parallel", "started"]

# What joblib calls them.
ENGINES = {"local": "loky", "dask": "dask", "ray": "ray"}
# Ray gives results of a window back together; the others one by one.
RETURNED = {"ray": "list"}
# Errors that say a worker's process is gone, of joblib, Dask and Ray.
DEATHS = {
    "TerminatedWorkerError", "BrokenProcessPool", "KilledWorker", "WorkerCrashedError",
    "RayActorError", "ActorDiedError", "CommClosedError",
}  # fmt: skip


@contextlib.contextmanager
def started(engine: str, workers: int) -> Iterator[None]:
    """What a study's tasks need around them, and its end.

    Raises:
        InvalidInputError: The engine is not installed, or there is no cluster.
    """
    if engine == "local":
        try:
            yield
        finally:
            # Idle workers would keep memory, and their parent.
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
                f"`engine` {engine!r} needs the extra of that name, and a cluster: pip install "
                f"'keras-erf[{engine}]', and name the cluster by {ADDRESSES[engine]}. "
                f"Received: {' '.join(str(error).split())[:200]}"
            ) from error
        yield


# Where the environment names a cluster.
ADDRESSES = {"dask": "DASK_SCHEDULER_ADDRESS", "ray": "RAY_ADDRESS"}


def _new_client() -> Any:
    """A Dask client of the scheduler that the environment names; `None` if one runs already."""
    import dask
    from distributed import Client, get_client

    try:
        get_client()
        return None
    except ValueError:
        # Without an address, Dask would start a cluster nobody asked for.
        if not dask.config.get("scheduler-address", None):
            raise
    return Client()


def parallel(
    tasks: Sequence[Task], engine: str, workers: int, folder: str
) -> Iterator[TaskOutcome]:
    """Outcomes of several processes, in the order they come in.

    Args:
        tasks: What to measure.
        engine: One of `ENGINES`, started.
        workers: Tasks to work on at a time.
        folder: On this machine, holds a file for each task that is at work.
    """
    import joblib

    if not tasks:
        return
    # Of the cores this process may use: the machine, or a container, may have more.
    share = (max(joblib.cpu_count() // workers, 1), folder) if engine == "local" else ()
    # One process would be this one, which must outlive its workers.
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
    """What each worker asks of a cluster: Ray hides accelerators from those who ask for none."""
    if engine != "ray":
        return {}
    import ray

    there = ray.is_initialized() and ray.cluster_resources().get("GPU", 0) >= 1
    return {"ray_remote_args": {"num_gpus": 1}} if there else {}

"""Runs the missing tasks of a study, on this machine or on a cluster."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from keras_erf.errors import InvalidInputError
from keras_erf.measuring.settings import check_whole
from keras_erf.progress import Progress, shown
from keras_erf.studies.engines import DEATHS, ENGINES, parallel, started
from keras_erf.studies.measuring import TaskOutcome, measure
from keras_erf.studies.plan import Study, Task
from keras_erf.studies.store import DONE, FAILED, StudyStore

__all__ = ["run_study"]

# Number of tasks that are claimed at a time, for each worker.
WINDOW = 8
# Number of worker deaths after which a running task is measured alone, and given up.
SUSPECT, GUILTY = 2, 5
# Seconds between checks whether other processes have finished their claims.
PAUSE = 0.5


def run_study(
    study: Study,
    path: str | os.PathLike[str],
    *,
    engine: str = "local",
    workers: int = 1,
    retry_failed: bool = False,
    progress: bool | Progress | None = None,
) -> StudyStore:
    """Measures the missing tasks of a study.

    Results are saved one by one in the folder `path`. After an interruption, the same call
    resumes; several processes may work on one folder. A failed task is recorded with the reason,
    and the other tasks continue.

    Examples:
        >>> models = {"plain": keras_erf.studies.ModelEntry("plain", options={"depth": 3})}
        >>> study = keras_erf.studies.Study(models, seeds=(0, 1))
        >>> store = keras_erf.studies.run_study(study, "results")
        >>> len(store.to_frame())
        2

    Args:
        study: What to measure.
        path: Folder of the results.
        engine: `"local"` for processes of this machine; `"dask"` or `"ray"` for the cluster of the
            running Dask client or Ray session.
        workers: Number of tasks to run at a time. A single local worker is this process; several
            workers share the cores.
        retry_failed: Whether to repeat tasks that failed before.
        progress: `True` shows a bar; a function is called with the numbers of tasks that are done
            and wanted.

    Returns:
        The store of results.

    Raises:
        InvalidInputError: An argument is invalid, or the folder cannot be written.
    """
    if engine not in ENGINES:
        raise InvalidInputError(
            argument="engine",
            expected=f"must be one of {', '.join(ENGINES)}",
            received=f"engine={engine!r}",
        )
    check_whole("workers", workers, 1)
    store, tasks = StudyStore(path), {task.key: task for task in study.tasks()}
    settled = {DONE} if retry_failed else {DONE, FAILED}
    states = store.states()
    waiting = {key: task for key, task in tasks.items() if states.get(key) not in settled}
    deaths = Counter[str]()
    with shown(progress, "Measuring") as tell, started(engine, workers):
        tell(len(tasks) - len(waiting), len(tasks))
        while waiting:
            with contextlib.ExitStack() as claims:
                claimed = _claim(store, waiting.values(), _window(workers), claims)
                # Another process may have finished some of them in the meantime.
                states = store.states([task.key for task in claimed])
                for task in claimed:
                    if states.get(task.key) in settled:
                        del waiting[task.key]
                fresh = [task for task in claimed if task.key in waiting]
                for task, outcome in _work(fresh, engine, workers, deaths):
                    _keep(store, task, outcome)
                    del waiting[task.key]
                    tell(len(tasks) - len(waiting), len(tasks))
            if not claimed:
                time.sleep(PAUSE)
                states = store.states()
                waiting = {
                    key: task for key, task in waiting.items() if states.get(key) not in settled
                }
    return store


def _window(workers: int) -> int:
    """The number of tasks to claim at a time: a claim is an open file, and macOS allows 256."""
    wanted = WINDOW * workers
    if sys.platform == "win32":
        return wanted
    import resource

    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    # The other half is for the index, results and connections to workers.
    return wanted if allowed == resource.RLIM_INFINITY else min(wanted, allowed // 2)


def _claim(
    store: StudyStore, waiting: Iterable[Task], most: int, claims: contextlib.ExitStack
) -> list[Task]:
    """Claims the first tasks that no other process works on."""
    claimed: list[Task] = []
    for task in waiting:
        if len(claimed) == most:
            break
        if claims.enter_context(store.claimed(task.key)):
            claimed.append(task)
    return claimed


def _keep(store: StudyStore, task: Task, outcome: TaskOutcome) -> None:
    """Saves an outcome; if a result cannot be saved, the task is recorded as failed."""
    reason = outcome.reason or "no reason was given"
    if outcome.content is not None:
        try:
            store.put(task, outcome.content)
            return
        except InvalidInputError as error:
            reason = str(error)
    store.fail(task, reason)


def _work(
    tasks: Sequence[Task], engine: str, workers: int, deaths: Counter[str]
) -> Iterator[tuple[Task, TaskOutcome]]:
    """Yields outcomes as tasks finish, without those of workers that died."""
    if engine == "local" and workers == 1:
        for task in tasks:
            yield task, measure(task)
        return
    suspects = [task for task in tasks if deaths[task.key] >= SUSPECT]
    others = [task for task in tasks if deaths[task.key] < SUSPECT]
    for group in (*([task] for task in suspects), others):
        left = {task.key: task for task in group}
        with tempfile.TemporaryDirectory() as folder:
            try:
                for outcome in parallel(group, engine, workers, folder):
                    yield left.pop(outcome.key), outcome
            except Exception as error:
                if type(error).__name__ not in DEATHS:
                    raise
                begun = {file.name for file in Path(folder).iterdir()} & left.keys()
                # The files do not show tasks on other machines, or in a process that died
                # before it started one.
                deaths.update(begun or set(left))
        for task in [*left.values()]:
            if deaths[task.key] >= GUILTY and len(group) == 1:
                reason = f"the process that measured it died {GUILTY} times: out of memory?"
                yield left.pop(task.key), TaskOutcome(task.key, reason=reason)

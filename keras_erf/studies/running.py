"""Runs a study: what is missing of it, here or on a cluster, and nothing twice."""

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

# Tasks that are claimed at a time, for each worker.
WINDOW = 8
# A task that was at work when so many workers died is measured alone, and after so many, given up.
SUSPECT, GUILTY = 2, 5
# How often to look whether another process has finished what it claimed, in seconds.
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
    """Measures what is missing of a study.

    Results land one by one in the folder `path`. Interrupted or killed, the same call resumes;
    several processes may work on one folder. A task that fails is noted with its reason, and the
    others continue.

    Examples:
        >>> models = {"plain": keras_erf.studies.ModelEntry("plain", options={"depth": 3})}
        >>> study = keras_erf.studies.Study(models, seeds=(0, 1))
        >>> store = keras_erf.studies.run_study(study, "results")
        >>> len(store.to_frame())
        2

    Args:
        study: What to measure.
        path: Folder of the results.
        engine: `"local"` for processes of this machine; `"dask"` or `"ray"` for the cluster that
            the running Dask client or Ray session is of.
        workers: How many tasks to work on at a time. One, locally, stays in this process; of
            several each gets its share of the cores.
        retry_failed: Whether to try those again that failed before.
        progress: `True` shows a bar; a function is called with the numbers of tasks that are done
            and wanted.

    Returns:
        The store of results.

    Raises:
        InvalidInputError: An argument is none of those, or the folder cannot be written.
    """
    if engine not in ENGINES:
        raise InvalidInputError(
            f"`engine` must be one of {', '.join(ENGINES)}. Received: engine={engine!r}"
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
                # What another process settled meanwhile is settled.
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
    """How many tasks to claim at a time: a claim is an open file, of which macOS allows 256."""
    wanted = WINDOW * workers
    if sys.platform == "win32":
        return wanted
    import resource

    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    # The other half is for the index, results and what leads to the workers.
    return wanted if allowed == resource.RLIM_INFINITY else min(wanted, allowed // 2)


def _claim(
    store: StudyStore, waiting: Iterable[Task], most: int, claims: contextlib.ExitStack
) -> list[Task]:
    """The first tasks that no other process works on."""
    claimed: list[Task] = []
    for task in waiting:
        if len(claimed) == most:
            break
        if claims.enter_context(store.claimed(task.key)):
            claimed.append(task)
    return claimed


def _keep(store: StudyStore, task: Task, outcome: TaskOutcome) -> None:
    """Keeps an outcome; a result that finds no room has failed, if there is room to say so."""
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
    """Outcomes as they come; tasks that a dead worker took with it are left out."""
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
                begun = {one.name for one in Path(folder).iterdir()} & left.keys()
                # Nothing tells which of them were at work on other machines, or in a process
                # that died before it began.
                deaths.update(begun or set(left))
        for task in [*left.values()]:
            if deaths[task.key] >= GUILTY and len(group) == 1:
                reason = f"the process that measured it died {GUILTY} times: out of memory?"
                yield left.pop(task.key), TaskOutcome(task.key, reason=reason)

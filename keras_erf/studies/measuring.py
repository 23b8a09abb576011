"""One task in whatever process it runs: loads the model, probes, and hands back plain bytes."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from keras_erf.errors import InvalidInputError, KerasERFError
from keras_erf.inputs.sources import NOISE
from keras_erf.loading import import_quietly
from keras_erf.studies.devices import take_share
from keras_erf.studies.plan import WEIGHTS, ModelEntry, Task, content_of, images_of

__all__ = ["TaskOutcome", "measure"]

# Samples of a step after memory ran out.
SMALL_BATCH = 2


@dataclass(frozen=True)
class TaskOutcome:
    """What became of a task.

    Args:
        key: Of the task.
        content: The result's file; `None` if it failed.
        reason: Why it failed, in one line.
    """

    key: str
    content: bytes | None = None
    reason: str | None = None


def measure(task: Task, cores: int | None = None, folder: str | None = None) -> TaskOutcome:
    """Measures a task; whatever goes wrong with it is told, not raised.

    Args:
        task: What to measure.
        cores: As in `take_share`.
        folder: Where a file tells of the task while it is at work: one stays if the process dies.
    """
    mark = None if folder is None else Path(folder) / task.key
    try:
        if mark is not None:
            mark.touch()
        # After the mark: TensorFlow may end the process as early as here.
        import_quietly()
        take_share(cores)
        try:
            return TaskOutcome(task.key, _measured(task, None))
        except Exception as error:
            if not _out_of_memory(error):
                raise
        return TaskOutcome(task.key, _measured(task, SMALL_BATCH))
    except Exception as error:  # A study continues: models and layers fail in any way.
        text = " ".join(str(error).split())
        known = isinstance(error, (KerasERFError, OSError))
        told = text if known and text else f"{type(error).__name__}: {text}"
        if _out_of_memory(error):
            told = f"out of memory, with {SMALL_BATCH} samples at a time too: {told}"
        return TaskOutcome(task.key, reason=told[:500])
    finally:
        if mark is not None:
            mark.unlink(missing_ok=True)


def _measured(task: Task, batch_size: int | None) -> bytes:
    from keras_erf.inputs.images import ImageFolder
    from keras_erf.measuring.probing import probe

    _check_images(task.inputs, task.inputs_content)
    model, preprocess = _model(_frozen(task.model), task.content, task.weights_content)
    noise = task.inputs in NOISE
    result = probe(
        model,
        task.layer,
        unit=task.unit,
        inputs=task.inputs if noise else ImageFolder(task.inputs, preprocess),
        samples=task.samples,
        tolerance=task.tolerance,
        definition=task.definition,
        seed=task.seed,
        calibrate=task.calibrate,
        batch_size=batch_size,
        input_shape=task.model.input_shape,
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.npz"
        result.save(file)
        return file.read_bytes()


def _frozen(model: ModelEntry) -> str:
    """What a model is known by in this process: JSON, for options may be lists."""
    return json.dumps([model.source, model.weights, dict(model.options), model.unsafe])


# Tasks of one model come one after the other: the last one is kept.
@lru_cache(maxsize=1)
def _model(entry: str, content: str, weights_content: str) -> tuple[Any, Any]:
    from keras_erf.loading import load_quietly

    source, weights, options, unsafe = json.loads(entry)
    _check("source", "file", source, content_of(source), content)
    _check("weights", "file", weights, content_of(weights, WEIGHTS), weights_content)
    loaded = load_quietly(source, weights, options, unsafe)
    return loaded.model, loaded.preprocess


# Once in a process, not for each task: a folder may hold many. What differs is looked at again.
@lru_cache(maxsize=1)
def _check_images(inputs: str, content: str) -> None:
    _check("inputs", "folder", inputs, images_of(inputs), content)


def _check(name: str, what: str, path: str, found: str, planned: str) -> None:
    """Raises unless this machine has what the study was planned with."""
    if found != planned:
        raise InvalidInputError(
            f"`{name}` must be the {what} that the study was planned with, on each machine; run "
            f"the study again. Received: {path!r}, which is another one or gone"
        )


def _out_of_memory(error: BaseException | None) -> bool:
    # A probe tells of it by an error of its own, whose cause it is.
    return error is not None and (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"
        or _out_of_memory(error.__cause__)
    )

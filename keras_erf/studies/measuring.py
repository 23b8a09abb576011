"""Runs one task in any process: loads the model, probes, and returns plain bytes."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from keras_erf.errors import InvalidInputError, KerasERFError
from keras_erf.inputs.sources import NOISE
from keras_erf.quiet import import_quietly
from keras_erf.studies.devices import take_share
from keras_erf.studies.plan import WEIGHTS, ModelEntry, Task, content_of, images_of

__all__ = ["TaskOutcome", "measure"]

# Batch size after memory ran out.
SMALL_BATCH = 2


@dataclass(frozen=True)
class TaskOutcome:
    """The outcome of a task.

    Args:
        key: Key of the task.
        content: The bytes of the result's file; `None` if the task failed.
        reason: Why the task failed, in one line.
    """

    key: str
    content: bytes | None = None
    reason: str | None = None


def measure(task: Task, cores: int | None = None, folder: str | None = None) -> TaskOutcome:
    """Measures a task; errors become part of the outcome and are not raised."""
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
    except Exception as error:  # The study continues, whatever error a model or layer raises.
        text = " ".join(str(error).split())
        known = isinstance(error, (KerasERFError, OSError))
        reason = text if known and text else f"{type(error).__name__}: {text}"
        if _out_of_memory(error):
            reason = f"out of memory, even with {SMALL_BATCH} samples at a time: {reason}"
        return TaskOutcome(task.key, reason=reason[:500])
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
    """The cache key of a model in this process: JSON, as options may be lists."""
    options = dict(model.options)
    opening = [model.custom, model.stand_ins, model.unsafe]
    return json.dumps([model.source, model.weights, options, opening])


# Tasks of one model follow each other, so only the last model is cached.
@lru_cache(maxsize=1)
def _model(entry: str, content: str, weights_content: str) -> tuple[Any, Any]:
    from keras_erf.custom_code import read_opening
    from keras_erf.named_models import load_quietly

    source, weights, options, opening = json.loads(entry)
    _check("source", "file", source, content_of(source), content)
    _check("weights", "file", weights, content_of(weights, WEIGHTS), weights_content)
    loaded = load_quietly(source, weights, options, read_opening(*opening))
    return loaded.model, loaded.preprocess


# Checked once per process, not for each task: a folder may hold many images.
@lru_cache(maxsize=1)
def _check_images(inputs: str, content: str) -> None:
    _check("inputs", "folder", inputs, images_of(inputs), content)


def _check(name: str, what: str, path: str, found: str, planned: str) -> None:
    """Raises an error if this machine has other files than the study was planned with."""
    if found != planned:
        raise InvalidInputError(
            argument=name,
            expected=f"must be the {what} that the study was planned with, on each machine",
            remedy="run the study again",
            received=f"{path!r}, which is another one or gone",
        )


def _out_of_memory(error: BaseException | None) -> bool:
    # A probe raises an error of this library, whose cause is the memory error.
    return error is not None and (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"
        or _out_of_memory(error.__cause__)
    )

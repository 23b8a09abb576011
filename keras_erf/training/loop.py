"""Training that resumes where it was interrupted: a checkpoint and a history each epoch."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from keras_erf.errors import InvalidInputError, reason_of
from keras_erf.files.kinds import kind_of
from keras_erf.files.vetting import vetted_model
from keras_erf.files.writing import write_json, written_whole
from keras_erf.measuring.settings import check_whole
from keras_erf.result_folders import Store, read_json
from keras_erf.training.callbacks import ERFLogger

__all__ = ["Options", "Outcome", "run"]

CHECKPOINT, HISTORY, ABOUT = "checkpoint.keras", "history.json", "options.json"


@dataclass(frozen=True)
class Options:
    """How a network is trained.

    Args:
        epochs: Number of epochs.
        batch_size: Images per step.
        learning_rate: Peak of the schedule: a rise over the first tenth, then a cosine.
        weight_decay: Share of the weights subtracted at each step, times the learning rate.
        width: Filters of the network's first stage.
        subset: Number of training images to use; `None` is all.
        seed: Seed of weights, order and augmentation.
        softness: Softness of kernels with a weaker centre; `None` is He's initialisation.
        tolerance: Tolerance of the effective field's size, at each point.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    width: int = 16
    subset: int | None = None
    seed: int = 0
    softness: float | None = None
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "width"):
            check_whole(name, getattr(self, name), 1)
        check_whole("seed", self.seed, 0)
        if self.subset is not None:
            check_whole("subset", self.subset, 1)
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise InvalidInputError(
                    argument=name,
                    expected="must be a number of at least 0",
                    received=f"{name}={value!r}",
                )


@dataclass(frozen=True, eq=False)
class Outcome:
    """A trained network, and its history.

    Args:
        model: The network.
        history: Metrics of each epoch.
        logger: The measurements of its field.
    """

    model: keras.Model
    history: tuple[Mapping[str, float], ...]
    logger: ERFLogger


def run(
    build: Callable[[], keras.Model],
    batches: Callable[[int], keras.utils.PyDataset],
    options: Options,
    logger: ERFLogger,
    folder: Path,
    *,
    data: str,
    compiled: Mapping[str, Any],
    validation: Any = None,
    report: Callable[[int, Mapping[str, float]], None] = lambda epoch, metrics: None,
) -> Outcome:
    """Trains a network, and resumes after an earlier call for the same folder was interrupted.

    Args:
        build: Returns the network.
        batches: Returns the batches of an epoch, given its number.
        options: Options of the training.
        logger: Measures the field; it manages its own folder.
        folder: Folder of checkpoint and history.
        data: Description of the images, which differs for other images.
        compiled: Arguments of `compile` other than the optimizer.
        validation: As `fit` takes it.
        report: Called with each epoch's number and metrics.

    Raises:
        InvalidInputError: The folder holds a training of other options or data.
    """
    store = Store(folder, ABOUT, "a training", {**asdict(options), "data": data})
    steps = len(batches(0))
    if (folder / CHECKPOINT).exists():
        model = _read_checkpoint(folder / CHECKPOINT)
    else:
        model = build()
        model.compile(optimizer=_optimizer(options, steps), **compiled)
    # Not earlier: a call that fails while it builds must not block the next one.
    store.save({})
    start = int(model.optimizer.iterations.numpy()) // steps
    # An epoch whose checkpoint was not written is repeated.
    history = read_json(folder / HISTORY, store.kind, [])[:start]
    for epoch in range(start, options.epochs):
        fitted = model.fit(
            batches(epoch),
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            callbacks=[logger],
            validation_data=validation,
            verbose=0,
        )
        metrics = {name: float(values[-1]) for name, values in fitted.history.items()}
        history.append({"epoch": epoch + 1, **metrics})
        write_json(folder / HISTORY, history)
        with written_whole(folder / CHECKPOINT) as temporary:
            model.save(temporary)
        report(epoch + 1, metrics)
    return Outcome(model, tuple(history), logger)


def _optimizer(options: Options, steps: int) -> keras.optimizers.Optimizer:
    """Gradient descent with Nesterov's momentum, a warm-up, and a cosine decay to zero."""
    total = steps * options.epochs
    rise = max(total // 10, 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(total - rise, 1),
        warmup_target=options.learning_rate,
        warmup_steps=rise,
    )
    return keras.optimizers.SGD(
        schedule, momentum=0.9, nesterov=True, weight_decay=options.weight_decay
    )


def _read_checkpoint(file: Path) -> keras.Model:
    # Registers the zoo's own initialiser for Keras.
    importlib.import_module("keras_erf.models.weak_centre")
    try:
        vetted_model(file, kind_of(file))
        return keras.models.load_model(file)
    except Exception as error:  # Keras and h5py fail in many ways on a bad file.
        raise InvalidInputError(
            argument="path",
            expected=f"holds a checkpoint that cannot be read: {reason_of(error)}",
            remedy="Delete it to train from the beginning",
            received=repr(str(file)),
        ) from error

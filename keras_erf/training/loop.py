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
from keras_erf.files.vetting import vetted_model
from keras_erf.files.writing import write_json, written_whole
from keras_erf.measuring.settings import check_whole
from keras_erf.storage import Store, read_json
from keras_erf.training.callbacks import ERFLogger

__all__ = ["Options", "Outcome", "run"]

CHECKPOINT, HISTORY, ABOUT = "checkpoint.keras", "history.json", "options.json"


@dataclass(frozen=True)
class Options:
    """How a network is trained.

    Args:
        epochs: Number of epochs.
        batch_size: Images of a step.
        learning_rate: Peak of the schedule: a rise over the first tenth, then a cosine.
        weight_decay: Share of the weights taken off at each step, times the learning rate.
        width: Filters of the network's first stage.
        subset: How many of the training images to use; `None` is all.
        seed: Of weights, order and augmentation.
        softness: Of kernels with a weaker centre; `None` is He's initialisation.
        tolerance: Of the effective field's size, at each point.
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
                    f"`{name}` must be a number of at least 0. Received: {name}={value!r}"
                )


@dataclass(frozen=True, eq=False)
class Outcome:
    """A trained network, and how it came to be.

    Args:
        model: The network.
        history: Figures of each epoch.
        logger: What was measured of its field.
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
    report: Callable[[int, Mapping[str, float]], None] = lambda epoch, figures: None,
) -> Outcome:
    """Trains a network, from where an earlier call for the same folder was interrupted.

    Args:
        build: Makes the network.
        batches: Makes the batches of an epoch, of its number.
        options: How.
        logger: Watches the field; its own folder is kept by it.
        folder: Where checkpoint and history are.
        data: What the batches are of, in words that differ for other images.
        compiled: What `compile` takes beside the optimizer.
        validation: As `fit` takes it.
        report: Told each epoch's number and figures.

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
    # Not earlier: a call that is refused while it builds must not stand in the way of the next.
    store.save({})
    start = int(model.optimizer.iterations.numpy()) // steps
    # An epoch whose checkpoint was not written comes again.
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
        figures = {name: float(values[-1]) for name, values in fitted.history.items()}
        history.append({"epoch": epoch + 1, **figures})
        write_json(folder / HISTORY, history)
        with written_whole(folder / CHECKPOINT) as temporary:
            model.save(temporary)
        report(epoch + 1, figures)
    return Outcome(model, tuple(history), logger)


def _optimizer(options: Options, steps: int) -> keras.optimizers.Optimizer:
    """Gradient descent with Nesterov's momentum, a rise, and a cosine down to zero."""
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
    # Keras finds the zoo's own initialiser once it is registered.
    importlib.import_module("keras_erf.models.weak_centre")
    try:
        vetted_model(file)
        return keras.models.load_model(file)
    except Exception as error:  # Keras and h5py fail in many ways on a bad file.
        raise InvalidInputError(
            f"`path` holds a checkpoint that cannot be read: {reason_of(error)}. Delete it to "
            f"train from the beginning. Received: {str(file)!r}"
        ) from error

"""A callback that measures the effective receptive field during training."""

from __future__ import annotations

import importlib.util
import math
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_erf.algebra.geometry import ReceptiveField
from keras_erf.definitions import Definition, get_definition
from keras_erf.errors import GradientError, InvalidInputError
from keras_erf.fields.theoretical import Rules
from keras_erf.graph import build_in_place
from keras_erf.measuring.measurement import Measurement
from keras_erf.measuring.plans import plan_of
from keras_erf.measuring.settings import Location, Settings, check_whole
from keras_erf.measuring.setup import check_backend, fingerprint, prepared
from keras_erf.results.effective import EffectiveReceptiveField
from keras_erf.training.logbook import Logbook, Phase, Point

__all__ = ["ERFLogger"]

# Metrics in the logs of an epoch, by their names there.
LOGGED = {
    "erf_size": "erf_size",
    "erf_ratio": "ratio",
    "erf_sigma": "sigma",
    "erf_r_squared": "r_squared",
    "erf_dead": "dead",
}


class ERFLogger(keras.callbacks.Callback):
    """Logs the effective receptive field of some layers while a model is trained.

    It measures before training, every `every` epochs or batches, and at the end, always on the
    same samples. Training is unaffected: losses are the same without it. Metrics of an epoch are
    added to its logs, for `History` and `CSVLogger`, as `erf_size`, or `LAYER/erf_size` for
    several layers; they are NaN if the epoch ends without a point.

    A point belongs to a number of training steps, by `model.optimizer.iterations`, and to the
    weights at that step. If training does not use that optimizer, batches are counted. After
    `compile`, the new optimizer counts from 0, while the history continues with its own steps and
    epochs in a new *phase*. Another logger with the same `path` continues in the same way, if the
    weights are those of the last point, or, for a new optimizer, of any point.

    A run that resumes, with `BackupAndRestore` or from a checkpoint, continues at its first step.
    Points after that step move to `superseded`, and with `path` to a folder of that name: no
    measurement is deleted. Weights that are not in the history belong to another run: with `path`
    they raise an error, without it the history starts again.

    If the gradient is zero (a dead ReLU), a warning states the reason, and metrics are NaN. So
    measure the layer before a ReLU, not the ReLU.

    Examples:
        >>> model = keras_erf.zoo.build("cifar_resnet36", blocks=1, width=4)
        >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> x = np.random.default_rng(0).normal(size=(16, 32, 32, 3))
        >>> logger = keras_erf.ERFLogger("block1_add", inputs=x, path="erf-log")
        >>> history = model.fit(x, np.arange(16) % 10, epochs=1, callbacks=[logger], verbose=0)
        >>> len(history.history["erf_size"]), len(logger.frame)  # before training as well
        (1, 2)

    Args:
        layers: A layer as in `probe`, or a list of them; `None` is the last one with
            spatial axes.
        inputs: As in `probe`. The first samples of a `tf.data.Dataset` are used each time: it must
            yield the same ones.
        samples: As in `probe`.
        tolerance: As in `probe`.
        every: Number of epochs, or batches, between points.
        per: `"epoch"` or `"batch"`.
        unit: As in `probe`, of each layer.
        definition: As in `probe`.
        batch_size: As in `probe`.
        seed: As in `probe`.
        input: As in `probe`.
        input_shape: As in `probe`.
        grid: As in `probe`, of each layer.
        rules: As in `probe`.
        path: A folder for the points (`erf.csv`) and each result (`.npz`); a run continues with
            the points in it.
        tensorboard: A folder of TensorBoard logs for scalars and pictures of the maps.
        verbose: Whether to print the cost at the end of training.

    Raises:
        InvalidInputError: An argument is invalid, or, when `fit` begins, `path` holds another
            run's points.

    Reference:
        Luo et al. 2016, section 3.2, and the poster: the field grows during training.
    """

    def __init__(
        self,
        layers: Any = None,
        *,
        inputs: Any = "normal",
        samples: int | None = None,
        tolerance: float | None = None,
        every: int = 1,
        per: Literal["epoch", "batch"] = "epoch",
        unit: tuple[int, ...] | Literal["center"] = "center",
        definition: str | Definition = "luo2016",
        batch_size: int | None = None,
        seed: int = 0,
        input: str | None = None,
        input_shape: int | Sequence[int] | None = None,
        grid: Sequence[int] | None = None,
        rules: Rules | None = None,
        path: str | os.PathLike[str] | None = None,
        tensorboard: str | os.PathLike[str] | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__()
        check_backend()
        check_whole("every", every, 1)
        if per not in ("epoch", "batch"):
            raise InvalidInputError(
                argument="per", expected="must be 'epoch' or 'batch'", received=f"per={per!r}"
            )
        self.layers = list(layers) if isinstance(layers, (list, tuple)) else [layers]
        if not self.layers:
            raise InvalidInputError(
                argument="layers", expected="must name at least one layer", received="none"
            )
        self.settings = Settings(
            inputs=inputs,
            samples=samples,
            tolerance=tolerance,
            definition=get_definition(definition),
            batch_size=batch_size,
            seed=seed,
        )
        self.every, self.per = every, per
        self.unit, self.grid, self.rules = unit, grid, rules
        self.input, self.input_shape = input, input_shape
        self.path = None if path is None else Path(path)
        self.tensorboard = None if tensorboard is None else Path(tensorboard)
        if self.tensorboard is not None and importlib.util.find_spec("tensorboard") is None:
            raise InvalidInputError(
                argument="tensorboard",
                expected="needs the package of that name: pip install tensorboard",
                received=f"tensorboard={str(tensorboard)!r}",
            )
        self.verbose = verbose
        self.logbook = Logbook(self.path)
        self.seconds = 0.0
        self._measurements: list[Measurement] = []
        self._fields: list[ReceptiveField] = []
        self._measured: Any = None
        self._checked, self._begun = False, False
        self._writer: Any = None
        self._started, self._trained = 0.0, 0.0
        self._phase = Phase()
        # Epochs done, and those of earlier calls of `fit` that counted from 0.
        self._epoch, self._before = 0, 0
        # Batches since an optimizer was set, and its own count at that time.
        self._optimizer: Any = None
        self._first, self._batches, self._whole = 0, 0, 0

    # --- Results --------------------------------------------------------------------------------

    @property
    def frame(self) -> Any:
        """A `pandas.DataFrame` with a row per point and layer; lengths in input pixels.

        Its columns are `step` (training steps done), `epoch` (epochs done), `layer`,
        `erf_size`, `erf_size_error`, `ratio`, `ratio_error`, `sigma`, `sigma_error`,
        `r_squared`, `dead`, `samples`, `trf_size`, `weights` (a fingerprint of the network's),
        `phase` (from 0, the next after each new optimizer), `iterations` (steps that the phase's
        optimizer has counted) and `definition`.
        """
        return self.logbook.frame

    @property
    def superseded(self) -> Any:
        """A `pandas.DataFrame` like `frame`, of points that a resumed run replaced.

        With `path`, it also has the column `file`: the result's file in the folder `superseded`.
        """
        return self.logbook.superseded

    @property
    def results(self) -> Mapping[tuple[int, str], EffectiveReceptiveField]:
        """The results by step and layer; those of an earlier run are read from `path`."""
        return self.logbook.results

    @property
    def share(self) -> float:
        """The time of measurements as a share of the training time without them; NaN before."""
        trained = self._trained - self.seconds
        return self.seconds / trained if trained > 0 else math.nan

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draws sizes over epochs; see `keras_erf.plotting.plot_history`. Returns `Axes`."""
        from keras_erf import plotting

        return plotting.plot_history(self.frame, ax=ax, **options)

    # --- Hooks of `fit` -------------------------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        """Prepares the measurements, once for a model."""
        self._started = time.perf_counter()
        if self._measured is not self.model:
            self._prepare()
            self._checked = False
        self.logbook.read()
        self._begun = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Adds the point before training, or that of the epoch at which a run resumes."""
        first = not self._begun
        if first:
            # Not earlier: other callbacks restore weights and steps when training begins.
            self._take_up(epoch)
        self._epoch = self._before + epoch
        self._whole, step = self._batches, self._step()
        due = epoch % self.every == 0 or step == 0 or self.per == "batch"
        known = bool(self.logbook.at(step))
        # The weights may differ from those of the existing point.
        if (first and known) or (due and not known):
            self._point(step)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Adds a point every `every` batches."""
        self._batches = self._whole + batch + 1
        if self.per == "batch" and self._step() % self.every == 0:
            self._point(self._step())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds a point every `every` epochs, and its metrics to the logs."""
        self._epoch = self._before + epoch + 1
        if self.per == "epoch" and (epoch + 1) % self.every == 0:
            points = self._point(self._step())
        else:
            points = self.logbook.at(self._step())
        if logs is None:
            return
        by_layer = {point.layer: point for point in points}
        for field in self._fields:
            start = f"{field.layer}/" if len(self._fields) > 1 else ""
            point = by_layer.get(field.layer)
            # NaN without a point: `CSVLogger` only writes the columns of the first epoch.
            for name, own in LOGGED.items():
                logs[f"{start}{name}"] = math.nan if point is None else getattr(point, own)

    def on_train_end(self, logs: Any = None) -> None:
        """Adds the last point, if it is missing or the weights are not those of the last epoch."""
        # There may have been no epoch.
        if self._begun:
            self._point(self._step())
        self._trained += time.perf_counter() - self._started
        if self._writer is not None:
            self._writer.flush()
        if self.verbose:
            print(
                f"ERFLogger: {len(self.logbook.steps)} points, {self.seconds:.1f} s, "
                f"{100 * self.share:.1f} % of the time of training"
            )

    # --- Measuring ------------------------------------------------------------------------------

    def _prepare(self) -> None:
        begin = time.perf_counter()
        shape = self.input_shape
        if not self.model.built:
            # Its first batch would build it, after the point before training.
            build_in_place(self.model, input_shape=shape, inputs=self.settings.inputs)
            shape = None
        ready = prepared(
            self.model,
            self.layers,
            self.settings,
            Location(self.unit, self.input, shape, self.grid, self.rules),
            assigned=False,
        )
        if ready.model is not self.model:
            raise InvalidInputError(
                argument="model",
                expected="must compute in one precision: a copy would be measured, which "
                "training does not change",
                received=f"model={self.model.name!r} of mixed precision",
            )
        # Each layer separately, so that each stops and fails on its own. Traces inside of layers
        # may hold the current weights.
        self._measurements = [
            Measurement(plan_of([target], self.settings, inside=False), self.settings)
            for target in ready.targets
        ]
        self._fields = [target.receptive_field for target in ready.targets]
        self._measured = self.model
        self.seconds += time.perf_counter() - begin

    def _take_up(self, epoch: int) -> None:
        """Finds the place in the history where training continues, and moves later points aside."""
        compiled, done = self.model.optimizer is not self._optimizer, self._step()
        if compiled or not self._checked:
            self._optimizer = self.model.optimizer
            self._first, self._batches = self._iterations(), 0
        if not self._checked:
            self._phase = self._placed()
        elif compiled:
            self._phase = self.logbook.next_phase(done, self._count())
        self.logbook.return_to(self._phase, self._step())
        # `fit` counts epochs from 0 unless it is given `initial_epoch`.
        self._before = max((point.epoch - epoch for point in self.logbook.points), default=0)
        self._before = max(self._before, 0)
        self._checked = self._begun = True

    def _placed(self) -> Phase:
        """The phase of a model that is new to this logger."""
        names = [field.layer for field in self._fields]
        mark, definition = fingerprint(self.model), self.settings.definition.name
        try:
            return self.logbook.place(self._count(), names, definition, mark)
        except InvalidInputError:
            if self.path is not None:
                raise
            self.logbook.supersede(self.logbook.points)
            return Phase()

    def _step(self) -> int:
        """Training steps done, in all phases."""
        return self._phase.start + self._count()

    def _count(self) -> int:
        """Steps by the optimizer's count, or batches if training does not use it."""
        done = self._iterations()
        # An optimizer that accumulates gradients does not count some batches either.
        gathers = self._optimizer is not None and self._optimizer.gradient_accumulation_steps
        alone = done == self._first and self._batches >= (gathers or 1)
        return self._first + self._batches if alone else done

    def _iterations(self) -> int:
        return 0 if self._optimizer is None else int(np.asarray(self._optimizer.iterations))

    def _point(self, step: int) -> list[Point]:
        """Measures all layers, unless the current weights are already measured."""
        begin = time.perf_counter()
        points, mark = self.logbook.at(step), fingerprint(self.model)
        if not points or any(point.weights != mark for point in points):
            results = [_measured(measurement, mark) for measurement in self._measurements]
            definition = self.settings.definition.name
            points = self.logbook.add(
                self._phase, step, self._epoch, self._fields, results, mark, definition
            )
            if self.tensorboard is not None:
                self._show(step, points, results)
        self.seconds += time.perf_counter() - begin
        return points

    def _show(
        self, step: int, points: Sequence[Point], results: Sequence[EffectiveReceptiveField | None]
    ) -> None:
        """Scalars and pictures for TensorBoard."""
        import tensorflow as tf

        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self.tensorboard))
        with self._writer.as_default(step=step):
            for point, result in zip(points, results, strict=True):
                for name, own in LOGGED.items():
                    tf.summary.scalar(f"{name}/{point.layer}", getattr(point, own))
                if result is not None and result.map.ndim == 2:
                    values = np.abs(result.map) / np.abs(result.map).max()
                    picture = (255 * values).astype(np.uint8)[None, :, :, None]
                    tf.summary.image(f"erf/{point.layer}", picture)


def _measured(measurement: Measurement, mark: str) -> EffectiveReceptiveField | None:
    """A result, or `None` with a warning if the gradient is zero: training continues."""
    try:
        return measurement.run(weights=mark)[0]
    except GradientError as error:
        warnings.warn(f"ERFLogger: {error}", stacklevel=3)
        return None

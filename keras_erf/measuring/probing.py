"""The gradient probe: back-propagates from one unit to the input, sample by sample.

A gradient of 1 is put at one unit, 0 elsewhere, and taken back to the input
(Luo, Li, Urtasun and Zemel 2016, section 2). Only the unit's own field is computed
(`cone`), in batches, by one compiled function that keeps running sums on the device
(`accumulating`). The user's model is only called, never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from keras_erf.definitions import Definition, get_definition
from keras_erf.fields.theoretical import Rules
from keras_erf.measuring.measurement import measure
from keras_erf.measuring.plans import plan_of
from keras_erf.measuring.settings import Location, Settings
from keras_erf.measuring.setup import Prepared, check_backend, prepared
from keras_erf.progress import Progress, shown
from keras_erf.results.effective import EffectiveReceptiveField
from keras_erf.types import KerasTensor, Layer, Model

__all__ = ["probe", "probed"]


def probe(
    model: Model,
    layer: str | Layer | KerasTensor | None = None,
    *,
    unit: tuple[int, ...] | Literal["center"] = "center",
    inputs: Any = "normal",
    samples: int | None = None,
    tolerance: float | None = None,
    definition: str | Definition = "luo2016",
    batch_size: int | None = None,
    seed: int = 0,
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    cone: bool = True,
    training: bool = False,
    calibrate: bool = False,
    grid: Sequence[int] | None = None,
    rules: Rules | None = None,
    progress: bool | Progress | None = None,
) -> EffectiveReceptiveField:
    """Measures the effective receptive field of one unit of a layer.

    The field is made of gradients. Comparisons, rounding, `argmax` and stopped
    gradients have none: what the unit sees through them alone is not in the map,
    and `unseen` of the result names these layers.

    Examples:
        >>> model = keras_erf.zoo.load("cifar_resnet14")
        >>> images = np.random.default_rng(0).normal(size=(32, 32, 32, 3))  # yours
        >>> result = keras_erf.probe(model, "stage2_block2_out", inputs=images)
        >>> print(f"{result.size:.0f} px of {result.trf_size:.0f} px, {result.count} samples")
        12 px of 25 px, 32 samples

    Args:
        model: A Keras model: Functional, Sequential or subclassed, on the TensorFlow backend.
        layer: As in `receptive_field`: `None` is the last layer with more than one position.
        unit: Index of the unit, or `"center"`: the unit whose field's centre is
            nearest the input's centre.
        inputs: `"normal"`, `"uniform"` or `"zeros"`; an array of shape
            `(samples, *input shape)`, or a list or dict of them for several
            inputs; a `tf.data.Dataset`; an `ImageFolder` or the path of one; a
            dict of any of these, one for each input.
        samples: Number of samples; `None` takes all of an array, and 64 of
            anything else. Fewer are used where `inputs` holds fewer. A unit that
            is an affine function of the input needs one, and gets one.
        tolerance: Stops as soon as the 95 % interval of the size lies within
            this share of the size, to either side (0.02 is 2 %); `samples` is
            then the most there may be, 4096 if `None`. `stopped_by` of the result
            states which of the two it was.
        definition: Name of a definition, or a `Definition`; see `DEFINITIONS`.
        batch_size: Samples per batch; `None` chooses by memory. A model of fixed batch
            size takes no other.
        seed: Seed of noise, of the order of image files and of random layers.
        input: Name of the input the map is over; `None` is the first.
        input_shape: Spatial sizes for the inputs, without batch and channels.
            `None` keeps the model's; where they are undefined, those of an
            array are taken, or sizes large enough for the field.
        cone: Whether to compute no more than the unit's own field, which gives the
            same gradients at a fraction of the cost; `False` runs the whole input.
        training: Whether layers run in training mode (dropout active). No
            statistics are updated. Refused where a layer mixes samples, such as a
            batch normalisation that is not frozen: a unit then depends on every pixel
            of every sample, and has no field of its own.
        calibrate: Whether to measure a copy whose batch normalisations hold the
            statistics of `inputs`, as `calibrate_batch_norm(model, inputs)` makes it:
            for networks that were never trained. A model without batch
            normalisations is measured unchanged.
        grid: Rows and columns of a layer of tokens, as in `receptive_field`.
        rules: Rules for unknown layers, as in `receptive_field`.
        progress: `True` shows a bar; a function is called with the number of
            samples done and wanted.

    Returns:
        An `EffectiveReceptiveField`. Models of half precision are measured in
        float32, on a copy.

    Raises:
        InvalidInputError: An argument does not fit the model; or a gradient reaches
            beyond its theoretical field, by one of `rules`.
        InternalError: It does so by a fault of this library.
        UnknownLayerError: `layer` is not in the model.
        UnsupportedLayerError: No rule states the field of a layer on the path.
        GradientError: The gradient is zero for every sample, is rounding alone,
            overflows or underflows, or the model cannot be run; the layer that is to blame is
            named.
        BackendError: Keras does not run on TensorFlow.
    """
    check_backend()
    settings = Settings(
        inputs=inputs,
        samples=samples,
        tolerance=tolerance,
        definition=get_definition(definition),
        batch_size=batch_size,
        seed=seed,
        cone=cone,
        training=training,
        calibrate=calibrate,
    )
    ready = prepared(model, [layer], settings, Location(unit, input, input_shape, grid, rules))
    with shown(progress, f"Probing {ready.targets[0].receptive_field.layer}") as report:
        return probed(ready, settings, report)


def probed(ready: Prepared, settings: Settings, report: Progress) -> EffectiveReceptiveField:
    """Measures the one unit that was prepared."""
    plan = plan_of(ready.targets, settings)
    (result,) = measure(plan, settings, weights=ready.weights, report=report)
    return result

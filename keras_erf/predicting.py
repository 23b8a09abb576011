"""The expected effective receptive field, without sampling: one pass through squared kernels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import tensorflow as tf

from keras_erf.definitions import DEFINITIONS
from keras_erf.errors import GradientError, InvalidInputError
from keras_erf.fields.theoretical import Rules, Target
from keras_erf.measuring.cancelling import check_expected
from keras_erf.measuring.containment import check_enclosed
from keras_erf.measuring.diagnosing import padding_alone
from keras_erf.measuring.gradients import within
from keras_erf.measuring.measurement import noted, provenance
from keras_erf.measuring.plans import input_specs, plan_of, planned
from keras_erf.measuring.profiling import Profile, profile_of
from keras_erf.measuring.settings import Location, Settings
from keras_erf.measuring.setup import check_backend, prepared
from keras_erf.measuring.squared_gradients import squared_gradients
from keras_erf.measuring.untrained import notes_of
from keras_erf.results.effective import BLOCKS, EffectiveReceptiveField
from keras_erf.second_moments import SquaredNetwork, Weights, squared
from keras_erf.types import KerasTensor, Layer, Model

__all__ = ["expected", "growth"]

DEFINITION = DEFINITIONS["luo2016-squared"]
SETTINGS = Settings(definition=DEFINITION)
# The most that terms left out may change a size, as a share.
TOLERANCE = 0.03
# No sample was taken.
RUN = {"inputs": "none", "seed": 0, "samples": 1, "stopped_by": "expected", "skipped": []}


def expected(
    model: Model,
    layer: str | Layer | KerasTensor | None = None,
    *,
    weights: Weights = "random",
    unit: tuple[int, ...] | Literal["center"] = "center",
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    training: bool = False,
    grid: Sequence[int] | None = None,
    rules: Rules | None = None,
) -> EffectiveReceptiveField:
    """The mean squared gradient of a unit over random weights, in one pass and without data.

    It is what `ensemble` with `definition="luo2016-squared"` measures in the long run.
    The map of |gradient| is about its root, wider by up to sqrt(2).

    Exact for linear networks of any width and connection: convolutions, dense layers,
    strides, dilations, sums, concatenations, pools and interpolations. What neighbours have in
    common behind pools and interpolations is carried. Approximations, listed as such but for
    the first:

    - activations: the mean square of their slope for a Gaussian signal (1/2 for a
      ReLU), and the mean that they give the gradient along the signal, which is right
      for wide networks;
    - batch normalisation: its own scale, `gamma^2 / (variance + epsilon)`, of given
      weights; of random ones the scale that compensates for the signal's strength, as
      after `calibrate_batch_norm` on noise;
    - layer normalisation: its slope for a signal that is independent of the gradient, without
      what all channels have in common; group normalisation: by the signal's strength;
    - maxima: each entry of a window is the largest as often; products (gates): factors
      from different tensors are independent;
    - weights that are used twice, and paths from one tensor that meet again without
      weights and are not linear: mixed terms are left out, or the layer is refused if they
      may change the size by more than 3 %;
    - layers without a rule (softmax, attention, recurrence): measured, one by one, by
      random signs and inputs, with the weights they hold.

    Examples:
        >>> model = keras_erf.zoo.build("camvid_resnet")
        >>> print(f"{keras_erf.expected(model, 'stage3_block2_out').size:.0f} px")
        28 px

    Args:
        model: A Keras model: Functional, Sequential or subclassed, on the TensorFlow backend.
        layer: As in `probe`.
        weights: `"random"`: drawn from each layer's initialiser, so that the
            result is of the architecture. `"given"`: those of the model, each with
            a random sign.
        unit: As in `probe`.
        input: As in `probe`.
        input_shape: As in `probe`.
        training: Whether dropout is active; all else is as at inference.
        grid: As in `probe`.
        rules: As in `probe`.

    Returns:
        An `EffectiveReceptiveField` whose errors are NaN: there is no spread. Its
        `provenance["expected"]` lists the layers that are `"approximate"` or `"measured"`.

    Raises:
        InvalidInputError: An argument does not fit the model, or random weights of
            some layer have a mean other than zero, or mixed terms that are left out
            may change the size by more than 3 %.
        UnknownLayerError: `layer` is not in the model.
        UnsupportedLayerError: No rule states the field of a layer on the path.
        GradientError: No gradient leads from the input to the unit.
        BackendError: Keras does not run on TensorFlow.

    Reference:
        Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field in Deep
        Convolutional Neural Networks", NIPS 2016, section 2.2 (random weights: the
        variance of the gradient signal is that of uniform kernels); Poole et al. 2016,
        arXiv:1606.05340, for signals through activations.
    """
    _check(weights, training)
    ready = prepared(model, [layer], SETTINGS, Location(unit, input, input_shape, grid, rules))
    (result,) = _predicted(ready.targets, weights, training, ready.weights)
    return result


def growth(
    model: Model,
    layers: Iterable[Any] | None = None,
    *,
    weights: Weights = "random",
    unit: tuple[int, ...] | Literal["center"] = "center",
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    training: bool = False,
    grid: Sequence[int] | None = None,
    rules: Rules | None = None,
) -> Profile:
    """How the expected field of an architecture grows over depth, before it is trained.

    Examples:
        >>> grown = keras_erf.growth(keras_erf.zoo.build("plain", depth=4))
        >>> print(grown.frame[["layer", "trf_size", "erf_size"]].round(1).to_string(index=False))
        layer  trf_size  erf_size
        conv1       3.0       3.0
        conv2       5.0       5.0
        conv3       7.0       6.7
        conv4       9.0       7.0

    Args:
        model: As in `expected`.
        layers: One layer as in `receptive_field`, or some; `None` is every layer with
            more than one position.
        weights: As in `expected`.
        unit: As in `expected`, of each layer.
        input: As in `expected`.
        input_shape: As in `expected`; one size for all layers.
        training: As in `expected`.
        grid: As in `expected`, of its layers of tokens.
        rules: As in `expected`.

    Returns:
        A `Profile` of the results of `expected`. Layers that have none are listed in
        its `skipped`.

    Raises:
        GradientError: No layer at all has a result.
        KerasERFError: Others as in `expected`.
    """
    _check(weights, training)
    ready = prepared(
        model, layers, SETTINGS, Location(unit, input, input_shape, grid, rules), several=True
    )
    targets, mark = ready.targets, ready.weights
    results: dict[int, EffectiveReceptiveField] = {}
    failed: dict[int, GradientError | InvalidInputError] = {}
    try:
        results = dict(enumerate(_predicted(targets, weights, training, mark) if targets else []))
    except (GradientError, InvalidInputError):
        if layers is not None or len(targets) < 2:
            raise
        # One of them fails; the others may succeed.
        for place, target in enumerate(targets):
            try:
                results[place] = _predicted([target], weights, training, mark)[0]
            except (GradientError, InvalidInputError) as error:
                failed[place] = error
    return profile_of(ready, results, failed)


def _check(weights: Any, training: Any) -> None:
    """Raises unless the arguments are some of those there are."""
    check_backend()
    if weights not in get_args(Weights):
        raise InvalidInputError(
            argument="weights",
            expected="must be 'random' or 'given'",
            received=f"weights={weights!r}",
        )
    Settings(training=training)


def _predicted(
    targets: Sequence[Target], weights: Weights, training: bool, mark: str
) -> list[EffectiveReceptiveField]:
    """The expected fields of some units of one graph, from one pass forwards."""
    check_expected(targets, replace(SETTINGS, training=training), random=weights == "random")
    tensors = [target.tensor for target in targets]
    network = squared(targets[0].tracing, tensors, weights=weights, training=training)
    results = _results(targets, network, weights, training, mark)
    if network.bounds:
        other = squared(
            targets[0].tracing, tensors, weights=weights, training=training, bounded=True
        )
        for result, bound in zip(
            results, _results(targets, other, weights, training, mark), strict=True
        ):
            _check_bound(result, bound, network.bounds)
    return results


def _results(
    targets: Sequence[Target], network: SquaredNetwork, weights: Weights, training: bool, mark: str
) -> list[EffectiveReceptiveField]:
    """The maps that one network gives of all units."""
    units = [
        replace(target, tracing=network.tracing, tensor=network.seeded[target.tensor])
        for target in targets
    ]
    modes = [network.modes.get(target.tensor) for target in targets]
    lines = [
        replace(unit, tensor=mode.line)
        for unit, mode in zip(units, modes, strict=True)
        if mode is not None
    ]
    plan = plan_of(units, SETTINGS)
    cone = planned([*units, *lines], SETTINGS) if lines else plan.cone
    input_specs(targets[0], cone)
    source = units[0].input
    part = cone.parts.get(source)
    shape = [stop - start for start, stop in part] if part else network.tracing.shape(source)
    # The network is linear: its gradients are the same everywhere.
    values = {source: tf.zeros((1, *shape), tf.float64)}
    gradients = squared_gradients(units, modes, cone, values)
    facts = provenance(targets[0], mark, replace(SETTINGS, training=training), [RUN])
    facts["expected"] = {
        "weights": weights,
        "approximate": list(network.approximate),
        "measured": list(network.measured),
    }
    axis = network.tracing.graph.channel_axes[source] + 1
    results = []
    # Random weights stand for any, with batch normalisations calibrated.
    own_weights = weights == "given"
    notes = notes_of(targets, None) if own_weights else [[] for _ in targets]
    for target, unit, gradient, own, note in zip(
        targets, units, gradients, plan.parts, notes, strict=True
    ):
        if gradient is not None:
            check_enclosed(gradient, target, part)
        cut = tf.zeros(()) if gradient is None else within(gradient, unit, own, part)
        _check_gradient(np.asarray(cut), target)
        mean = np.asarray(tf.reduce_mean(cut, axis=axis))[0]
        results.append(
            EffectiveReceptiveField(
                # One block of one sample: errors are NaN.
                block_sums=np.concatenate([mean[None], np.zeros((BLOCKS - 1, *mean.shape))]),
                block_counts=np.eye(1, BLOCKS, dtype=np.int64)[0],
                dead_count=0,
                receptive_field=target.receptive_field,
                definition=DEFINITION,
                provenance=noted(facts, note),
                part=own,
            )
        )
    return results


def _check_bound(
    result: EffectiveReceptiveField, bound: EffectiveReceptiveField, names: Sequence[str]
) -> None:
    """Raises if mixed terms that are left out may change a size."""
    if abs(bound.size / result.size - 1) <= TOLERANCE:
        return
    raise InvalidInputError(
        argument="layer",
        expected=f"must be one whose expected field is known within {TOLERANCE:.0%}. At "
        f"{', '.join(names)} gradients meet that are not independent, and what their "
        f"mixed terms may add changes the size from {result.size:.1f} to "
        f"{bound.size:.1f} px",
        remedy=(
            "Choose a layer before it, or sample networks: `keras_erf.ensemble(build, "
            "layer, definition='luo2016-squared')`"
        ),
        received=f"layer={result.layer!r}",
    )


def _check_gradient(gradient: np.ndarray, target: Target) -> None:
    """Raises unless there is one, and all of it is a number."""
    finite = np.isfinite(gradient).all()
    if finite and gradient.any():
        return
    field = target.receptive_field
    where = f"The expected gradient of unit {field.unit} of layer {field.layer!r}"
    if finite and not field.support().any():
        reason, remedy = padding_alone(target)
        raise GradientError(expected=f"{where} is zero: {reason}", remedy=remedy)
    if finite:
        raise GradientError(
            expected=f"{where} is zero everywhere: no path with weights other than zero leads to "
            "it from the input",
            remedy="Choose another layer",
        )
    raise GradientError(
        expected=f"{where} is not finite: weights or slopes are not, or squares overflow",
        remedy="Check the scale of the weights, and activations whose slope is infinite at zero",
    )

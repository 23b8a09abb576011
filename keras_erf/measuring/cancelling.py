"""Gradients that cancel: where a unit's channels sum to a constant, its gradient is rounding alone.

The sum of a softmax's channels is 1 whatever the input; its gradient is zero, and what
comes out of it in single precision is of size 1e-7. Whether that happens is measured on a
few samples, in three steps; each step is for the units that the one before leaves in doubt:

1. The gradient explains almost none of how the unit's channels vary from sample to
   sample. `accumulating` sees it in the first batch, at no cost.
2. The gradient of the seeded unit next to that of its channels under random weights, and
   next to the gradients it came from, layer by layer: has it fallen to a small share?
3. The same in another precision, on a copy: rounding falls with the precision, a gradient
   does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_erf.cone import Cone
from keras_erf.errors import GradientError, KerasERFError
from keras_erf.fields.inside import ends_in_activation
from keras_erf.fields.theoretical import Target, target_of
from keras_erf.graph import LINEAR, Node
from keras_erf.inputs.sampling import make_source
from keras_erf.inputs.streaming import streamed
from keras_erf.measuring.gradients import sample_maps, unit_channels
from keras_erf.measuring.plans import check, input_specs, planned
from keras_erf.measuring.sample_gradients import OtherPrecision, Row, State, gradient_rows
from keras_erf.measuring.settings import Settings

__all__ = ["check_expected", "check_sums"]

# Samples that are tried; each must show rounding alone for a unit to be refused.
SAMPLES = 4
# Samples of noise, of which some may be dead.
NOISE = 16
# A summed gradient below this share of one under random weights is in doubt.
CANCELLED = 0.03
# So is one that has fallen below this share of those it came from on every path.
FALLEN = 1e-4
# Rounding falls by 1e-9 from single to double precision: a gradient that keeps this share is one.
KEPT = {"float32": 1e-3, "float64": 1e-5}
# In double precision rounding is below this share of a gradient under random weights.
EXACT = 1e-12
# A gradient that differs by more than this share of its peak is lost in rounding.
LOST = 0.5
# Without a copy in another precision: units in the last place that rounding adds up to.
ROUNDING = 30
# Layers tried before one is named to take instead.
CANDIDATES = 12


def check_sums(
    targets: Sequence[Target],
    cone: Cone,
    batch: Mapping[int, Any],
    settings: Settings,
    *,
    valid: int = 1,
    state: State = (),
) -> None:
    """Raises if what a definition seeds at a unit is the same for every input.

    Raises:
        GradientError: It is; the layer to blame is named, and one to take in its place.
    """
    if not targets:
        return
    for finding in _cancelled(targets, cone, batch, settings, valid=valid, state=state):
        raise _refusal(finding, settings, state)


def check_expected(targets: Sequence[Target], settings: Settings, *, random: bool) -> None:
    """As `check_sums`, and `check`, of units that are not sampled: on noise."""
    check(targets[0], settings)
    plan = planned(targets, settings)
    batch = _noise(targets[0], plan, settings)
    state = _drawn(targets) if random else ()
    few = {key: values[:SAMPLES] for key, values in batch.items()}
    for number in set(few) - {targets[0].input}:
        few[number] = tf.repeat(few[number][:1], len(few[number]), axis=0)
    keep = {target.tensor for target in targets}
    try:
        known = plan.run(few, training=settings.training, state=state, keep=keep)
    except tf.errors.UnimplementedError:
        # Convolutions with channels first, on CPUs: the squared network runs, the model does not.
        return
    suspects = [
        target for target in targets if _hardly_varies(known[target.tensor], target, settings, plan)
    ]
    check_sums(suspects, plan, batch, settings, valid=NOISE, state=state)


def _hardly_varies(output: Any, target: Target, settings: Settings, cone: Cone) -> bool:
    """Whether a unit's sum varies from sample to sample by far less than its channels do."""
    channels = np.asarray(unit_channels(output, target, settings.definition, cone), np.float64)
    spread, size = channels.var(axis=0).sum(), np.square(channels).mean(axis=0).sum()
    return not (channels.sum(axis=-1).var() > CANCELLED**2 * spread > 1e-9 * size)


@dataclass(frozen=True, eq=False)
class _Finding:
    """A unit whose gradient cancels.

    Args:
        target: The unit.
        cone: What computes it.
        lost: Tensors on the path that nothing but rounding comes to.
        constant: Whether the true gradient is zero; else it is there, and drowned.
        signed: Whether channels under random weights have a gradient.
    """

    target: Target
    cone: Cone
    lost: frozenset[int]
    constant: bool
    signed: bool


def _cancelled(
    targets: Sequence[Target],
    cone: Cone,
    batch: Mapping[int, Any],
    settings: Settings,
    *,
    valid: int,
    state: State,
) -> Iterator[_Finding]:
    """The units of which every sample that is tried shows rounding alone."""
    other = OtherPrecision(targets, settings, state)
    pending, findings = list(targets), {target: list[_Finding]() for target in targets}
    for number in range(valid):
        if not pending:
            break
        sample = {key: values[number : number + 1] for key, values in batch.items()}
        wanted = [(target, signed) for target in pending for signed in (False, True)]
        rows = gradient_rows(wanted, cone, sample, settings, state)
        for target, summed, signed in zip(list(pending), rows[::2], rows[1::2], strict=True):
            if summed.peak == signed.peak == 0 or not np.isfinite([summed.peak, signed.peak]).all():
                # Such as a dead unit: other samples may show more.
                continue
            finding = _finding(target, cone, sample, (summed, signed), other)
            if finding is None:
                del findings[target]
            else:
                findings[target].append(finding)
            if finding is None or len(findings[target]) == SAMPLES:
                pending.remove(target)
    for target_findings in findings.values():
        yield from target_findings[:1]


def _finding(
    target: Target,
    cone: Cone,
    sample: Mapping[int, Any],
    rows: tuple[Row, Row],
    other: OtherPrecision,
) -> _Finding | None:
    """What one sample shows of a unit; `None` for a gradient that can be trusted."""
    summed, signed = rows
    dtype = other.dtype
    doubtful = summed.peak <= CANCELLED * signed.peak or _has_fallen(target, cone, summed.peaks)
    if not doubtful:
        return None
    other_row, tiny = other.row(target, cone, sample), ROUNDING * float(np.finfo(dtype).eps)
    # Where all of the unit is constant, a gradient under random weights is rounding, too.
    genuine = signed.peak > tiny * max(summed.peaks.values())
    if other_row is None or (dtype == "float64" and summed.peak == 0):
        if summed.peak > tiny * signed.peak and not _has_fallen(
            target, cone, summed.peaks, share=tiny
        ):
            return None
        lost = frozenset(
            key
            for key, peak in summed.peaks.items()
            if peak <= tiny * max(signed.peaks.get(key, 0.0), summed.peaks[target.tensor])
        )
        return _Finding(target, cone, lost, True, genuine)
    exact, rounded = (summed, other_row) if dtype == "float64" else (other_row, summed)
    lost = frozenset(
        key
        for key, peak in exact.peaks.items()
        if peak
        <= max(KEPT[dtype] * rounded.peaks.get(key, 0.0), EXACT * signed.peaks.get(key, 0.0))
    )
    if exact.peak <= max(KEPT[dtype] * rounded.peak, EXACT * signed.peak):
        return _Finding(target, cone, lost, True, genuine)
    if dtype == "float64" or other.is_random:
        return None
    error = np.abs(summed.gradient - other_row.gradient).max()
    return _Finding(target, cone, lost, False, genuine) if error > LOST * other_row.peak else None


def _has_fallen(
    target: Target, cone: Cone, peaks: Mapping[int, float], *, share: float = FALLEN
) -> bool:
    """Whether on every path from the unit to the input the gradient falls at one tensor."""
    needed = {target.tensor: 0.0}

    def is_alive(tensor: int) -> bool:
        peak = peaks.get(tensor)
        return peak is None or peak > share * needed[tensor]

    for step in reversed(cone.steps):
        alive = [output for output in step.node.outputs if output in needed and is_alive(output)]
        after = max((peaks.get(output, 0.0) for output in alive), default=None)
        if after is not None:
            for tensor in step.node.inputs:
                needed[tensor] = max(needed.get(tensor, 0.0), after)
    return target.input not in needed or not is_alive(target.input)


def _refusal(finding: _Finding, settings: Settings, state: State) -> GradientError:
    """The error of a unit whose gradient cancels: the layer to blame, and the one to take."""
    target, definition = finding.target, settings.definition
    field = target.receptive_field
    where = f"The gradient of unit {field.unit} of layer {field.layer!r}"
    if not finding.constant:
        return GradientError(
            expected=f"{where} is lost in rounding: its channels' sum, of which definition "
            f"{definition.name!r} takes the gradient, hardly depends on the input",
            remedy="Run the model in float64, or choose an earlier layer",
        )
    blamed = _blamed(finding)
    return GradientError(
        expected=f"{where} is zero for every input: the channels of {blamed.name!r} sum to a "
        f"constant, and definition {definition.name!r} takes the gradient of their sum",
        remedy=_remedy(finding, blamed, settings, state),
    )


def _blamed(finding: _Finding) -> Node:
    """The last call that a gradient comes to, and does not leave by all of its inputs."""
    target, lost = finding.target, finding.lost
    for node in reversed(target.graph.ancestors(target.tensor)):
        if not lost.isdisjoint(node.inputs) and not lost.issuperset(node.outputs):
            return node
    maker = finding.target.tracing.maker(finding.target.tensor)
    assert maker is not None
    return maker


def _remedy(finding: _Finding, blamed: Node, settings: Settings, state: State) -> str:
    softmax = getattr(blamed.operation, "activation", None) is keras.activations.softmax
    if softmax and ends_in_activation(blamed):
        return f"Choose {blamed.name + LINEAR!r}, the value before its softmax"
    graph, tensor = finding.target.graph, _instead(finding, settings, state)
    if tensor is None:
        if finding.signed:
            return (
                "No layer before it does better: choose one channel, by a layer behind it such "
                "as keras.layers.Lambda(lambda y: y[..., :1])"
            )
        return "Choose another layer"
    near = "the layer before it" if tensor in blamed.inputs else "an earlier layer"
    return f"Choose {near}, {graph.tensors[tensor].name!r}"


def _instead(finding: _Finding, settings: Settings, state: State) -> int | None:
    """The nearest layer before a unit whose gradient does not cancel; `None` if there is none."""
    target = finding.target
    before = [
        tensor
        for node in reversed(target.graph.ancestors(target.tensor))
        for tensor in node.outputs
        if tensor != target.tensor and target.tracing.is_reached(tensor)
    ]
    # Behind those that nothing but rounding comes to the cause is the same.
    ordered = sorted(before, key=lambda tensor: tensor not in finding.lost)
    fallback = None
    for tensor in ordered[:CANDIDATES]:
        try:
            candidate = target_of(target.tracing, tensor)
            plan = planned([candidate], settings)
            batch = _noise(candidate, plan, settings)
        except KerasERFError:
            continue
        alive = _alive(candidate, plan, batch, settings, state)
        if (alive and fallback is None) or 2 * alive > NOISE:
            if any(_cancelled([candidate], plan, batch, settings, valid=NOISE, state=state)):
                continue
            if 2 * alive > NOISE:
                return tensor
            fallback = tensor
    return fallback


def _alive(
    target: Target, cone: Cone, batch: Mapping[int, Any], settings: Settings, state: State
) -> int:
    """How many samples of a batch have a map."""
    count = 0
    for number in range(NOISE):
        sample = {key: values[number : number + 1] for key, values in batch.items()}
        (row,) = gradient_rows([(target, False)], cone, sample, settings, state)
        count += bool(np.any(sample_maps(row.gradient[None], target, settings.definition)))
    return count


def _noise(target: Target, cone: Cone, settings: Settings) -> dict[int, Any]:
    """Samples of noise, of the parts of the inputs that a cone takes."""
    specs = input_specs(target, cone)
    source = make_source("normal", specs, seed=settings.seed)
    (tensors,) = streamed(source, specs, NOISE, samples=NOISE)
    return dict(zip(target.graph.inputs, tensors, strict=True))


def _drawn(targets: Sequence[Target]) -> State:
    """Weights as the layers' initialisers draw them, where a weight is named like its own."""
    nodes = targets[0].graph.ancestors(*(target.tensor for target in targets))
    layers = {id(node.operation): node.operation for node in nodes}.values()
    inner_layers = {
        id(inner): inner
        for layer in layers
        if isinstance(layer, keras.Layer)
        for inner in layer._flatten_layers()
    }
    state: list[tuple[Any, Any]] = []
    for layer in inner_layers.values():
        for weight in layer._trainable_variables:
            name = weight.name.removesuffix("_kernel")
            initializer = getattr(layer, f"{name}_initializer", None)
            if isinstance(initializer, keras.initializers.Initializer):
                config = initializer.get_config()
                if "seed" in config:
                    # Of its own seed: two layers of one seed would cancel where they meet.
                    initializer = type(initializer).from_config({**config, "seed": len(state)})
                value = initializer(tuple(weight.shape), dtype=weight.dtype)
                state.append((weight, tf.convert_to_tensor(value)))
    return state

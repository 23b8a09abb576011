"""Checks a field: compares each layer's rule with the layer's gradients, and with changes.

A gradient through a deep network underflows, and its support cannot be
distinguished from rounding. Layer by layer it does not: if every layer on the path sees of its
input exactly what its rule says, for what is asked of it, so does the network.
Each layer is run alone, with random weights standing in for its own. Changes
of the inputs show what no gradient does: comparisons, rounding, stopped gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from keras_erf.algebra.geometry import ReceptiveField
from keras_erf.dependence.call import Call
from keras_erf.dependence.gradient_support import seen_alone
from keras_erf.dependence.perturbation import Seen, beyond, confirmed
from keras_erf.errors import UnsupportedLayerError
from keras_erf.fields.supports import masks_on_path
from keras_erf.fields.theoretical import Rules, locate
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import Argument, Node
from keras_erf.types import KerasTensor, Layer, Model
from keras_erf.wording import counted

__all__ = ["Check", "Difference", "check"]


@dataclass(frozen=True)
class Difference:
    """A layer whose rule does not agree with its gradients and changes.

    Args:
        layer: Name of the layer.
        missing: Elements of its input that make a difference, but not by the rule.
        surplus: Elements the rule names that never made one.
    """

    layer: str
    missing: int
    surplus: int


@dataclass(frozen=True)
class Check:
    """The outcome of comparing a field with gradients and changes.

    Args:
        verdict: `"pass"`: all layers on the path agree; `"fail"`: some do not;
            `"undecided"`: some show neither a gradient nor changes, the
            others agree.
        receptive_field: The field that was checked.
        checked: Number of layers compared.
        differences: The layers that do not agree.
        unmeasured: Pairs of a layer that could not be compared and the reason.
    """

    verdict: Literal["pass", "fail", "undecided"]
    receptive_field: ReceptiveField
    checked: int
    differences: tuple[Difference, ...]
    unmeasured: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """The verdict in a sentence."""
        field = self.receptive_field
        many = counted(self.checked, "layer")
        text = f"{self.verdict}: unit {field.unit} of {field.layer}, {many} compared"
        if self.differences:
            names = ", ".join(
                f"{difference.layer} ({difference.missing} missing, {difference.surplus} too many)"
                for difference in self.differences
            )
            text += f"; not as the rule says: {names}"
        if self.unmeasured:
            text += f"; cannot tell: {', '.join(name for name, _ in self.unmeasured)}"
        return text


def check(
    model: Model,
    layer: str | Layer | KerasTensor | None = None,
    *,
    unit: tuple[int, ...] | Literal["center"] = "center",
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    grid: Sequence[int] | None = None,
    rules: Rules | None = None,
) -> Check:
    """Checks a theoretical field against gradients and changes, on the TensorFlow backend.

    From the unit backwards, each layer is asked which of its inputs have a
    gradient, on random inputs and with random weights (ReLU and max pooling
    show themselves over several draws), and that is compared with what its rule
    says. Inputs of operations and of custom layers are also changed, as
    comparisons, rounding and stopped gradients have no gradient. Zeros that were
    assigned to a weight stay zero. The model itself is not changed.

    Examples:
        >>> model = keras_erf.zoo.build("cifar_resnet14")
        >>> print(keras_erf.check(model, "stage1_block2_out"))
        pass: unit (16, 16) of stage1_block2_out, 17 layers compared

    Args:
        model: A Keras model: Functional, Sequential or subclassed.
        layer: As in `receptive_field`.
        unit: As in `receptive_field`.
        input: As in `receptive_field`.
        input_shape: As in `receptive_field`.
        grid: As in `receptive_field`.
        rules: As in `receptive_field`.

    Returns:
        A `Check`.

    Raises:
        InvalidInputError: An argument does not fit the model.
        UnknownLayerError: `layer` is not in the model.
        UnsupportedLayerError: No rule knows a layer on the path, and it cannot
            be measured.
    """
    target = locate(
        model, layer, unit=unit, input=input, input_shape=input_shape, grid=grid, rules=rules
    )
    tracing = target.tracing
    masks = masks_on_path(tracing, target.tensor, target.position, through_global=True)
    differences, unmeasured = [], []
    checked = 0
    for node in reversed(tracing.ancestors(target.tensor)):
        outputs = {place: output for place, output in enumerate(node.outputs) if output in masks}
        if not outputs:
            continue
        ruled, measured = _Masks(), _Masks()
        try:
            for place, output in outputs.items():
                by_rule = _ruled(tracing, node, place, masks[output])
                full = np.broadcast_to(masks[output], tracing.shape(output))
                # Of a call that is repeated over time, each step by itself.
                steps = full.reshape(-1, *full.shape[node.lead :])
                call = tracing.call(node)
                for input_place in by_rule:
                    by_rule[input_place] = by_rule[input_place] & _open(call, input_place)
                by_gradient = seen_alone(call, place, steps, expected=by_rule)
                for input_place, mask in by_rule.items():
                    ruled.add(node.inputs[input_place], mask)
                    measured.add(node.inputs[input_place], by_gradient[input_place])
                unknown = tracing.dependences.is_unknown(node)
                if not (unknown or isinstance(node.kind, str)):
                    # No layer of Keras with a rule compares, rounds or stops gradients.
                    continue
                for input_place, mask in _shown(
                    call, place, steps, by_rule, by_gradient, unknown
                ).items():
                    measured.add(node.inputs[input_place], mask)
        except UnsupportedLayerError as error:
            unmeasured.append((node.name, str(error)))
            continue
        missing = sum(np.count_nonzero(measured[tensor] & ~ruled[tensor]) for tensor in ruled)
        surplus = sum(np.count_nonzero(ruled[tensor] & ~measured[tensor]) for tensor in ruled)
        if surplus and not any(mask.any() for mask in measured.values()):
            unmeasured.append((node.name, "nothing it is given makes a difference by itself"))
            continue
        checked += 1
        if missing or surplus:
            differences.append(Difference(node.name, int(missing), int(surplus)))
    verdict: Literal["pass", "fail", "undecided"]
    verdict = "fail" if differences else "undecided" if unmeasured else "pass"
    return Check(verdict, target.receptive_field, checked, tuple(differences), tuple(unmeasured))


class _Masks(dict[int, np.ndarray]):
    """Masks by tensor; a mask that is added again is united with the one before."""

    def add(self, tensor: int, mask: np.ndarray) -> None:
        self[tensor] = mask | self[tensor] if tensor in self else mask


def _shown(
    call: Call,
    output: int,
    steps: np.ndarray,
    ruled: Mapping[int, np.ndarray],
    by_gradient: Sequence[np.ndarray],
    unknown: bool,
) -> dict[int, np.ndarray]:
    """What changes show of a layer that may compare, round or stop gradients, by input."""
    known = [ruled.get(place, np.ones_like(mask)) | mask for place, mask in enumerate(by_gradient)]
    more = beyond(call, output, steps, known) if unknown else Seen(known)
    changed = {}
    for place, mask in ruled.items():
        doubtful = mask & ~by_gradient[place]
        shown = confirmed(call, output, steps, place, doubtful) if doubtful.any() else doubtful
        if shown is None:
            raise UnsupportedLayerError(
                expected="of what has no gradient there is too much to try, or it draws at random",
            )
        changed[place] = shown | (more.masks[place] & ~known[place])
    return changed


def _open(call: Call, place: int) -> Any:
    """Which elements of an input can change: those whose value is not known beforehand."""
    known = call.fixed(Argument(place))
    return True if known is None else np.isnan(known)


def _ruled(tracing: Tracing, node: Node, output: int, asked: np.ndarray) -> dict[int, np.ndarray]:
    """What an output's mask sees by the rule, of each input on the path; steps come first."""
    masks = {
        place: np.zeros(tracing.shape(source), dtype=bool)
        for place, source in enumerate(node.inputs)
        if tracing.is_reached(source)
    }
    for view in tracing.views(node, through_global=True):
        if view.output == output:
            shapes = tracing.shape(node.outputs[output]), tracing.shape(node.inputs[view.input])
            masks[view.input] |= view.mask(asked, *shapes)
    return {place: mask.reshape(-1, *mask.shape[node.lead :]) for place, mask in masks.items()}

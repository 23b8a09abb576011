"""Which calls compute some units together, and on what parts of the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from keras_erf.algebra.boxes import entire
from keras_erf.algebra.geometry import Box
from keras_erf.cone import Cone, cone_of, whole_cone
from keras_erf.errors import InvalidInputError
from keras_erf.fields.theoretical import Target
from keras_erf.inputs.sources import InputSpec
from keras_erf.measuring.linearity import has_constant_gradient
from keras_erf.measuring.settings import Settings

__all__ = ["Plan", "check", "input_specs", "is_linear", "plan_of", "planned"]

# Maps of more have no metrics.
MOST_AXES = 3


@dataclass(frozen=True, eq=False)
class Plan:
    """Units that are computed together.

    Args:
        targets: The units, all of one graph and one input.
        cone: What computes them.
        own: Of each unit the cone that computes it alone.
    """

    targets: tuple[Target, ...]
    cone: Cone
    own: tuple[Cone, ...]

    @property
    def parts(self) -> list[Box]:
        """The part of the analysed input that each unit can see, over its spatial axes."""
        parts = []
        for target, cone in zip(self.targets, self.own, strict=True):
            part = cone.parts.get(target.input, entire(target.tracing.shape(target.input)))
            parts.append(tuple(part[axis] for axis in target.tracing.input_axes))
        return parts

    def split(self) -> list[Plan]:
        """A plan for each unit alone."""
        return [
            Plan((target,), cone, (cone,))
            for target, cone in zip(self.targets, self.own, strict=True)
        ]

    def joined(self, other: Plan, settings: Settings) -> Plan:
        """A plan for the units of both."""
        targets = (*self.targets, *other.targets)
        return Plan(targets, planned(targets, settings), (*self.own, *other.own))


def plan_of(targets: Sequence[Target], settings: Settings, *, inside: bool = True) -> Plan:
    """A plan for some units; arguments as `planned`."""
    own = tuple(planned([target], settings, inside=inside) for target in targets)
    cone = own[0] if len(own) == 1 else planned(targets, settings, inside=inside)
    return Plan(tuple(targets), cone, own)


def planned(targets: Sequence[Target], settings: Settings, *, inside: bool = True) -> Cone:
    """The calls that compute some units of one graph together.

    Args:
        targets: The units.
        settings: Whether of their cone alone, and whether in training mode.
        inside: Whether the calls inside opened layers may be run, with their current weights.
    """
    if not settings.cone:
        return whole_cone(targets[0].graph, [target.tensor for target in targets])
    wanted: dict[int, Box] = {}
    for target in targets:
        part = list(entire(target.tracing.shape(target.tensor)))
        for axis, position in zip(target.spatial_axes, target.position, strict=True):
            start, stop = position, position + 1
            if target.tensor in wanted:
                before = wanted[target.tensor][axis]
                start, stop = min(start, before[0]), max(stop, before[1])
            part[axis] = (start, stop)
        wanted[target.tensor] = tuple(part)
    # What was seen inside a layer is what it does at inference.
    return cone_of(targets[0].tracing, wanted, inside=inside and not settings.training)


def is_linear(target: Target, settings: Settings) -> bool:
    """Whether one sample is enough: the gradient does not depend on the input."""
    definition = settings.definition
    return definition.seed != "relu" and has_constant_gradient(target, training=settings.training)


def check(target: Target, settings: Settings) -> None:
    """Raises if the settings do not fit the model."""
    fixed = target.graph.batch
    if fixed and settings.batch_size not in (None, fixed):
        raise InvalidInputError(
            argument="batch_size",
            expected=f"must be {fixed}, which the model is built for",
            remedy="leave it out",
            received=f"batch_size={settings.batch_size}",
        )
    axes = len(target.receptive_field.input_size)
    if axes > MOST_AXES:
        raise InvalidInputError(
            argument="input",
            expected=f"must have one to {MOST_AXES} spatial axes to be measured",
            remedy="keras_erf.receptive_field takes any number",
            received=f"{axes} of input {target.receptive_field.input!r}",
        )


def input_specs(target: Target, cone: Cone) -> list[InputSpec]:
    """What the model's inputs take, and the parts of them that the cone needs."""
    graph = target.graph
    specs = []
    taken = {number for step in cone.steps for number in step.node.inputs}
    for number in graph.inputs:
        tensor = graph.tensors[number]
        if number not in taken:
            # Nothing leads from this input to the units: any size will do.
            tensor = replace(tensor, shape=tuple(size or 1 for size in tensor.shape))
        if number == target.input and not tensor.dtype.startswith(("float", "bfloat")):
            raise InvalidInputError(
                argument="input",
                expected="must be of a floating type to have a gradient",
                remedy="probe a model that starts behind it",
                received=f"input {tensor.name!r} of dtype {tensor.dtype}",
            )
        if None in tensor.shape:
            raise InvalidInputError(
                argument="model",
                expected="must have inputs of definite shape",
                remedy="`input_shape` sets spatial sizes",
                received=f"input {tensor.name!r} of shape {tensor.shape} without the batch",
            )
        channel = graph.channel_axes[number]
        part = cone.parts.get(number)
        if cone.parts and part is None:
            # Nothing leads from this input to the units.
            part = ((0, 1),) * len(tensor.shape)
        specs.append(InputSpec(tensor.name, tensor.shape, tensor.dtype, channel, part))  # type: ignore[arg-type]
    return specs

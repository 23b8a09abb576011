"""Rules in one line: all of the input, nothing of it, or no field at all."""

from __future__ import annotations

from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.call import Call, Rule
from keras_erf.errors import UnsupportedLayerError

__all__ = ["ACROSS_BATCH", "nothing", "refused", "whole"]


def whole(call: Call) -> tuple[View, ...]:
    """Every output sees all of every input."""
    return tuple(
        View((Link(None),) * len(shape), place, output)
        for place, shape in enumerate(call.inputs)
        for output in range(len(call.outputs))
    )


def nothing(call: Call) -> tuple[AnyView, ...]:
    """Outputs that see nothing of the inputs but their shape."""
    return ()


def refused(reason: str) -> Rule:
    """A rule that says why a layer has no field.

    Args:
        reason: Follows "layer 'x' has no receptive field: ", without a full stop.
    """

    def rule(call: Call) -> tuple[AnyView, ...]:
        raise UnsupportedLayerError(
            expected=f"Layer {call.name!r} has no receptive field: {reason}",
            remedy="Choose a layer before it, or pass a rule by `rules`",
            received=f"{type(call.layer).__name__} from {call.inputs} to {call.outputs}",
        )

    return rule


ACROSS_BATCH = refused("it acts across the samples of a batch")
UNBATCHED = refused("it takes the batch for an image's rows")
WRONG_SHAPE = refused("Keras states another shape than it returns")

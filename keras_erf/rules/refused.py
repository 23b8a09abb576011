"""Layers that have no field, on purpose."""

from __future__ import annotations

from keras_erf.algebra.views import AnyView
from keras_erf.errors import UnsupportedLayerError
from keras_erf.rules.call import Call, Rule

__all__ = ["ACROSS_BATCH", "refused"]


def refused(reason: str) -> Rule:
    """A rule that says why a layer has no field.

    Args:
        reason: Follows "layer 'x' has no receptive field: ", without a full stop.
    """

    def rule(call: Call) -> tuple[AnyView, ...]:
        raise UnsupportedLayerError(
            f"Layer {call.name!r} has no receptive field: {reason}. Choose a layer before it, or "
            f"pass a rule by `rules`. Received: {type(call.layer).__name__} from {call.inputs} to "
            f"{call.outputs}"
        )

    return rule


ACROSS_BATCH = refused("it acts across the samples of a batch")

"""The rule for layers nobody knows: the layer is probed by itself."""

from __future__ import annotations

from keras_erf.errors import UnsupportedLayerError
from keras_erf.rules.call import Call
from keras_erf.views import AnyView

__all__ = ["measured"]


def measured(call: Call) -> tuple[AnyView, ...]:
    """Measures which inputs a layer's outputs depend on."""
    raise UnsupportedLayerError(f"No rule tells the receptive field of layer {call.name!r}")

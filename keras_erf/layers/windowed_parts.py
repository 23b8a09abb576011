"""Layers with a window, on a part: what the window needs is cut out, and padded where it ends.

Output `o` of a window reads inputs `o s - p + j d`, `j < k` (see `windows`), so outputs
`[a, b)` need inputs `[a s - p, (b - 1) s - p + (k - 1) d + 1)`; what of it is outside of the
tensor is put around the part by hand, and the layer's own operation runs on it without padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras_erf.algebra.boxes import entire, widened
from keras_erf.algebra.geometry import Interval, Window
from keras_erf.dependence.axes import spatial_axes
from keras_erf.layers.activated import finished, is_finished_by_position
from keras_erf.layers.parts import Pads, PartSite, Restricted

__all__ = ["on_windows"]


def reads(window: Window, wanted: Interval) -> Interval:
    """The inputs, in the padding too, that a window reads for the outputs `wanted`."""
    first = wanted[0] * window.stride - window.padding
    last = (wanted[1] - 1) * window.stride - window.padding
    return first, last + (window.size - 1) * window.dilation + 1


def on_windows(
    site: PartSite, operate: Callable[[Any, Pads], Any], *, finish: bool = False
) -> Restricted | None:
    """A layer of one window per spatial axis.

    Args:
        site: The call.
        operate: The layer's operation without padding, given the part and the
            padding to put around it, for each axis, the batch included.
        finish: Whether the layer's bias and activation come behind it.
    """
    shape, rank = site.call.inputs[0], len(site.call.output)
    axes = spatial_axes(site.layer, rank)
    windows = site.windows(axes)
    if windows is None or (finish and not is_finished_by_position(site.layer)):
        return None
    needed = list(entire(shape))
    made = list(entire(site.call.output))
    pads: Pads = [(0, 0)] * (rank + 1)
    for axis, window in zip(axes, windows, strict=True):
        made[axis] = site.wanted[axis]
        found = widened(reads(window, site.wanted[axis]), shape[axis])
        if found is None:
            return None
        needed[axis], pads[axis + 1] = found

    def run(values: Sequence[Any], _: Any) -> list[Any]:
        value = operate(site.converted(values[0]), pads)
        return [finished(site.layer, value) if finish else value]

    return Restricted((tuple(needed),), tuple(made), run)

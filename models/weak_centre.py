"""The paper's initialisation: kernels with less weight in their centre."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_erf.models._layers import convolutions
from keras_erf.models._options import require

__all__ = ["WeakCentre", "weak_centre"]


@keras.saving.register_keras_serializable("keras_erf")
class WeakCentre(keras.initializers.Initializer):
    """Gaussian kernels whose variance falls towards the centre.

    A position at the distance `m` from the centre, the largest of its distances along the
    axes as a share of half the kernel, has a variance in proportion to `a^(1 - m)`, with
    the softness `a`. The rim of a 3x3 kernel has 1 and its centre `a`. With
    `corners=True` the distance is the mean over the axes, which puts edges between corners
    and centre; as `a` goes to 0 all weight is at the corners, the widest field a kernel
    of this size can have. The kernel's energy stays `scale`.

    The paper calls for "less weight in the centre and more outside", with all weight at the
    corners as the optimum and a softer version in use, without a formula: this one is ours.

    Args:
        softness: Variance of the centre over that of the outermost positions, from 0 to 1;
            1 is a plain Gaussian kernel.
        corners: Whether weight falls from the corners rather than from the rim.
        scale: Energy of the kernel: 1 for linear layers, 2 for ReLUs (He et al. 2015).
        seed: Non-negative integer, or `None` for another draw every time.

    Raises:
        InvalidInputError: An option is out of range.

    Reference:
        Luo et al. 2016, section 4, "New initialization".
    """

    def __init__(
        self,
        softness: float = 0.1,
        corners: bool = False,
        scale: float = 1.0,
        seed: int | None = None,
    ) -> None:
        require(0 <= softness <= 1, "softness", "a number from 0 to 1", softness)
        require(isinstance(corners, bool), "corners", "True or False", corners)
        require(0 < scale < math.inf, "scale", "a positive number", scale)
        self.softness, self.corners = float(softness), corners
        self.scale, self.seed = float(scale), seed

    def second_moment(self, shape: Sequence[int]) -> np.ndarray:
        """Variance of each entry of a kernel of shape `(*sizes, inputs, outputs)`."""
        *sizes, channels, _ = shape
        shares = np.zeros(sizes)
        for place in itertools.product(*map(range, sizes)):
            reach = [
                abs(2 * at - (size - 1)) / (size - 1) if size > 1 else 1.0
                for at, size in zip(place, sizes, strict=True)
            ]
            distance = sum(reach) / len(reach) if self.corners else max(reach, default=1.0)
            shares[place] = self.softness ** (1 - distance)
        shares *= self.scale / (shares.sum() * channels)
        return np.broadcast_to(shares[..., None, None], tuple(shape))

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """A draw of that shape."""
        values = keras.random.normal(shape, dtype=dtype, seed=self.seed)
        return values * keras.ops.cast(np.sqrt(self.second_moment(shape)), values.dtype)

    def get_config(self) -> dict[str, Any]:
        """The options."""
        return {
            "softness": self.softness,
            "corners": self.corners,
            "scale": self.scale,
            "seed": self.seed,
        }


def weak_centre(
    *,
    softness: float = 0.1,
    corners: bool = False,
    depth: int = 20,
    kernel_size: int | tuple[int, ...] = 3,
    filters: int = 8,
    activation: str | Callable[..., Any] | None = None,
    channels: int = 1,
    dims: int = 2,
    input_shape: tuple[int | None, ...] | None = None,
    seed: int = 0,
    dtype: Any = None,
    name: str = "weak_centre",
) -> keras.Model:
    """Builds a plain stack whose kernels start with less weight in their centre.

    Layers are called as in `plain`. The effective field is wider: for 3x3 kernels by
    `sqrt(9 / (8 + a))` in sigma, at most 1.061, and with `corners` by up to 1.2247.

    Args:
        softness: As in `WeakCentre`.
        corners: As in `WeakCentre`.
        depth: Number of convolutions.
        kernel_size: One size for all axes, or one per axis.
        filters: Channels of every layer.
        activation: As in `plain`.
        channels: Channels of the input.
        dims: Number of spatial axes: 1, 2 or 3.
        input_shape: Spatial sizes in pixels; `None` leaves all open.
        seed: Non-negative integer from which the random weights derive.
        dtype: Keras dtype or policy of all layers; `None` is Keras's default.
        name: Name of the model.

    Returns:
        An uncompiled `keras.Model`, from `(batch, *spatial, channels)` to a map of `filters`
        channels.

    Raises:
        InvalidInputError: An option has a value the stack cannot be built with.

    Reference:
        As `WeakCentre`.
    """

    def start(gain: float, kernel: tuple[int, ...], channels: int, seed: int) -> WeakCentre:
        return WeakCentre(softness, corners, gain, seed)

    layers = convolutions(
        kernel_size=kernel_size,
        filters=filters,
        weights="random",
        activation=activation,
        dims=dims,
        use_bias=False,
        seed=seed,
        dtype=dtype,
        start=start,
    )
    inputs = layers.input(input_shape, channels)
    return keras.Model(inputs, layers.stack(inputs, depth), name=name)

"""Where an output pixel of a resampled axis looks: taps of interpolation kernels.

From n input to m output pixels, with n / m = p / q in lowest terms, output o + q sees what
output o sees, p pixels on: the taps are computed for one period, in exact fractions (`Phases`).
Output o lies at (o + 1/2) n / m - 1/2 in input pixels ("half-pixel centres"); a tap counts where
the interpolation kernel is not zero. What the kernels are is in each function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from keras_erf.algebra.geometry import Ranges, Relation, Window
from keras_erf.algebra.views import Link, View
from keras_erf.dependence.axes import spatial_axes
from keras_erf.dependence.call import Call

__all__ = ["KERNELS", "bins", "per_axis", "resampled"]

HALF = Fraction(1, 2)
# Steps of the table TensorFlow reads the weights of its cubic kernel from.
CUBIC_STEPS = 1024


@dataclass(frozen=True)
class Phases:
    """A window whose taps come round again.

    Output `o` sees `step * (o // period) + tap` for each tap of its phase,
    `o % period`.

    Args:
        phases: Taps of each output of the first period, in order.
        step: Input indices moved per period.
    """

    phases: tuple[tuple[int, ...], ...]
    step: int

    @property
    def ratio(self) -> Fraction:
        """Input indices moved per output index moved."""
        return Fraction(self.step, self.period)

    @property
    def period(self) -> int:
        """Output indices after which all that is seen has moved alike."""
        return len(self.phases)

    def taps(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Input indices seen by each of `outputs`, and which of them count."""
        longest = max(map(len, self.phases))
        table = np.zeros((self.period, max(longest, 1)), dtype=np.int64)
        counted = np.zeros(table.shape, dtype=bool)
        for phase, taps in enumerate(self.phases):
            table[phase, : len(taps)] = taps
            counted[phase, : len(taps)] = True
        turns, phases = np.divmod(outputs, self.period)
        return table[phases] + (turns * self.step)[:, None], counted[phases]

    def backward(self, seen: np.ndarray, size: int) -> np.ndarray:
        """Input indices in `[0, size)` seen by the outputs marked along axis 0."""
        positions, counted = self.taps(np.arange(len(seen)))
        counted = counted & (positions >= 0) & (positions < size)
        outputs = np.broadcast_to(np.arange(len(seen))[:, None], positions.shape)[counted]
        result = np.zeros((size, *seen.shape[1:]), dtype=bool)
        np.logical_or.at(result, positions[counted], seen[outputs])
        return result


def _phases(size: int, count: int, taps: Callable[[int], Iterable[int]]) -> Relation:
    """The relation of `count` outputs to an axis of `size`, given the taps of an output."""
    common = math.gcd(size, count)
    return Phases(tuple(tuple(taps(one)) for one in range(count // common)), size // common)


# --- Kernels -------------------------------------------------------------------------------------


def _around(center: Fraction, radius: Fraction, kernel: Callable[[Fraction], bool]) -> list[int]:
    """Pixels within `radius` of a point where the kernel, a function of the distance, is not 0."""
    pixels = range(math.ceil(center - radius), math.floor(center + radius) + 1)
    return [pixel for pixel in pixels if kernel(abs(pixel - center))]


def _below(radius: int) -> Callable[[Fraction], bool]:
    return lambda distance: distance < radius


def _off_zeros(radius: int) -> Callable[[Fraction], bool]:
    """A windowed sine, or a cubic: zero at whole distances but 0."""
    return lambda distance: distance < radius and (distance == 0 or distance.denominator > 1)


# Radius of the kernels, and where they are not zero: the triangle; Keys 1981, equation 4 (zero at
# 1); Lanczos: sinc(x) sinc(x / r).
KERNELS: dict[str, tuple[int, Callable[[Fraction], bool]]] = {
    "bilinear": (1, _below(1)),
    "bicubic": (2, _off_zeros(2)),
    "lanczos3": (3, _off_zeros(3)),
    "lanczos5": (5, _off_zeros(5)),
}


def resampled(size: int, count: int, interpolation: str, *, antialias: bool = False) -> Relation:
    """How `count` outputs see an axis of `size` pixels.

    Without `antialias` the kernel is as wide as it is in input pixels; with it,
    it is widened by n / m when the image is made smaller, so that it spans as
    much in output pixels.

    Args:
        size: Pixels of the input axis, n.
        count: Pixels of the output axis, m.
        interpolation: `"nearest"`, `"bilinear"`, `"bicubic"`, `"lanczos3"`, `"lanczos5"` or
            `"area"`.
        antialias: Whether a smaller image is averaged.
    """
    scale = Fraction(size, count)
    if interpolation == "nearest":
        return _nearest(size, count)
    if interpolation == "area":
        # A pixel counts as far as it overlaps the output's; kernels do not matter.
        return bins(size, count)
    if interpolation == "bilinear" and count % size == 0:
        return _triangle(count // size)
    radius, kernel = KERNELS[interpolation]
    widened = max(scale, Fraction(1)) if antialias else Fraction(1)

    def taps(output: int) -> list[int]:
        center = (output + HALF) * scale - HALF
        if interpolation == "bicubic" and not antialias:
            # The weights come from a table: nearly on a pixel is on it.
            below = math.floor(center)
            center = below + Fraction(round((center - below) * CUBIC_STEPS), CUBIC_STEPS)
        return _around(center, radius * widened, lambda distance: kernel(distance / widened))

    return _phases(size, count, taps)


def _triangle(factor: int) -> Window:
    """Bilinear enlargement by a whole factor, as a window of 2 f - (f mod 2) taps.

    Output o weighs the two inputs around (o + 1/2) / f - 1/2, the window's centre.
    """
    taps = 2 * factor - factor % 2
    return Window(taps, padding=(taps - 1) // 2 + factor // 2, up=factor)


def _nearest(size: int, count: int) -> Relation:
    """The pixel that the output's centre lies in: floor((o + 1/2) n / m).

    TensorFlow works it out in single precision and now and then falls short of
    a whole number; then no period is left.
    """
    outputs = np.arange(count, dtype=np.float32)
    scale = np.float32(size) / np.float32(count)
    pixels = np.floor((outputs + np.float32(0.5)) * scale).astype(int)
    pixels = np.minimum(pixels, size - 1).tolist()
    if pixels == [(2 * one + 1) * size // (2 * count) for one in range(count)]:
        return _phases(size, count, lambda one: [pixels[one]])
    stops = tuple(pixel + 1 for pixel in pixels)
    return Ranges(tuple(pixels), stops, Fraction(size, count))


def bins(size: int, count: int) -> Relation:
    """Bin o of `count` takes the pixels from floor(o n / m) to before ceil((o + 1) n / m)."""
    return _phases(size, count, lambda o: range(o * size // count, -(-(o + 1) * size // count)))


def per_axis(call: Call, relation: Callable[[int, int], Relation]) -> View:
    """A view whose spatial axes are resampled one by one."""
    rank = len(call.output)
    axes = spatial_axes(call.layer, rank)
    return View(
        tuple(
            Link(axis, relation(call.inputs[0][axis], call.output[axis]))
            if axis in axes
            else Link(axis)
            for axis in range(rank)
        )
    )

"""The result of a probe: a map of impact with its errors, and how it was obtained."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from keras_erf import analysis
from keras_erf.algebra.geometry import Box, ReceptiveField
from keras_erf.definitions import Definition
from keras_erf.errors import InvalidInputError
from keras_erf.results.framing import clipped_box, reframed, whole_box
from keras_erf.results.merging import merged
from keras_erf.results.metrics import METRICS, Metrics
from keras_erf.results.notes import notes_of
from keras_erf.results.placed_regions import area_ratio_of, region_of
from keras_erf.results.storing import read_result, write_result
from keras_erf.results.summary import line_of, summary_of

__all__ = ["BLOCKS", "EffectiveReceptiveField", "load"]

# Samples are dealt to this many blocks in turn; the spread between blocks gives the errors.
BLOCKS = 16


@dataclass(frozen=True, eq=False)
class EffectiveReceptiveField:
    """Effective receptive field of one unit: the impact of every input pixel on it.

    Lengths are input pixels, coordinates pixel indices of the input. Metrics are
    about the unit's own field, whose centre need not be the image's. Sums are kept
    over the part of the input that the unit sees, so that memory, and the cost of
    every metric, follow the field; only maps, masks and pictures are as large as
    the input, and made when asked for. What was computed once is kept.

    Args:
        block_sums: Sum of the samples' maps in each block, shape
            `(blocks, *shape of the part)`, float64.
        block_counts: Number of samples in each block.
        dead_count: Number of samples whose gradient was zero everywhere.
        receptive_field: Theoretical field of the unit.
        definition: What was measured.
        provenance: How: model, weights' fingerprint, inputs, seed, versions.
        part: The pixels `block_sums` are over, `(start, stop)` per spatial axis of
            the input; outside of them the map is zero. `None` is the whole input.
        linear: Whether the unit is an affine function of the input: then one
            sample's map is that of every sample, and no metric has an error.
    """

    block_sums: np.ndarray = field(repr=False)
    block_counts: np.ndarray = field(repr=False)
    dead_count: int
    receptive_field: ReceptiveField
    definition: Definition
    provenance: Mapping[str, Any]
    part: Box | None = None
    linear: bool = False

    @cached_property
    def map(self) -> np.ndarray:
        """Mean map over the samples, float64, with the input's spatial shape."""
        return reframed(self._metrics.map, self._part, self._whole)

    @cached_property
    def standard_error(self) -> np.ndarray:
        """Standard error of each pixel of `map`; NaN for a single sample, 0 for a linear unit."""
        error = self._metrics.standard_error
        # Where no sample has impact the error is 0, but with one sample nothing is known.
        if np.isnan(error).all():
            return np.full(self.receptive_field.input_size, np.nan)
        return reframed(error, self._part, self._whole)

    @property
    def count(self) -> int:
        """Number of samples."""
        return int(self.block_counts.sum())

    @property
    def dead(self) -> float:
        """Share of the samples whose gradient was zero everywhere."""
        return self.dead_count / self.count

    @property
    def constant(self) -> bool:
        """Whether all samples gave the same map, except for rounding; the errors are then 0.

        For example, the gradient of a network without activations does not depend on the input.
        """
        return self._metrics.constant

    @property
    def stopped_by(self) -> str:
        """What ended the last run.

        `"samples"`, `"tolerance"`, `"inputs"` or `"linear"`; `"expected"` if nothing was run.
        """
        return str(self.provenance["runs"][-1].get("stopped_by", "samples"))

    @property
    def expected(self) -> str | None:
        """Of which weights it is expected (`"random"` or `"given"`); `None` if it was measured."""
        about = self.provenance.get("expected")
        return None if about is None else str(about["weights"])

    @property
    def notes(self) -> tuple[str, ...]:
        """In a few words each, why the size may say less than it seems to; mostly empty.

        `"size rules disagree"` where sizes by threshold and by mass differ by more
        than 1.5 times and 2 px, as on heavy-tailed maps; notes of the measurement; and
        `"gradient-free paths: ..."` with the layers that a gradient does not see through.
        """
        return notes_of(self.size, self._metrics.mass_size, self.provenance)

    @property
    def unseen(self) -> tuple[str, ...]:
        """Layers through which the unit depends on the input without a gradient.

        Comparisons, rounding and stopped gradients: the map shows nothing of what the
        unit sees by them alone.
        """
        return tuple(self.provenance.get("unseen", ()))

    @property
    def layer(self) -> str:
        """Name of the layer."""
        return self.receptive_field.layer

    @property
    def unit(self) -> tuple[int, ...]:
        """Index of the unit in the layer's map."""
        return self.receptive_field.unit

    @property
    def trf_size(self) -> float:
        """Size of the theoretical field: the geometric mean of its sides, in pixels."""
        sides = self.receptive_field.size
        return float(math.prod(sides) ** (1 / len(sides)))

    @property
    def size(self) -> float:
        """ERF size by the paper's rule: root of the number of pixels above 4.55 % of the peak.

        The paper takes the value at the centre; see `analysis.threshold_region`.
        """
        return self._metrics.size

    @property
    def size_error(self) -> float:
        """Standard error of `size`; see `estimate`."""
        return float(self._metrics.error("size"))

    @property
    def ratio(self) -> float:
        """`size` over the theoretical field's size, `trf_size`."""
        return self.size / self.trf_size

    @property
    def ratio_error(self) -> float:
        """Standard error of `ratio`; see `estimate`."""
        return float(self._metrics.error("ratio"))

    @property
    def sigma(self) -> np.ndarray:
        """Spread of the fitted Gaussian along each axis, shape `(d,)`; NaN if there is none."""
        return self._metrics.sigma

    @property
    def sigma_error(self) -> np.ndarray:
        """Standard error of `sigma`, shape `(d,)`; see `estimate`."""
        return np.asarray(self._metrics.error("sigma"))

    def estimate(self, figure: str, *, level: float = 0.95) -> analysis.Estimate:
        """A metric with its standard error and a confidence interval.

        The interval is for the long-run value: the metric of the mean map of
        infinitely many samples of this unit. It is `centre -+ t error`, with
        Student's quantile `t` of one degree of freedom fewer than there are
        blocks that hold samples (15 from 16 samples on), and reaches to the
        metric itself where that lies outside.

        Smooth metrics have the error of the jackknife over blocks, and for
        centre the metric less its bias by the jackknife: noise lowers R², by
        more than its error. Sizes are counts of pixels, which move in steps, and
        radii and widths bend from pixel to pixel: their errors come from balanced
        replicates. The centre of `size` and `ratio` allows for the peak, a
        largest value, being too high. The interval of `mass_size` is that of the
        count with its last pixel in part, which is smooth, rounded up.

        Intervals of `size` and `ratio` cover less often where, within its noise,
        the map of the long run has many pixels just above the threshold and few
        below, or the other way round: then its count is no typical one.

        Args:
            figure: The metric: `"size"`, `"ratio"`, `"mass_size"`, `"sigma"`,
                `"r_squared"`, `"centroid"`, `"offset"`, as in `compare`; `"mass"`, `"covariance"`,
                `"kurtosis"`, as in `moments`; or `"half_mass_radius"`,
                `"mass_radii"`, `"fwhm"`, `"entropy"`, `"effective_pixels"`, `"gini"`,
                as the functions of `analysis`. Radii are about the centre of the
                theoretical field, `"mass_radii"` for 50, 90 and 95.45 % of the map;
                `"gini"` is over the pixels of the theoretical field in the input.
            level: Probability of the interval to cover, between 0 and 1.

        Returns:
            An `analysis.Estimate`; arrays with one entry per axis for sigma,
            centroid, offset, kurtosis and FWHM, per share for the radii. Error and
            interval are NaN for a single sample, the error 0 where all samples gave
            one map.

        Raises:
            InvalidInputError: There is no such metric, or `level` is out of range.

        Reference:
            `analysis.jackknife`; `analysis.counting` on the replicates; Tukey,
            "Bias and confidence in not-quite large samples", Ann. Math. Statist.
            29 (1958), 614, for Student's quantile.
        """
        if figure not in METRICS:
            raise InvalidInputError(
                argument="figure",
                expected=f"must be one of {', '.join(METRICS)}",
                received=f"figure={figure!r}",
            )
        return self._metrics.estimate(figure, level)

    def moments(self) -> analysis.Moments:
        """Centroid, covariance and excess kurtosis of the map."""
        return self._metrics.moments

    def gaussian(self) -> analysis.GaussianFit:
        """Least-squares Gaussian over the pixels the theoretical field spans.

        Raises:
            InvalidInputError: No Gaussian can be fitted: the map is flat, or has too few pixels.
        """
        # A fit that failed is tried again, for its reason.
        return self._metrics.fit or self._metrics.fitted()

    def region(self, rule: str = "threshold", **options: Any) -> analysis.Region:
        """The 2-sigma region.

        Args:
            rule: `"threshold"` (pixels above 4.55 % of the peak, or, as the paper has
                it, with `reference="center"` of the value at the centre), or `"mass"`,
                the fewest pixels that hold 95.45 % of the map.
            **options: As `analysis.threshold_region` and `analysis.mass_region`.
        """
        return region_of(self._metrics, self.receptive_field.input_size, rule, **options)

    def area_ratio(self, share: float, *, scale_free: bool = True) -> analysis.AreaRatio:
        """Share of the input that holds a `share` of the map, as a square about the field's centre.

        Args:
            share: Between 0 and 1.
            scale_free: `True` weighs the map itself; `False` is RepLKNet's published
                measure of log10(map + 1), about the input's middle pixel, which
                depends on the map's amplitude and has no answer for some inputs.
        """
        return area_ratio_of(self._metrics, self.receptive_field.input_size, share, scale_free)

    def mass_radius(self, share: float = 0.5) -> float:
        """Radius about the theoretical field's centre that holds a `share` of the map, in pixels.

        See `analysis.mass_radius`; `estimate("mass_radii")` has three of them with errors.
        """
        return float(analysis.mass_radius(self._metrics.map, share, center=self._center))

    def mass_within(self, radius: float) -> float:
        """Share of the map within a `radius` in pixels about the theoretical field's centre.

        See `analysis.mass_within`.
        """
        return float(analysis.mass_within(self._metrics.map, radius, center=self._center))

    def compare(self) -> analysis.Comparison:
        """Metrics of the map next to those of the theoretical field."""
        metrics = self._metrics
        centroid = metrics.moments.centroid
        return analysis.Comparison(
            erf_size=self.size,
            mass_size=metrics.mass_size,
            trf_size=tuple(self.receptive_field.size),
            ratio=self.ratio,
            sigma=tuple(metrics.sigma.tolist()),
            r_squared=metrics.r_squared,
            centroid=tuple(centroid.tolist()),
            offset=tuple((centroid - metrics.center).tolist()),
        )

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draws the map; see `keras_erf.plotting.plot_map`. Returns matplotlib `Axes`."""
        from keras_erf import plotting

        return plotting.plot_map(self, ax=ax, **options)

    def summary(self) -> dict[str, Any]:
        """All metrics and their errors by name, as plain numbers, strings and lists.

        `sigma` is NaN where the fitted Gaussian says nothing of the map (`analysis.is_bell`).
        """
        return summary_of(self, self._metrics)

    def to_frame(self) -> Any:
        """A `pandas.DataFrame` with one row: the `summary`."""
        import pandas as pd

        return pd.DataFrame([self.summary()])

    def merge(self, other: EffectiveReceptiveField) -> EffectiveReceptiveField:
        """The result of both probes together.

        In whatever order results are merged, map and errors are the same. Results of
        multiples of 16 samples have, together, the errors of one probe of all samples;
        of other numbers they may differ a little, as samples are dealt to other blocks.

        Args:
            other: A result of the same unit, from other samples. Noise of one seed is
                refused; whether arrays or images repeat is the caller's to know.

        Raises:
            InvalidInputError: The results are of different things, or the same samples.
        """
        if not isinstance(other, EffectiveReceptiveField):
            raise InvalidInputError(
                argument="other",
                expected="must be an `EffectiveReceptiveField`",
                received=f"other of type {type(other).__name__}",
            )
        return replace(self, **merged(self, other))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the result to an `.npz` file, whole or not at all; `keras_erf.load` reads it.

        The theoretical field is kept for this unit alone, without its support mask.

        Raises:
            InvalidInputError: The file cannot be written.
        """
        write_result(path, **{member.name: getattr(self, member.name) for member in fields(self)})

    def __repr__(self) -> str:
        return line_of(self)

    def _repr_html_(self) -> str:
        """What notebooks show: a small map next to its metrics."""
        from keras_erf.plotting.cards import result_card

        return result_card(self)

    @property
    def _whole(self) -> Box:
        return whole_box(self.receptive_field.input_size)

    @property
    def _part(self) -> Box:
        return self._whole if self.part is None else self.part

    @property
    def _center(self) -> np.ndarray:
        """The field's centre in pixels of the part."""
        starts = [start for start, _ in self._part]
        return np.array(self.receptive_field.center()) - starts

    @cached_property
    def _metrics(self) -> Metrics:
        field_ = self.receptive_field
        return Metrics(
            block_sums=self.block_sums,
            block_counts=self.block_counts,
            part=self._part,
            frame=clipped_box(field_.box(), field_.input_size),
            center=field_.center(),
            trf_size=self.trf_size,
            normalized=self.definition.normalized,
            linear=self.linear,
        )


def load(path: str | os.PathLike[str]) -> EffectiveReceptiveField:
    """Reads a result that `EffectiveReceptiveField.save` wrote.

    Examples:
        >>> result = keras_erf.expected(keras_erf.zoo.build("plain", depth=4))
        >>> result.save("plain.npz")
        >>> keras_erf.load("plain.npz").size == result.size
        True

    Args:
        path: The `.npz` file. Nothing in it is executed.

    Raises:
        InvalidInputError: The file is missing, or no such result.
    """
    return EffectiveReceptiveField(**read_result(path))

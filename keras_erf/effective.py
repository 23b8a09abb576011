"""The result of a probe: a map of impact with its errors, and how it was obtained."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from keras_erf import analysis
from keras_erf.definitions import Definition
from keras_erf.errors import InvalidInputError
from keras_erf.geometry import Box, ReceptiveField
from keras_erf.writing import written_whole

__all__ = ["BLOCKS", "EffectiveReceptiveField", "load"]

# Samples are dealt to this many blocks in turn; the spread between blocks gives the errors.
BLOCKS = 16
# Shares of the peak that gradients in single precision may differ by.
ROUNDING = 1e-6
FORMAT = "keras-erf effective receptive field 1"


@dataclass(frozen=True, eq=False)
class EffectiveReceptiveField:
    """Effective receptive field of one unit: the impact of every input pixel on it.

    Lengths are input pixels, coordinates pixel indices. Figures are about the
    unit's own field, whose centre need not be the image's.

    Args:
        block_sums: Sum of the samples' maps in each block, shape
            `(blocks, *spatial shape of the input)`, float64.
        block_counts: Number of samples in each block.
        dead_count: Number of samples whose gradient was zero everywhere.
        receptive_field: Theoretical field of the unit.
        definition: What was measured.
        provenance: How: model, weights' fingerprint, inputs, seed, versions.
    """

    block_sums: np.ndarray = field(repr=False)
    block_counts: np.ndarray = field(repr=False)
    dead_count: int
    receptive_field: ReceptiveField
    definition: Definition
    provenance: Mapping[str, Any]

    @cached_property
    def map(self) -> np.ndarray:
        """Mean map over the samples, float64, with the input's spatial shape."""
        return self._as_map(self.block_sums.sum(axis=0) / self.count)

    @cached_property
    def standard_error(self) -> np.ndarray:
        """Standard error of each pixel of `map`; NaN for a single sample."""
        return np.asarray(self._with_error(self._as_map)[1])

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
        """Whether all samples gave one map, but for rounding: then there is no error to speak of.

        The gradient of a net without activations, say, does not depend on the input.
        """
        error, peak = self.standard_error, np.abs(self.map).max()
        return bool(np.isfinite(error).all() and error.max() <= ROUNDING * peak)

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
        return float(np.exp(np.mean(np.log(self.receptive_field.size))))

    @property
    def size(self) -> float:
        """ERF size by the paper's rule: root of the number of pixels above 4.55 % of the peak."""
        return self._size_and_error[0]

    @property
    def size_error(self) -> float:
        """Jack-knife standard error of `size`; NaN for a single sample."""
        return self._size_and_error[1]

    @property
    def ratio(self) -> float:
        """`size` over the theoretical field's size, `trf_size`."""
        return self.size / self.trf_size

    @property
    def ratio_error(self) -> float:
        """Jack-knife standard error of `ratio`; NaN for a single sample."""
        return self.size_error / self.trf_size

    def moments(self) -> analysis.Moments:
        """Centroid, covariance and excess kurtosis of the map."""
        return analysis.moments(self.map)

    def gaussian(self) -> analysis.GaussianFit:
        """Least-squares Gaussian over the pixels the theoretical field spans.

        Raises:
            InvalidInputError: No Gaussian can be fitted: the map is flat, or has too few pixels.
        """
        return analysis.fit_gaussian(self.map, box=self.receptive_field.box())

    def region(self, rule: str = "threshold", **options: Any) -> analysis.Region:
        """The 2-sigma region.

        Args:
            rule: `"threshold"`, the paper's (pixels above 4.55 % of the peak, or
                with `reference="center"` of the field's centre), or `"mass"`,
                the fewest pixels that hold 95.45 % of the map.
            **options: As `analysis.threshold_region` and `analysis.mass_region`.
        """
        if rule == "threshold":
            if options.get("reference") == "center":
                options.setdefault("center", self.receptive_field.center())
            return analysis.threshold_region(self.map, **options)
        if rule == "mass":
            return analysis.mass_region(self.map, **options)
        raise InvalidInputError(f"`rule` must be 'threshold' or 'mass'. Received: rule={rule!r}")

    def area_ratio(self, share: float, *, scale_free: bool = True) -> analysis.AreaRatio:
        """Share of the input that holds a `share` of the map, as a square about the field's centre.

        Args:
            share: Between 0 and 1.
            scale_free: `True` weighs the map itself; `False` is RepLKNet's published
                measure of log10(map + 1), about the input's middle pixel, which
                depends on the map's amplitude and has no answer for some inputs.
        """
        if scale_free:
            return analysis.mass_area(self.map, share, center=self.receptive_field.center())
        return analysis.high_contribution_area(self.map, share)

    def compare(self) -> analysis.Comparison:
        """The figures beside the theoretical field's."""
        field_ = self.receptive_field
        return analysis.compare(self.map, field_.center(), field_.size, box=field_.box())

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draws the map; see `keras_erf.plotting.plot_map`. Returns matplotlib `Axes`."""
        from keras_erf import plotting

        return plotting.plot_map(self, ax=ax, **options)

    def summary(self) -> dict[str, Any]:
        """All figures by name, as plain numbers, strings and lists."""
        compared, field_ = self.compare(), self.receptive_field
        return {
            "layer": self.layer,
            "unit": list(self.unit),
            "status": field_.status,
            "trf_size": list(field_.size),
            "trf_stride": [_plain(stride) for stride in field_.stride],
            "trf_center": list(field_.center()),
            "erf_size": self.size,
            "erf_size_error": self.size_error,
            "mass_size": compared.mass_size,
            "ratio": self.ratio,
            "ratio_error": self.ratio_error,
            "sigma": list(compared.sigma),
            "r_squared": compared.r_squared,
            "centroid": list(compared.centroid),
            "offset": list(compared.offset),
            "samples": self.count,
            "dead": self.dead,
            "definition": self.definition.name,
        }

    def to_frame(self) -> Any:
        """A `pandas.DataFrame` with one row: the `summary`."""
        import pandas as pd

        return pd.DataFrame([self.summary()])

    def merge(self, other: EffectiveReceptiveField) -> EffectiveReceptiveField:
        """The result of both probes together, as if made in one.

        Args:
            other: A result of the same unit, from other samples. Noise of one seed is
                refused; whether arrays or images repeat is the caller's to know.

        Raises:
            InvalidInputError: The results are of different things, or the same samples.
        """
        if not isinstance(other, EffectiveReceptiveField):
            raise InvalidInputError(
                "`other` must be an `EffectiveReceptiveField`. "
                f"Received: other of type {type(other).__name__}"
            )
        for what, mine, theirs in (
            ("model", self.provenance["model"], other.provenance["model"]),
            ("weights", self.provenance["weights"], other.provenance["weights"]),
            ("training", self.provenance["training"], other.provenance["training"]),
            ("field", self.receptive_field, other.receptive_field),
            ("definition", self.definition, other.definition),
            ("number of blocks", len(self.block_counts), len(other.block_counts)),
        ):
            if mine != theirs:
                raise InvalidInputError(
                    f"`other` must be a result of the same {what}. Received: {theirs} beside {mine}"
                )
        runs = [*self.provenance["runs"], *other.provenance["runs"]]
        noise = [(run["inputs"], run["seed"]) for run in runs if run["inputs"].endswith("noise")]
        if len(set(noise)) < len(noise):
            raise InvalidInputError(
                "`other` must have samples of its own: probe with another `seed`. "
                f"Received: the same noise, seed={other.provenance['runs'][0]['seed']}"
            )
        return EffectiveReceptiveField(
            block_sums=self.block_sums + other.block_sums,
            block_counts=self.block_counts + other.block_counts,
            dead_count=self.dead_count + other.dead_count,
            receptive_field=self.receptive_field,
            definition=self.definition,
            provenance={**self.provenance, "runs": runs},
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the result to an `.npz` file, whole or not at all; `keras_erf.load` reads it.

        The theoretical field is kept for this unit alone, without its support mask.

        Raises:
            InvalidInputError: The file cannot be written.
        """
        field_ = self.receptive_field
        about = {
            "format": FORMAT,
            "dead_count": self.dead_count,
            "definition": asdict(self.definition),
            "provenance": self.provenance,
            "receptive_field": {
                **{name: getattr(field_, name) for name in _FIELD_TEXTS + _FIELD_INTEGERS},
                "stride": [str(stride) for stride in field_.stride],
                "box": field_.box(),
                "visible": field_.visible(),
            },
        }
        with written_whole(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(
                file,
                about=np.array(json.dumps(about, default=_plain)),
                block_sums=self.block_sums,
                block_counts=self.block_counts,
            )

    def __repr__(self) -> str:
        field_ = self.receptive_field
        # One sample tells nothing of its spread, and equal ones have none.
        error = "" if math.isnan(self.size_error) or self.constant else f" +- {self.size_error:.1f}"
        samples = "1 sample" if self.count == 1 else f"{self.count} samples"
        return (
            f"<EffectiveReceptiveField {self.layer} unit {self.unit}: size {self.size:.1f}{error} "
            f"px of {'x'.join(map(str, field_.size))} px "
            f"({100 * self.ratio:.0f} %), {self.definition.name}, {samples}>"
        )

    @cached_property
    def _size_and_error(self) -> tuple[float, float]:
        value, error = self._with_error(lambda mean: analysis.erf_size(self._as_map(mean)))
        return float(value), float(error)

    def _with_error(self, statistic: Callable[[np.ndarray], Any]) -> tuple[Any, Any]:
        return analysis.jackknife(self.block_sums, self.block_counts, statistic)

    def _as_map(self, mean: np.ndarray) -> np.ndarray:
        if not self.definition.normalized:
            return mean
        if not mean.any():
            # The jackknife may leave out the only block that saw anything.
            raise InvalidInputError("`map` must not be zero to be normalized. Received: zeros")
        return mean / mean.sum()


_FIELD_TEXTS = ("layer", "input", "status")
_FIELD_INTEGERS = ("unit", "input_size", "output_size", "size", "padding")


@dataclass(frozen=True)
class _KnownUnit:
    """Answers for the one unit a file tells of; see `geometry.Tracer`."""

    unit: tuple[int, ...]
    known_box: Box
    known_visible: Box

    def box(self, unit: tuple[int, ...]) -> Box:
        self._check(unit)
        return self.known_box

    def visible(self, unit: tuple[int, ...]) -> Box:
        self._check(unit)
        return self.known_visible

    def support(self, unit: tuple[int, ...]) -> np.ndarray:
        raise InvalidInputError(
            "A result read from a file has no support mask; call keras_erf.receptive_field on the "
            f"model. Received: unit={unit}"
        )

    def _check(self, unit: tuple[int, ...]) -> None:
        if tuple(unit) != self.unit:
            raise InvalidInputError(
                f"`unit` must be {self.unit}, the only one a result read from a file knows; call "
                f"keras_erf.receptive_field on the model. Received: unit={unit}"
            )


def load(path: str | os.PathLike[str]) -> EffectiveReceptiveField:
    """Reads a result that `EffectiveReceptiveField.save` wrote.

    Args:
        path: The `.npz` file. Nothing in it is executed.

    Raises:
        InvalidInputError: The file is missing, or no such result.
    """
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            sums, counts = file["block_sums"], file["block_counts"]
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {about['format']!r}")
        field_ = _stored_field(about["receptive_field"])
        if sums.dtype != np.float64 or sums.shape != (len(counts), *field_.input_size):
            raise ValueError(f"its map has shape {sums.shape} and dtype {sums.dtype}")
        if not (np.isfinite(sums).all() and sums.any()):
            raise ValueError("its map is zero or not finite")
        if counts.ndim != 1 or counts.dtype.kind != "i" or counts.min() < 0 or not counts.any():
            raise ValueError("its counts are no counts")
        return EffectiveReceptiveField(
            block_sums=sums,
            block_counts=counts,
            dead_count=int(about["dead_count"]),
            receptive_field=field_,
            definition=Definition(**about["definition"]),
            provenance=dict(about["provenance"]),
        )
    except Exception as error:  # A broken or hostile file may fail anywhere.
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        if "pickle" in reason:  # NumPy's own words would tell how to run what is in it.
            reason = "it is no archive of plain arrays"
        raise InvalidInputError(
            "`path` must be an .npz file written by `EffectiveReceptiveField.save`: "
            f"{reason}. Received: {str(path)!r}"
        ) from error


def _stored_field(stored: Mapping[str, Any]) -> ReceptiveField:
    """The theoretical field a file tells of, for its one unit."""
    box, visible = (tuple((int(a), int(b)) for a, b in stored[name]) for name in ("box", "visible"))
    strides = [Fraction(text) for text in stored["stride"]]
    integers = {name: tuple(int(n) for n in stored[name]) for name in _FIELD_INTEGERS}
    ranks = {len(integers[name]) for name in ("input_size", "size", "padding")}
    ranks |= {len(box), len(visible), len(strides)}
    if len(ranks) > 1 or len(integers["unit"]) != len(integers["output_size"]):
        raise ValueError("its axes do not agree")
    return ReceptiveField(
        **{name: str(stored[name]) for name in _FIELD_TEXTS},  # type: ignore[arg-type]
        **integers,  # type: ignore[arg-type]
        stride=tuple(s if s.denominator != 1 else int(s) for s in strides),
        tracer=_KnownUnit(integers["unit"], box, visible),
    )


def _plain(value: Any) -> Any:
    """NumPy numbers and fractions as Python's."""
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    return value.item() if isinstance(value, np.generic) else value

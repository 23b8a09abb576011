"""Regions of a map that is kept over a part of its input, placed in the whole input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keras_erf import analysis
from keras_erf.errors import InvalidInputError
from keras_erf.results.framing import reframed, whole_box
from keras_erf.results.metrics import Metrics

__all__ = ["area_ratio_of", "region_of"]


def region_of(
    metrics: Metrics, input_size: tuple[int, ...], rule: str, **options: Any
) -> analysis.Region:
    """The region of a map by a rule; see `EffectiveReceptiveField.region`."""
    part, whole = metrics.part, whole_box(input_size)
    if rule == "threshold":
        if options.get("reference") == "center":
            # The centre may lie outside of the part, in the input or beyond it.
            options.setdefault("center", metrics.center)
            return analysis.threshold_region(reframed(metrics.map, part, whole), **options)
        region = analysis.threshold_region(metrics.map, **options)
    elif rule == "mass":
        region = analysis.mass_region(metrics.map, **options)
    else:
        raise InvalidInputError(
            argument="rule", expected="must be 'threshold' or 'mass'", received=f"rule={rule!r}"
        )
    return replace(region, mask=reframed(region.mask, part, whole))


def area_ratio_of(
    metrics: Metrics, input_size: tuple[int, ...], share: float, scale_free: bool
) -> analysis.AreaRatio:
    """The area that holds a share of a map; see `EffectiveReceptiveField.area_ratio`."""
    start = [start for start, _ in metrics.part]
    if scale_free:
        return analysis.mass_area(
            metrics.map, share, center=metrics.center, start=start, shape=input_size
        )
    return analysis.high_contribution_area(metrics.map, share, start=start, shape=input_size)

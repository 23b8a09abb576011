"""Fields and results as rows of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_erf.algebra.geometry import ReceptiveField
    from keras_erf.measuring.profiling import Profile
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["field_row", "layer_rows", "result_row", "skipped_rows"]


def field_row(field: ReceptiveField) -> dict[str, Any]:
    """A theoretical field as plain numbers."""
    return {
        "layer": field.layer,
        "unit": list(field.unit),
        "input": field.input,
        "input_size": list(field.input_size),
        "output_size": list(field.output_size),
        "size": list(field.size),
        "size_range": [list(pair) for pair in field.size_range],
        "size_median": list(field.size_median),
        "stride": [float(step) if isinstance(step, Fraction) else step for step in field.stride],
        "padding": list(field.padding),
        "center": list(field.center()),
        "box": [list(pair) for pair in field.box()],
        "status": field.status,
    }


def result_row(result: EffectiveReceptiveField) -> dict[str, Any]:
    """A result: its metrics, and how they were obtained."""
    field, about = result.receptive_field, result.provenance
    run = about["runs"][0]
    return {
        **result.summary(),
        "input": field.input,
        "input_size": list(field.input_size),
        "inputs": run["inputs"],
        "seed": run["seed"],
        "calibrated": bool(about.get("calibrated")),
        "stopped_by": result.stopped_by,
    }


def layer_rows(profile: Profile) -> list[dict[str, Any]]:
    """The layers of a profile."""
    return [
        {**result_row(result), "depth": depth}
        for result, depth in zip(profile.results, profile.depths, strict=True)
    ]


def skipped_rows(skipped: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Layers that were left out, and why,."""
    return [{"layer": name, "reason": reason} for name, reason in skipped]

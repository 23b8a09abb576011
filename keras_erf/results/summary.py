"""A result in plain numbers and in one line of text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_erf.results.metrics import METRICS, Metrics
from keras_erf.results.storing import plain
from keras_erf.wording import by, counted, size_with_error

if TYPE_CHECKING:
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["line_of", "summary_of"]

# The metrics of a summary; the others are the moments'.
SUMMARY = tuple(metric for metric in METRICS if metric not in ("mass", "covariance", "kurtosis"))


def summary_of(result: EffectiveReceptiveField, metrics: Metrics) -> dict[str, Any]:
    """All metrics of a result and their errors by name, as plain numbers, strings and lists."""
    theoretical = result.receptive_field
    values = {}
    for metric in SUMMARY:
        name = "erf_size" if metric == "size" else metric
        values[name] = _listed(METRICS[metric].value(metrics))
        values[f"{name}_error"] = _listed(metrics.error(metric))
    if not result.compare().is_bell:
        nothing = [math.nan] * len(values["sigma"])
        values |= {"sigma": nothing, "sigma_error": nothing}
    return {
        "layer": result.layer,
        "unit": list(result.unit),
        "status": theoretical.status,
        "trf_size": list(theoretical.size),
        "trf_size_range": [list(pair) for pair in theoretical.size_range],
        "trf_stride": [plain(stride) for stride in theoretical.stride],
        "trf_center": list(theoretical.center()),
        **values,
        "samples": result.count,
        "dead": result.dead,
        "definition": result.definition.name,
        "notes": list(result.notes),
    }


def line_of(result: EffectiveReceptiveField) -> str:
    """What a result prints as."""
    samples = counted(result.count, "sample")
    note = " (linear)" if result.linear else ""
    if result.expected is not None:
        samples, note = f"expected of {result.expected} weights", ""
    about = ", ".join([result.definition.name, samples, *result.notes])
    return (
        f"<EffectiveReceptiveField {result.layer} unit {result.unit}: size "
        f"{size_with_error(result, '+-')} px{note} of {by(result.receptive_field.size, 'x')} px "
        f"({100 * result.ratio:.0f} %), {about}>"
    )


def _listed(value: Any) -> Any:
    return np.asarray(value, dtype=np.float64).tolist()

"""The contents of a report, as plain data: no HTML here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_erf import analysis
from keras_erf.errors import InvalidInputError
from keras_erf.reporting.lanes import lanes_of
from keras_erf.reporting.packing import packed, panels_of, steps_of
from keras_erf.results.storing import plain

if TYPE_CHECKING:
    from keras_erf.measuring.profiling import Profile
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["around_of", "contents_of"]

# Where a Gaussian falls to the paper's threshold, in sigma.
RADIUS = math.sqrt(2 * math.log(1 / analysis.THRESHOLD))


def contents_of(profiles: Sequence[Profile]) -> list[dict[str, Any]]:
    """Returns a dictionary for each profile; maps are coarsened together if they are too large.

    NaN and infinity become `None`. Metrics are those of `summary`, not rounded.
    """
    panels = [[panels_of(result) for result in profile.results] for profile in profiles]
    flat = [panel for every in panels for several in every for panel in several]
    steps = iter(steps_of(flat))
    contents = []
    for profile, every in zip(profiles, panels, strict=True):
        provenances: list[Any] = []
        layers = []
        lanes = lanes_of(len(profile.results), profile.edges)
        around = around_of([result.layer for result in profile.results])
        for place, (result, several) in enumerate(zip(profile.results, every, strict=True)):
            about = dict(result.provenance)
            if about not in provenances:
                provenances.append(about)
            layers.append(
                {
                    **_layer(result),
                    "depth": profile.depths[place],
                    "lane": lanes[place],
                    "around": around[place],
                    "provenance": provenances.index(about),
                    "panels": [packed(panel, next(steps)) for panel in several],
                }
            )
        contents.append(
            {
                "model": profile.results[0].provenance["model"],
                "edges": profile.edges,
                "skipped": profile.skipped,
                "provenances": provenances,
                "layers": layers,
            }
        )
    return _plain(contents)


def around_of(names: Sequence[str]) -> list[int | None]:
    """For each layer the place of the outermost one it is inside of; `None` if of none of them."""
    places = {name: place for place, name in enumerate(names)}
    found = []
    for name in names:
        parts = name.split("/")
        paths = ("/".join(parts[:count]) for count in range(1, len(parts)))
        found.append(next((places[path] for path in paths if path in places), None))
    return found


def _layer(result: EffectiveReceptiveField) -> dict[str, Any]:
    field = result.receptive_field
    pairs = zip(field.box(), field.input_size, strict=True)
    return {
        **result.summary(),
        "trf_mean": result.trf_size,
        "input": field.input,
        "input_size": field.input_size,
        "output_size": field.output_size,
        "box": field.box(),
        "past_edge": any(start < 0 or stop > size for (start, stop), size in pairs),
        "linear": result.linear,
        "constant": result.constant,
        "expected": result.expected,
        "stopped_by": result.stopped_by,
        "gaussian": _gaussian(result),
    }


def _gaussian(result: EffectiveReceptiveField) -> dict[str, Any] | None:
    """The fitted Gaussian, if it describes the map."""
    try:
        fit = result.gaussian()
    except InvalidInputError:
        return None
    if not analysis.is_bell(fit.sigma.tolist(), fit.r_squared, result.receptive_field.size):
        return None
    return {"center": fit.center.tolist(), "covariance": fit.covariance.tolist(), "radius": RADIUS}


def _plain(value: Any) -> Any:
    """A value as JSON can represent it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    value = plain(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value

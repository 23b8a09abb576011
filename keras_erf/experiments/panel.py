"""A panel of the poster, measured: tidy frames, a verdict, and the rows they are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_erf import zoo
from keras_erf.errors import InvalidInputError
from keras_erf.measuring.ensembles import ensemble
from keras_erf.measuring.probing import probe
from keras_erf.progress import Progress
from keras_erf.wording import with_error

if TYPE_CHECKING:
    import pandas as pd

    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = [
    "ABS",
    "SQUARE",
    "Measured",
    "Panel",
    "Runs",
    "apart",
    "checked_depths",
    "differences",
    "maps_of",
    "value_text",
]

# Standard errors by which noise may move one of several metrics.
SURE = 3.5
# The definitions of |g| and of its square.
ABS, SQUARE = "luo2016", "luo2016-squared"

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Panel:
    """A panel of the poster, measured.

    Args:
        name: Its name.
        title: What it shows.
        frame: A `pandas.DataFrame` with a row per condition: measurements with standard errors,
            and predictions of theory. Lengths in input pixels.
        maps: A frame with a row per pixel of each mean map: the condition, `row`, `column` and
            `value`, as a share of the map's peak.
        fits: A frame with a row per power law of growth and shrinkage; a panel with fits is drawn
            as laws over depth.
        verdict: A comparison of poster, measurement and theory in words, with the reasons for
            differences.
    """

    name: str
    title: str
    frame: pd.DataFrame = field(repr=False)
    maps: pd.DataFrame = field(repr=False)
    verdict: str
    fits: pd.DataFrame | None = field(default=None, repr=False)

    def plot(self) -> Any:
        """Draws the panel; see `keras_erf.plotting.plot_panel`. Returns a matplotlib `Figure`."""
        from keras_erf import plotting

        return plotting.plot_panel(self)


@dataclass(frozen=True, eq=False)
class Measured:
    """One condition of a panel.

    Args:
        about: The condition: the first columns of the frames.
        result: Its result.
        predicted: Predictions of theory, by names of columns.
    """

    about: Mapping[str, Any]
    result: EffectiveReceptiveField
    predicted: Mapping[str, float]


class Runs:
    """Measures the conditions of a panel, keeps them, and reports progress."""

    def __init__(self, runs: int, seed: int, report: Progress) -> None:
        self.runs, self.seed, self.report = runs, seed, report
        self.wanted = 0
        self.measured: list[Measured] = []

    def start(self, wanted: int) -> None:
        """Reports how many conditions there will be."""
        self.wanted = wanted
        self.report(0, wanted)

    def ensemble(
        self,
        about: Mapping[str, Any],
        name: str,
        definition: str,
        *,
        channels: int,
        predicted: Mapping[str, float] | None = None,
        apart: int = 0,
        training: bool = False,
        **options: Any,
    ) -> None:
        """Measures a condition as the mean over networks of the zoo.

        Args:
            about: The condition.
            name: Name of the model.
            definition: Name of the definition.
            channels: Channels of all layers.
            predicted: Predictions of theory.
            apart: Conditions with different values share no networks.
            training: Whether dropout is active.
            **options: Options of the model.
        """
        result = ensemble(
            lambda seed: zoo.build(name, seed=seed, filters=channels, channels=channels, **options),
            runs=self.runs,
            seed=self.seed + apart * self.runs,
            definition=definition,
            training=training,
        )
        self._keep(about, result, predicted)

    def single(
        self, about: Mapping[str, Any], name: str, predicted: Mapping[str, float], **options: Any
    ) -> None:
        """Measures a condition by one network whose gradient does not depend on its input."""
        self._keep(about, probe(zoo.build(name, **options), samples=1), predicted)

    def _keep(
        self,
        about: Mapping[str, Any],
        result: EffectiveReceptiveField,
        predicted: Mapping[str, float] | None,
    ) -> None:
        self.measured.append(Measured(about, result, predicted or {}))
        self.report(len(self.measured), self.wanted)

    def frame(self) -> pd.DataFrame:
        """The frame of the conditions."""
        import pandas as pd

        return pd.DataFrame([row_of(condition) for condition in self.measured])


def row_of(condition: Measured) -> Row:
    """A condition as a row of a frame.

    `sigma` and `kurtosis` are from the map's moments, as means over the axes: for noisy maps,
    they are less biased than a fit, whose quality is `r_squared`.
    """
    result = condition.result
    covariance, kurtosis = result.estimate("covariance"), result.estimate("kurtosis")
    sigma = np.sqrt(np.diag(covariance.value))
    spread = np.diag(np.asarray(covariance.error)) / (2 * sigma)
    return {
        **condition.about,
        "definition": result.definition.name,
        "samples": result.count,
        "trf_size": result.trf_size,
        "erf_size": result.size,
        "erf_size_error": result.size_error,
        "ratio": result.ratio,
        "ratio_error": result.ratio_error,
        "sigma": float(sigma.mean()),
        "sigma_error": float(spread.mean()),
        "kurtosis": float(np.mean(kurtosis.value)),
        "kurtosis_error": float(np.mean(kurtosis.error)),
        "r_squared": result.compare().r_squared,
        "dead": result.dead,
        **{f"predicted_{name}": value for name, value in condition.predicted.items()},
    }


def maps_of(measured: Sequence[Measured]) -> pd.DataFrame:
    """The maps of some conditions, cut to their fields, a row per pixel."""
    import pandas as pd

    parts = []
    for condition in measured:
        box = condition.result.receptive_field.visible()
        values = condition.result.map[tuple(slice(*pair) for pair in box)]
        rows, columns = np.indices(values.shape)
        parts.append(
            pd.DataFrame(
                {
                    **condition.about,
                    "row": rows.ravel(),
                    "column": columns.ravel(),
                    "value": (values / values.max()).ravel(),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def apart(value: float, error: float, other: float, other_error: float = 0.0) -> float:
    """The distance of two values in standard errors."""
    both = math.hypot(error, other_error)
    return abs(value - other) / both if both > 0 else math.inf if value != other else 0.0


def differences(frame: pd.DataFrame, *metrics: str) -> str:
    """States whether measured metrics differ from the predicted ones by noise, or by more.

    Args:
        frame: Frame of a panel; each metric has its error and its prediction.
        metrics: Names of columns.
    """
    worst, where = 0.0, ""
    for metric in metrics:
        for _, row in frame.iterrows():
            far = apart(row[metric], row[f"{metric}_error"], row[f"predicted_{metric}"])
            if far >= worst:
                worst, where = far, f"{metric.replace('_', ' ')}, {row.iloc[0]}"
    if worst <= SURE:
        return f"noise of the runs: values are at most {worst:.1f} standard errors off ({where})."
    return (
        f"not by noise alone: {where} is {worst:.1f} standard errors off. The theory is for wide "
        "networks; repeat it with more filters."
    )


def checked_depths(depths: Any, least: int = 1) -> tuple[int, ...]:
    """Numbers of layers, all different.

    Raises:
        InvalidInputError: They are not numbers of layers, or too few.
    """
    numbers = tuple(depths) if isinstance(depths, Iterable) else ()
    whole = all(isinstance(depth, (int, np.integer)) and depth >= 1 for depth in numbers)
    if not whole or len(set(numbers)) < max(least, len(numbers)):
        raise InvalidInputError(
            argument="depths",
            expected=f"must be at least {least} different numbers of layers",
            received=f"depths={depths!r}",
        )
    return numbers


def value_text(row: Mapping[str, Any], metric: str, digits: int = 1) -> str:
    """A metric of a frame's row with its error, as text."""
    return with_error(row[metric], row[f"{metric}_error"], digits)

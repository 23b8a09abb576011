"""The poster's panels as experiments, which measure, compare with theory, and state a verdict.

`run` returns tidy frames and a verdict; pictures are drawn from these alone.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from keras_erf.errors import InvalidInputError
from keras_erf.progress import Progress, shown

if TYPE_CHECKING:
    from keras_erf.experiments.panel import Panel

__all__ = ["PANELS", "Panel", "run"]

# In the poster's order. Each has a module of its name, loaded on demand, as it needs TensorFlow.
PANELS = (
    "gaussian-shape", "nonlinearities", "structures", "growth", "dropout", "skip",
    "initialisation", "definitions",
)  # fmt: skip


def run(
    panel: str,
    *,
    runs: int = 20,
    seed: int = 0,
    progress: bool | Progress | None = None,
    **options: Any,
) -> Panel:
    """Measures a panel of the poster.

    Examples:
        >>> panel = keras_erf.experiments.run("growth", runs=2, depths=(2, 4))
        >>> print(panel.frame[["depth", "trf_size"]].drop_duplicates().to_string(index=False))
         depth  trf_size
             2       5.0
             4       9.0

    Args:
        panel: One of `PANELS`.
        runs: Networks for each condition, each with fresh weights and inputs.
        seed: Seed of the first network.
        progress: `True` shows a bar; a function is called with the numbers of
            measurements done and wanted.
        **options: Options of the panel: `depth`, `depths`, `positions`, `rate`, `blocks`, `layers`
            or `energy`.

    Returns:
        A `Panel`.

    Raises:
        InvalidInputError: There is no such panel, or an option is invalid.
        BackendError: Keras does not run on TensorFlow.
    """
    if panel not in PANELS:
        near = difflib.get_close_matches(str(panel), PANELS, n=1, cutoff=0.4)
        raise InvalidInputError(
            argument="panel",
            expected=f"must be one of {', '.join(PANELS)}",
            remedy=f"Did you mean {near[0]!r}?" if near else None,
            received=f"panel={panel!r}",
        )
    from keras_erf.experiments.panel import Runs
    from keras_erf.measuring.settings import check_whole
    from keras_erf.measuring.setup import check_backend

    check_whole("runs", runs, 2)  # or there are no errors
    check_whole("seed", seed, 0)
    check_backend()
    measured = import_module(f"{__name__}.{panel.replace('-', '_')}").run
    known = measured.__kwdefaults__ or {}
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InvalidInputError(
            argument="options",
            expected=f"of {panel!r} must be among: {', '.join(known)}",
            received=f"{unknown[0]}={options[unknown[0]]!r}",
        )
    with shown(progress, f"Measuring {panel}") as report:
        result: Panel = measured(Runs(runs, seed, report), **options)
    return result


def __getattr__(name: str) -> Any:
    if name == "Panel":
        return import_module(f"{__name__}.panel").Panel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

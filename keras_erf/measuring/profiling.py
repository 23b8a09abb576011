"""Many layers of a model in one call."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from keras_erf.definitions import Definition, get_definition
from keras_erf.errors import GradientError, KerasERFError, UnknownLayerError
from keras_erf.fields.theoretical import Rules, Target
from keras_erf.measuring.depths import depths_of, edges_of
from keras_erf.measuring.grouping import grouped
from keras_erf.measuring.measurement import measure
from keras_erf.measuring.profile_store import file_of, read_kept, store_of
from keras_erf.measuring.settings import Location, Settings
from keras_erf.measuring.setup import Prepared, check_backend, prepared
from keras_erf.progress import Progress, shown
from keras_erf.result_folders import Store
from keras_erf.results.effective import EffectiveReceptiveField
from keras_erf.types import Model
from keras_erf.wording import counted, noted

__all__ = ["Profile", "profile", "profile_of", "profiled"]


# Columns of a profile's table: metrics, each followed by its error.
EXTRA = tuple(
    name + suffix
    for name in ("mass_size", "half_mass_radius", "effective_pixels", "gini")
    for suffix in ("", "_error")
)


@dataclass(frozen=True, eq=False)
class Profile:
    """Effective receptive fields of many layers of one model.

    Args:
        results: One result per layer, in the order of the graph.
        depths: Of each layer, the number of calls on the longest way from the input to it.
        skipped: Pairs of a layer and the reason why it has no result.
        edges: Pairs of places in `results`, from a layer to one that depends on it by
            a way of the graph without another of them.
    """

    results: tuple[EffectiveReceptiveField, ...]
    depths: tuple[int, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    edges: tuple[tuple[int, int], ...] = ()

    @cached_property
    def frame(self) -> Any:
        """A `pandas.DataFrame` with one row per layer; lengths in input pixels.

        Its columns are `layer`, `depth`, `trf_size`, `erf_size`, `erf_size_error`,
        `ratio`, `ratio_error`, `sigma`, `r_squared`, `samples`, `dead`, `status`; of
        the metrics of `estimate` `mass_size`, `half_mass_radius`, `effective_pixels`,
        `gini`, each with its error, and `fwhm`; and `notes`, separated by semicolons.
        `trf_size`, `sigma` and `fwhm` are geometric means over the axes, `r_squared`
        and `sigma` those of the fitted Gaussian.
        """
        import pandas as pd

        rows = []
        for result, depth in zip(self.results, self.depths, strict=True):
            summary = result.summary()
            rows.append(
                {
                    "layer": result.layer,
                    "depth": depth,
                    "trf_size": result.trf_size,
                    "erf_size": summary["erf_size"],
                    "erf_size_error": summary["erf_size_error"],
                    "ratio": summary["ratio"],
                    "ratio_error": summary["ratio_error"],
                    "sigma": float(np.exp(np.mean(np.log(summary["sigma"])))),
                    "r_squared": summary["r_squared"],
                    "samples": summary["samples"],
                    "dead": summary["dead"],
                    "status": summary["status"],
                    **{name: summary[name] for name in EXTRA},
                    "fwhm": float(np.exp(np.mean(np.log(summary["fwhm"])))),
                    "notes": "; ".join(summary["notes"]),
                }
            )
        return pd.DataFrame(rows)

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[EffectiveReceptiveField]:
        return iter(self.results)

    def __getitem__(self, layer: str) -> EffectiveReceptiveField:
        """The result of a layer, by its name.

        Raises:
            UnknownLayerError: It was not measured.
        """
        names = [result.layer for result in self.results]
        if layer in names:
            return self.results[names.index(layer)]
        near = difflib.get_close_matches(str(layer), names, n=3, cutoff=0.4) or names[:3]
        raise UnknownLayerError(
            argument="layer",
            expected=f"must be a layer of the profile, such as {', '.join(near)}",
            received=f"layer={layer!r}",
        )

    def __repr__(self) -> str:
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        notes = "".join(f", {note}" for note in noted(self.results))
        return f"<Profile of {counted(len(self.results), 'layer')}{skipped}{notes}>"

    def _repr_html_(self) -> str:
        """What notebooks show: sizes over depth, and the table."""
        from keras_erf.plotting.cards import profile_card

        return profile_card(self)

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draws sizes over depth; see `keras_erf.plotting.plot_profile`. Returns `Axes`."""
        from keras_erf import plotting

        return plotting.plot_profile(self, ax=ax, **options)


def profile(
    model: Model,
    layers: Any = None,
    *,
    path: str | os.PathLike[str] | None = None,
    unit: tuple[int, ...] | Literal["center"] = "center",
    inputs: Any = "normal",
    samples: int | None = None,
    tolerance: float | None = None,
    definition: str | Definition = "luo2016",
    batch_size: int | None = None,
    seed: int = 0,
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    cone: bool = True,
    training: bool = False,
    calibrate: bool = False,
    grid: Sequence[int] | None = None,
    inside: bool = False,
    rules: Rules | None = None,
    progress: bool | Progress | None = None,
) -> Profile:
    """Measures the effective receptive field of all layers with more than one position, or some.

    Layers whose fields overlap enough share the pass forwards, and all see the
    same samples: each layer's result is that of `probe` with the same seed, of as
    many samples. Layers that share a pass have as many as the one that wants most.

    Examples:
        >>> model = keras_erf.zoo.load("cifar_resnet14")
        >>> layers = ["stage1_block2_out", "stage2_block2_out"]
        >>> profile = keras_erf.profile(model, layers, samples=16)
        >>> print(profile.frame[["layer", "depth", "trf_size"]].to_string(index=False))
                    layer  depth  trf_size
        stage1_block2_out     17      11.0
        stage2_block2_out     32      25.0
        >>> profile["stage2_block2_out"].ratio < profile["stage1_block2_out"].ratio
        True

    Args:
        model: A Keras model: Functional, Sequential or subclassed, on the TensorFlow backend.
        layers: One layer as in `receptive_field`, or some; `None` is every layer with
            more than one position.
        path: A folder that keeps the results as they come. Called again with the
            same arguments, for example after an interruption, it resumes: results
            that are there are read and not measured again.
        unit: As in `probe`, of each layer.
        inputs: As in `probe`.
        samples: As in `probe`, for each layer.
        tolerance: As in `probe`; layers measured together continue until all are there.
        definition: As in `probe`.
        batch_size: As in `probe`.
        seed: As in `probe`.
        input: As in `probe`.
        input_shape: As in `probe`; one size for all layers.
        cone: As in `probe`.
        training: As in `probe`.
        calibrate: As in `probe`.
        grid: As in `probe`, of its layers of tokens.
        inside: Whether layers inside of composite ones are measured too, as in
            `receptive_fields`.
        rules: As in `probe`.
        progress: `True` shows a bar; a function is called with the number of
            layers done and wanted.

    Returns:
        A `Profile`. Layers that cannot be measured are listed in its `skipped`.

    Raises:
        InvalidInputError: An argument does not fit the model, or `path` holds a
            profile of something else.
        UnknownLayerError: One of `layers` is not in the model.
        UnsupportedLayerError: No rule states the field of a layer on the path.
        GradientError: No layer at all can be measured; the reason is that of the first.
        BackendError: Keras does not run on TensorFlow.
    """
    check_backend()
    settings = Settings(
        inputs=inputs,
        samples=samples,
        tolerance=tolerance,
        definition=get_definition(definition),
        batch_size=batch_size,
        seed=seed,
        cone=cone,
        training=training,
        calibrate=calibrate,
    )
    ready = prepared(
        model,
        layers,
        settings,
        Location(unit, input, input_shape, grid, rules),
        several=True,
        inside=inside,
    )
    return profiled(ready, settings, path=path, progress=progress)


def profiled(
    ready: Prepared,
    settings: Settings,
    *,
    path: str | os.PathLike[str] | None,
    progress: bool | Progress | None,
) -> Profile:
    """Measures the units that were prepared; arguments and errors as `profile`."""
    if not ready.targets:
        raise _nothing_to_measure(ready.skipped)
    graph = ready.targets[0].graph
    store = None if path is None else store_of(path, graph, ready.weights, settings)
    with shown(progress, f"Profiling {graph.name}") as report:
        results, failed = _measured(ready.targets, settings, ready.weights, store, report)
    return profile_of(ready, results, failed)


def profile_of(
    ready: Prepared,
    results: Mapping[int, EffectiveReceptiveField],
    failed: Mapping[int, KerasERFError],
) -> Profile:
    """The profile of some units from results, and why others have none, by their places.

    Raises:
        GradientError: There is no unit.
        KerasERFError: No unit has a result; the reason is that of the first.
    """
    targets = ready.targets
    if not results:
        raise next(iter(failed.values())) if failed else _nothing_to_measure(ready.skipped)
    graph, places = targets[0].graph, sorted(results)
    tensors = [targets[place].tensor for place in places]
    depths = depths_of(graph)
    reasons = [(targets[place].receptive_field.layer, str(failed[place])) for place in failed]
    return Profile(
        results=tuple(results[place] for place in places),
        depths=tuple(depths[tensor] for tensor in tensors),
        skipped=(*ready.skipped, *reasons),
        edges=edges_of(graph, tensors),
    )


def _nothing_to_measure(skipped: Sequence[tuple[str, str]]) -> GradientError:
    """The error of a profile without layers."""
    name, reason = skipped[0] if skipped else ("", "none has more than one position")
    first = f"{name} first: " if name else ""
    return GradientError(expected=f"No layer of the model can be measured, {first}{reason}")


def _measured(
    targets: Sequence[Target],
    settings: Settings,
    weights: str,
    store: Store | None,
    report: Progress,
) -> tuple[dict[int, EffectiveReceptiveField], dict[int, GradientError]]:
    """Results of units by their places in the list, and why others have none."""
    places = {target: place for place, target in enumerate(targets)}
    stored = (
        {place: read_kept(store, target) for place, target in enumerate(targets)} if store else {}
    )
    results = {place: result for place, result in stored.items() if result is not None}
    failed: dict[int, GradientError] = {}
    groups = grouped([target for target in targets if places[target] not in results], settings)
    report(len(results), len(targets))
    while groups:
        plan = groups.pop(0)
        try:
            measured = measure(plan, settings, weights=weights)
        except GradientError as error:
            if len(plan.targets) > 1:
                # One of them fails; the others may succeed.
                groups = plan.split() + groups
                continue
            failed[places[plan.targets[0]]], measured = error, []
        for target, result in zip(plan.targets, measured, strict=False):
            results[places[target]] = result
            if store:
                store.save({file_of(target): result})
        report(len(results) + len(failed), len(targets))
    return results, failed

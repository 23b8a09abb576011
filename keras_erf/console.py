"""What the command line shows: tables, a sentence in words, progress, warnings."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from keras_erf.effective import EffectiveReceptiveField
    from keras_erf.geometry import ReceptiveField

__all__ = [
    "field_row",
    "import_quietly",
    "print_fields",
    "print_json",
    "print_results",
    "progress_bar",
    "show_warning",
]

STATUS = {
    "exact": "exact",
    "bound": "bound (holds the field, may be larger)",
    "measured": "measured",
    "whole": "whole (the entire input)",
}


def _by(numbers: Sequence[Any]) -> str:
    """`99x99`, `4x1/2`."""
    return "x".join(str(number) for number in numbers)


def _point(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.1f}" for number in numbers)


def _with_error(value: float, error: float, digits: int = 1) -> str:
    known = "" if math.isnan(error) else f" ± {error:.{digits}f}"
    return f"{value:.{digits}f}{known}"


def field_row(field: ReceptiveField) -> dict[str, Any]:
    """A theoretical field as plain numbers, for JSON."""
    return {
        "layer": field.layer,
        "unit": list(field.unit),
        "output_size": list(field.output_size),
        "size": list(field.size),
        "stride": [stride if isinstance(stride, int) else float(stride) for stride in field.stride],
        "padding": list(field.padding),
        "center": list(field.center()),
        "box": [list(pair) for pair in field.box()],
        "status": field.status,
    }


def print_json(value: Any) -> None:
    """Plain JSON on standard output; what is not a number is `null`."""
    print(json.dumps(_without_nan(value), indent=2, ensure_ascii=False))


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    return [_without_nan(one) for one in value] if isinstance(value, list) else value


def _table(title: str, columns: Sequence[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in columns:
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    return table


def print_fields(
    model: str, fields: Sequence[ReceptiveField], skipped: Sequence[tuple[str, str]]
) -> None:
    """The table of theoretical fields."""
    console = Console()
    size = f", input {_by(fields[0].input_size)} px" if fields else ""
    table = _table(
        f"Theoretical receptive fields of {model}{size}",
        [
            ("layer", "left"),
            ("map", "right"),
            ("TRF (px)", "right"),
            ("stride", "right"),
            ("padding", "right"),
            ("centre (px)", "right"),
            ("status", "left"),
        ],
    )
    for one in fields:
        table.add_row(
            one.layer,
            _by(one.output_size),
            _by(one.size),
            _by(one.stride),
            _by(one.padding),
            _point(one.center()),
            one.status,
        )
    console.print(table)
    if skipped:
        name, reason = skipped[0]
        console.print(f"{len(skipped)} layers have no field here, {name} first: {reason}")


def print_results(
    model: str,
    results: Sequence[tuple[EffectiveReceptiveField, Path, Path]],
    *,
    guessed: bool,
) -> None:
    """The table of effective fields, a sentence in words, and where the files are.

    Args:
        model: Name of the model.
        results: Results with the paths of picture and `.npz`.
        guessed: Whether the layer was chosen by the program.
    """
    console = Console()
    first = results[0][0]
    run = first.provenance["runs"][0]
    console.print(
        f"{model}, input {_by(first.receptive_field.input_size)} px, {first.count} samples of "
        f"{run['inputs']}, definition {first.definition.name}",
        highlight=False,
    )
    table = _table(
        "",
        [
            ("layer", "left"),
            ("TRF (px)", "right"),
            ("ERF (px)", "right"),
            ("ERF/TRF", "right"),
            ("sigma (px)", "right"),
            ("R²", "right"),
            ("centre (px)", "right"),
            ("status", "left"),
        ],
    )
    for result, _, _ in results:
        compared = result.compare()
        table.add_row(
            result.layer,
            _by(result.receptive_field.size),
            _with_error(result.size, result.size_error),
            f"{100 * result.ratio:.0f} %",
            _point(compared.sigma),
            f"{compared.r_squared:.2f}",
            _point(result.receptive_field.center()),
            result.receptive_field.status,
        )
    console.print(table)
    for result, picture, file in results:
        _print_words(console, result, guessed=guessed)
        console.print(f"Picture: {picture}\nResult:  {file}", highlight=False, soft_wrap=True)


def _print_words(console: Console, result: EffectiveReceptiveField, *, guessed: bool) -> None:
    field = result.receptive_field
    chosen = " (the last layer with spatial axes)" if guessed else ""
    console.print(
        f"Unit {field.unit} of {field.layer}{chosen} can see {_by(field.size)} px and uses "
        f"about {result.size:.0f} px, {100 * result.ratio:.0f} %.",
        highlight=False,
    )
    if result.dead_count:
        console.print(f"{100 * result.dead:.0f} % of the samples had no gradient at this unit.")
    outside = any(
        start < 0 or stop > size
        for (start, stop), size in zip(field.box(), field.input_size, strict=True)
    )
    if outside and field.status != "whole":
        console.print("The field reaches over the input's edge; a larger --size shows all of it.")
    skipped = [name for run in result.provenance["runs"] for name in run["skipped"]]
    if skipped:
        console.print(
            f"{len(skipped)} images could not be read and were left out: {', '.join(skipped[:5])}"
        )


@contextmanager
def progress_bar(layer: str | None) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, so that standard output can be piped on."""
    columns = (
        TextColumn("Probing {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("samples"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(layer or "the last map", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning in one line, in place of `warnings.showwarning`."""
    print(f"Warning: {message}", file=sys.stderr)


def import_quietly() -> None:
    """Imports TensorFlow without its word on missing GPUs, which no setting silences."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except ImportError:
            pass  # Loading the model says why, in one line.
        finally:
            os.dup2(kept, 2)
            os.close(kept)

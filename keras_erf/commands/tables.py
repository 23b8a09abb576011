"""Tables of theoretical and effective fields, with a summary in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from keras_erf.commands.console import new_console
from keras_erf.wording import by, counted, counted_samples, noted, size_with_error

if TYPE_CHECKING:
    from keras_erf.algebra.geometry import ReceptiveField
    from keras_erf.measuring.profiling import Profile
    from keras_erf.results.effective import EffectiveReceptiveField

__all__ = ["print_fields", "print_profile", "print_remedies", "print_results"]

# The theoretical field, in words, where it is not exact.
STATUS = {
    "bound": "a bound: it holds the true one and may be larger",
    "measured": "measured, not computed",
    "whole": "the whole input",
}
# Columns that are dropped on narrow terminals, in this order.
SPARE = ("centre (px)", "padding", "status", "samples", "R²", "sigma (px)")
# Minimum width of a column of names.
LEAST_NAME = 24
# Wider than any table.
WIDEST = 10_000
# Shown for a number that is missing or meaningless.
NONE = "–"


def _point(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.1f}" for number in numbers)


def _print_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table with the layer first; the least important columns are dropped if it is too wide."""
    longest = max(len(row[0]) for row in rows)
    shown = list(columns)
    table = _table(columns, rows, shown)
    for spare in SPARE:
        needed = console.measure(table, options=console.options.update(width=WIDEST)).maximum
        # Names are folded; numbers are not.
        if needed - max(longest - LEAST_NAME, 0) <= console.width:
            break
        if spare in shown:
            shown.remove(spare)
            table = _table(columns, rows, shown)
    console.print(table)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], shown: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in shown:
        left = name in ("layer", "status")
        table.add_column(
            name, justify="left" if left else "right", no_wrap=name != "layer", overflow="fold"
        )
    for row in rows:
        cells = dict(zip(columns, row, strict=True))
        table.add_row(*(cells[name] for name in shown))
    return table


def print_fields(
    model: str, fields: Sequence[ReceptiveField], skipped: Sequence[tuple[str, str]]
) -> None:
    """Prints the table of theoretical fields."""
    console = new_console()
    size = f", input {by(fields[0].input_size, 'x')} px" if fields else ""
    title = f"Theoretical receptive fields of {model}{size}"
    columns = ("layer", "map", "TRF (px)", "stride", "padding", "centre (px)", "status")
    rows = [
        (
            field.layer,
            by(field.output_size, "x"),
            by(field.size_range, "x"),
            by(field.stride, "x"),
            NONE if None in field.padding else by(field.padding, "x"),
            _point(field.center()),
            field.status,
        )
        for field in fields
    ]
    console.print(title)
    if rows:
        _print_table(console, columns, rows)
    elif not skipped:
        console.print("No layer has more than one position along the axes of the input.")
    _print_skipped(console, skipped, "has no field here", "have no field here")


def print_results(
    model: str,
    results: Sequence[tuple[EffectiveReceptiveField, Path, Path]],
    skipped: Sequence[tuple[str, str]] = (),
    *,
    guessed: str | None,
    centered: bool,
    tolerance: float | None = None,
) -> None:
    """Prints the table of effective fields, a summary in words, and the paths of the files."""
    console = new_console()
    _print_effective(console, model, [result for result, _, _ in results])
    print_remedies([result for result, _, _ in results])
    for result, picture, file in results:
        _print_words(console, result, guessed=guessed, centered=centered)
        if tolerance is not None:
            _print_stop(console, result, tolerance)
        console.print(f"Picture: {picture}\nResult:  {file}", soft_wrap=True)
    _print_skipped(console, skipped)


def print_profile(
    model: str, profile: Profile, files: tuple[Path, Path], *, tolerance: float | None = None
) -> None:
    """Prints the table of a profile's effective fields, notes, and the paths of the files."""
    console = new_console()
    results, (picture, table) = profile.results, files
    _print_effective(console, model, results)
    print_remedies(results)
    linear = sum(result.linear for result in results)
    if linear:
        of = "gradient of 1 layer does" if linear == 1 else f"gradients of {linear} layers do"
        console.print(f"The {of} not depend on the input: one sample is enough.")
    short = [result for result in results if result.stopped_by not in ("tolerance", "linear")]
    if tolerance is not None and short:
        # If all images were used, more samples need more images.
        exhausted = short[0].stopped_by == "inputs"
        remedy = "give more images" if exhausted else "raise --samples, with another --out"
        console.print(
            f"{counted(len(short), 'layer')} did not reach the tolerance of {100 * tolerance:g} % "
            f"(first: {short[0].layer}); {remedy}."
        )
    for note in noted(results):
        console.print(f"* {note}")
    _print_skipped(console, profile.skipped)
    _print_left_out(console, results[-1:])
    console.print(
        f"Picture: {picture}\nTable:   {table}\nResults: {picture.parent}", soft_wrap=True
    )


def _print_effective(
    console: Console, model: str, results: Sequence[EffectiveReceptiveField]
) -> None:
    """Prints what was measured, and its table."""
    first = results[0]
    counts = {result.count for result in results}
    console.print(
        f"{model}, input {by(first.receptive_field.input_size, 'x')} px, "
        f"{counted_samples(counts)} of {first.provenance['runs'][0]['inputs']}, "
        f"definition {first.definition.name}"
    )
    columns = ["layer", "TRF (px)", "ERF (px)", "ERF/TRF", "sigma (px)", "R²"]
    columns += ["samples"] * (len(counts) > 1) + ["centre (px)", "status"]
    rows = []
    for result in results:
        cells = _effective_cells(result)
        rows.append([cells[name] for name in columns])
    _print_table(console, columns, rows)


def _effective_cells(result: EffectiveReceptiveField) -> dict[str, str]:
    """The cells of an effective field, by column."""
    compared, field = result.compare(), result.receptive_field
    return {
        "layer": result.layer,
        "TRF (px)": by(field.size, "x"),
        "ERF (px)": size_with_error(result) + (" *" if result.notes else ""),
        "ERF/TRF": f"{100 * result.ratio:.0f} %",
        "sigma (px)": _point(compared.sigma) if compared.is_bell else NONE,
        "R²": NONE if math.isnan(compared.r_squared) else f"{compared.r_squared:.2f}",
        "samples": str(result.count),
        "centre (px)": _point(field.center()),
        "status": field.status,
    }


def _print_stop(console: Console, result: EffectiveReceptiveField, tolerance: float) -> None:
    """Prints whether the size reached the tolerance."""
    if result.stopped_by == "tolerance":
        console.print(
            f"Its size is known to {100 * tolerance:g} % after {counted(result.count, 'sample')}."
        )
    elif result.stopped_by != "linear":
        console.print(
            f"Its size is not known to {100 * tolerance:g} % with all of "
            f"{counted(result.count, 'sample')}."
        )


def _print_words(
    console: Console, result: EffectiveReceptiveField, *, guessed: str | None, centered: bool
) -> None:
    field = result.receptive_field
    chosen = f" ({guessed})" if guessed else ""
    console.print(
        f"Unit {field.unit} of {field.layer}{chosen} can see {by(field.size, 'x')} px and uses "
        f"about {result.size:.0f} px, {100 * result.ratio:.0f} %."
    )
    if field.status != "exact":
        console.print(f"The theoretical field is {STATUS.get(field.status, field.status)}.")
    if result.linear:
        console.print(
            "Its gradient does not depend on the input: one sample is enough, and has no error."
        )
    elif result.constant:
        console.print(
            "All samples gave the same map, so there is no error: the gradient does not depend on "
            "the input."
            if any(run["inputs"] != "zeros noise" for run in result.provenance["runs"])
            else "All samples were the same, zeros, so there is no error."
        )
    if result.dead_count:
        console.print(f"{100 * result.dead:.0f} % of the samples had no gradient at this unit.")
    advice = _edge_advice(field, centered=centered)
    if advice:
        console.print(advice)
    for note in result.notes:
        console.print(f"* {note}")
    _print_left_out(console, [result])


def _edge_advice(field: ReceptiveField, *, centered: bool) -> str | None:
    """How to show all of a field that extends beyond the input's edge; `None` if it does not."""
    box, sizes = field.box(), field.input_size
    before = any(start < 0 for start, _ in box)
    after = any(stop > size for (_, stop), size in zip(box, sizes, strict=True))
    if field.status == "whole" or not (before or after):
        return None
    says = "The field reaches over the input's edge; "
    # A larger input has more pixels at its end: a unit keeps its distance from the start.
    if centered or not before:
        return f"{says}a larger --size shows all of it."
    middle = field.box(tuple(size // 2 for size in field.output_size))
    fits = all(
        start >= 0 and stop <= size for (start, stop), size in zip(middle, sizes, strict=True)
    )
    if fits:
        return (
            f"{says}this unit is near the border: --unit center, or one further inside, shows all."
        )
    return (
        f"{says}this unit is near the border: --unit center with a larger --size shows all of it."
    )


def print_remedies(results: Sequence[EffectiveReceptiveField]) -> None:
    """Prints a line for each note of the results, with its remedy and the layers it applies to."""
    from keras_erf.measuring.untrained import REMEDIES

    console = new_console()
    for note, remedy in REMEDIES.items():
        noted = [result for result in results if note in result.provenance.get("notes", ())]
        if noted:
            first = noted[0].layer if len(noted) < len(results) else ""
            where = f" ({counted(len(noted), 'layer')}, {first} first)" if first else ""
            text = remedy.format(calibrate="--calibrate")
            console.print(f"Note{where}: {text}.")


def _print_skipped(
    console: Console,
    skipped: Sequence[tuple[str, str]],
    one: str = "was left out",
    more: str = "were left out",
) -> None:
    """Prints how many layers are not in the table, and the reason of the first."""
    if skipped:
        name, reason = skipped[0]
        what = f"1 layer {one}" if len(skipped) == 1 else f"{len(skipped)} layers {more}, the first"
        console.print(f"{what}: {name}: {reason}")


def _print_left_out(console: Console, results: Sequence[EffectiveReceptiveField]) -> None:
    """Prints the images that could not be read."""
    runs = [run for result in results for run in result.provenance["runs"]]
    skipped = [name for run in runs for name in run["skipped"]]
    if skipped:
        were = "was" if len(skipped) == 1 else "were"
        console.print(
            f"{counted(len(skipped), 'image')} could not be read and {were} left out: "
            f"{', '.join(skipped[:5])}"
        )

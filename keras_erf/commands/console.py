"""Output of the command line: verdicts, JSON, progress, warnings."""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from keras_erf.wording import by, counted

if TYPE_CHECKING:
    from keras_erf.zoo import Facts

__all__ = [
    "as_json_alone",
    "new_console",
    "print_json",
    "print_study",
    "print_training",
    "print_verdict",
    "print_zoo",
    "progress_bar",
    "show_warning",
]

# For tables that are piped.
PIPE_WIDTH = 200
# Text is broken into lines of this length at most.
TEXT_WIDTH = 100


def print_training(epoch: int, metrics: Mapping[str, float]) -> None:
    """A line for an epoch."""
    shown = ("loss", "accuracy", "val_accuracy", "erf_size", "erf_ratio")
    text = ", ".join(f"{name} {metrics[name]:.3f}" for name in shown if name in metrics)
    new_console().print(f"epoch {epoch}: {text}")


def print_verdict(report: Mapping[str, Any]) -> None:
    """The verdict of a panel, and where its files are."""
    console = new_console()
    kept = "  (kept; --again measures it again)" if report["kept"] else ""
    console.print(f"{report['title']}{kept}", style="bold")
    lines = [*report["verdict"].splitlines(), f"Picture: {report['files']['picture']}"]
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 2)), width=min(console.width, TEXT_WIDTH))
    console.print()


def print_study(report: Mapping[str, Any]) -> None:
    """The progress of a study, and its failures, grouped by reason."""
    console = new_console()
    console.print(f"{report['done']} done, {report['failed']} failed, in {report['folder']}")
    reasons: dict[str, list[Mapping[str, Any]]] = {}
    for failure in report["failures"]:
        reasons.setdefault(failure["reason"], []).append(failure)
    for reason, tasks in reasons.items():
        names = sorted({str(failure["name"]) for failure in tasks})
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        console.print(f"{counted(len(tasks), 'task')} of {', '.join(names[:3])}{more}: {reason}")
    if report["failures"]:
        console.print("Once the reason is fixed, `study run --retry-failed` repeats them.")


def print_zoo(models: Mapping[str, Facts]) -> None:
    """Models by name, with their descriptions and sources in the last column."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    names = ("model", "TRF (px)", "stride", "parameters", "what it is, source")
    for name in names:
        left = name in (names[0], names[-1])
        table.add_column(name, justify="left" if left else "right", no_wrap=name != names[-1])
    for name, facts in models.items():
        numbers = (by(facts.trf, "x"), by(facts.stride, "x"), f"{facts.parameters:,}")
        table.add_row(name, *numbers, f"{facts.description}\n{facts.source}")
    new_console().print(table)


def print_json(value: Any) -> None:
    """Plain JSON on standard output; what is not a number is `null`."""
    stream = sys.stdout.aside_of if isinstance(sys.stdout, _Aside) else sys.stdout
    print(json.dumps(_without_nan(value), indent=2), file=stream)


@contextmanager
def as_json_alone() -> Iterator[None]:
    """Leaves standard output to `print_json`; all other output goes to standard error.

    Keras, for example, prints the progress of downloads to standard output.
    """
    with redirect_stdout(_Aside(sys.stdout)):
        yield


class _Aside(io.TextIOBase):
    """Writes to standard error, and knows the standard output it stands for."""

    def __init__(self, aside_of: TextIO) -> None:
        self.aside_of = aside_of

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return [_without_nan(item) for item in value] if isinstance(value, list) else value


def new_console(*, stderr: bool = False) -> Console:
    """A console without markup, which does not wrap piped output at 80 columns."""
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console


@contextmanager
def progress_bar(doing: str, of: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, so that standard output can be piped."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(of, markup=False),
        TimeRemainingColumn(),
    )
    console = new_console(stderr=True)
    # Without a terminal, a bar would leave only a blank line.
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning in one line, in place of `warnings.showwarning`."""
    print(f"Warning: {message}", file=sys.stderr)

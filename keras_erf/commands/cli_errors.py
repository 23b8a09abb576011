"""Errors and interruptions on the command line: one line each, and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import typer
from typer.core import TyperGroup

from keras_erf.commands.console import as_json_alone
from keras_erf.commands.parsing import OPTIONS, REMEDIES
from keras_erf.errors import KerasERFError

__all__ = ["OneLineGroup", "one_line_errors"]

# Of click, or of typer's own copy of it; typer does not export it.
UsageError: Any = typer.BadParameter.__mro__[1]

UNHARMED = "Nothing was left half written."


class OneLineGroup(TyperGroup):
    """Commands that report usage errors in one line, like all other errors."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **options: Any
    ) -> Any:
        """Runs a command; ends the process with its status, or returns that."""
        words = sys.argv[1:] if args is None else list(args)
        aside = as_json_alone() if "--json" in words else nullcontext()
        try:
            with aside:
                status = super().main(words or ["--help"], standalone_mode=False, **options)
        except UsageError as error:
            typer.echo(f"Error: {' '.join(error.format_message().split())}", err=True)
            status = 2
        except typer.Abort:
            status = _interrupted(UNHARMED)
        if standalone_mode:
            sys.exit(status)
        return status


@contextmanager
def one_line_errors(
    interrupted: str = UNHARMED, *, options: Mapping[str, str] = OPTIONS
) -> Iterator[None]:
    """Turns a user's mistake into one line and status 2, an interruption into 130."""
    try:
        yield
    except KerasERFError as error:
        typer.echo(f"Error: {error.renamed(options, REMEDIES)}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        raise typer.Exit(_interrupted(interrupted)) from None


def _interrupted(says: str) -> int:
    typer.echo(f"Interrupted. {says}", err=True)
    return 130

"""The command that writes an old model as one of Keras 3."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_erf.commands.cli_errors import one_line_errors
from keras_erf.commands.file_options import CustomOption, LambdaOption
from keras_erf.commands.option_types import JsonOption, UnsafeOption, weights_option
from keras_erf.custom_code import read_opening
from keras_erf.errors import InvalidInputError, KerasERFError
from keras_erf.quiet import import_quietly

__all__ = ["convert"]


def convert(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A model file or folder of any age.")],
    new: Annotated[Path, typer.Argument(metavar="NEW.keras", help="The file to write.")],
    weights: Annotated[str | None, weights_option("the file's own")] = None,
    custom: CustomOption = None,
    stand_in: LambdaOption = None,
    unsafe: UnsafeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a model of any age as a `.keras` file of Keras 3.

    The new file is read again, and its predictions are compared with those of the translated model.

    [bold]Examples[/bold]

    keras-erf convert old.h5 new.keras

    keras-erf convert model.json new.keras --weights weights.h5
    """
    with one_line_errors():
        if new.suffix != ".keras":
            raise InvalidInputError(
                argument="NEW", expected="must be a file name that ends in .keras",
                received=repr(str(new)),
            )  # fmt: skip
        from keras_erf.files.writing import check_file

        check_file(new)
        opening = read_opening(custom, stand_in, unsafe)
        import_quietly()
        from keras_erf.converting import convert_model

        try:
            done = convert_model(old, new, weights=weights, opening=opening)
        except KerasERFError as error:
            raise error.renamed({"path": "OLD", "weights": "--weights"}) from error
        if as_json:
            from keras_erf.commands.console import print_json

            print_json(done)
        else:
            typer.echo(f"Model: {new}")
            for note in done["notes"]:
                typer.echo(f"Note: {note}")

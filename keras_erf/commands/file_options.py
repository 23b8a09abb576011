"""Options on how a model file is opened, on every command that takes a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from keras_erf.commands.option_types import model_option

__all__ = ["CustomOption", "LambdaOption"]

CustomOption = Annotated[
    list[Path] | None,
    model_option(
        "--custom",
        metavar="FILE.py",
        help="Python file with the model's own layers and functions; it is run. Repeatable.",
    ),
]
LambdaOption = Annotated[
    list[str] | None,
    model_option(
        "--lambda",
        metavar="NAME=WHAT",
        help="What stands for a Lambda layer: pointwise, or a function of --custom. Repeatable.",
    ),
]

"""Parses the values of options; each mistake raises a one-line error."""

from __future__ import annotations

import ast
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_erf.errors import InvalidInputError

if TYPE_CHECKING:
    from keras_erf.graph import Graph

__all__ = [
    "OPTIONS",
    "REMEDIES",
    "Preprocess",
    "check_inside",
    "check_writable",
    "read_grid",
    "read_inputs",
    "read_options",
    "read_preprocess",
    "read_size",
    "read_unit",
]

# The command line's names of the arguments that errors name.
OPTIONS = {
    "batch_size": "--batch-size",
    "definition": "--definition",
    "grid": "--grid",
    "input": "--input",
    "input_shape": "--size",
    "inputs": "--images",
    "layer": "--layer",
    "options": "--option",
    "path": "--out",
    "samples": "--samples",
    "seed": "--seed",
    "custom_objects": "--custom",
    "stand_ins": "--lambda",
    "through_global": "--local",
    "tolerance": "--tolerance",
    "unit": "--unit",
    "weights": "--weights",
    "data": "--data",
    "epochs": "--epochs",
    "learning_rate": "--learning-rate",
    "weight_decay": "--weight-decay",
    "width": "--width",
    "subset": "--subset",
    "softness": "--softness",
    "workers": "--workers",
}
# Beginnings of remedies that only work in Python, and their replacements on the command line.
REMEDIES = {
    "Use `build` for fresh weights": "Use --weights none for fresh weights",
    "probe a model that starts behind it": "name another one",
    "Pass a rule by `rules": "In Python, pass a rule by `rules",
    "Choose a layer before it, or pass": "Choose a layer before it, or, in Python, pass",
}


def read_options(texts: Sequence[str] | None) -> dict[str, Any]:
    """`NAME=VALUE` texts as keyword arguments; a value that is no Python literal is a string."""
    options: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidInputError(
                argument="--option", expected="must be NAME=VALUE", received=repr(text)
            )
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[name] = value
    return options


def read_unit(text: str) -> Any:
    """`center`, or indices such as `7,7`."""
    if text == "center":
        return text
    return _integers(text, "--unit", "a unit such as 7,7, or 'center'")


def read_size(text: str | None) -> int | tuple[int, ...] | None:
    """`360x480`, or one number for all axes."""
    if text is None:
        return None
    sizes = _integers(text, "--size", "a size such as 512 or 360x480")
    return sizes[0] if len(sizes) == 1 else sizes


def read_grid(text: str | None) -> tuple[int, ...] | None:
    """`14x14`, the rows and columns of tokens."""
    return None if text is None else _integers(text, "--grid", "rows and columns such as 14x14")


def _integers(text: str, name: str, expected: str) -> tuple[int, ...]:
    parts = re.split(r"[x,]", text.replace(" ", ""))
    if not all(part.isdecimal() for part in parts):
        raise InvalidInputError(argument=name, expected=f"must be {expected}", received=repr(text))
    return tuple(int(part) for part in parts)


def _numbers(text: str | None, name: str) -> tuple[float, ...]:
    """`0.5`, `1/255` or `.485,.456,.406`; none of no text."""
    if text is None:
        return ()
    numbers = []
    for part in text.split(","):
        above, slash, below = part.partition("/")
        try:
            numbers.append(float(above) / (float(below) if slash else 1.0))
        except (ValueError, ZeroDivisionError) as error:
            raise InvalidInputError(
                argument=name,
                expected="must be numbers such as 0.5, 1/255 or .485,.456,.406",
                received=repr(text),
            ) from error
    return tuple(numbers)


@dataclass(frozen=True)
class Preprocess:
    """`(pixels * scale - mean) / std` of a batch of images, channels last.

    Args:
        scale: One factor, or one per channel.
        mean: The mean, one or one per channel.
        std: The divisor, one or one per channel.
        bgr: Whether the model takes blue, green, red.
    """

    scale: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool

    def __call__(self, batch: Any) -> Any:
        """The model's input for a batch with values 0 to 255."""
        ready = batch[..., ::-1] if self.bgr else batch
        return (ready * self.scale - self.mean) / self.std

    def check(self, channels: int) -> None:
        """Raises an error if it does not fit images with that number of channels."""
        for name, values in (("--scale", self.scale), ("--mean", self.mean), ("--std", self.std)):
            if len(values) not in (1, channels):
                raise InvalidInputError(
                    argument=name,
                    expected=f"must be one value or {channels}, one per channel",
                    received=f"{len(values)} values",
                )
        if self.bgr and channels != 3:
            raise InvalidInputError(
                argument="--bgr",
                expected="is for images of three channels",
                remedy="leave it out",
                received=f"a model of {channels}",
            )


def read_preprocess(
    scale: str | None, mean: str | None, std: str | None, bgr: bool, images: Path | None
) -> Preprocess | None:
    """The arithmetic on images that the options state; `None` without such options."""
    if scale is mean is std is None and not bgr:
        return None
    if images is None:
        raise InvalidInputError(
            expected="`--scale`, `--mean`, `--std` and `--bgr` are for images",
            remedy="name a folder with --images",
            received="no images",
        )
    divisor = _numbers(std, "--std") or (1.0,)
    if 0 in divisor:
        raise InvalidInputError(argument="--std", expected="must not be zero", received=repr(std))
    return Preprocess(
        scale=_numbers(scale, "--scale") or (1.0,),
        mean=_numbers(mean, "--mean") or (0.0,),
        std=divisor,
        bgr=bgr,
    )


def read_inputs(
    graph: Graph,
    measured: int,
    noise: str,
    images: Path | None,
    preprocess: Callable[[Any], Any] | None,
) -> Any:
    """A model's inputs: images for the input that is measured, noise for the others."""
    if images is None:
        return noise
    if len(graph.inputs) == 1 and noise != "normal":
        raise InvalidInputError(
            argument="--noise",
            expected="must be left out with --images, as no other input takes noise",
            received=repr(noise),
        )
    from keras_erf.inputs.images import ImageFolder

    if isinstance(preprocess, Preprocess):
        channels = graph.tensors[measured].shape[graph.channel_axes[measured]]
        preprocess.check(int(channels or 0))
    if not images.is_dir():
        raise InvalidInputError(
            argument="--images",
            expected="must be an existing folder of images",
            remedy="noise is named by --noise",
            received=repr(str(images)),
        )
    folder = ImageFolder(images, preprocess)
    if len(graph.inputs) == 1:
        return folder
    return {
        graph.tensors[number].name: folder if number == measured else noise
        for number in graph.inputs
    }


def check_inside(inside: bool, layers: Sequence[str] | None) -> None:
    """Raises if layers are named, and those inside of all are asked for as well."""
    if inside and layers:
        raise InvalidInputError(
            argument="--inside",
            expected="is for all layers: one inside of another is named by its path",
            remedy=f"Leave --inside out, as in --layer {layers[0].split('/')[0]}/NAME",
            received=f"--layer {layers[0]}",
        )


def check_writable(folder: Path) -> None:
    """Raises an error before the long work, not after it; creates nothing."""
    try:
        # The nearest existing folder: only there can writing be tested.
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise InvalidInputError(
            argument="--out",
            expected=f"must be a folder that can be written: {error.strerror}",
            received=repr(str(folder)),
        ) from error

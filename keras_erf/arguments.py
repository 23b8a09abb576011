"""The command line's texts, read as values; each mistake gets one clear line."""

from __future__ import annotations

import ast
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_erf.errors import InvalidInputError

__all__ = ["check_writable", "read_options", "read_preprocess", "read_size", "read_unit"]


def read_options(texts: Sequence[str] | None) -> dict[str, Any]:
    """`NAME=VALUE` texts as keyword arguments; what is no Python literal is a string."""
    options: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidInputError(f"`--option` must be NAME=VALUE. Received: {text!r}")
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


def _integers(text: str, name: str, expected: str) -> tuple[int, ...]:
    parts = re.split(r"[x,]", text.replace(" ", ""))
    if not all(part.isdecimal() for part in parts):
        raise InvalidInputError(f"`{name}` must be {expected}. Received: {text!r}")
    return tuple(int(part) for part in parts)


def _numbers(text: str | None, name: str) -> list[float] | None:
    """`0.5`, `1/255` or `.485,.456,.406`."""
    if text is None:
        return None
    numbers = []
    for part in text.split(","):
        above, slash, below = part.partition("/")
        try:
            numbers.append(float(above) / (float(below) if slash else 1.0))
        except (ValueError, ZeroDivisionError) as error:
            raise InvalidInputError(
                f"`{name}` must be numbers such as 0.5, 1/255 or .485,.456,.406. Received: {text!r}"
            ) from error
    return numbers


def read_preprocess(
    scale: str | None, mean: str | None, std: str | None, bgr: bool
) -> Callable[[Any], Any] | None:
    """`(pixels * scale - mean) / std`, channels in the order the model takes them."""
    factor, offset, divisor = (
        _numbers(text, name)
        for text, name in ((scale, "--scale"), (mean, "--mean"), (std, "--std"))
    )
    if not (factor or offset or divisor or bgr):
        return None
    if divisor and 0 in divisor:
        raise InvalidInputError(f"`--std` must not be zero. Received: {std!r}")

    def preprocess(batch: Any) -> Any:
        channels = batch.shape[-1]
        for name, values in (("--scale", factor), ("--mean", offset), ("--std", divisor)):
            if values and len(values) not in (1, channels):
                raise InvalidInputError(
                    f"`{name}` must be one value or {channels}, one per channel. "
                    f"Received: {len(values)} values"
                )
        ready = batch[..., ::-1] if bgr else batch
        return (ready * (factor or 1.0) - (offset or 0.0)) / (divisor or 1.0)

    return preprocess


def check_writable(folder: Path) -> None:
    """Fails before the long work, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InvalidInputError(
            f"`--out` must be a folder that can be written: {error.strerror}. "
            f"Received: {str(folder)!r}"
        ) from error

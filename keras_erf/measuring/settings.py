"""Which units are measured and how: the options that `probe` and similar functions share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from keras_erf.definitions import DEFINITIONS, Definition
from keras_erf.errors import InvalidInputError

if TYPE_CHECKING:
    from keras_erf.fields.input_size import Rules

__all__ = ["Location", "Settings", "check_whole"]


@dataclass(frozen=True)
class Location:
    """Which unit of a layer, over which input, at what size; see `probe`."""

    unit: tuple[int, ...] | Literal["center"] = "center"
    input: str | None = None
    input_shape: int | Sequence[int] | None = None
    grid: Sequence[int] | None = None
    rules: Rules | None = None


@dataclass(frozen=True)
class Settings:
    """How units are measured; see `probe`.

    Raises:
        InvalidInputError: An option has a value that is not allowed.
    """

    inputs: Any = field(default="normal", repr=False)
    samples: int | None = None
    tolerance: float | None = None
    definition: Definition = DEFINITIONS["luo2016"]
    batch_size: int | None = None
    seed: int = 0
    cone: bool = True
    training: bool = False
    calibrate: bool = False

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("samples", 1), ("batch_size", 1)):
            number = getattr(self, name)
            if number is not None or name == "seed":
                # NumPy's would not go into a file of JSON.
                object.__setattr__(self, name, check_whole(name, number, least))
        for name in ("cone", "training", "calibrate"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise InvalidInputError(
                    argument=name, expected="must be True or False", received=f"{name}={value!r}"
                )
        tolerance = self.tolerance
        real = isinstance(tolerance, (int, float)) and not isinstance(tolerance, bool)
        if tolerance is not None and not (real and 0 < tolerance < 1):
            raise InvalidInputError(
                argument="tolerance",
                expected="must be a share of the size between 0 and 1, such as 0.02",
                received=f"tolerance={tolerance!r}",
            )


def check_whole(name: str, number: Any, least: int) -> int:
    """A plain whole number; raises unless the argument is one that is large enough."""
    whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not whole or number < least:
        raise InvalidInputError(
            argument=name,
            expected=f"must be a whole number of at least {least}",
            received=f"{name}={number!r}",
        )
    return int(number)

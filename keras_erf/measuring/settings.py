"""How units are measured: the options that `probe` and similar functions share, checked once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_erf.definitions import DEFINITIONS, Definition
from keras_erf.errors import InvalidInputError

__all__ = ["Settings", "check_whole"]


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
                    f"`{name}` must be True or False. Received: {name}={value!r}"
                )
        tolerance = self.tolerance
        real = isinstance(tolerance, (int, float)) and not isinstance(tolerance, bool)
        if tolerance is not None and not (real and 0 < tolerance < 1):
            raise InvalidInputError(
                "`tolerance` must be a share of the size between 0 and 1, such as 0.02. "
                f"Received: tolerance={tolerance!r}"
            )


def check_whole(name: str, number: Any, least: int) -> int:
    """A plain whole number; raises unless the argument is one that is large enough."""
    whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not whole or number < least:
        raise InvalidInputError(
            f"`{name}` must be a whole number of at least {least}. Received: {name}={number!r}"
        )
    return int(number)

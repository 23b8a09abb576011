"""A file that was read, what the user asks for, and what both kinds of files share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_erf.errors import KerasERFError, ModelLoadError, reason_of
from keras_erf.files.kinds import NotAModelError
from keras_erf.files.vetting import CarriesCodeError
from keras_erf.legacy.failures import NotBuiltError
from keras_erf.legacy.keras3_lambdas import POINTWISE
from keras_erf.legacy.reading.sources import Source, StoredWeights
from keras_erf.legacy.weights.assigning import WeightsError, assign_weights
from keras_erf.legacy.weights.targets import Target

__all__ = ["Opened", "StandIn", "check_count"]

StandIn = str | Callable[..., Any]

# Files need not hold the states of random generators and recurrent layers.
MOST_UNSTORED = 1 << 24


@dataclass(frozen=True)
class Opened:
    """A file that was read, and what the user asks for.

    Args:
        source: The file.
        config: The model's configuration in it.
        weights: Weights from another file; `None` to take those of the source.
        weights_file: That other file.
        untrained: Whether the model keeps the weights that Keras draws.
        custom: Classes and functions by name.
        stand_ins: What stands for Lambda layers, by name.
        unsafe: Whether code in the file may run.
    """

    source: Source
    config: dict[str, Any]
    weights: StoredWeights | None
    weights_file: Path | None
    untrained: bool
    custom: dict[str, Any]
    stand_ins: dict[str, StandIn]
    unsafe: bool

    def stored_weights(self) -> StoredWeights:
        """The weights that the model gets."""
        return self.weights or self.source.stored_weights()

    def assign(self, targets: Sequence[Target]) -> None:
        """Sets the weights of a model that was built.

        Raises:
            ModelLoadError: Those of another file are not the model's.
            WeightsError: Those of its own file are not.
        """
        stored = self.stored_weights()
        try:
            assign_weights(targets, stored.weights, stored.backend or self.source.backend)
        except WeightsError as error:
            if self.weights is None:
                raise
            raise ModelLoadError(
                argument="weights",
                expected="must be weights of this architecture",
                received=f"weights={str(self.weights_file)!r}: {error}",
            ) from error

    @contextmanager
    def pointwise_errors(self) -> Iterator[None]:
        """Blames a Lambda taken as pointwise for what does not fit inside.

        Raises:
            ModelLoadError: A layer cannot be built, or weights do not fit.
        """
        try:
            yield
        except (TypeError, ValueError) as error:
            pointwise = [name for name, value in self.stand_ins.items() if value == POINTWISE]
            own = isinstance(error, KerasERFError) and not isinstance(error, NotBuiltError)
            if not pointwise or own or isinstance(error, CarriesCodeError | NotAModelError):
                raise
            raise ModelLoadError(
                argument="stand_ins",
                expected="cannot be 'pointwise' for a Lambda that changes the shape of its input",
                remedy="give its function with `--custom FILE.py` (in Python, by "
                "`custom_objects=`)",
                received=f"{', '.join(pointwise)}: {reason_of(error)[:200]}",
            ) from error


def check_count(weights: int | None, stored: int) -> None:
    """Raises `ValueError` if a model asks for many more weights than its file holds."""
    if weights is not None and weights > stored + MOST_UNSTORED:
        raise ValueError(f"it asks for {weights} weights, and holds {stored}")

"""Cases of the tables: one kind for all of them, and how their checks are run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import keras

from tests.perturbation import Draw, uniform

__all__ = ["Case", "Cases", "check_all", "model_of", "of"]

Shape = tuple[int, ...]
# What a cone holds of the input: the field cut at the input's edges; within the field, of a cut
# made on the way; the field, which is the entire input; all rows though the field has fewer, and
# its columns; all of it as the layer has to run whole.
Part = Literal["field", "within", "global", "rows", "whole"]


@dataclass(frozen=True, eq=False)
class Case:
    """A layer, an operation or a small network, and how to compare it with brute force.

    Args:
        build: Makes the outputs from the input tensors.
        shapes: Shapes of the inputs without the batch; the first is the analyzed one.
        draw: Of the inputs' values, for all or for each one.
        draws: Random inputs whose dependences are united.
        dtype: Precision of Keras; TensorFlow's 3-D pools have no double one.
        dtypes: Of the inputs, for all or for each one; `None` is that of Keras.
        tolerance: Share of the largest number that counts as rounding.
        status: Least sure view expected; only `"exact"` ones are compared exactly.
        channels: Channel axes of input and output, the batch counted.
        even: Whether every unit's field has the same size, a stride apart.
        part: What a cone holds of the analyzed input.
        sees: Pixels that a unit sees, by hand.
        batch: Batch size the operation insists on, or `None`.
        alone: Whether samples are run one at a time, as they make a difference to each other.
        gradient: Whether the gradient must show the same.
        eager: Whether to run `build` itself and not the operation in the graph
            (Keras 3.15 hands that of `conv_transpose` its padding in the wrong place).
        compiled: Whether to run by XLA, for what TensorFlow has no kernel on a CPU.
    """

    build: Callable[..., Any]
    shapes: tuple[Shape, ...]
    draw: Draw | tuple[Draw, ...] = uniform
    draws: int = 1
    dtype: str = "float64"
    dtypes: str | tuple[str, ...] | None = None
    tolerance: float = 1e-9
    status: str = "exact"
    channels: tuple[int, int] = (-1, -1)
    even: bool = True
    part: Part = "field"
    sees: Callable[..., Iterable[Any]] | None = None
    batch: int | None = None
    alone: bool = False
    gradient: bool = False
    eager: bool = False
    compiled: bool = False


class Cases(dict[str, Case]):
    """A table of cases, with what they have in common."""

    def __init__(self, **common: Any) -> None:
        self.common = common

    def add(self, name: str, build: Callable[..., Any], *shapes: Shape, **options: Any) -> None:
        """Adds a case under a name of its own."""
        assert name not in self, name
        given = {"shapes": shapes} if shapes else {}
        self[name] = Case(build, **{**self.common, **given, **options})

    def one_of_each(self) -> list[Case]:
        """A case for each layer or operation, which is the first word of a name behind `then-`."""
        words = {name.removeprefix("then-").partition("-")[0]: name for name in self}
        return [self[name] for name in words.values()]


def of(kind: str, *values: Any, **options: Any) -> Callable[..., Any]:
    """A network of one layer, by the name of its class."""
    return lambda *tensors: getattr(keras.layers, kind)(*values, **options)(*tensors)


def model_of(case: Case) -> keras.Model:
    """The case as a model."""
    each = case.dtypes if isinstance(case.dtypes, tuple) else (case.dtypes,) * len(case.shapes)
    inputs = [
        keras.Input(shape, case.batch, dtype=dtype)
        for shape, dtype in zip(case.shapes, each, strict=True)
    ]
    return keras.Model(inputs, case.build(*inputs))


def check_all(checks: Iterable[Callable[[Any], None]], solved: Any) -> None:
    """Runs all checks of one solve, then raises with the names of those that failed."""
    failed: dict[str, Exception] = {}
    for check in checks:
        try:
            check(solved)
        except Exception as error:
            failed[check.__name__] = error
    if failed:
        first = next(iter(failed.values()))
        details = "\n".join(f"{name}: {error}" for name, error in failed.items())
        raise AssertionError(f"{', '.join(failed)} failed\n{details}") from first

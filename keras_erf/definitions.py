"""What "effective receptive field" means: the definitions in use, by name.

A definition fixes what is seeded at the unit, how the gradient of one sample
becomes a map, and how maps are averaged. The choice matters: for wide random
networks the map of |g| is a Gaussian sqrt(2) wider than the map of g^2.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from keras_erf.errors import InvalidInputError

__all__ = ["DEFINITIONS", "Definition", "get_definition"]


@dataclass(frozen=True)
class Definition:
    """How the gradient of a unit becomes a map over the input.

    For a sample with output vector `y` at the unit (one entry per channel) and
    gradient `g = d seed(y) / d input`:

        map = after(reduce over input channels of measure(g))

    and the result is the mean of the maps over all samples.

    Args:
        name: Its name, stated in every result and picture.
        seed: What is differentiated: the `"sum"` or `"mean"` of the channels, or
            the sum of their `"relu"`.
        measure: Of each gradient entry: `"abs"`, `"square"`, `"relu"` or `"signed"`.
        channels: How input channels are combined: `"mean"` or `"sum"`.
        after: `"relu"` clamps the sample's map at zero afterwards; `"none"` does not.
        normalized: Whether the final map is divided by its sum.
        display: Scale of the published pictures: `"linear"` or `"log10(x + 1)"`.
        source: Where it is from.

    Raises:
        InvalidInputError: An option has none of the values above.
    """

    name: str
    seed: Literal["sum", "mean", "relu"] = "sum"
    measure: Literal["abs", "square", "relu", "signed"] = "abs"
    channels: Literal["mean", "sum"] = "mean"
    after: Literal["none", "relu"] = "none"
    normalized: bool = False
    display: Literal["linear", "log10(x + 1)"] = "linear"
    source: str = ""

    def __post_init__(self) -> None:
        for option, hint in get_type_hints(type(self)).items():
            choices, value = get_args(hint), getattr(self, option)
            if choices and value not in choices:
                raise InvalidInputError(
                    argument=option,
                    expected=f"of a definition must be one of {', '.join(map(repr, choices))}",
                    received=f"{option}={value!r}",
                )


LUO = "Luo, Li, Urtasun and Zemel 2016, arXiv 1701.04128"

DEFINITIONS: dict[str, Definition] = {
    definition.name: definition
    for definition in (
        Definition("luo2016", source=LUO),
        Definition("luo2016-squared", measure="square", source=LUO),
        Definition("luo2016-signed", measure="signed", source=LUO),
        Definition(
            "replknet",
            seed="relu",
            measure="relu",
            channels="sum",
            display="log10(x + 1)",
            source="Ding et al. 2022, arXiv 2203.06717; DingXiaoH/RepLKNet-pytorch, erf/",
        ),
        Definition(
            "openerf",
            seed="mean",
            measure="signed",
            after="relu",
            normalized=True,
            source="openerf on PyPI",
        ),
        Definition("raghu2021", source="Raghu et al. 2021, arXiv 2108.08810, section 4"),
    )
}


def get_definition(definition: str | Definition) -> Definition:
    """The definition of that name, or the one given.

    Raises:
        InvalidInputError: There is none of that name, or the one given has that of another.
    """
    if isinstance(definition, Definition):
        if DEFINITIONS.get(definition.name, definition) != definition:
            raise InvalidInputError(
                argument="definition",
                expected=(
                    f"must have a name of its own: {definition.name!r} is that of other options"
                ),
                received=f"definition={definition!r}",
            )
        return definition
    if isinstance(definition, str) and definition in DEFINITIONS:
        return DEFINITIONS[definition]
    near = difflib.get_close_matches(str(definition).lower(), DEFINITIONS, n=1)
    raise InvalidInputError(
        argument="definition",
        expected=f"must be a `Definition` or one of {', '.join(DEFINITIONS)}",
        remedy=f"Did you mean {near[0]!r}?" if near else None,
        received=f"definition={definition!r}",
    )

"""Projective fields: which units of a layer see a given pixel of the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_erf.algebra.geometry import Box, bounding_box, index_within
from keras_erf.dependence.measured import MeasuredView
from keras_erf.errors import InvalidInputError
from keras_erf.fields.supports import seeing_units
from keras_erf.fields.theoretical import Rules, locate
from keras_erf.types import KerasTensor, Layer, Model

__all__ = ["ProjectiveField", "projective_field"]


@dataclass(frozen=True)
class ProjectiveField:
    """The units of a layer that see one pixel of the input.

    Args:
        layer: Name of the layer.
        input: Name of the input.
        pixel: Index of the pixel, one entry per spatial axis of the input.
        mask: Boolean array over the layer's units, by the indices `receptive_field` names
            them by (tokens by row and column): those that see the pixel.
        status: How sure that is, as in `ReceptiveField`; of a `"bound"`, no
            other unit sees the pixel.
    """

    layer: str
    input: str
    pixel: tuple[int, ...]
    mask: np.ndarray
    status: str

    @property
    def box(self) -> Box:
        """Smallest box of those units, `(start, stop)` per axis; `(0, 0)` if there are none."""
        return bounding_box(self.mask)


def projective_field(
    model: Model,
    layer: str | Layer | KerasTensor | None = None,
    *,
    pixel: Sequence[int],
    input: str | None = None,
    input_shape: int | Sequence[int] | None = None,
    through_global: bool = True,
    grid: Sequence[int] | None = None,
    rules: Rules | None = None,
) -> ProjectiveField:
    """Which units of a layer see a pixel of the input: the receptive field read backwards.

    Examples:
        >>> model = keras_erf.zoo.build("cifar_resnet14")
        >>> keras_erf.projective_field(model, "stage2_block2_out", pixel=(0, 0)).box
        ((0, 7), (0, 7))

    Args:
        model: A Keras model: Functional, Sequential or subclassed.
        layer: As in `receptive_field`.
        pixel: Index of the pixel, one entry per spatial axis of the input.
        input: As in `receptive_field`.
        input_shape: As in `receptive_field`.
        through_global: As in `receptive_field`.
        grid: As in `receptive_field`.
        rules: As in `receptive_field`.

    Returns:
        A `ProjectiveField`.

    Raises:
        InvalidInputError: An argument does not fit the model.
        UnknownLayerError: `layer` is not in the model.
        UnsupportedLayerError: No rule knows a layer on the path, and it cannot
            be measured.
    """
    target = locate(
        model,
        layer,
        input=input,
        input_shape=input_shape,
        through_global=through_global,
        grid=grid,
        rules=rules,
    )
    field = target.receptive_field
    index = index_within(pixel, field.input_size)
    if index is None:
        raise InvalidInputError(
            argument="pixel",
            expected="must be an index for each axis, inside the input, whose spatial "
            f"shape is {field.input_size}",
            received=f"pixel={pixel!r}",
        )
    tracing = target.tracing
    mask = seeing_units(tracing, target.tensor, index, through_global=through_global)
    if target.grid is not None:
        mask = mask[target.grid.position(tuple(np.indices(target.grid.shape)))]
    # Of a measured layer that sees no box it is not known forwards which units see a pixel.
    loose = any(
        isinstance(view, MeasuredView)
        for node in tracing.ancestors(target.tensor)
        if any(map(tracing.is_reached, node.inputs))
        for view in tracing.views(node, through_global=through_global)
    )
    status = "bound" if loose else field.status
    return ProjectiveField(field.layer, field.input, index, mask, status)

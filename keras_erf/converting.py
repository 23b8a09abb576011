"""Writes model files of any age as archives of Keras 3."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_erf.custom_code import NO_OPTIONS, FileOptions
from keras_erf.errors import ModelLoadError
from keras_erf.files.writing import written_whole
from keras_erf.legacy.keras3_lambdas import POINTWISE
from keras_erf.loading import load_model
from keras_erf.loading.opened import StandIn
from keras_erf.quiet import quietly

__all__ = ["convert_model"]

# Of a converted file's predictions, as a share of their range.
MOST_DIFFERENCE = 1e-5
# What the check takes for a size that the model leaves open.
FREE_SIZE = 64


def convert_model(
    old: str | os.PathLike[str],
    new: str | os.PathLike[str],
    *,
    weights: str | None = None,
    opening: FileOptions = NO_OPTIONS,
) -> dict[str, Any]:
    """Writes a model file of any age as an archive of Keras 3, whole or not at all.

    The file is read again, and its predictions are compared with those of the translated model.

    Args:
        old: The file or folder.
        new: The file to write, `.keras`.
        weights: As for `load_model`.
        opening: How the file is opened.

    Returns:
        The names of both, the number of weights, the largest difference between predictions as a
        share of their range, and `notes` on what cannot be known.

    Raises:
        ModelLoadError: The old file cannot be opened, or the new one predicts something else.
        InvalidInputError: The new file cannot be written.
    """
    model = load_model(
        old,
        weights=weights,
        custom_objects=opening.custom_objects,
        stand_ins=opening.stand_ins,
        unsafe=opening.unsafe,
    )
    with written_whole(new) as temporary:
        with quietly():
            model.save(temporary)
        again = load_model(
            temporary,
            custom_objects={**opening.custom_objects, **_functions(opening.stand_ins)},
            unsafe=opening.unsafe,
        )
        difference = _difference(model, again)
        if difference is not None and difference > MOST_DIFFERENCE:
            raise ModelLoadError(
                argument="path",
                expected="is translated, but cannot be written so that Keras 3 reads it back: "
                f"predictions differ by {difference:.1g} of their range",
                remedy="use the old file directly",
                received=repr(str(old)),
            )
    return {
        "old": str(old),
        "new": str(new),
        "weights": int(model.count_params()),
        "difference": difference,
        "notes": [*_notes(difference, opening.stand_ins)],
    }


def _functions(stand_ins: Mapping[str, StandIn]) -> dict[str, Any]:
    return {name: value for name, value in stand_ins.items() if callable(value)}


def _difference(model: Any, again: Any) -> float | None:
    """The largest difference of predictions as a share of their range; `None` if neither runs."""
    import keras

    random = np.random.default_rng(0)
    values = [
        random.integers(0, 2, shape) if "int" in tensor.dtype else random.normal(size=shape)
        for tensor in model.inputs
        for shape in [[size or FREE_SIZE for size in (1, *tensor.shape[1:])]]
    ]
    arrays = [
        value.astype(tensor.dtype) for value, tensor in zip(values, model.inputs, strict=True)
    ]
    call = arrays if len(arrays) > 1 else arrays[0]
    try:
        with quietly():
            both = [
                [np.asarray(one) for one in keras.tree.flatten(each(call, training=False))]
                for each in (model, again)
            ]
    except Exception:  # The size may not suit the layers, or the layers this machine.
        return None
    return max(_share(one, other) for one, other in zip(*both, strict=True))


def _share(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of two arrays as a share of the range of the first.

    Infinity if they are not finite at the same places.
    """
    finite = np.isfinite(one)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
        return math.inf
    if not finite.any():
        return 0.0
    one, other = one[finite], other[finite]
    return float(np.max(np.abs(one - other)) / max(np.ptp(one), 1e-12))


def _notes(difference: float | None, stand_ins: Mapping[str, StandIn]) -> Iterator[str]:
    if difference is None:
        yield "the model was not run: inputs of its own are needed"
    for name, value in stand_ins.items():
        if value == POINTWISE:
            yield f"{name} passes its input on unchanged; its own function is not in the new file"
    yield "the original was not run: compare with its predictions if there are any"

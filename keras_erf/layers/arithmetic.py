"""Sums, products and maxima of tensors, entry by entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from keras import layers

from keras_erf.algebra.boxes import entire
from keras_erf.graph import Argument
from keras_erf.layers.conditions import in_all_tensors, in_first_operand, in_one_tensor
from keras_erf.layers.elementwise import on_entries
from keras_erf.layers.parts import PartSite, Restricted, called_on_part, constant_shapes
from keras_erf.layers.recipes import Recipe, SquareSite
from keras_erf.signals.profiles import blended
from keras_erf.signals.signal_moments import Signal, mixed, product, summed

__all__ = ["ENTRIES", "by_number", "shifted_signal"]


def added_on_part(site: PartSite) -> Restricted | None:
    """Sums; whole where an operand, of a part or of the whole, would be taken for another axis's.

    On TensorFlow, Keras adds what is longer than 1 along one axis only as the biases of the last
    or first axis that has as many indices, wherever its own axis is.
    """
    found = called_on_part(site)
    if found is None:
        return None
    constants = list(constant_shapes(site))
    for parts in (tuple(map(entire, site.call.inputs)), found.inputs):
        shapes = [tuple(stop - start for start, stop in part) for part in parts] + constants
        made = np.broadcast_shapes(*shapes)
        if any(_is_mistaken(one, other) for one in (*shapes, made) for other in shapes):
            return None
    return found


def _is_mistaken(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether, added to `one`, `other` is taken for the biases of another axis than its own."""
    long = [axis - len(other) for axis, size in enumerate(other) if size > 1]
    if len(long) != 1 or not one:
        return False
    (axis,) = long
    taken = [end for end in (-1, -len(one)) if one[end] == other[axis]]
    return taken[:1] not in ([], [axis])


def added_squares(site: SquareSite) -> Recipe | None:
    """Sums and differences of tensors that are independent: their squares add."""
    if not _is_even(site):
        return None
    signals, number = list(site.signals), None
    if len(signals) == 1:
        number = _number(site)
    signs: tuple[int, ...] = ()
    if site.node.kind in (layers.Subtract, "ops.Subtract"):
        signs = (1, -1)
        args, kwargs = site.call.arguments
        first = next(iter((*args, *kwargs.values())))
        if number is not None and isinstance(first, Argument):
            number = -number
        else:
            signals[-1] = signals[-1].negated()
    made = summed(signals)
    if number is not None and number.size == 1:
        made = shifted_signal(made, float(number.reshape(())))
    return Recipe(None, (made,), common=1.0, signs=signs, entrywise=True)


def shifted_signal(signal: Signal, shift: float) -> Signal:
    """The signal with a number added to it."""
    profile = blended([signal.profile, None], [signal.second, shift**2])
    return Signal(signal.values + shift, profile=profile)


def averaged_squares(site: SquareSite) -> Recipe | None:
    """The mean of some tensors."""
    if not _is_even(site):
        return None
    share = 1 / len(site.signals) ** 2
    made, before = summed(site.signals).scaled(share), (share,) * len(site.signals)
    return Recipe(None, (made,), before=before, common=1.0, entrywise=True)


def largest_squares(site: SquareSite) -> Recipe | None:
    """The larger, or smaller, of some tensors: each is it as often."""
    if not _is_even(site):
        return None
    share = 1 / len(site.signals)
    made = replace(mixed(site.signals, [1] * len(site.signals)), sizes=())
    count = len(site.signals)
    return Recipe(
        None,
        (made,),
        before=(share,) * count,
        common=1.0,
        common_before=(share**2,) * count,
        certainty="approximate",
    )


def multiplied_squares(site: SquareSite) -> Recipe | None:
    """Products: of a tensor with numbers, or of two independent ones (a gate and what it gates)."""
    if len(site.signals) == 1:
        number = _number(site)
        if number is None:
            return None
        return by_number(site, number)
    if len(site.signals) > 2 or not _is_even(site):
        return None
    one, other = site.signals
    made = product(one, other)
    # The slope by one factor is the other one.
    before = tuple(
        factor.at(site.channels) if shape == site.call.output else factor.second
        for factor, shape in zip((other, one), site.call.inputs, strict=True)
    )
    # Of two channels, gates are independent.
    common = (float(other.values.mean()) ** 2, float(one.values.mean()) ** 2)
    count = site.call.output[site.channels]
    ones = [shape[site.channels : site.channels + 1] == (1,) for shape in site.call.inputs]
    # A gate for all channels gets the sum over them, in step where the other factor has a mean.
    stretched = tuple(
        1 + (count - 1) * float(factor.values.mean()) ** 2 / factor.second if single else 1.0
        for factor, single in zip((other, one), ones, strict=True)
    )
    return Recipe(
        None,
        (made,),
        before=before,
        common=1.0,
        common_before=common,
        stretched=stretched if count > 1 and any(ones) else (),
        certainty="approximate",
    )


def divided_squares(site: SquareSite) -> Recipe | None:
    """Quotients by numbers."""
    number = _number(site)
    first = site.call.arguments[0][:1]
    if number is None or not (first and isinstance(first[0], Argument)):
        return None
    return by_number(site, 1 / number)


def _is_even(site: SquareSite) -> bool:
    """Whether no tensor is stretched that would have to be summed up in another way.

    Stretched over channels, of which narrow there is one; or over the space of a
    tensor that is not there, since the analysed input does not lead to it.
    """
    shapes, output = site.call.inputs, site.call.output
    if len(site.reached) < len(shapes):
        return all(shapes[place] == output for place in site.reached)
    size = output[site.channels]
    ranks = all(len(shape) == len(output) for shape in shapes)
    return not site.narrow or (ranks and all(shape[site.channels] == size for shape in shapes))


def by_number(site: SquareSite, number: np.ndarray) -> Recipe | None:
    """Products with a number, or with an array of numbers."""
    made = site.signal.scaled(float(np.square(number).mean()))
    if number.mean() < 0:
        made = made.negated()
    shape = (1,) * (len(site.call.output) - number.ndim) + number.shape
    if site.narrow and number.size not in (1, shape[site.channels]):
        return None
    # Narrow, one number for each channel: in the mean, of channels that are alike.
    after, common = site.gains(number)
    return Recipe(None, (made,), after=after, common=common, entrywise=True)


def _number(site: SquareSite) -> np.ndarray | None:
    """The number, or array of numbers, among the arguments of an operation of two."""
    args, kwargs = site.call.arguments
    given = [one for one in (*args, *kwargs.values()) if not isinstance(one, Argument)]
    if len(given) != 1:
        return None
    number = np.asarray(given[0], np.float64)
    # Stretched over the batch it would differ from sample to sample.
    return number if number.ndim <= len(site.call.output) else None


ENTRIES = (
    on_entries(
        layers="Add",
        operations="Add",
        part=added_on_part,
        squares=added_squares,
        affine=in_all_tensors,
        keeps_known=True,
        sums=True,
    ),
    on_entries(
        layers="Subtract",
        operations="Subtract",
        squares=added_squares,
        affine=in_all_tensors,
        keeps_known=True,
        sums=True,
    ),
    on_entries(
        layers="Average",
        part=added_on_part,
        squares=averaged_squares,
        affine=in_all_tensors,
        sums=True,
    ),
    on_entries(layers="Maximum Minimum", operations="Maximum", squares=largest_squares),
    on_entries(operations="Minimum", squares=largest_squares, keeps_known=True),
    on_entries(layers="Multiply", squares=multiplied_squares, keeps_known=True),
    on_entries(
        operations="Multiply", squares=multiplied_squares, affine=in_one_tensor, keeps_known=True
    ),
    on_entries(
        operations="Divide TrueDivide",
        squares=divided_squares,
        affine=in_first_operand,
        keeps_known=True,
    ),
)

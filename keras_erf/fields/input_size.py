"""The size of a model's inputs: what is asked for, the model's own, or one large enough.

Which layer is the last one with a map depends on the size, so it is found here.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from keras_erf.algebra.intervals import Line
from keras_erf.dependence.call import Rule
from keras_erf.errors import InvalidInputError, KerasERFError
from keras_erf.fields.tracing import Tracing
from keras_erf.fields.units import UnitTracer
from keras_erf.graph import Graph

__all__ = ["Rules", "default_layer", "is_map", "maps", "sized"]

Rules = Mapping[type, Rule]

# Undefined sizes become multiples of the step, at least the first one; what sees all of its input
# whatever its size gets the next. Where other axes have a definite size, as those of the frames of
# a spectrum, small ones do.
FIRST_SIZE, SIZE_STEP, WHOLE_SIZE, MAXIMUM_TRIALS, FRAME_STEP = 64, 32, 256, 12, 8
# Sizes at which every layer should have a map, for finding the last one.
AMPLE_SIZES = (WHOLE_SIZE, 1024, 8192)


def is_map(tracing: Tracing, tensor: int) -> bool:
    """Whether a tensor depends on the input and has more than one spatial position."""
    return tracing.is_reached(tensor) and math.prod(tracing.spatial_shape(tensor)) > 1


def maps(tracing: Tracing) -> tuple[list[int], list[tuple[str, str]]]:
    """The tensors with more than one position whose field is known, in graph order.

    Also the layers for which it is unknown, and why.
    """
    tensors, skipped = [], []
    for node in tracing.graph.nodes:
        for tensor in node.outputs:
            try:
                if is_map(tracing, tensor):
                    tensors.append(tensor)
            except KerasERFError as error:
                skipped.append((node.name, str(error)))
    return tensors, skipped


def _last_map(tracing: Tracing) -> int:
    """The last tensor with more than one position; raises if there is none or none is known."""
    reason = ""
    for node in reversed(tracing.graph.nodes):
        for tensor in node.outputs:
            try:
                if is_map(tracing, tensor):
                    return tensor
            except InvalidInputError as error:
                stated = not _hangs_on_open_input(tracing, tensor)
                if stated and tracing.shapes.is_open(tensor) and tracing.is_reached(tensor):
                    raise
                reason = reason or f" ({error})"
    raise InvalidInputError(
        argument="layer",
        expected="must be a layer with more than one position and a known field; the model has "
        f"none{reason}",
        received=f"layer=None for model {tracing.graph.name!r}",
    )


def _hangs_on_open_input(tracing: Tracing, tensor: int) -> bool:
    """Whether an input of undefined size leads to a tensor: token ids, which have no map."""
    graph = tracing.graph
    used = {number for node in graph.ancestors(tensor) for number in node.inputs}
    return any(None in graph.tensors[number].shape for number in used.intersection(graph.inputs))


def default_layer(
    graph: Graph, tracing: Tracing, input_shape: int | Sequence[int] | None, rules: Rules | None
) -> int:
    """The layer that `None` stands for: the last one with a map.

    It is the same one at every size: a small input leaves the last ones a single
    position.

    Args:
        graph: The model's graph, at its own size.
        tracing: Its fields at the current size.
        input_shape: The size asked for.
        rules: The user's own rules.

    Raises:
        UnsupportedLayerError: It may lie behind a layer that no rule knows.
        InvalidInputError: There is none.
    """
    if input_shape is None:
        return _last_map(tracing)
    own, _ = _ample(graph, tracing.input, rules)
    return _last_map(tracing if own.graph.failures else own)


def sized(
    graph: Graph,
    wanted: int | None,
    input: int,
    input_shape: int | Sequence[int] | None,
    through_global: bool,
    rules: Rules | None,
    *,
    assigned: bool = True,
) -> Tracing:
    """The graph at `input_shape`; undefined sizes are made large enough for the field."""

    def traced(graph: Graph) -> Tracing:
        return Tracing(graph, input, rules, assigned=assigned)

    if input_shape is not None:
        return traced(graph.resized(_asked_sizes(graph, input, input_shape)))
    if all(None not in graph.tensors[number].shape for number in graph.inputs):
        defined = all(None not in tensor.shape for tensor in graph.tensors)
        return traced(graph if defined else graph.resized({}))
    tracing, first = _ample(graph, input, rules)
    tensor = _last_map(tracing) if wanted is None else wanted
    open_axes = [axis for axis, size in enumerate(_spatial_shape(graph, input)) if size is None]
    # Of the analysed input's open axes; `None` stands for those of other inputs.
    sizes: dict[int | None, int] = dict.fromkeys((*open_axes, None), 0)
    for _ in range(MAXIMUM_TRIALS):
        if tensor in tracing.graph.failures or (wanted is None and not is_map(tracing, tensor)):
            sizes = {axis: max(2 * size, FIRST_SIZE) for axis, size in sizes.items()}
        else:
            if not (tracing.is_reached(tensor) and tracing.spatial_axes(tensor)):
                # It has no field; the caller raises the error.
                break
            tracer = UnitTracer(tracing, tensor, through_global)
            enough = _enough(tracer, sizes, first)
            if enough == {axis: size or first for axis, size in sizes.items()}:
                break
            sizes = enough
        tracing = traced(graph.resized(_filled(graph, input, sizes)))
    return tracing


def _enough(
    tracer: UnitTracer, sizes: Mapping[int | None, int], first: int
) -> dict[int | None, int]:
    """Sizes of open axes that hold the centre unit's field.

    Args:
        tracer: Of the tensor, at the current sizes.
        sizes: Those of the open axes; 0 is `first`, at which nothing was asked for.
        first: The size of open axes at first.
    """
    box, strides = tracer.box(tracer.center_unit()), tracer.strides()
    image = len(sizes) > len(box)
    enough: dict[int | None, int] = {}
    for axis, size in sizes.items():
        if axis is None:
            continue
        (start, stop), extent = box[axis], tracer.extents[axis]
        stride = math.ceil(abs(strides[axis] or Fraction(1)))
        if size and start >= 0 and stop <= extent:
            enough[axis] = size
        elif (start, stop) == (0, extent):
            # What gathers the input sees exactly all of it, at any size.
            enough[axis] = WHOLE_SIZE
        else:
            step = SIZE_STEP if image else max(FRAME_STEP, stride)
            wide = math.ceil((stop - start + 2 * stride) / step) * step
            enough[axis] = max(size + step, wide, FIRST_SIZE if image else 0)
    enough[None] = max(enough.values(), default=FIRST_SIZE)
    return enough


def _asked_sizes(
    graph: Graph, input: int, input_shape: int | Sequence[int]
) -> dict[int, tuple[int, ...]]:
    """Spatial shapes of the inputs where the analysed one has `input_shape`.

    Inputs of the same rank go along: those of undefined size get the same one,
    those of another size keep their proportion to the analysed input.
    """
    own = _spatial_shape(graph, input)
    listed = isinstance(input_shape, (Sequence, np.ndarray))
    sizes_given: tuple[Any, ...] = tuple(input_shape) if listed else (input_shape,) * len(own)  # type: ignore[arg-type]
    if len(sizes_given) != len(own) or not all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0 for n in sizes_given
    ):
        raise InvalidInputError(
            argument="input_shape",
            expected=f"must give {len(own)} positive spatial sizes, without batch and channels",
            received=f"input_shape={input_shape!r}",
        )
    wanted = tuple(int(n) for n in sizes_given)
    shapes = {}
    for number in graph.inputs:
        shape = _spatial_shape(graph, number)
        if len(shape) != len(own):
            continue
        sizes = []
        for size, before, after in zip(shape, own, wanted, strict=True):
            scaled = Fraction(after) if None in (size, before) else Fraction(size * after, before)
            if scaled.denominator != 1:
                raise InvalidInputError(
                    argument="input_shape",
                    expected="must keep the inputs' proportions in whole pixels: input "
                    f"{graph.tensors[number].name!r} has {size} pixels where the "
                    f"analysed one has {before}",
                    received=f"input_shape={input_shape!r}",
                )
            sizes.append(int(scaled))
        shapes[number] = tuple(sizes)
    return shapes


def _spatial_shape(graph: Graph, number: int) -> tuple[Any, ...]:
    """Spatial sizes of an input, `None` where undefined."""
    return tuple(graph.tensors[number].shape[axis] for axis in graph.spatial_axes(number))


def _ample(graph: Graph, input: int, rules: Rules | None) -> tuple[Tracing, int]:
    """The graph with undefined sizes so large that no layer is lost, and what they became."""
    for size in AMPLE_SIZES:
        tracing = Tracing(graph.resized(_filled(graph, input, {None: size})), input, rules)
        if not tracing.graph.failures and not _shrunk(tracing):
            break
    return tracing, size


def _shrunk(tracing: Tracing) -> bool:
    """Whether a map has a single position left that would move if there were more."""
    for node in tracing.graph.nodes:
        for tensor in node.outputs:
            with contextlib.suppress(KerasERFError):
                if not tracing.is_reached(tensor) or math.prod(tracing.spatial_shape(tensor)) != 1:
                    continue
                known = tracing.known(tensor, through_global=True)
                if any(
                    isinstance(reach, Line) and reach.axis is not None
                    for reach in known.reaches or ()
                ):
                    return True
    return False


def _filled(
    graph: Graph, input: int, sizes: Mapping[int | None, int]
) -> dict[int, tuple[int, ...]]:
    """Spatial shapes of the inputs, with `sizes` where undefined: see `sized`."""
    analysed = _spatial_shape(graph, input)
    shapes = {}
    for number in graph.inputs:
        shape = _spatial_shape(graph, number)
        alike = len(shape) == len(analysed)
        shapes[number] = tuple(
            sizes.get(axis if alike else None, sizes[None]) if size is None else size
            for axis, size in enumerate(shape)
        )
    return shapes

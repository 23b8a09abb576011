"""Random functional graphs: a description in plain data, and the Keras model of it.

A description is a tuple of steps, each the name of a layer (or of one of the
`PARTS` below) with its options; the strategy draws only steps that fit, so what
a failing example prints is what was built. Everything is made so that brute
force can be trusted: weights, biases and values are positive, factors are kept
away from zero, and what picks a maximum has an average for its stand-in.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from unittest import mock

import keras
import numpy as np
from hypothesis import strategies as st
from keras import layers, ops

__all__ = [
    "Description",
    "Step",
    "build",
    "descriptions",
    "enlarged",
    "node_count",
    "normalises_equals",
    "weigh",
]

Shape = tuple[int, ...]
Step = tuple[str, dict[str, Any]]
Steps = tuple[Step, ...]

# No axis is longer, and no tensor has more elements.
LONGEST, LARGEST = 14, 700
# Draws of one step until it fits.
TRIALS = 4
# Steps that divide by statistics, or saturate, need shorter axes.
LONGEST_SEQUENCE = 10
# TensorFlow resizes in single precision: a weight of zero comes out near 1e-7.
RESIZED_TOLERANCE = 1e-6
# Share of values in double precision that rounding may make between equal ones.
SAME = 1e-12


@dataclass(frozen=True)
class Description:
    """A functional graph in plain data.

    Args:
        inputs: Shapes of the inputs without the batch, channels last.
        steps: What the first input goes through; the others join on the way.
        analysed: Number of the input whose pixels are asked for.
        tolerance: Share of the largest gradient that is rounding.
    """

    inputs: tuple[Shape, ...]
    steps: Steps
    analysed: int = 0
    tolerance: float = 0.0


# --- Building ------------------------------------------------------------------------------------


class _Builder:
    """Makes the layers of one graph.

    Args:
        inputs: The symbolic inputs.
        smooth: Whether what picks a maximum is an average (a sum) of the same pixels.
    """

    def __init__(self, inputs: Sequence[Any], *, smooth: bool) -> None:
        self.inputs = inputs
        self.smooth = smooth

    def layer(self, step: Step) -> layers.Layer:
        return make_layer(step, smooth=self.smooth)

    def apply(self, step: Step, x: Any) -> Any:
        kind, options = step
        if kind in PARTS:
            return PARTS[kind](self, x, **options)
        return self.layer(step)(x)

    def run(self, steps: Steps, x: Any) -> Any:
        for step in steps:
            x = self.apply(step, x)
        return x

    def meet(self, ends: Sequence[Any], how: str, axis: int, before: bool) -> Any:
        """The ends put together: cut to a common size, each at another side.

        Where they need as many channels as the first, a projection gives them that.
        """
        if (how, axis) != ("Concatenate", -1):
            channels = ends[0].shape[-1]
            ends = [
                end
                if end.shape[-1] == channels
                else self.layer(("Dense", {"units": channels}))(end)
                for end in ends
            ]
        if how == "Concatenate" and axis != -1:
            sizes = [list(end.shape[1:-1]) for end in ends]
            for other in set(range(len(sizes[0]))) - {axis - 1}:
                for own in sizes:
                    own[other] = min(end.shape[other + 1] for end in ends)
        else:
            sizes = [[min(pair) for pair in zip(*(end.shape[1:-1] for end in ends), strict=True)]]
            sizes *= len(ends)
        ends = [
            cut(end, size, before=before != bool(place))
            for place, (end, size) in enumerate(zip(ends, sizes, strict=True))
        ]
        if how == "Multiply":
            ends = [off_zero(end) for end in ends]
        if how == "Maximum" and self.smooth:
            how = "Add"
        options = {"axis": axis} if how == "Concatenate" else {}
        return getattr(layers, how)(**options)(ends)

    def model(self, shape: Shape, steps: Steps, kind: str) -> keras.Model:
        """A nested model of `steps`."""
        if kind == "Sequential":
            return keras.Sequential([keras.Input(shape), *map(self.layer, steps)])
        start = keras.Input(shape)
        return keras.Model(start, self.run(steps, start))


# What draws random numbers when a layer is made; `weigh` gives the weights.
_NEUTRAL = {
    "kernel_initializer": "zeros",
    "depthwise_initializer": "zeros",
    "pointwise_initializer": "zeros",
}


@cache
def _neutral(kind: str) -> dict[str, Any]:
    known = inspect.signature(getattr(layers, kind).__init__).parameters
    return {name: value for name, value in _NEUTRAL.items() if name in known}


def make_layer(step: Step, *, smooth: bool = False) -> layers.Layer:
    """The layer of a step; wrappers have theirs among their options."""
    kind, options = step
    options = {**_neutral(kind), **options}
    if kind in ("SimpleRNN", "LSTM"):
        # A tanh is so flat far out that its gradient is zero in double precision.
        options["activation"] = "softsign"
    if smooth:
        kind = kind.replace("Max", "Average")
    if kind.endswith("Pooling3D"):
        # TensorFlow's 3-D pools have no kernel in double precision.
        options["dtype"] = "float32"
    if "layer" in options:
        return getattr(layers, kind)(make_layer(options.pop("layer"), smooth=smooth), **options)
    return getattr(layers, kind)(**options)


def cut(x: Any, sizes: Sequence[int], *, before: bool) -> Any:
    """`x` cropped to `sizes` at one end, so that what meets need not be aligned."""
    extra = [own - size for own, size in zip(x.shape[1:-1], sizes, strict=True)]
    if not any(extra):
        return x
    pairs = tuple((more, 0) if before else (0, more) for more in extra)
    rank = len(pairs)
    return getattr(layers, f"Cropping{rank}D")(pairs if rank > 1 else pairs[0])(x)


def off_zero(x: Any) -> Any:
    """`x` and a little more: a factor that is zero leaves the other one without a gradient."""
    return layers.Rescaling(1.0, offset=0.5)(x)


def stated(x: Any) -> Any:
    """`x` behind a layer that changes nothing, but says that channels come last."""
    rank = len(x.shape) - 2
    return layers.Cropping3D(0)(x) if rank == 3 else getattr(layers, f"AveragePooling{rank}D")(1)(x)


def _branches(
    builder: _Builder,
    x: Any,
    first: Steps,
    second: Steps,
    meet: str,
    axis: int,
    before: bool,
    nested: bool = False,
) -> Any:
    start = keras.Input(x.shape[1:]) if nested else x
    ends = [builder.run(first, start), builder.run(second, start)]
    if nested:
        # A model of two outputs.
        ends = keras.Model(start, ends)(x)
    return builder.meet(ends, meet, axis, before)


def _split(builder: _Builder, x: Any, sections: int, axis: int, meet: str) -> Any:
    """An operation of several outputs, put together in another order."""
    parts = ops.split(x, sections, axis=axis)
    if meet == "Concatenate":
        return layers.Concatenate(axis=axis)(parts[::-1])
    return layers.Add()(parts)


def _input(
    builder: _Builder, x: Any, number: int, steps: Steps, meet: str, axis: int, before: bool
) -> Any:
    other = builder.run(steps, stated(builder.inputs[number]))
    return builder.meet([x, other], meet, axis, before)


def _nested(builder: _Builder, x: Any, kind: str, steps: Steps, calls: int) -> Any:
    model = builder.model(x.shape[1:], steps, kind)
    for _ in range(calls):
        x = model(x)
    return x


def _shared(builder: _Builder, x: Any, step: Step, shift: int) -> Any:
    """One layer on two overlapping parts of `x`."""
    layer = builder.layer(step)
    sizes = [max(size - shift, 1) for size in x.shape[1:-1]]
    ends = [layer(cut(x, sizes, before=before)) for before in (True, False)]
    return layers.Add()(ends)


def _gate(builder: _Builder, x: Any, pooled: str, first: bool) -> Any:
    """Squeeze and excite."""
    rank, channels = len(x.shape) - 2, x.shape[-1]
    pool = make_layer((f"GlobalAveragePooling{rank}D", {"keepdims": pooled == "keepdims"}))
    if pooled == "rows":
        gate = ops.mean(x, axis=1, keepdims=True)
    else:
        gate = pool(x)
    if pooled == "reshaped":
        gate = layers.Reshape((1,) * rank + (channels,))(gate)
    gate = layers.Dense(channels, "sigmoid")(gate)
    ends = [gate, off_zero(x)] if first else [off_zero(x), gate]
    return layers.Multiply()(ends)


def _attention(builder: _Builder, x: Any, num_heads: int, key_dim: int, causal: bool) -> Any:
    attend = layers.MultiHeadAttention(num_heads, key_dim)
    return attend(x, x, use_causal_mask=causal)


def _slice(builder: _Builder, x: Any, slices: tuple[tuple[int, int | None, int], ...]) -> Any:
    return x[(slice(None), *(slice(*one) for one in slices))]


def _pixels(builder: _Builder, x: Any, how: str) -> Any:
    """A map laid out in a row of pixels, as heads end."""
    rank, channels = len(x.shape) - 2, x.shape[-1]
    if how == "channels first":
        first = layers.Permute((rank + 1, *range(1, rank + 1)))(x)
        return layers.Permute((2, 1))(layers.Reshape((channels, -1))(first))
    if how == "last axis first":
        x = layers.Permute((*range(rank, 0, -1), rank + 1))(x)
    rows = layers.Reshape((-1, channels))(layers.Flatten()(x) if how == "flattened" else x)
    if how == "two maps":
        # Every other position: pools of volumes have no kernel in double precision.
        half = x[(slice(None), *[slice(None, None, 2)] * rank)]
        return layers.Concatenate(axis=1)([rows, _pixels(builder, half, "")])
    if how == "class token":
        return ops.concatenate([ops.ones_like(rows[:, :1]), rows], axis=1)
    if how == "and back":
        back = layers.Reshape(x.shape[1:])(builder.layer(("Dense", {"units": channels}))(rows))
        return builder.layer((f"Conv{rank}D", {"filters": 1, "kernel_size": 2}))(back)
    return rows


# How a map becomes pixels, and whether each is then named by its place on the map.
PIXELS = {
    "rows": True,
    "flattened": True,
    "channels first": True,
    "class token": True,
    "last axis first": False,
    "two maps": False,
    "and back": False,
}


class MaskedConvolution(layers.Layer):
    """A convolution whose kernel is multiplied by a mask of zeros and ones."""

    def __init__(self, filters: int, taps: np.ndarray, **options: Any) -> None:
        super().__init__()
        self.filters, self.taps, self.options = filters, taps, options

    def build(self, shape: Any) -> None:
        kernel = (*self.taps.shape, shape[-1], self.filters)
        self.kernel = self.add_weight(shape=kernel, initializer="ones")

    def call(self, x: Any) -> Any:
        taps = ops.cast(self.taps[..., None, None], self.compute_dtype)
        return ops.conv(x, self.kernel * taps, **self.options)


class MaskedMixing(layers.Layer):
    """A product over axis 1, with a matrix that is multiplied by a mask of zeros and ones."""

    def __init__(self, allowed: np.ndarray, form: str) -> None:
        super().__init__()
        self.allowed, self.form = allowed, form

    def build(self, shape: Any) -> None:
        self.matrix = self.add_weight(shape=self.allowed.shape, initializer="ones")

    def call(self, x: Any) -> Any:
        allowed = ops.cast(self.allowed, self.compute_dtype)
        if self.form == "matmul":
            return ops.moveaxis(ops.matmul(ops.moveaxis(x, 1, -1), self.matrix * allowed), -1, 1)
        rest = "xyz"[: len(x.shape) - 2]
        matrix = ops.where(self.allowed, self.matrix, 0.0)
        return ops.einsum(f"bj{rest},jo->bo{rest}", x, matrix)


def drawn_mask(shape: Sequence[int], seed: int) -> np.ndarray:
    """A mask of that shape with at least one place that counts."""
    rng = np.random.default_rng(seed)
    mask = rng.random(tuple(shape)) < 0.6
    mask[tuple(rng.integers(size) for size in shape)] = True
    return mask


def _masked(_: Any, x: Any, kernel_size: Sequence[int], seed: int, **options: Any) -> Any:
    filters = options.pop("filters")
    return MaskedConvolution(filters, drawn_mask(kernel_size, seed), **options)(x)


def _mixed(_: Any, x: Any, units: int, seed: int, form: str) -> Any:
    return MaskedMixing(drawn_mask((x.shape[1], units), seed), form)(x)


# Steps that are more than one layer called once.
PARTS: dict[str, Callable[..., Any]] = {
    "attention": _attention,
    "branches": _branches,
    "flip": lambda _, x, axis: ops.flip(x, axis=axis),
    "gate": _gate,
    "input": _input,
    "masked": _masked,
    "mixed": _mixed,
    "nested": _nested,
    "pixels": _pixels,
    "pad": lambda _, x, pad_width, mode: ops.pad(x, ((0, 0), *pad_width), mode=mode),
    "roll": lambda _, x, shift, axis: ops.roll(x, shift, axis=axis),
    "shared": _shared,
    "slice": _slice,
    "split": _split,
    "stated": lambda _, x: stated(x),
}


def build(description: Description, *, smooth: bool = False) -> tuple[keras.Model, list[Any]]:
    """The Keras model, and the tensors the first input goes through, last one first.

    Args:
        description: The graph.
        smooth: Whether what picks a maximum is an average of the same pixels: its gradient
            then shows all of them at once, and a tie hides none.
    """
    inputs = [keras.Input(shape) for shape in description.inputs]
    builder = _Builder(inputs, smooth=smooth)
    tensors = [stated(inputs[0])]
    for step in description.steps:
        tensors.append(builder.apply(step, tensors[-1]))
    tensors.append(stated(tensors[-1]))
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], tensors[-1]), tensors[::-1]


# Steps that are made for one size, or whose pixels depend on it.
SIZED = ("Adaptive", "Flatten", "Reshape", "Resizing", "mixed")


def enlarged(description: Description, place: int, factor: int) -> Description | None:
    """The same graph on inputs that are `factor` times as long along one axis.

    `None` where a step is made for one size. What lays a map out in pixels at the end is left
    out, if each pixel is named by its place on the map.
    """
    steps = description.steps
    if steps and steps[-1][0] == "pixels" and PIXELS[steps[-1][1]["how"]]:
        steps = steps[:-1]
    if any(kind.startswith(SIZED) for kind in kinds(steps)):
        return None
    inputs = tuple(
        tuple(size * factor if axis == place else size for axis, size in enumerate(shape))
        for shape in description.inputs
    )
    return replace(description, inputs=inputs, steps=steps)


def weigh(model: keras.Model, *, seed: int = 0) -> keras.Model:
    """Gives `model` positive weights that keep its values near 1, where nothing saturates."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        values = rng.uniform(0.5, 1.5, variable.shape)
        variable.assign(values / math.prod(variable.shape[:-1]))
    return model


def normalises_equals(model: keras.Model, *, seed: int = 0) -> bool:
    """Whether a normalisation gets values that follow the input but are all the same.

    Up-sampling makes them of one value. They are divided by a deviation that is 0 whatever the
    weights, so nothing is seen through that layer but rounding, and no field says so.
    """
    found = []

    def watched(call: Callable[..., Any], regrouped: Callable[..., Any]) -> Callable[..., Any]:
        def run(layer: layers.Layer, inputs: Any) -> Any:
            values, axes = regrouped(layer, np.asarray(inputs))
            largest, least = values.max(axes), values.min(axes)
            follows = np.ptp(largest, axis=0) > SAME * np.abs(values).max()
            found.append((follows & (largest - least <= SAME * np.abs(largest)).all(axis=0)).any())
            return call(layer, inputs)

        return run

    rng = np.random.default_rng(seed)
    drawn = [rng.uniform(0.5, 1.5, (3, *one.shape[1:])).astype(one.dtype) for one in model.inputs]
    with ExitStack() as watching:
        for kind, regrouped in (
            (layers.GroupNormalization, _grouped),
            (layers.LayerNormalization, lambda layer, values: (values, tuple(layer.axis))),
        ):
            watching.enter_context(mock.patch.object(kind, "call", watched(kind.call, regrouped)))
        model([ops.convert_to_tensor(one) for one in drawn] if len(drawn) > 1 else drawn[0])
    return any(found)


def _grouped(layer: layers.Layer, values: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Values with an axis for the groups, and the axes that are normalised together."""
    return values.reshape(len(values), -1, layer.groups, values.shape[-1] // layer.groups), (1, 3)


def picks(steps: Any) -> bool:
    """Whether a step anywhere picks a maximum."""
    return any("Max" in kind or options.get("meet") == "Maximum" for kind, options in _all(steps))


def kinds(steps: Any) -> set[str]:
    """Names of all steps, nested ones included."""
    return {kind for kind, _ in _all(steps)}


def node_count(steps: Any) -> int:
    """How many steps there are, nested ones included."""
    return sum(1 for _ in _all(steps))


def _all(steps: Any) -> Iterator[Step]:
    for step in steps:
        yield step
        for value in step[1].values():
            if isinstance(value, tuple) and value and isinstance(value[0], str):
                yield from _all((value,))
            elif isinstance(value, tuple) and value and isinstance(value[0], tuple):
                # Pairs of numbers are sides of a padding.
                yield from _all(value if isinstance(value[0][0], str) else ())


# --- Drawing -------------------------------------------------------------------------------------


def shape_after(step: Step, shape: Shape) -> Shape | None:
    """Shape behind one layer or operation; `None` where it does not fit or grows too large."""
    try:
        if step[0] in ("flip", "masked", "mixed", "pad", "roll", "slice"):
            made = PARTS[step[0]](None, keras.KerasTensor((None, *shape)), **step[1]).shape
        else:
            made = make_layer(step).compute_output_shape((None, *shape))
    except ValueError:
        return None
    made = tuple(made[1:])
    if "layer" in step[1] and shape_after(step[1]["layer"], shape[1:]) is None:
        return None
    if "Transpose" in step[0] and not _is_gradient(step[1], shape, made):
        return None
    return _fitting(made)


def _is_gradient(options: dict[str, Any], shape: Shape, made: Shape) -> bool:
    """Whether TensorFlow has this transposed convolution, the gradient of a plain one."""
    same = options["padding"] == "same"
    rank = len(options["kernel_size"])
    for k, s, size, out in zip(
        options["kernel_size"], options["strides"], shape, made, strict=False
    ):
        if size != (-(-out // s) if same else (out - k) // s + 1):
            return False
        # Its 3-D kernel on a CPU shifts the whole map where SAME leaves two positions over:
        # no gradient of its forward convolution, nor what its compiler makes of it.
        if rank == 3 and same and (size - 1) * s + k <= out - 2:
            return False
    return True


def _fitting(shape: Shape) -> Shape | None:
    fits = min(shape) >= 1 and max(shape) <= LONGEST and math.prod(shape) <= LARGEST
    return shape if fits else None


class _Pen:
    """Draws steps for a tensor of a given shape.

    Args:
        draw: Hypothesis's own.
        resized: Whether this graph interpolates; then nothing in it has gradients as small
            as the rounding of that.
    """

    def __init__(self, draw: Callable[[Any], Any], *, resized: bool) -> None:
        self.draw = draw
        self.resized = resized
        often = (self.slide,) * 6 + (self.move,) * 3
        seldom = (*(self.gather, self.relate, self.branch) * 2,)
        self.groups = (*often, *seldom, self.nest, self.share, self.mask)
        if resized:
            self.groups = (*(self.slide,) * 3, self.resize, self.resize, self.move, self.branch)

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def one(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def each(self, rank: int, low: int, high: int) -> tuple[int, ...]:
        return tuple(self.integer(low, high) for _ in range(rank))

    def strides(self, rank: int) -> tuple[int, ...]:
        """Mostly 1: maps soon get too small to tell anything."""
        return tuple(self.one(1, 1, 2, 3) for _ in range(rank))

    def sequence(self, shape: Shape, low: int, high: int, deep: int) -> tuple[Steps, Shape]:
        """Up to `high` steps and the shape behind them; `deep` parts may hold parts."""
        steps: list[Step] = []
        for _ in range(self.integer(low, high)):
            for _ in range(TRIALS):
                made = self.step(shape, deep)
                if made and made[-1][1] is not None:
                    steps += [step for step, _ in made]
                    shape = made[-1][1]
                    break
        return tuple(steps), shape

    def step(self, shape: Shape, deep: int) -> list[tuple[Step, Shape | None]]:
        """One step and the shape behind it; two where the second makes the first safe."""
        group = self.one(*self.groups)
        return [
            one if isinstance(one[0], tuple) else (one, shape_after(one, shape))
            for one in group(shape, deep)
        ]

    def slide(self, shape: Shape, deep: int = 0) -> list[Any]:
        rank, channels = len(shape) - 1, shape[-1]
        flat = min(rank, 2)
        kind = self.one(
            *("Conv", "Conv", "Dilated", "Grouped", "Depthwise", "Separable", "Transposed"),
            *("AveragePooling", "MaxPooling", "ZeroPadding", "Cropping", "UpSampling"),
        )
        if rank == 3 and kind in ("Depthwise", "Separable"):
            kind = "Conv"
        padding = self.one("valid", "same")
        dilated = kind == "Dilated" or (kind in ("Depthwise", "Separable") and self.integer(0, 1))
        if rank == 1 and kind in ("Conv", "Dilated"):
            padding = self.one("valid", "same", "causal")
        filters = self.integer(1, 4)
        if kind in ("Depthwise", "Separable"):
            options = {"kernel_size": self.each(flat, 1, 4), "padding": padding}
            # TensorFlow wants equal strides here.
            rate = "dilation_rate" if dilated else "strides"
            options[rate] = self.strides(1) * flat
            if rank == 1:
                options = {
                    key: value if isinstance(value, str) else value[0]
                    for key, value in options.items()
                }
            options["depth_multiplier"] = self.integer(1, 2)
            if kind == "Separable":
                options["filters"] = filters
            return [(f"{kind}Conv{rank}D", options)]
        if kind in ("Conv", "Dilated", "Grouped"):
            options = {"filters": filters, "kernel_size": self.each(rank, 1, 4)}
            rate = "dilation_rate" if dilated else "strides"
            options[rate] = self.strides(rank)
            options["padding"] = padding
            if kind == "Grouped":
                groups = self.one(*(n for n in range(1, channels + 1) if channels % n == 0))
                options |= {"groups": groups, "filters": groups * self.integer(1, 2)}
            return [(f"Conv{rank}D", options)]
        if kind == "Transposed":
            options = {"filters": filters, "kernel_size": self.each(rank, 1, 4)}
            options |= {"strides": self.strides(rank), "padding": padding}
            if self.integer(0, 2) == 0:
                options["output_padding"] = tuple(
                    self.integer(0, stride - 1) for stride in options["strides"]
                )
            return [(f"Conv{rank}DTranspose", options)]
        if kind in ("AveragePooling", "MaxPooling"):
            size = {"pool_size": self.each(rank, 1, 3), "strides": self.strides(rank)}
            return [(f"{kind}{rank}D", {**size, "padding": padding})]
        if kind == "UpSampling":
            factors = self.each(rank, 1, 3)
            return [(f"UpSampling{rank}D", {"size": factors if rank > 1 else factors[0]})]
        pairs = tuple(self.each(2, 0, 2) for _ in range(rank))
        name = kind.lower().replace("zero", "")
        return [(f"{kind}{rank}D", {name: pairs if rank > 1 else pairs[0]})]

    def mask(self, shape: Shape, deep: int = 0) -> list[Any]:
        """Kernels and matrices with zeros in them."""
        rank, seed = len(shape) - 1, self.integer(0, 999)
        if self.integer(0, 2) == 0:
            form = self.one("matmul", "einsum")
            return [("mixed", {"units": self.integer(1, LONGEST), "seed": seed, "form": form})]
        options = {"filters": self.integer(1, 3), "kernel_size": self.each(rank, 1, 4)}
        rate = self.one("strides", "dilation_rate")
        options |= {rate: self.strides(rank), "padding": self.one("valid", "same"), "seed": seed}
        return [("masked", options)]

    def resize(self, shape: Shape, deep: int = 0) -> list[Any]:
        if len(shape) != 3:
            return []
        interpolation = self.one("bilinear", "bilinear", "nearest")
        if self.integer(0, 1):
            options = {"size": self.each(2, 1, 3), "interpolation": interpolation}
            return [("UpSampling2D", options)]
        height, width = self.each(2, 1, LONGEST)
        options = {"height": height, "width": width, "interpolation": interpolation}
        return [("Resizing", options)]

    def move(self, shape: Shape, deep: int = 0) -> list[Any]:
        rank = len(shape) - 1
        kind = self.one(
            "Permute", "cut", "join", "Flatten", "flip", "roll", "slice", "pad", "split"
        )
        axis = self.integer(0, rank)
        if kind == "Permute":
            return [(kind, {"dims": tuple(self.draw(st.permutations(range(1, rank + 2))))})]
        if kind == "split":
            sections = self.one(*(n for n in range(1, shape[axis] + 1) if shape[axis] % n == 0))
            options = {"sections": sections, "axis": axis + 1}
            options["meet"] = self.one("Concatenate", "Add")
            size = shape[axis] // (sections if options["meet"] == "Add" else 1)
            if sections == 1:
                return []
            return [((kind, options), (*shape[:axis], size, *shape[axis + 1 :]))]
        if kind == "cut" and rank < 3:
            factors = [n for n in range(1, shape[axis] + 1) if shape[axis] % n == 0]
            factor = self.one(*factors)
            target = (*shape[:axis], shape[axis] // factor, factor, *shape[axis + 1 :])
            return [("Reshape", {"target_shape": target})]
        if kind == "join" and rank > 1 and axis < rank:
            target = (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])
            return [("Reshape", {"target_shape": target})]
        if kind == "Flatten":
            total = math.prod(shape)
            first = self.one(*(n for n in range(1, LONGEST + 1) if total % n == 0))
            rest = total // first
            second = self.one(*(n for n in range(1, LONGEST + 1) if rest % n == 0))
            target = (first, second, rest // second)
            if rest <= LONGEST and self.integer(0, 1):
                target = (first, rest)
            if _fitting(target) is None:
                return []
            flat: Step = ("Flatten", {})
            return [((flat), (total,)), (("Reshape", {"target_shape": target}), target)]
        if kind == "flip":
            axes = tuple(sorted({axis + 1, self.integer(1, rank)}))
            return [("flip", {"axis": axes if len(axes) > 1 else axes[0]})]
        if kind == "roll":
            return [("roll", {"shift": self.integer(-3, 3), "axis": axis + 1})]
        if kind == "slice":
            slices = tuple(
                (self.integer(0, 2), self.one(None, None, -1), self.integer(1, 3))
                for _ in range(rank)
            )
            return [("slice", {"slices": slices})]
        if kind == "pad":
            mode = self.one("constant", "reflect", "symmetric")
            most = min(shape[:-1]) - 1 if mode == "reflect" else min(shape[:-1])
            sides = tuple(self.each(2, 0, min(most, 3)) for _ in range(rank))
            return [("pad", {"pad_width": (*sides, (0, 0)), "mode": mode})]
        return []

    def gather(self, shape: Shape, deep: int = 0) -> list[Any]:
        """Layers that mix channels or all of space, few of them to a graph."""
        rank, channels = len(shape) - 1, shape[-1]
        kind = self.one("Dense", "gate", "Group", "Layer", "Adaptive", "TimeDistributed")
        if kind == "Dense":
            return [("Dense", {"units": self.integer(1, 4)})]
        if kind == "gate":
            pooled = self.one("keepdims", "reshaped", "vector", "rows")
            return [(("gate", {"pooled": pooled, "first": self.draw(st.booleans())}), shape)]
        if kind == "Group" and math.prod(shape[:-1]) > 2:
            groups = self.one(*(n for n in range(1, channels + 1) if channels % n == 0))
            # Averages of normalised values are constants; the activation keeps them apart.
            return [("GroupNormalization", {"groups": groups}), ("Activation", SOFTPLUS)]
        if kind == "Layer":
            axis = self.one(*range(1, rank + 2))
            if shape[axis - 1] < 3:
                return []
            return [("LayerNormalization", {"axis": axis}), ("Activation", SOFTPLUS)]
        if kind == "Adaptive":
            sizes = tuple(self.integer(1, max(size, 2)) for size in shape[:-1])
            kind = self.one("Average", "Max")
            return [(f"Adaptive{kind}Pooling{rank}D", {"output_size": sizes})]
        if kind == "TimeDistributed" and rank > 1:
            return [(kind, {"layer": self.slide(shape[1:])[0]})]
        return []

    def relate(self, shape: Shape, deep: int = 0) -> list[Any]:
        """Recurrence and attention over one axis."""
        if len(shape) != 2 or shape[0] > LONGEST_SEQUENCE:
            return []
        units = self.integer(1, 3)
        kind = self.one("SimpleRNN", "LSTM", "Bidirectional", "attention", "causal attention")
        if "attention" in kind:
            options = {"num_heads": self.integer(1, 2), "key_dim": units}
            return [(("attention", {**options, "causal": kind != "attention"}), shape)]
        options = {"units": units, "return_sequences": True}
        # Shapes are given here: Keras draws random numbers when it makes these layers.
        if kind == "Bidirectional":
            inner = (self.one("SimpleRNN", "LSTM"), options)
            return [((kind, {"layer": inner}), (shape[0], 2 * units))]
        options["go_backwards"] = self.draw(st.booleans())
        return [((kind, options), (shape[0], units))]

    def meeting(self, shapes: Sequence[Shape]) -> tuple[dict[str, Any], Shape] | None:
        """How ends of those shapes meet, and the shape of what they make."""
        first, second = shapes
        if len(first) != len(second):
            return None
        sizes = [min(pair) for pair in zip(first[:-1], second[:-1], strict=True)]
        how = self.one("Add", "Maximum", "Concatenate", "side by side", "Average")
        if not self.resized and how == "Average":
            how = "Multiply"
        axis = -1
        channels = first[-1]
        if how == "Concatenate":
            channels += second[-1]
        elif how == "side by side":
            # Side by side: what slides over it later crosses the seam.
            how, axis = "Concatenate", self.integer(1, len(first) - 1)
            sizes[axis - 1] = first[axis - 1] + second[axis - 1]
        made = _fitting((*sizes, channels))
        if made is None:
            return None
        return {"meet": how, "axis": axis, "before": self.draw(st.booleans())}, made

    def branch(self, shape: Shape, deep: int) -> list[Any]:
        if not deep:
            return []
        first, one = self.sequence(shape, 0, 3, deep - 1)
        second, two = self.sequence(shape, 0, 2, deep - 1)
        met = self.meeting((one, two))
        if met is None:
            return []
        options = {"first": first, "second": second, **met[0]}
        # An input is no output of the model it starts.
        if first and second and self.integer(0, 2) == 0:
            options["nested"] = True
        return [(("branches", options), met[1])]

    def nest(self, shape: Shape, deep: int) -> list[Any]:
        if not deep:
            return []
        steps, after = self.sequence(shape, 1, 3, deep - 1)
        if not steps:
            return []
        plain = not kinds(steps) & set(PARTS)
        kind = self.one("Sequential", "Functional") if plain else "Functional"
        calls = self.integer(1, 2) if after == shape else 1
        return [(("nested", {"kind": kind, "steps": steps, "calls": calls}), after)]

    def share(self, shape: Shape, deep: int) -> list[Any]:
        (step,) = self.slide(shape)
        shift = self.integer(0, 2)
        part = (*(max(size - shift, 1) for size in shape[:-1]), shape[-1])
        return [(("shared", {"step": step, "shift": shift}), shape_after(step, part))]

    def join(self, shape: Shape, other: Shape) -> tuple[Step, Shape] | None:
        """Where another input of the graph joins."""
        steps, after = self.sequence(other, 0, 2, 0)
        met = self.meeting((shape, after))
        if met is None:
            return None
        return ("input", {"number": 1, "steps": steps, **met[0]}), met[1]


SOFTPLUS = {"activation": "softplus"}


@st.composite
def descriptions(draw: Any) -> Description:
    """Descriptions of graphs that brute force can answer for."""
    resized = draw(st.integers(0, 5)) == 0
    pen = _Pen(draw, resized=resized)
    rank = 2 if resized else pen.one(1, 1, 2, 2, 2, 3)
    longest = {1: 14, 2: 10, 3: 6}[rank]

    def sizes() -> Shape:
        return (*pen.each(rank, 4, longest), pen.integer(1, 3))

    inputs: tuple[Shape, ...] = (sizes(),)
    steps, shape = pen.sequence(inputs[0], 1, 5, 2)
    analysed = 0
    if draw(st.integers(0, 4)) == 0:
        other = sizes()
        joined = pen.join(shape, other)
        if joined is not None:
            inputs, shape = (*inputs, other), joined[1]
            more, shape = pen.sequence(shape, 0, 2, 0)
            steps = (*steps, joined[0], *more)
            analysed = pen.integer(0, 1)
    if len(shape) > 2 and min(shape[:-1]) > 1 and draw(st.integers(0, 3)) == 0:
        steps = (*steps, ("stated", {}), ("pixels", {"how": pen.one(*PIXELS)}))
    interpolated = any(options.get("interpolation") == "bilinear" for _, options in _all(steps))
    return Description(inputs, steps, analysed, RESIZED_TOLERANCE if interpolated else 0.0)

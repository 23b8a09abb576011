"""Operations of TensorFlow in old graphs, as operations of `keras.ops`.

Functions take the arguments of TensorFlow's, by its names; tables list them by TensorFlow's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_erf.legacy.statics import Unknown, is_static, number, sizes, static_shape

__all__ = ["FUNCTIONS", "is_known", "perform"]

Function = Callable[..., Any]
INTERPOLATIONS = {
    "bilinear": "bilinear", "nearest": "nearest", "bicubic": "bicubic", "lanczos3": "lanczos3",
    "lanczos5": "lanczos5", "0": "bilinear", "1": "nearest", "2": "bicubic",
}  # fmt: skip


def is_known(symbol: str) -> bool:
    """Whether an operation has its place in the table."""
    return _plain(symbol) in FUNCTIONS


def perform(symbol: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Computes what an operation of TensorFlow does.

    Args:
        symbol: Its name in TensorFlow, such as `"math.add"`.
        args: Its first arguments: tensors of the graph, constants and sizes.
        kwargs: The others, by TensorFlow's names.
    """
    name = _plain(symbol)
    kept = {key: value for key, value in kwargs.items() if key not in ("name", "validate_shape")}
    static = STATIC.get(name)
    if static is not None and is_static(list(args)) and is_static(kept):
        return static(*args, **kept)
    return FUNCTIONS[name](*args, **kept)


def _plain(symbol: str) -> str:
    name = symbol.removeprefix("compat.v1.").removeprefix("compat.v2.").removeprefix("tf.")
    return ALIASES.get(name, name)


def _tensor(value: Any, like: Any = None) -> Any:
    """A constant as an array, of the type of a tensor it meets."""
    if isinstance(value, keras.KerasTensor):
        return value
    if isinstance(value, list | tuple) and not is_static(value):
        return ops.stack([_tensor(item, like) for item in value])
    dtype = getattr(like, "dtype", None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return np.asarray(value, dtype=dtype or _narrow(value))


def _narrow(value: Any) -> Any:
    kind = np.asarray(value).dtype
    return {"f": "float32", "i": "int32", "O": "int32"}.get(kind.kind, kind)


def _axis(axis: Any) -> Any:
    if axis is None or isinstance(axis, int):
        return axis
    values = sizes(axis)
    return values[0] if np.ndim(axis) == 0 else tuple(values)


def _unary(function: Function) -> Function:
    def apply(x: Any = None, **kwargs: Any) -> Any:
        value = x
        for key in ("features", "input", "logits", "a", "tensor"):
            if value is None and key in kwargs:
                value = kwargs[key]
        return function(_tensor(value))

    return apply


def _binary(function: Function) -> Function:
    def apply(x: Any, y: Any = None, **kwargs: Any) -> Any:
        if y is None:
            y = kwargs.get("b")
        return function(_tensor(x, y), _tensor(y, x))

    return apply


def _reducer(function: Function) -> Function:
    def apply(
        input_tensor: Any,
        axis: Any = None,
        keepdims: Any = None,
        reduction_indices: Any = None,
        keep_dims: Any = None,
    ) -> Any:
        over = axis if axis is not None else reduction_indices
        return function(
            _tensor(input_tensor), axis=_axis(over), keepdims=bool(keepdims or keep_dims)
        )

    return apply


def _scan(function: Function) -> Function:
    def apply(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False) -> Any:
        axis = number(axis)
        if exclusive:
            raise NotImplementedError("an exclusive cumulative sum")
        result = function(ops.flip(x, axis) if reverse else x, axis=axis)
        return ops.flip(result, axis) if reverse else result

    return apply


def _divide(x: Any, y: Any) -> Any:
    return ops.true_divide(x, y)


def _divide_no_nan(x: Any, y: Any) -> Any:
    return ops.divide_no_nan(x, y)


def _add_n(inputs: Any) -> Any:
    return reduce(ops.add, inputs)


def _bias_add(value: Any, bias: Any, data_format: Any = None) -> Any:
    bias = _tensor(bias, value)
    if str(data_format).startswith("NC"):
        bias = ops.reshape(bias, (1, -1) + (1,) * (len(value.shape) - 2))
    return ops.add(value, bias)


def _leaky_relu(features: Any, alpha: Any = 0.2) -> Any:
    return ops.leaky_relu(features, negative_slope=float(alpha))


def _gelu(features: Any, approximate: bool = False) -> Any:
    return ops.gelu(features, approximate=bool(approximate))


def _softmax(function: Function) -> Function:
    def apply(logits: Any, axis: Any = None, dim: Any = None) -> Any:
        over = axis if axis is not None else dim
        return function(logits, axis=-1 if over is None else number(over))

    return apply


def _swish(features: Any, beta: Any = 1.0) -> Any:
    if beta == 1.0:
        return ops.silu(features)
    return ops.multiply(features, ops.sigmoid(ops.multiply(features, beta)))


def _clip(t: Any, clip_value_min: Any, clip_value_max: Any) -> Any:
    low, high = clip_value_min, clip_value_max
    if is_static([low, high]):
        return ops.clip(t, np.asarray(low).item(), np.asarray(high).item())
    return ops.minimum(ops.maximum(t, low), high)


def _pow(x: Any, y: Any) -> Any:
    return ops.power(_tensor(x, y), _tensor(y, x))


def _squared_difference(x: Any, y: Any) -> Any:
    return ops.square(ops.subtract(x, y))


def _rsqrt(x: Any) -> Any:
    return ops.rsqrt(x)


def _cast(x: Any, dtype: Any) -> Any:
    if isinstance(dtype, Mapping):
        dtype = dtype.get("config") or dtype.get("value") or dtype.get("name")
    if is_static(x):
        return x
    return ops.cast(x, str(dtype).removeprefix("<dtype: '").removesuffix("'>"))


def _identity(input: Any = None, **kwargs: Any) -> Any:
    return input if input is not None else next(iter(kwargs.values()))


def _concat(values: Any, axis: Any = -1, concat_dim: Any = None) -> Any:
    axis = number(axis if concat_dim is None else concat_dim)
    # A layer's operand may be a constant.
    first = next((value for value in values if isinstance(value, keras.KerasTensor)), None)
    return ops.concatenate([_tensor(value, first) for value in values], axis=axis)


def _stack(values: Any, axis: Any = 0) -> Any:
    first = next((value for value in values if isinstance(value, keras.KerasTensor)), None)
    return ops.stack([_tensor(value, first) for value in values], axis=number(axis))


def _unstack(value: Any, num: Any = None, axis: Any = 0) -> Any:
    return list(ops.unstack(value, num=None if num is None else number(num), axis=number(axis)))


def _split(
    value: Any, num_or_size_splits: Any, axis: Any = 0, num: Any = None, split_dim: Any = None
) -> Any:
    axis = number(axis if split_dim is None else split_dim)
    if np.ndim(num_or_size_splits) == 0:
        return list(ops.split(value, number(num_or_size_splits), axis=axis))
    parts = list(sizes(num_or_size_splits))
    if -1 in parts:
        rest = value.shape[axis] - sum(size for size in parts if size >= 0)
        parts[parts.index(-1)] = rest
    return list(ops.split(value, np.cumsum(parts[:-1]).tolist(), axis=axis))


def _reshape(tensor: Any, shape: Any) -> Any:
    target = list(sizes(shape))
    known = list(static_shape(tensor))
    batch = [place for place, size in enumerate(_items(shape)) if isinstance(size, Unknown)]
    rest = known[1:]
    if target.count(-1) > 1 and batch == [0] and not any(isinstance(s, Unknown) for s in rest):
        free = [place for place, size in enumerate(target) if size == -1 and place]
        if len(free) == 1:
            settled = math.prod(size for size in target[1:] if size >= 0)
            target[free[0]] = math.prod(rest) // settled
    if target.count(-1) > 1:
        raise NotImplementedError("a reshape with two sizes that are not known")
    return ops.reshape(tensor, tuple(target))


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | np.ndarray) else [value]


def _transpose(a: Any = None, perm: Any = None, conjugate: bool = False, **kwargs: Any) -> Any:
    tensor = a if a is not None else kwargs["x"]
    return ops.transpose(tensor, None if perm is None else sizes(perm))


def _matrix_transpose(a: Any, conjugate: bool = False) -> Any:
    return ops.swapaxes(a, -1, -2)


def _expand_dims(input: Any, axis: Any = None, dim: Any = None) -> Any:
    return ops.expand_dims(input, _axis(axis if dim is None else dim))


def _squeeze(input: Any, axis: Any = None, squeeze_dims: Any = None) -> Any:
    axis = axis if squeeze_dims is None else squeeze_dims
    if axis is None or axis == []:
        axis = tuple(place for place, size in enumerate(input.shape) if size == 1)
    return ops.squeeze(input, axis=_axis(axis))


def _tile(input: Any, multiples: Any) -> Any:
    return ops.tile(input, [1 if times == -1 else times for times in sizes(multiples)])


def _repeat(input: Any = None, repeats: Any = 1, axis: Any = None, **kwargs: Any) -> Any:
    return ops.repeat(kwargs.get("data", input), number(repeats), axis=_axis(axis))


def _pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0) -> Any:
    widths = tuple(tuple(sizes(pair)) for pair in np.asarray(paddings, dtype=object))
    mode = str(mode).lower()
    if mode == "constant":
        return ops.pad(tensor, widths, mode="constant", constant_values=constant_values or 0)
    return ops.pad(tensor, widths, mode=mode)


def _getitem(tensor: Any, slice_spec: Any = None, **_: Any) -> Any:
    spec = slice_spec if isinstance(slice_spec, list | tuple) else [slice_spec]
    return tensor[tuple(map(_slice, spec))]


def _slice(spec: Any) -> Any:
    if isinstance(spec, Mapping):
        if spec.get("class_name") == "__ellipsis__":
            return Ellipsis
        if spec.get("class_name") == "__slice__":
            spec = spec.get("config", spec)
        ends = [spec.get(key) for key in ("start", "stop", "step")]
        values = [None if end is None or isinstance(end, Unknown) else number(end) for end in ends]
        return slice(*values)
    if spec is None or spec is Ellipsis:
        return spec
    if isinstance(spec, str):
        return Ellipsis
    if isinstance(spec, keras.KerasTensor):
        raise NotImplementedError("a slice whose place is computed of the input")
    return number(spec)


def _slice_from(input_: Any = None, begin: Any = None, size: Any = None, **kwargs: Any) -> Any:
    tensor = kwargs.get("input", input_)
    slices = []
    for start, length in zip(sizes(begin), sizes(size), strict=True):
        slices.append(slice(start, None if length == -1 else start + length))
    return tensor[tuple(slices)]


def _strided_slice(
    input_: Any, begin: Any, end: Any, strides: Any = None, begin_mask: int = 0, end_mask: int = 0,
    ellipsis_mask: int = 0, new_axis_mask: int = 0, shrink_axis_mask: int = 0, var: Any = None,
) -> Any:  # fmt: skip
    starts, ends = sizes(begin), sizes(end)
    steps = (1,) * len(starts) if strides is None else sizes(strides)
    parts: list[Any] = []
    for place, (start, stop, step) in enumerate(zip(starts, ends, steps, strict=True)):
        bit = 1 << place
        if ellipsis_mask & bit:
            parts.append(Ellipsis)
        elif new_axis_mask & bit:
            parts.append(None)
        elif shrink_axis_mask & bit:
            parts.append(start)
        else:
            unknown = isinstance(_items(end)[place], Unknown)
            parts.append(
                slice(
                    None if begin_mask & bit else start,
                    None if end_mask & bit or unknown else stop,
                    step,
                )
            )
    if isinstance(input_, np.ndarray):
        picked = input_[tuple(parts)]
        return picked.item() if np.ndim(picked) == 0 and shrink_axis_mask else picked
    return input_[tuple(parts)]


def _gather(
    params: Any, indices: Any, validate_indices: Any = None, axis: Any = None, batch_dims: int = 0
) -> Any:
    if batch_dims:
        raise NotImplementedError("a gather with batch dimensions")
    if not isinstance(indices, keras.KerasTensor):
        indices = np.asarray(indices, dtype="int32")
    return ops.take(params, indices, axis=0 if axis is None else number(axis))


def _reverse(tensor: Any, axis: Any) -> Any:
    return ops.flip(tensor, axis=_axis(axis))


def _roll(input: Any, shift: Any, axis: Any) -> Any:
    return ops.roll(input, _axis(shift), axis=_axis(axis))


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    return ops.where(condition, _tensor(x, y), _tensor(y, x))


def _matmul(
    a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, adjoint_a: bool = False,
    adjoint_b: bool = False, **_: Any,
) -> Any:  # fmt: skip
    a, b = _tensor(a, b), _tensor(b, a)
    if transpose_a or adjoint_a:
        a = ops.swapaxes(a, -1, -2)
    if transpose_b or adjoint_b:
        b = ops.swapaxes(b, -1, -2)
    return ops.matmul(a, b)


def _tensordot(a: Any, b: Any, axes: Any) -> Any:
    if isinstance(axes, list | tuple):
        axes = [sizes(part) for part in axes]
    return ops.tensordot(_tensor(a, b), _tensor(b, a), axes=axes)


def _einsum(equation: Any, *inputs: Any, **kwargs: Any) -> Any:
    if not isinstance(equation, str):
        inputs, equation = (equation, *inputs), kwargs["equation"]
    flat = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], list | tuple) else inputs
    return ops.einsum(equation, *map(_tensor, flat))


def _one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: Any = None,
    dtype: Any = None,
) -> Any:
    return ops.one_hot(indices, number(depth), axis=-1 if axis is None else number(axis))


def _l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, dim: Any = None) -> Any:
    over = _axis(axis if dim is None else dim)
    squares = ops.sum(ops.square(x), axis=over, keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(squares, epsilon)))


def _norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: Any = None,
    keep_dims: Any = None,
) -> Any:
    over, keep = _axis(axis), bool(keepdims or keep_dims)
    if ord in ("euclidean", 2, 2.0):
        return ops.sqrt(ops.sum(ops.square(tensor), axis=over, keepdims=keep))
    if ord in (1, 1.0):
        return ops.sum(ops.abs(tensor), axis=over, keepdims=keep)
    raise NotImplementedError(f"a norm of order {ord!r}")


def _moments(
    x: Any, axes: Any, shift: Any = None, keepdims: bool = False, keep_dims: Any = None
) -> Any:
    keep = bool(keepdims or keep_dims)
    return list(ops.moments(x, axes=_axis(axes), keepdims=keep))


def _batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any
) -> Any:
    factor = ops.rsqrt(ops.add(_tensor(variance, x), variance_epsilon))
    if scale is not None:
        factor = ops.multiply(factor, _tensor(scale, x))
    result = ops.multiply(ops.subtract(x, _tensor(mean, x)), factor)
    return result if offset is None else ops.add(result, _tensor(offset, x))


def _data_format(data_format: Any) -> str:
    first = str(data_format or "NHWC").startswith("NC")
    return "channels_first" if first or data_format == "channels_first" else "channels_last"


def _spatial(value: Any, data_format: Any, rank: int = 2) -> Any:
    """Strides and similar values with or without those of batch and channels."""
    if value is None:
        return 1
    values = sizes(value)
    if len(values) == rank + 2:
        values = values[2:] if str(data_format).startswith("NC") else values[1:-1]
    return values[0] if len(values) == 1 else values


def _convolution(
    input: Any, filters: Any = None, strides: Any = None, padding: Any = "VALID",
    data_format: Any = None, dilations: Any = None, filter: Any = None, **kwargs: Any,
) -> Any:  # fmt: skip
    rank = len(input.shape) - 2
    kernel = _tensor(filters if filters is not None else filter, input)
    dilations = kwargs.get("dilation_rate", dilations)
    if isinstance(padding, list | tuple):
        widths = tuple(tuple(sizes(pair)) for pair in padding)
        input, padding = ops.pad(input, widths), "valid"
    return ops.conv(
        input, kernel, strides=_spatial(strides, data_format, rank), padding=str(padding).lower(),
        data_format=_data_format(data_format), dilation_rate=_spatial(dilations, data_format, rank),
    )  # fmt: skip


def _depthwise(
    input: Any, filter: Any, strides: Any = None, padding: Any = "VALID", rate: Any = None,
    data_format: Any = None, dilations: Any = None, **_: Any,
) -> Any:  # fmt: skip
    return ops.depthwise_conv(
        input, _tensor(filter, input), strides=_spatial(strides, data_format),
        padding=str(padding).lower(), data_format=_data_format(data_format),
        dilation_rate=_spatial(rate if rate is not None else dilations, data_format),
    )  # fmt: skip


def _pool(function: Function) -> Function:
    def apply(
        value: Any = None, ksize: Any = None, strides: Any = None, padding: Any = "VALID",
        data_format: Any = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        tensor = kwargs.get("input", value)
        rank = len(tensor.shape) - 2
        return function(
            tensor, _spatial(ksize, data_format, rank),
            strides=_spatial(strides, data_format, rank), padding=str(padding).lower(),
            data_format=_data_format(data_format),
        )  # fmt: skip

    return apply


def _resize(
    images: Any, size: Any, method: Any = "bilinear", preserve_aspect_ratio: bool = False,
    antialias: bool = False, align_corners: bool = False, **_: Any,
) -> Any:  # fmt: skip
    if align_corners:
        raise NotImplementedError("a resize with aligned corners")
    if preserve_aspect_ratio:
        raise NotImplementedError("a resize that keeps the ratio of the sides")
    name = str(method).lower().rpartition(".")[2]
    return ops.image.resize(
        images, sizes(size), interpolation=INTERPOLATIONS[name], antialias=bool(antialias),
        data_format="channels_last",
    )  # fmt: skip


def _old_resize(interpolation: str) -> Function:
    def apply(
        images: Any, size: Any, align_corners: Any = False, half_pixel_centers: Any = False
    ) -> Any:
        if align_corners:
            return _resize(images, size, align_corners=True)
        if half_pixel_centers:
            return _resize(images, size, interpolation)
        return _corner_resize(images, sizes(size), interpolation)

    return apply


def _corner_resize(images: Any, size: Sequence[int], interpolation: str) -> Any:
    """The resize of TensorFlow 1, which measures from the corner of a pixel."""
    for axis, wanted in zip((1, 2), size, strict=True):
        length = images.shape[axis]
        if length == wanted:
            continue
        places = np.arange(wanted) * (length / wanted)
        low = np.minimum(np.floor(places).astype("int32"), length - 1)
        if interpolation == "nearest":
            images = ops.take(images, low, axis=axis)
            continue
        weights = np.zeros((length, wanted), "float32")
        share = (places - low).astype("float32")
        np.add.at(weights, (low, np.arange(wanted)), 1 - share)
        np.add.at(weights, (np.minimum(low + 1, length - 1), np.arange(wanted)), share)
        images = ops.moveaxis(ops.tensordot(images, weights, axes=[[axis], [0]]), -1, axis)
    return images


def _depth_to_space(input: Any, block_size: Any, data_format: Any = "NHWC") -> Any:
    return ops.depth_to_space(input, number(block_size), data_format=_data_format(data_format))


def _space_to_depth(input: Any, block_size: Any, data_format: Any = "NHWC") -> Any:
    return ops.space_to_depth(input, number(block_size), data_format=_data_format(data_format))


def _flip(axis: int) -> Function:
    return lambda image: ops.flip(image, axis=axis)


def _rgb_to_gray(images: Any) -> Any:
    return ops.image.rgb_to_grayscale(images, data_format="channels_last")


def _like(function: Function) -> Function:
    def apply(input: Any = None, dtype: Any = None, optimize: bool = True, **kwargs: Any) -> Any:
        return function(kwargs.get("tensor", input), dtype=dtype)

    return apply


def _standardize(image: Any) -> Any:
    """`tf.image.per_image_standardization`."""
    axes = (-3, -2, -1)
    count = math.prod(image.shape[-3:])
    mean = ops.mean(image, axis=axes, keepdims=True)
    deviation = ops.maximum(ops.std(image, axis=axes, keepdims=True), 1 / math.sqrt(count))
    return ops.divide(ops.subtract(image, mean), deviation)


def _extract_patches(
    images: Any, sizes_: Any = None, strides: Any = None, rates: Any = None, padding: Any = "VALID",
    **kwargs: Any,
) -> Any:  # fmt: skip
    size = sizes(kwargs.get("sizes", kwargs.get("ksizes", sizes_)))
    return ops.image.extract_patches(
        images, size[1:3], strides=sizes(strides)[1:3], dilation_rate=sizes(rates)[1:3],
        padding=str(padding).lower(), data_format="channels_last",
    )  # fmt: skip


def _lrn(input: Any, depth_radius: Any = 5, bias: Any = 1, alpha: Any = 1, beta: Any = 0.5) -> Any:
    """Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3)."""
    radius = number(5 if depth_radius is None else depth_radius)
    channels = input.shape[-1]
    place = np.arange(channels)
    window = (np.abs(place[:, None] - place[None]) <= radius).astype("float32")
    sums = ops.matmul(ops.square(input), window)
    return ops.divide(input, ops.power(ops.add(ops.multiply(sums, alpha), bias), beta))


def _argument(function: Function) -> Function:
    def apply(input: Any, axis: Any = None, output_type: Any = None, dimension: Any = None) -> Any:
        over = axis if dimension is None else dimension
        return function(input, axis=0 if over is None else number(over))

    return apply


def _count_nonzero(input: Any, axis: Any = None, **_: Any) -> Any:
    return ops.count_nonzero(input, axis=_axis(axis))


def _shape(input: Any, out_type: Any = None, **_: Any) -> Any:
    return static_shape(input)


def _rank(input: Any) -> Any:
    return len(static_shape(input))


def _dropout(x: Any, *_: Any, **__: Any) -> Any:
    return x


def _crop(
    image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any
) -> Any:
    top, left = number(offset_height), number(offset_width)
    return image[..., top : top + number(target_height), left : left + number(target_width), :]


def _central_crop(image: Any, central_fraction: Any) -> Any:
    ends = []
    for size in image.shape[-3:-1]:
        start = int((size - size * central_fraction) / 2)
        ends.append((start, size - 2 * start))
    (top, height), (left, width) = ends
    return image[..., top : top + height, left : left + width, :]


def _adjust_brightness(image: Any, delta: Any) -> Any:
    return ops.add(image, delta)


def _broadcast_to(input: Any, shape: Any) -> Any:
    target = [
        size if wanted == -1 else wanted
        for wanted, size in zip(sizes(shape), input.shape, strict=False)
    ]
    if any(size is None for size in target):
        repeats = [
            1 if old is None or new is None else new // old
            for new, old in zip(target, input.shape, strict=True)
        ]
        return ops.tile(input, repeats)
    return ops.broadcast_to(input, tuple(target))


def _ensure_shape(x: Any, shape: Any) -> Any:
    return x


def _static_stack(values: Any, axis: Any = 0) -> Any:
    return np.stack([np.asarray(value, dtype=object) for value in values], axis=number(axis))


def _static_concat(values: Any, axis: Any = 0) -> Any:
    parts = [np.atleast_1d(np.asarray(value, dtype=object)) for value in values]
    return np.concatenate(parts, axis=number(axis))


def _static_getitem(tensor: Any, slice_spec: Any = None, **_: Any) -> Any:
    array = np.asarray(tensor, dtype=object)
    spec = slice_spec if isinstance(slice_spec, list | tuple) else [slice_spec]
    return array[tuple(map(_slice, spec))]


def _static_binary(function: Function) -> Function:
    def apply(x: Any, y: Any) -> Any:
        return function(_array(x), _array(y))

    return apply


def _array(value: Any) -> Any:
    """A constant for arithmetic: a number, or an array of objects if a batch may be in it."""
    return np.asarray(value, dtype=object) if isinstance(value, list | tuple) else value


def _static_reduce(function: Callable[[Any, Any], Any]) -> Function:
    def apply(input_tensor: Any, axis: Any = None, keepdims: Any = None) -> Any:
        return reduce(function, list(np.ravel(np.asarray(input_tensor, dtype=object))))

    return apply


def _static_cast(x: Any, dtype: Any = None, **_: Any) -> Any:
    if isinstance(x, Unknown):
        return x
    array = np.asarray(x)
    if array.dtype == object:
        return x
    return array.astype("int32" if "int" in str(dtype) else "float32") if array.ndim else x


def _range(start: Any, limit: Any = None, delta: Any = 1, **_: Any) -> Any:
    first, last = (0, start) if limit is None else (start, limit)
    return np.arange(number(first), number(last), number(delta))


def _fill(dims: Any, value: Any = 0) -> Any:
    if -1 in sizes(dims):
        raise NotImplementedError("a tensor that is as long as the batch and holds constants")
    return np.full(sizes(dims), value, dtype="float32")


STATIC: dict[str, Function] = {
    "math.add": _static_binary(lambda x, y: x + y),
    "math.subtract": _static_binary(lambda x, y: x - y),
    "math.multiply": _static_binary(lambda x, y: x * y),
    "math.floordiv": _static_binary(lambda x, y: x // y),
    "math.divide": _static_binary(lambda x, y: x / y),
    "math.floormod": _static_binary(lambda x, y: x % y),
    "math.maximum": _static_binary(max),
    "math.minimum": _static_binary(min),
    "cast": _static_cast,
    "identity": _identity,
    "stack": _static_stack,
    "concat": _static_concat,
    "__operators__.getitem": _static_getitem,
    "math.reduce_prod": _static_reduce(lambda x, y: x * y),
    "math.reduce_sum": _static_reduce(lambda x, y: x + y),
    "squeeze": lambda input, axis=None, **_: np.squeeze(np.asarray(input, dtype=object)),
    "expand_dims": lambda input, axis=0, **_: np.expand_dims(
        np.asarray(input, dtype=object), number(axis)
    ),
    "reshape": lambda tensor, shape: np.reshape(np.asarray(tensor, dtype=object), sizes(shape)),
    "gather": lambda params, indices, **_: np.asarray(params, dtype=object)[indices],
    "unstack": lambda value, num=None, axis=0: list(np.asarray(value, dtype=object)),
    "split": lambda value, num_or_size_splits, axis=0, **_: np.split(
        np.asarray(value, dtype=object), number(num_or_size_splits)
    ),
    "range": _range,
    "zeros": lambda shape, dtype=None: _fill(shape, 0),
    "ones": lambda shape, dtype=None: _fill(shape, 1),
    "fill": _fill,
    "constant": lambda value, dtype=None, shape=None: np.asarray(value),
    "convert_to_tensor": lambda value, **_: value,
}

FUNCTIONS: dict[str, Function] = {
    # Arithmetic
    "math.add": _binary(ops.add),
    "math.subtract": _binary(ops.subtract),
    "math.multiply": _binary(ops.multiply),
    "math.divide": _binary(_divide),
    "math.divide_no_nan": _binary(_divide_no_nan),
    "math.multiply_no_nan": _binary(ops.multiply),
    "math.floordiv": _binary(ops.floor_divide),
    "math.floormod": _binary(ops.mod),
    "math.pow": _pow,
    "math.maximum": _binary(ops.maximum),
    "math.minimum": _binary(ops.minimum),
    "math.squared_difference": _binary(_squared_difference),
    "math.atan2": _binary(ops.arctan2),
    "math.add_n": _add_n,
    "math.accumulate_n": lambda inputs, **_: _add_n(inputs),
    "nn.bias_add": _bias_add,
    "math.scalar_mul": lambda scalar, x: ops.multiply(_tensor(scalar, x), _tensor(x, scalar)),
    # Comparison and logic
    "math.greater": _binary(ops.greater),
    "math.greater_equal": _binary(ops.greater_equal),
    "math.less": _binary(ops.less),
    "math.less_equal": _binary(ops.less_equal),
    "math.equal": _binary(ops.equal),
    "math.not_equal": _binary(ops.not_equal),
    "math.logical_and": _binary(ops.logical_and),
    "math.logical_or": _binary(ops.logical_or),
    "math.logical_xor": _binary(ops.logical_xor),
    "math.logical_not": _unary(ops.logical_not),
    "where": _where,
    # Single elements
    "math.abs": _unary(ops.abs), "math.negative": _unary(ops.negative),
    "math.sqrt": _unary(ops.sqrt), "math.square": _unary(ops.square),
    "math.rsqrt": _unary(_rsqrt), "math.exp": _unary(ops.exp), "math.log": _unary(ops.log),
    "math.log1p": _unary(ops.log1p), "math.expm1": _unary(ops.expm1),
    "math.sin": _unary(ops.sin), "math.cos": _unary(ops.cos), "math.tan": _unary(ops.tan),
    "math.asin": _unary(ops.arcsin), "math.acos": _unary(ops.arccos),
    "math.atan": _unary(ops.arctan), "math.sinh": _unary(ops.sinh), "math.cosh": _unary(ops.cosh),
    "math.asinh": _unary(ops.arcsinh), "math.acosh": _unary(ops.arccosh),
    "math.atanh": _unary(ops.arctanh), "math.tanh": _unary(ops.tanh),
    "math.sigmoid": _unary(ops.sigmoid), "math.log_sigmoid": _unary(ops.log_sigmoid),
    "math.softplus": _unary(ops.softplus), "nn.softsign": _unary(ops.softsign),
    "math.erf": _unary(ops.erf), "math.erfinv": _unary(ops.erfinv),
    "math.sign": _unary(ops.sign), "math.floor": _unary(ops.floor), "math.ceil": _unary(ops.ceil),
    "math.round": _unary(ops.round), "math.rint": _unary(ops.round),
    "math.reciprocal": _unary(ops.reciprocal),
    "math.is_nan": _unary(ops.isnan), "math.is_finite": _unary(ops.isfinite),
    "math.is_inf": _unary(ops.isinf),
    "math.real": _unary(ops.real), "math.imag": _unary(ops.imag),
    "clip_by_value": _clip, "cast": _cast,
    "dtypes.saturate_cast": lambda value, dtype: _cast(value, dtype),
    "identity": _identity, "stop_gradient": _unary(ops.stop_gradient),
    "grad_pass_through": _identity, "ensure_shape": _ensure_shape,
    "debugging.check_numerics": lambda tensor, message=None: tensor,
    "convert_to_tensor": lambda value, **_: value,
    "nn.relu": _unary(ops.relu), "nn.relu6": _unary(ops.relu6), "nn.elu": _unary(ops.elu),
    "nn.selu": _unary(ops.selu), "nn.crelu": lambda features, axis=-1: ops.concatenate(
        [ops.relu(features), ops.relu(ops.negative(features))], axis=axis
    ),
    "nn.leaky_relu": _leaky_relu, "nn.gelu": _gelu, "nn.silu": _swish,
    "nn.softmax": _softmax(ops.softmax), "nn.log_softmax": _softmax(ops.log_softmax),
    "nn.dropout": _dropout,
    # Reductions
    "math.reduce_mean": _reducer(ops.mean), "math.reduce_sum": _reducer(ops.sum),
    "math.reduce_max": _reducer(ops.max), "math.reduce_min": _reducer(ops.min),
    "math.reduce_prod": _reducer(ops.prod), "math.reduce_any": _reducer(ops.any),
    "math.reduce_all": _reducer(ops.all), "math.reduce_std": _reducer(ops.std),
    "math.reduce_variance": _reducer(ops.var), "math.reduce_logsumexp": _reducer(ops.logsumexp),
    "math.cumsum": _scan(ops.cumsum), "math.cumprod": _scan(ops.cumprod),
    "math.argmax": _argument(ops.argmax), "math.argmin": _argument(ops.argmin),
    "math.count_nonzero": _count_nonzero,
    "math.reduce_euclidean_norm": _reducer(
        lambda x, axis, keepdims: ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=keepdims))
    ),
    "norm": _norm, "math.l2_normalize": _l2_normalize, "nn.moments": _moments,
    "nn.batch_normalization": _batch_normalization,
    "nn.local_response_normalization": _lrn,
    # Shapes
    "shape": _shape, "rank": _rank, "reshape": _reshape, "transpose": _transpose,
    "linalg.matrix_transpose": _matrix_transpose,
    "expand_dims": _expand_dims, "squeeze": _squeeze, "concat": _concat, "stack": _stack,
    "unstack": _unstack, "split": _split, "tile": _tile, "repeat": _repeat, "pad": _pad,
    "slice": _slice_from, "strided_slice": _strided_slice, "__operators__.getitem": _getitem,
    "gather": _gather, "reverse": _reverse, "roll": _roll, "broadcast_to": _broadcast_to,
    "zeros_like": _like(ops.zeros_like), "ones_like": _like(ops.ones_like), "one_hot": _one_hot,
    # Products
    "linalg.matmul": _matmul, "tensordot": _tensordot, "einsum": _einsum,
    # Windows
    "nn.convolution": _convolution, "nn.conv2d": _convolution, "nn.conv1d": _convolution,
    "nn.conv3d": _convolution, "nn.depthwise_conv2d": _depthwise,
    "nn.atrous_conv2d": lambda value, filters, rate, padding: _convolution(
        value, filters, padding=padding, dilations=rate
    ),
    "nn.max_pool2d": _pool(ops.max_pool), "nn.avg_pool2d": _pool(ops.average_pool),
    # Images
    "image.resize": _resize,
    "image.resize_v1": lambda images, size, method="bilinear", align_corners=False, **_: (
        _old_resize(INTERPOLATIONS[str(method).lower()])(images, size, align_corners)
    ),
    "image.resize_bilinear": _old_resize("bilinear"),
    "image.resize_nearest_neighbor": _old_resize("nearest"),
    "image.flip_left_right": _flip(-2), "image.flip_up_down": _flip(-3),
    "image.rgb_to_grayscale": _rgb_to_gray, "image.adjust_brightness": _adjust_brightness,
    "image.per_image_standardization": _standardize, "image.extract_patches": _extract_patches,
    "image.crop_to_bounding_box": _crop, "image.central_crop": _central_crop,
    "nn.depth_to_space": _depth_to_space, "nn.space_to_depth": _space_to_depth,
    **{name: function for name, function in STATIC.items() if name in ("zeros", "ones", "fill", "range", "constant")},  # noqa: E501
}  # fmt: skip

ALIASES: dict[str, str] = {
    **{f"__operators__.{name}": f"math.{name}" for name in (
        "add", "subtract", "multiply", "divide", "pow", "greater", "greater_equal", "less",
        "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not", "abs",
        "floordiv",
    )},
    **{name.removeprefix("math."): name for name in FUNCTIONS if name.startswith("math.")},
    "__operators__.sub": "math.subtract", "__operators__.mul": "math.multiply",
    "__operators__.truediv": "math.divide", "__operators__.mod": "math.floormod",
    "__operators__.matmul": "linalg.matmul", "__operators__.neg": "math.negative",
    "__operators__.eq": "math.equal", "__operators__.ne": "math.not_equal",
    "__operators__.radd": "math.add", "__operators__.rmul": "math.multiply",
    "math.truediv": "math.divide", "truediv": "math.divide", "realdiv": "math.divide",
    "divide": "math.divide", "div_no_nan": "math.divide_no_nan",
    "math.div_no_nan": "math.divide_no_nan", "math.mod": "math.floormod", "mod": "math.floormod",
    "floor_div": "math.floordiv", "math.add_v2": "math.add", "neg": "math.negative",
    "subtract": "math.subtract", "sub": "math.subtract", "mul": "math.multiply",
    "matmul": "linalg.matmul", "linalg.tensordot": "tensordot", "linalg.einsum": "einsum",
    "linalg.norm": "norm", "linalg.l2_normalize": "math.l2_normalize",
    "nn.l2_normalize": "math.l2_normalize", "nn.lrn": "nn.local_response_normalization",
    "where_v2": "where",
    "nn.sigmoid": "math.sigmoid", "nn.tanh": "math.tanh", "nn.softplus": "math.softplus",
    "nn.swish": "nn.silu", "math.softmax": "nn.softmax", "math.log_softmax": "nn.log_softmax",
    "keras.activations.relu": "nn.relu", "nn.conv2d_v2": "nn.conv2d",
    "keras.backend.relu": "nn.relu",
    "nn.avg_pool": "nn.avg_pool2d", "nn.max_pool": "nn.max_pool2d", "nn.avg_pool1d": "nn.avg_pool2d",
    "nn.max_pool1d": "nn.max_pool2d", "nn.avg_pool3d": "nn.avg_pool2d",
    "nn.max_pool3d": "nn.max_pool2d",
    "depth_to_space": "nn.depth_to_space", "space_to_depth": "nn.space_to_depth",
    "image.resize_images": "image.resize_v1", "image.resize_images_v2": "image.resize",
    "math.reduce_euclidean": "math.reduce_euclidean_norm", "debugging.assert_shapes": "identity",
    "linalg.transpose": "linalg.matrix_transpose", "manip.reverse": "reverse",
    "keras.backend.cast": "cast", "keras.backend.concatenate": "concat",
    "saturate_cast": "dtypes.saturate_cast", "linalg.l2_norm": "norm",
    "transpose_v2": "transpose", "quantization.identity":
    "identity", "check_numerics": "debugging.check_numerics", "gather_v2": "gather",
    "extract_image_patches": "image.extract_patches", "reverse_v2": "reverse",
    "image.extract_image_patches": "image.extract_patches",
}  # fmt: skip

"""Raw operations of TensorFlow's graphs (`TensorFlowOpLayer`), by the functions of its library."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_erf.tensorflow_operations.live_nodes import LIVE_NODES
from keras_erf.tensorflow_operations.performing import perform

__all__ = ["NODES", "node_of", "perform_node", "perform_operation"]

Attributes = Mapping[str, Any]
# Of a raw operation: the function, and the names of its inputs after those given by place.
Recipe = tuple[str, Callable[[Sequence[Any], Attributes], tuple[Sequence[Any], dict[str, Any]]]]


def node_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The operation of a layer and its attributes."""
    node = config["node_def"]
    if isinstance(node, str):
        node = json.loads(node)
    attributes = {key: _attribute(value) for key, value in (node.get("attr") or {}).items()}
    return {"op": node["op"], "attr": attributes}


def _attribute(value: Mapping[str, Any]) -> Any:
    for kind, inner in value.items():
        if kind in ("i", "I"):
            return int(inner)
        if kind == "f":
            return float(inner)
        if kind == "b":
            return bool(inner)
        if kind == "s":
            return base64.b64decode(inner).decode("latin-1")
        if kind == "type":
            return str(inner)
        if kind == "list":
            return [_attribute({key: item}) for key, items in inner.items() for item in items]
    return None


def _by_place(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs, {}


def _variadic(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return [list(inputs)], {}


def _reduction(inputs: Sequence[Any], attributes: Attributes) -> Any:
    axes = inputs[1] if len(inputs) > 1 else None
    return [inputs[0]], {"axis": axes, "keepdims": attributes.get("keep_dims", False)}


def _concat(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return [list(inputs[:-1])], {"axis": inputs[-1]}


def _old_concat(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return [list(inputs[1:])], {"axis": inputs[0]}


def _pack(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return [list(inputs)], {"axis": attributes.get("axis", 0)}


def _unpack(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs, {"axis": attributes.get("axis", 0), "num": attributes.get("num")}


def _split(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return [inputs[1]], {"num_or_size_splits": attributes["num_split"], "axis": inputs[0]}


def _split_sizes(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return [inputs[0]], {"num_or_size_splits": inputs[1], "axis": inputs[2]}


def _squeeze(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs, {"axis": attributes.get("squeeze_dims") or None}


def _masks(inputs: Sequence[Any], attributes: Attributes) -> Any:
    names = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    return inputs, {name: attributes.get(name) or 0 for name in names}


def _resize(inputs: Sequence[Any], attributes: Attributes) -> Any:
    names = ("align_corners", "half_pixel_centers")
    return inputs, {name: attributes.get(name) or False for name in names}


def _blocks(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs, {
        "block_size": attributes["block_size"],
        "data_format": attributes.get("data_format") or "NHWC",
    }


def _pad(inputs: Sequence[Any], attributes: Attributes) -> Any:
    value = inputs[2] if len(inputs) > 2 else 0
    return inputs[:2], {"constant_values": value}


def _mirror(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs, {"mode": attributes["mode"]}


def _product(inputs: Sequence[Any], attributes: Attributes) -> Any:
    names = ("transpose_a", "transpose_b")
    flags = {name: attributes.get(name) or False for name in names}
    flags["adjoint_a"], flags["adjoint_b"] = (
        attributes.get("adj_x") or False,
        attributes.get("adj_y") or False,
    )
    return inputs, flags


def _windows(inputs: Sequence[Any], attributes: Attributes) -> Any:
    names = ("strides", "padding", "data_format", "dilations")
    flags = {name: attributes[name] for name in names if attributes.get(name)}
    if flags.get("padding") == "EXPLICIT":
        ends = attributes["explicit_paddings"]
        flags["padding"] = list(zip(ends[::2], ends[1::2], strict=True))
    return inputs, flags


def _pool(inputs: Sequence[Any], attributes: Attributes) -> Any:
    names = ("ksize", "strides", "padding", "data_format")
    return inputs, {name: attributes[name] for name in names if attributes.get(name)}


def _cast(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs, {"dtype": DTYPES[attributes["DstT"]]}


def _leaky(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs, {"alpha": attributes.get("alpha", 0.2)}


def _gather(inputs: Sequence[Any], attributes: Attributes) -> Any:
    axis = inputs[2] if len(inputs) > 2 else 0
    return inputs[:2], {"axis": axis, "batch_dims": attributes.get("batch_dims") or 0}


def _argument(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return [inputs[0]], {"axis": inputs[1]}


def _einsum(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return [attributes["equation"], *inputs], {}


def _one_hot(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs[:2], {"axis": attributes.get("axis", -1)}


def _data_format(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs, {"data_format": attributes.get("data_format")}


def _lrn(inputs: Sequence[Any], attributes: Attributes) -> Any:
    names = ("depth_radius", "bias", "alpha", "beta")
    return inputs, {name: attributes[name] for name in names if attributes.get(name) is not None}


def _scan(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs, {name: attributes.get(name) or False for name in ("exclusive", "reverse")}


def _patches(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs, {
        "sizes": attributes["ksizes"], "strides": attributes["strides"],
        "rates": attributes["rates"], "padding": attributes["padding"],
    }  # fmt: skip


DTYPES = {
    "DT_FLOAT": "float32", "DT_HALF": "float16", "DT_DOUBLE": "float64", "DT_INT32": "int32",
    "DT_INT64": "int64", "DT_UINT8": "uint8", "DT_INT8": "int8", "DT_BOOL": "bool",
    "DT_BFLOAT16": "bfloat16", "DT_INT16": "int16", "DT_UINT16": "uint16",
}  # fmt: skip
# Those that a function of the library stands for, argument by argument.
SAME = {
    "Add": "math.add", "AddV2": "math.add", "Sub": "math.subtract", "Mul": "math.multiply",
    "RealDiv": "math.divide", "Div": "math.divide", "DivNoNan": "math.divide_no_nan",
    "FloorDiv": "math.floordiv", "FloorMod": "math.floormod", "Mod": "math.floormod",
    "Pow": "math.pow", "Maximum": "math.maximum", "Minimum": "math.minimum",
    "SquaredDifference": "math.squared_difference", "Atan2": "math.atan2",
    "Greater": "math.greater", "GreaterEqual": "math.greater_equal", "Less": "math.less",
    "LessEqual": "math.less_equal", "Equal": "math.equal", "NotEqual": "math.not_equal",
    "LogicalAnd": "math.logical_and", "LogicalOr": "math.logical_or",
    "LogicalNot": "math.logical_not",
    "Select": "where", "SelectV2": "where", "Where": "where",
    "Abs": "math.abs", "Neg": "math.negative", "Sqrt": "math.sqrt", "Square": "math.square",
    "Rsqrt": "math.rsqrt", "Exp": "math.exp", "Expm1": "math.expm1", "Log": "math.log",
    "Log1p": "math.log1p", "Sin": "math.sin", "Cos": "math.cos", "Tan": "math.tan",
    "Asin": "math.asin", "Acos": "math.acos", "Atan": "math.atan", "Sinh": "math.sinh",
    "Cosh": "math.cosh", "Tanh": "math.tanh", "Sigmoid": "math.sigmoid",
    "Softplus": "math.softplus", "Softsign": "nn.softsign", "Erf": "math.erf",
    "Sign": "math.sign", "Floor": "math.floor", "Ceil": "math.ceil", "Round": "math.round",
    "Rint": "math.rint", "Reciprocal": "math.reciprocal", "Inv": "math.reciprocal",
    "IsNan": "math.is_nan", "IsFinite": "math.is_finite", "IsInf": "math.is_inf",
    "Relu": "nn.relu", "Relu6": "nn.relu6", "Elu": "nn.elu", "Selu": "nn.selu",
    "Softmax": "nn.softmax", "LogSoftmax": "nn.log_softmax",
    "Identity": "identity", "StopGradient": "stop_gradient", "PreventGradient": "identity",
    "CheckNumerics": "identity", "EnsureShape": "identity", "Snapshot": "identity",
    "ClipByValue": "clip_by_value", "Reshape": "reshape", "Transpose": "transpose",
    "ExpandDims": "expand_dims", "Tile": "tile", "Slice": "slice", "Shape": "shape",
    "Rank": "rank", "ReverseV2": "reverse", "Roll": "roll", "BroadcastTo": "broadcast_to",
    "SpaceToBatchND": "space_to_batch_nd", "BatchToSpaceND": "batch_to_space_nd",
    "ZerosLike": "zeros_like", "OnesLike": "ones_like", "Range": "range", "Fill": "fill",
}  # fmt: skip
NODES: dict[str, Recipe] = {
    **{node: (function, _by_place) for node, function in SAME.items()},
    "AddN": ("math.add_n", _variadic),
    "BiasAdd": ("nn.bias_add", _data_format),
    "LeakyRelu": ("nn.leaky_relu", _leaky),
    "Mean": ("math.reduce_mean", _reduction), "Sum": ("math.reduce_sum", _reduction),
    "Max": ("math.reduce_max", _reduction), "Min": ("math.reduce_min", _reduction),
    "Prod": ("math.reduce_prod", _reduction), "Any": ("math.reduce_any", _reduction),
    "All": ("math.reduce_all", _reduction),
    "Cumsum": ("math.cumsum", _scan), "Cumprod": ("math.cumprod", _scan),
    "ArgMax": ("math.argmax", _argument), "ArgMin": ("math.argmin", _argument),
    "ConcatV2": ("concat", _concat), "Concat": ("concat", _old_concat), "Pack": ("stack", _pack),
    "Unpack": ("unstack", _unpack), "Split": ("split", _split), "SplitV": ("split", _split_sizes),
    "Squeeze": ("squeeze", _squeeze), "StridedSlice": ("strided_slice", _masks),
    "Pad": ("pad", _pad), "PadV2": ("pad", _pad), "MirrorPad": ("pad", _mirror),
    "ResizeBilinear": ("image.resize_bilinear", _resize),
    "ResizeNearestNeighbor": ("image.resize_nearest_neighbor", _resize),
    "DepthToSpace": ("nn.depth_to_space", _blocks),
    "SpaceToDepth": ("nn.space_to_depth", _blocks),
    "Cast": ("cast", _cast), "GatherV2": ("gather", _gather), "Gather": ("gather", _gather),
    "ResourceGather": ("gather", _gather),
    "OneHot": ("one_hot", _one_hot), "Einsum": ("einsum", _einsum),
    "MatMul": ("linalg.matmul", _product), "BatchMatMul": ("linalg.matmul", _product),
    "BatchMatMulV2": ("linalg.matmul", _product), "BatchMatMulV3": ("linalg.matmul", _product),
    "Conv2D": ("nn.conv2d", _windows), "Conv3D": ("nn.conv3d", _windows),
    "DepthwiseConv2dNative": ("nn.depthwise_conv2d", _windows),
    "MaxPool": ("nn.max_pool2d", _pool), "AvgPool": ("nn.avg_pool2d", _pool),
    "LRN": ("nn.local_response_normalization", _lrn),
    "ExtractImagePatches": ("image.extract_patches", _patches),
    **LIVE_NODES,
}  # fmt: skip


def perform_node(config: Mapping[str, Any], tensors: Sequence[Any]) -> Any:
    """Computes what a raw operation does.

    Args:
        config: Configuration of its layer, with constants by the place of the input.
        tensors: Its other inputs.
    """
    node = node_of(config)
    constants = {int(place): value for place, value in (config.get("constants") or {}).items()}
    rest = iter(tensors)
    inputs = [
        constants[place] if place in constants else next(rest)
        for place in range(len(tensors) + len(constants))
    ]
    return perform_operation(node["op"], inputs, node["attr"])


def perform_operation(name: str, inputs: Sequence[Any], attributes: Attributes) -> Any:
    """Computes what a raw operation does.

    Args:
        name: Its name, such as `"AddV2"`.
        inputs: Tensors, constants and sizes.
        attributes: Its attributes by name.

    Raises:
        NotImplementedError: `keras.ops` has no counterpart for these arguments.
    """
    symbol, arrange = NODES[name]
    args, kwargs = arrange(inputs, attributes)
    return perform(symbol, args, kwargs)

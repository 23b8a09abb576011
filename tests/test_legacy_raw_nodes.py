"""Raw operations of graphs (`TensorFlowOpLayer`, tf.keras 2.0 to 2.3), against TensorFlow itself.

TensorFlow traces each function. Its nodes become the layers that tf.keras made of them: constants
stay with a node, and every other input is an edge of the model's graph.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format

from keras_erf.legacy.architecture import Architecture
from keras_erf.legacy.building import build
from keras_erf.tensorflow_operations.raw_nodes import NODES

raw = tf.raw_ops
IMAGE = (4, 6, 3)
KERNEL = np.random.default_rng(3).normal(size=(3, 3, 3, 4)).astype("float32")


def configuration(function: Callable[[Any], Any], *, as_text: bool) -> dict[str, Any]:
    """A model of one input and the nodes of a function.

    Args:
        function: It takes a tensor and returns one.
        as_text: Whether a node is a text, as until TensorFlow 2.2, or an object.
    """
    graph = tf.Graph()
    with graph.as_default():
        inputs = tf.compat.v1.placeholder(tf.float32, (None, *IMAGE), name="input_1")
        output = function(inputs)
    start = {
        "class_name": "InputLayer", "name": "input_1", "inbound_nodes": [],
        "config": {"batch_input_shape": [None, *IMAGE], "dtype": "float32", "sparse": False,
                   "ragged": False, "name": "input_1"},
    }  # fmt: skip
    layers, values = [start], {}
    for operation in graph.get_operations():
        if operation.type == "Const":
            values[operation.outputs[0].name] = tf.make_ndarray(operation.get_attr("value"))
        elif operation.type != "Placeholder":
            layers.append(_layer(operation, values, as_text))
    config = {
        "name": "model", "layers": layers, "input_layers": [["input_1", 0, 0]],
        "output_layers": [_reference(output)],
    }  # fmt: skip
    return json.loads(json.dumps({"class_name": "Model", "config": config}))


def _reference(tensor: Any) -> list[Any]:
    name = tensor.op.name
    return [name if name == "input_1" else f"tf_op_layer_{name}", 0, tensor.value_index]


def _layer(operation: Any, values: dict[str, np.ndarray], as_text: bool) -> dict[str, Any]:
    node = operation.node_def
    constants = {
        str(place): values[tensor.name].tolist()
        for place, tensor in enumerate(operation.inputs)
        if tensor.name in values
    }
    edges = [[*_reference(t), {}] for t in operation.inputs if t.name not in values]
    held = json_format.MessageToJson(node) if as_text else json_format.MessageToDict(node)
    return {
        "class_name": "TensorFlowOpLayer", "name": f"tf_op_layer_{operation.name}",
        "inbound_nodes": [edges],
        "config": {"name": operation.name, "trainable": True, "dtype": "float32",
                   "node_def": held, "constants": constants},
    }  # fmt: skip


def number(x: Any) -> Any:
    return tf.cast(x, tf.float32)


CASES: dict[str, Callable[[Any], Any]] = {
    "arithmetic": lambda x: (
        raw.AddV2(x=x, y=raw.Mul(x=x, y=2.0)) - raw.RealDiv(x=x, y=raw.Add(x=x * x, y=1.0))
    ),
    "constants first": lambda x: raw.Sub(x=1.0, y=x) + raw.Div(x=1.0, y=raw.Add(x=x * x, y=1.0)),
    "remainders": lambda x: (
        raw.FloorMod(x=x, y=0.7)
        + raw.FloorDiv(x=x, y=0.3)
        + raw.DivNoNan(x=x, y=raw.Relu(features=x))
    ),
    "powers": lambda x: raw.Pow(x=raw.Abs(x=x), y=1.5) + raw.SquaredDifference(x=x, y=0.3),
    "extremes": lambda x: raw.Maximum(x=x, y=0.1) + raw.Minimum(x=x, y=raw.Neg(x=x)),
    "atan2": lambda x: raw.Atan2(y=x, x=raw.AddV2(x=raw.Square(x=x), y=1.0)),
    "sum of several": lambda x: raw.AddN(inputs=[x, raw.Sqrt(x=raw.Square(x=x)), x]),
    "comparisons": lambda x: (
        number(raw.Greater(x=x, y=0.1)) + 2 * number(raw.LessEqual(x=x, y=0.5))
        + 4 * number(raw.NotEqual(x=x, y=raw.Relu(features=x), incompatible_shape_error=True))
    ),
    "equality": lambda x: number(raw.Equal(x=x, y=raw.Relu(features=x))),
    "logic": lambda x: number(
        raw.LogicalOr(x=raw.LogicalAnd(x=x > 0, y=x < 1), y=raw.LogicalNot(x=x >= -1))
    ),
    "choice": lambda x: raw.SelectV2(condition=x > 0, t=x, e=raw.Exp(x=x)),
    "old choice": lambda x: raw.Select(condition=x > 0, x=x, y=raw.Neg(x=x)),
    "exponentials": lambda x: (
        raw.Exp(x=x) + raw.Expm1(x=x) + raw.Log(x=raw.Abs(x=x) + 1.0) + raw.Log1p(x=x * x)
        + raw.Rsqrt(x=x * x + 1.0) + raw.Reciprocal(x=x * x + 1.0) + raw.Inv(x=x * x + 2.0)
    ),
    "trigonometry": lambda x: (
        raw.Sin(x=x) + raw.Cos(x=x) + raw.Tan(x=x / 9) + raw.Asin(x=raw.Tanh(x=x))
        + raw.Acos(x=raw.Tanh(x=x)) + raw.Atan(x=x) + raw.Sinh(x=x) + raw.Cosh(x=x)
    ),
    "activations": lambda x: (
        raw.Relu(features=x) + raw.Relu6(features=9 * x) + raw.Elu(features=x)
        + raw.Selu(features=x) + raw.Softplus(features=x) + raw.Softsign(features=x)
        + raw.Sigmoid(x=x) + raw.LeakyRelu(features=x, alpha=0.3) + raw.Erf(x=x)
    ),
    "softmax": lambda x: raw.Softmax(logits=x) + raw.LogSoftmax(logits=x),
    "rounding": lambda x: (
        raw.Floor(x=x) + raw.Ceil(x=3 * x) + raw.Round(x=3 * x) + raw.Rint(x=5 * x) + raw.Sign(x=x)
    ),
    "finite": lambda x: (
        number(raw.IsNan(x=x)) + 2 * number(raw.IsFinite(x=x)) + 4 * number(raw.IsInf(x=x)) + x
    ),
    "passing on": lambda x: (
        raw.Identity(input=x) + raw.StopGradient(input=x) + raw.PreventGradient(input=x)
        + raw.CheckNumerics(tensor=x, message="it is bad") + raw.Snapshot(input=x)
        + raw.EnsureShape(input=x, shape=[None, *IMAGE])
    ),
    "clipping": lambda x: raw.ClipByValue(t=x, clip_value_min=-0.3, clip_value_max=0.4),
    "means": lambda x: (
        x - raw.Mean(input=x, axis=[1, 2], keep_dims=True)
        + raw.Sum(input=x, axis=-1, keep_dims=True) * raw.Max(input=x, axis=[3], keep_dims=True)
        - raw.Min(input=x, axis=1, keep_dims=True)
    ),
    "flat mean": lambda x: raw.Mean(input=x, axis=[1, 2]),
    "products": lambda x: raw.Prod(input=x, axis=3) + number(raw.Any(input=x > 1, axis=3))
    + 2 * number(raw.All(input=x > -1, axis=[3])),
    "scans": lambda x: (
        raw.Cumsum(x=x, axis=1) + raw.Cumsum(x=x, axis=2, reverse=True) + raw.Cumprod(x=x, axis=3)
    ),
    "places": lambda x: (
        number(raw.ArgMax(input=x, dimension=3)) + number(raw.ArgMin(input=x, dimension=-1))
    ),
    "concatenation": lambda x: raw.ConcatV2(values=[x, 2 * x], axis=-1),
    "old concatenation": lambda x: raw.Concat(concat_dim=2, values=[x, x * x]),
    "packing": lambda x: raw.Pack(values=[x, -x], axis=2),
    "unpacking": lambda x: (
        raw.Unpack(value=x, num=3, axis=3)[2] - raw.Unpack(value=x, num=3, axis=-1)[0]
    ),
    "splitting": lambda x: (
        raw.Split(axis=2, value=x, num_split=2)[1]
        + raw.SplitV(value=x, size_splits=[2, 3, 1], axis=2, num_split=3)[1]
    ),
    "sizes of one": lambda x: raw.Squeeze(input=raw.ExpandDims(input=x, axis=2), axis=[2]) + x,
    "reshaping": lambda x: raw.Reshape(tensor=x, shape=[-1, 12, 6]),
    "reshaping by the batch": lambda x: raw.Reshape(
        tensor=x, shape=raw.Pack(values=[tf.shape(x)[0], 24, 3], axis=0)
    ),
    "transposing": lambda x: raw.Transpose(x=x, perm=[0, 3, 1, 2]),
    "tiling": lambda x: raw.Tile(input=x, multiples=[1, 2, 1, 3]),
    "slices": lambda x: x[:, 1:-1, ::2, 1] * raw.Slice(
        input=x, begin=[0, 1, 2, 2], size=[-1, 2, 3, 1]
    )[..., 0],
    "new axis": lambda x: x[:, tf.newaxis, 0, ..., -2:],
    "padding": lambda x: raw.Pad(input=x, paddings=[[0, 0], [1, 2], [3, 0], [0, 0]]),
    "padding with a value": lambda x: raw.PadV2(
        input=x, paddings=[[0, 0], [0, 1], [1, 1], [0, 0]], constant_values=0.3
    ),
    "reflection": lambda x: raw.MirrorPad(
        input=x, paddings=[[0, 0], [2, 2], [1, 0], [0, 0]], mode="REFLECT"
    ),
    "symmetry": lambda x: raw.MirrorPad(
        input=x, paddings=[[0, 0], [2, 2], [1, 0], [0, 0]], mode="SYMMETRIC"
    ),
    "bilinear": lambda x: raw.ResizeBilinear(images=x, size=[8, 9], half_pixel_centers=True),
    "bilinear as in TensorFlow 1": lambda x: raw.ResizeBilinear(images=x, size=[8, 9]),
    "bilinear from corner to corner": lambda x: raw.ResizeBilinear(
        images=x, size=[7, 9], align_corners=True
    ),
    "nearest": lambda x: raw.ResizeNearestNeighbor(images=x, size=[8, 9], half_pixel_centers=True),
    "nearest as in TensorFlow 1": lambda x: raw.ResizeNearestNeighbor(images=x, size=[8, 9]),
    "depth and space": lambda x: raw.DepthToSpace(
        input=raw.SpaceToDepth(input=x, block_size=2), block_size=2
    ) + x,
    "space to depth": lambda x: raw.SpaceToDepth(input=x, block_size=2),
    "gathering": lambda x: raw.GatherV2(params=x, indices=[2, 0], axis=3),
    "turning": lambda x: raw.ReverseV2(tensor=x, axis=[1, 3]) + raw.Roll(input=x, shift=2, axis=1),
    "broadcast": lambda x: raw.BroadcastTo(input=x[:, :1], shape=tf.shape(x)) - x,
    "one hot": lambda x: raw.OneHot(
        indices=raw.ArgMax(input=x, dimension=3), depth=3, on_value=1.0, off_value=0.0
    ) * x,
    "ones and zeros": lambda x: x + raw.OnesLike(x=x) * 2 + raw.ZerosLike(x=x),
    "matrices": lambda x: raw.BatchMatMulV2(x=x, y=x, adj_y=True),
    "flat matrices": lambda x: raw.MatMul(
        a=raw.Mean(input=x, axis=[1, 2]), b=KERNEL[0, 0], transpose_b=False
    ),
    "einsum": lambda x: raw.Einsum(inputs=[x, x], equation="bhwc,bhvc->bhwv"),
    "convolution": lambda x: raw.BiasAdd(
        value=raw.Conv2D(input=x, filter=KERNEL, strides=[1, 2, 1, 1], padding="SAME"),
        bias=[0.1, 0.2, 0.3, 0.4],
    ),
    "dilated convolution": lambda x: raw.Conv2D(
        input=x, filter=KERNEL[:2], strides=[1] * 4, padding="VALID", dilations=[1, 2, 1, 1]
    ),
    "explicit padding": lambda x: raw.Conv2D(
        input=x, filter=KERNEL, strides=[1, 2, 2, 1], padding="EXPLICIT",
        explicit_paddings=[0, 0, 1, 1, 1, 1, 0, 0],
    ),
    "depthwise convolution": lambda x: raw.DepthwiseConv2dNative(
        input=x, filter=KERNEL, strides=[1, 1, 1, 1], padding="SAME"
    ),
    "volume": lambda x: raw.Conv3D(
        input=x[:, tf.newaxis], filter=KERNEL[np.newaxis], strides=[1] * 5, padding="SAME"
    ),
    "pools": lambda x: (
        raw.MaxPool(input=x, ksize=[1, 2, 3, 1], strides=[1, 1, 2, 1], padding="SAME")
        + raw.AvgPool(value=x, ksize=[1, 2, 2, 1], strides=[1, 1, 2, 1], padding="SAME")
    ),
    "local response": lambda x: raw.LRN(input=x, depth_radius=1, bias=1.0, alpha=0.5, beta=0.75),
    "patches": lambda x: raw.ExtractImagePatches(
        images=x, ksizes=[1, 2, 2, 1], strides=[1, 2, 2, 1], rates=[1, 1, 1, 1], padding="VALID"
    ),
    "dilation by batches": lambda x: raw.BatchToSpaceND(
        input=raw.Conv2D(
            input=raw.SpaceToBatchND(input=x, block_shape=[2, 2], paddings=[[2, 2], [2, 2]]),
            filter=KERNEL, strides=[1] * 4, padding="VALID",
        ),
        block_shape=[2, 2], crops=[[0, 0], [0, 0]],
    ),
    "hyperbolic": lambda x: (
        raw.Asinh(x=x) + raw.Acosh(x=x * x + 1.0) + raw.Atanh(x=raw.Tanh(x=x) / 2)
        + raw.Erfc(x=x) + raw.Erfinv(x=raw.Tanh(x=x) / 2)
    ),
    "nothing at zero": lambda x: (
        raw.MulNoNan(x=1 / raw.Relu(features=x), y=raw.Relu(features=x))
        + raw.Xdivy(x=raw.Relu(features=x), y=x) + raw.Xlogy(x=x, y=raw.Relu(features=x) + 0.1)
    ),
    "remainder towards zero": lambda x: raw.TruncateMod(x=3 * x, y=0.7),
    "volumes": lambda x: (
        raw.MaxPool3D(
            input=x[:, tf.newaxis], ksize=[1, 1, 2, 2, 1], strides=[1] * 5, padding="SAME"
        )
        + raw.AvgPool3D(
            input=x[:, tf.newaxis], ksize=[1, 1, 2, 1, 1], strides=[1] * 5, padding="SAME"
        )
    ),
    "pool by inputs": lambda x: raw.MaxPoolV2(
        input=x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID"
    ),
    "transposed convolution": lambda x: raw.Conv2DBackpropInput(
        input_sizes=raw.Pack(values=[tf.shape(x)[0], 8, 12, 4], axis=0),
        filter=np.swapaxes(KERNEL, 2, 3), out_backprop=x, strides=[1, 2, 2, 1], padding="SAME",
    ),
    "batch normalisation": lambda x: raw.FusedBatchNormV3(
        x=x, scale=[1.0, 2.0, 0.5], offset=[0.1, 0.0, -0.3], mean=[0.2, 0.1, 0.0],
        variance=[1.0, 0.5, 2.0], epsilon=0.01, is_training=False,
    )[0],
    "bicubic": lambda x: raw.ResizeBicubic(images=x, size=[8, 9], half_pixel_centers=True),
    "largest": lambda x: raw.TopKV2(input=x, k=2)[0],
    "inverses": lambda x: (
        raw.Acosh(x=1 + x * x) + raw.Asinh(x=x) + raw.Atanh(x=raw.Tanh(x=x))
        + raw.Erfc(x=x) + raw.Erfinv(x=raw.Tanh(x=x))
    ),
    "zeros that win": lambda x: (
        raw.MulNoNan(x=raw.Log(x=raw.Relu(features=x)), y=raw.Relu(features=x))
        + raw.Xdivy(x=raw.Relu(features=x), y=raw.Relu(features=x))
        + raw.Xlogy(x=raw.Relu(features=x), y=raw.Relu(features=x))
        + raw.TruncateMod(x=x, y=0.7)
    ),
    "transposed convolution, kernel given turned": lambda x: raw.Conv2DBackpropInput(
        input_sizes=raw.Pack(values=[tf.shape(x)[0], 8, 12, 4], axis=0),
        filter=KERNEL.transpose(0, 1, 3, 2), out_backprop=x, strides=[1, 2, 2, 1], padding="SAME",
    ),
    # Longer by one than the kernel at the last position reaches.
    "transposed convolution with a rest": lambda x: raw.Conv2DBackpropInput(
        input_sizes=raw.Pack(values=[tf.shape(x)[0], 10, 13, 4], axis=0),
        filter=KERNEL.transpose(0, 1, 3, 2), out_backprop=x, strides=[1, 2, 2, 1], padding="VALID",
    ),
    "transposed convolution of a volume": lambda x: raw.Conv3DBackpropInputV2(
        input_sizes=raw.Pack(values=[tf.shape(x)[0], 1, 8, 12, 4], axis=0),
        filter=KERNEL.transpose(0, 1, 3, 2)[np.newaxis], out_backprop=x[:, tf.newaxis],
        strides=[1, 1, 2, 2, 1], padding="SAME",
    ),
    "pools of a volume": lambda x: (
        raw.MaxPool3D(input=x[..., tf.newaxis], ksize=[1, 2, 3, 1, 1], strides=[1, 1, 2, 1, 1],
                      padding="SAME")
        + raw.AvgPool3D(input=x[..., tf.newaxis], ksize=[1, 2, 2, 2, 1], strides=[1, 1, 2, 1, 1],
                        padding="SAME")
    ),
    "pool by its inputs": lambda x: raw.MaxPoolV2(
        input=x, ksize=[1, 2, 3, 1], strides=[1, 1, 2, 1], padding="SAME"
    ),
    **{
        kind: lambda x, kind=kind: getattr(raw, kind)(
            x=x, scale=[1.5, 0.5, 1.0], offset=[0.0, 1.0, 2.0], mean=[0.1, 0.2, 0.3],
            variance=[1.0, 2.0, 0.5], epsilon=1e-3, is_training=False,
        )[0]
        for kind in ("FusedBatchNorm", "FusedBatchNormV3")
    },
    "FusedBatchNormV2": lambda x: raw.FusedBatchNormV2(
        x=x, scale=[1.5, 0.5, 1.0], offset=[0.0, 1.0, 2.0], mean=[0.1, 0.2, 0.3],
        variance=[1.0, 2.0, 0.5], epsilon=1e-3, is_training=False,
    )[0],
    "scaled": lambda x: raw.ScaleAndTranslate(
        images=x, size=[2, 3], scale=[0.5, 0.5], translation=[0.0, 0.0], kernel_type="triangle",
        antialias=True,
    ),
    "several at once": lambda x: raw.IdentityN(input=[x, 2 * x])[1],
    "ranges": lambda x: x * number(raw.Range(start=0, limit=3, delta=1)),
}  # fmt: skip


@pytest.mark.parametrize("as_text", [True, False], ids=["text", "object"])
@pytest.mark.parametrize("name", CASES)
def test_nodes_compute_what_tensorflow_computes(name, as_text):
    function = CASES[name]
    model = build(Architecture(configuration(function, as_text=as_text), "2.2.4-tf")).model
    x = np.random.default_rng(0).normal(size=(2, *IMAGE)).astype("float32")
    expected = np.asarray(function(tf.constant(x)))
    output = keras.ops.convert_to_numpy(model(x))
    assert output.shape == expected.shape
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5 * max(np.ptp(expected), 1e-3))


def test_every_operation_of_the_table_has_a_case():
    types = {
        layer["config"]["node_def"]["op"]
        for function in CASES.values()
        for layer in configuration(function, as_text=False)["config"]["layers"][1:]
    }
    # Other names of what is tested, and what cannot be traced without a variable or a queue.
    same = {
        "BatchMatMul", "BatchMatMulV3", "Gather", "ResourceGather", "Where", "Rank", "Fill",
        "Mod", "FusedBatchNorm", "FusedBatchNormV2", "IdentityN", "Real", "Imag", "ComplexAbs",
        "Conv3DBackpropInputV2", "ScaleAndTranslate",
    }  # fmt: skip
    assert set(NODES) - types - same == set()

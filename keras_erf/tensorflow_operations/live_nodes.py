"""Raw operations that live graphs hold, by the functions of TensorFlow's library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["LIVE_NODES"]

Attributes = Mapping[str, Any]
Recipe = tuple[str, Callable[[Sequence[Any], Attributes], tuple[Sequence[Any], dict[str, Any]]]]


def _transposed(inputs: Sequence[Any], attributes: Attributes) -> Any:
    shape, kernel, value = inputs
    names = ("strides", "padding", "data_format", "dilations")
    flags = {name: attributes[name] for name in names if attributes.get(name)}
    if flags.get("padding") == "EXPLICIT":
        flags["padding"] = [attributes["explicit_paddings"]]
    return [value, kernel, shape], flags


def _batch_norm(inputs: Sequence[Any], attributes: Attributes) -> Any:
    names = ("epsilon", "data_format", "is_training")
    return inputs, {name: attributes.get(name) for name in names}


def _pool(inputs: Sequence[Any], attributes: Attributes) -> Any:
    names = ("ksize", "strides", "padding", "data_format")
    return inputs, {name: attributes[name] for name in names if attributes.get(name)}


def _pool_by_inputs(inputs: Sequence[Any], attributes: Attributes) -> Any:
    value, size, strides = inputs
    names = ("padding", "data_format")
    flags = {name: attributes[name] for name in names if attributes.get(name)}
    return [value], {"ksize": size, "strides": strides, **flags}


def _resize(inputs: Sequence[Any], attributes: Attributes) -> Any:
    names = ("align_corners", "half_pixel_centers")
    return inputs, {name: attributes.get(name) or False for name in names}


def _scaled(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs, {
        "kernel_type": attributes.get("kernel_type", "lanczos3"),
        "antialias": attributes.get("antialias", True),
    }


def _plain(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs, {}


def _top(inputs: Sequence[Any], attributes: Attributes) -> Any:
    return inputs, {"sorted": attributes.get("sorted", True)}


LIVE_NODES: dict[str, Recipe] = {
    "Conv2DBackpropInput": ("nn.conv2d_transpose", _transposed),
    "Conv3DBackpropInputV2": ("nn.conv3d_transpose", _transposed),
    "FusedBatchNorm": ("nn.fused_batch_norm", _batch_norm),
    "FusedBatchNormV2": ("nn.fused_batch_norm", _batch_norm),
    "FusedBatchNormV3": ("nn.fused_batch_norm_v3", _batch_norm),
    "MaxPool3D": ("nn.max_pool2d", _pool), "AvgPool3D": ("nn.avg_pool2d", _pool),
    "MaxPoolV2": ("nn.max_pool2d", _pool_by_inputs),
    "ResizeBicubic": ("image.resize_bicubic", _resize),
    "ScaleAndTranslate": ("image.scale_and_translate", _scaled),
    "TopKV2": ("math.top_k", _top),
    "IdentityN": ("identity_n", lambda inputs, attributes: ([list(inputs)], {})),
    **{
        node: (f"math.{function}", _plain)
        for node, function in {
            "Acosh": "acosh", "Asinh": "asinh", "Atanh": "atanh", "Erfc": "erfc",
            "Erfinv": "erfinv", "MulNoNan": "multiply_no_nan", "TruncateMod": "fmod",
            "Xdivy": "xdivy", "Xlogy": "xlogy",
        }.items()
    },
}  # fmt: skip

"""Images: resizing, cropping, flipping, patches, and depth against space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_erf.legacy.operations.arguments import Function, keras_data_format
from keras_erf.legacy.operations.sizes import number
from keras_erf.legacy.operations.sizes import sizes as as_sizes

__all__ = ["FUNCTIONS"]

# TensorFlow's names and numbers of methods, by the name in Keras.

INTERPOLATIONS = {
    "bilinear": "bilinear", "nearest": "nearest", "bicubic": "bicubic", "lanczos3": "lanczos3",
    "lanczos5": "lanczos5", "0": "bilinear", "1": "nearest", "2": "bicubic",
}  # fmt: skip


def _resize(
    images: Any, size: Any, method: Any = "bilinear", preserve_aspect_ratio: bool = False,
    antialias: bool = False, align_corners: bool = False,
) -> Any:  # fmt: skip
    if align_corners:
        raise NotImplementedError("a resize with aligned corners")
    if preserve_aspect_ratio:
        raise NotImplementedError("a resize that keeps the ratio of the sides")
    name = str(method).lower().rpartition(".")[2]
    return ops.image.resize(
        images, as_sizes(size), interpolation=INTERPOLATIONS[name], antialias=bool(antialias),
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
        return _corner_resize(images, as_sizes(size), interpolation)

    return apply


def _resize_v1(
    images: Any,
    size: Any,
    method: Any = "bilinear",
    align_corners: Any = False,
    preserve_aspect_ratio: Any = False,
) -> Any:
    if preserve_aspect_ratio:
        return _resize(images, size, method, preserve_aspect_ratio)
    return _old_resize(INTERPOLATIONS[str(method).lower()])(images, size, align_corners)


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
    return ops.depth_to_space(input, number(block_size), data_format=keras_data_format(data_format))


def _space_to_depth(input: Any, block_size: Any, data_format: Any = "NHWC") -> Any:
    return ops.space_to_depth(input, number(block_size), data_format=keras_data_format(data_format))


def _rgb_to_gray(images: Any) -> Any:
    return ops.image.rgb_to_grayscale(images, data_format="channels_last")


def _extract_patches(
    images: Any, sizes: Any = None, strides: Any = None, rates: Any = None,
    padding: Any = "VALID", ksizes: Any = None,
) -> Any:  # fmt: skip
    size = as_sizes(sizes if ksizes is None else ksizes)
    return ops.image.extract_patches(
        images, size[1:3], strides=as_sizes(strides)[1:3], dilation_rate=as_sizes(rates)[1:3],
        padding=str(padding).lower(), data_format="channels_last",
    )  # fmt: skip


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


FUNCTIONS: dict[str, Function] = {
    "image.resize": _resize,
    "image.resize_v1": _resize_v1,
    "image.resize_bilinear": _old_resize("bilinear"),
    "image.resize_nearest_neighbor": _old_resize("nearest"),
    "image.flip_left_right": lambda image: ops.flip(image, axis=-2),
    "image.flip_up_down": lambda image: ops.flip(image, axis=-3),
    "image.rgb_to_grayscale": _rgb_to_gray,
    "image.adjust_brightness": lambda image, delta: ops.add(image, delta),
    "image.extract_patches": _extract_patches,
    "image.crop_to_bounding_box": _crop,
    "image.central_crop": _central_crop,
    "nn.depth_to_space": _depth_to_space,
    "nn.space_to_depth": _space_to_depth,
}

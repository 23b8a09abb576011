"""Images: cropping, flipping, patches, and depth against space."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_erf.tensorflow_operations.arguments import Function, keras_data_format
from keras_erf.tensorflow_operations.sizes import number
from keras_erf.tensorflow_operations.sizes import sizes as as_sizes

__all__ = ["FUNCTIONS"]


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

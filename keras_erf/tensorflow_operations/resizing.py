"""Resizing of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_erf.tensorflow_operations.arguments import Function
from keras_erf.tensorflow_operations.sizes import sizes

__all__ = ["FUNCTIONS"]

# TensorFlow's names and numbers of methods, by the name in Keras.
INTERPOLATIONS = {
    "bilinear": "bilinear", "nearest": "nearest", "bicubic": "bicubic", "lanczos3": "lanczos3",
    "lanczos5": "lanczos5", "0": "bilinear", "1": "nearest", "2": "bicubic",
}  # fmt: skip
# Kernels by which an image is scaled, which TensorFlow uses where it averages.
KERNELS = {
    "lanczos3": "lanczos3", "lanczos5": "lanczos5", "triangle": "bilinear", "keyscubic": "bicubic",
}  # fmt: skip


def _resize(
    images: Any, size: Any, method: Any = "bilinear", preserve_aspect_ratio: bool = False,
    antialias: bool = False,
) -> Any:  # fmt: skip
    name = INTERPOLATIONS[str(method).lower().rpartition(".")[2]]
    if preserve_aspect_ratio:
        raise NotImplementedError("a resize that keeps the ratio of the sides")
    return ops.image.resize(
        images, sizes(size), interpolation=name, antialias=bool(antialias),
        data_format="channels_last",
    )  # fmt: skip


def _old_resize(interpolation: str) -> Function:
    def apply(
        images: Any, size: Any, align_corners: Any = False, half_pixel_centers: Any = False
    ) -> Any:
        if half_pixel_centers:
            return _resize(images, size, interpolation)
        return _by_places(images, sizes(size), interpolation, aligned=bool(align_corners))

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


def _by_places(images: Any, size: Sequence[int], interpolation: str, *, aligned: bool) -> Any:
    """The resizes of TensorFlow 1, which measure from corners of pixels, or from outer centres."""
    if interpolation not in ("bilinear", "nearest"):
        raise NotImplementedError(f"a resize by {interpolation} interpolation of TensorFlow 1")
    for axis, wanted in zip((1, 2), size, strict=True):
        length = images.shape[axis]
        if length == wanted:
            continue
        scale = (length - 1) / (wanted - 1) if aligned and wanted > 1 else length / wanted
        places = (np.arange(wanted, dtype="float32") * np.float32(scale)).astype("float32")
        if interpolation == "nearest":
            nearest = np.floor(places + 0.5) if aligned else np.floor(places)
            images = ops.take(images, np.minimum(nearest.astype(int), length - 1), axis=axis)
            continue
        low = np.minimum(np.floor(places).astype(int), length - 1)
        share = (
            (places - low).astype("float32").reshape([-1 if one == axis else 1 for one in range(4)])
        )
        before, after = (
            ops.take(images, np.minimum(low + more, length - 1), axis=axis) for more in (0, 1)
        )
        # Where a share is zero, as all are between aligned pixels, one of them is not seen.
        images = ops.add(ops.multiply(before, 1 - share), ops.multiply(after, share))
    return images


def _scaled(
    images: Any, size: Any, scale: Any, translation: Any, kernel_type: str, antialias: bool
) -> Any:
    wanted, lengths = sizes(size), images.shape[1:3]
    full = [new / old for new, old in zip(wanted, lengths, strict=True)]
    if kernel_type not in KERNELS or np.any(translation) or not np.allclose(scale, full):
        raise NotImplementedError("an image that is moved, or scaled by another kernel")
    return ops.image.resize(
        images, wanted, interpolation=KERNELS[kernel_type], antialias=bool(antialias),
        data_format="channels_last",
    )  # fmt: skip


FUNCTIONS: dict[str, Function] = {
    "image.resize": _resize,
    "image.resize_v1": _resize_v1,
    "image.resize_bicubic": _old_resize("bicubic"),
    "image.resize_bilinear": _old_resize("bilinear"),
    "image.resize_nearest_neighbor": _old_resize("nearest"),
    "image.scale_and_translate": _scaled,
}

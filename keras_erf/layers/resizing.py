"""Resizing of images, and centre crops, which resize images that are too small."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from keras_erf.algebra.geometry import Window
from keras_erf.algebra.views import AnyView, Link, View
from keras_erf.dependence.axes import spatial_axes
from keras_erf.dependence.call import Call
from keras_erf.dependence.chaining import chained
from keras_erf.dependence.measured import measured
from keras_erf.dependence.simple import UNBATCHED, refused
from keras_erf.layers.conditions import in_one_tensor
from keras_erf.layers.entry import Entry
from keras_erf.layers.interpolation import KERNELS, per_axis, resampled
from keras_erf.layers.operation_parts import resampled_on_part
from keras_erf.layers.padding import framed_squares
from keras_erf.layers.recipes import Recipe, SquareSite, space_of
from keras_erf.layers.upsampling import upsampling_squares
from keras_erf.layers.windows import as_layer

__all__ = ["ENTRIES"]

uncropped = refused("Keras hands the image on uncropped when not training, against its own shape")


def resizing(call: Call) -> tuple[AnyView, ...]:
    """Resizing by any interpolation, to a part of the image or to one with a border."""
    layer, shape = call.layer, call.inputs[0]
    if len(shape) != 3:
        return UNBATCHED(call)
    size = _image_size(call)
    wanted = (layer.height, layer.width)
    if layer.crop_to_aspect_ratio:
        return part_resized(call, largest_part(size, wanted))
    if layer.pad_to_aspect_ratio:
        # As much after the image as before it, even where that is one pixel short.
        border = [more // 2 for more in _missing(size, wanted)]
        return part_resized(call, [n + 2 * more for n, more in zip(size, border, strict=True)])
    return _resized(call)


def center_crop(call: Call) -> tuple[AnyView, ...]:
    """The middle of the image; of an image too small, the largest part of that shape, resized."""
    layer, shape = call.layer, call.inputs[0]
    if len(shape) != 3:
        return UNBATCHED(call)
    size, wanted = _image_size(call), (layer.height, layer.width)
    extra = [own - kept for own, kept in zip(size, wanted, strict=True)]
    if min(extra) >= 0:
        return (shifted(call, [more // 2 for more in extra]),)
    return part_resized(call, largest_part(size, wanted))


def random_crop(call: Call) -> tuple[AnyView, ...]:
    """Nothing is cropped but in training."""
    same = call.inputs == call.outputs
    return (shifted(call, [0, 0]),) if same else uncropped(call)


def shifted(call: Call, starts: Iterable[int]) -> View:
    """A view of a part of the image (a start below zero: of the image with a border)."""
    links = [Link(axis) for axis in range(3)]
    for axis, start in zip(spatial_axes(call.layer, 3), starts, strict=True):
        links[axis] = Link(axis, Window(padding=-start))
    return View(tuple(links))


def _image_size(call: Call) -> tuple[int, ...]:
    return tuple(call.inputs[0][axis] for axis in spatial_axes(call.layer, 3))


def _resized(call: Call) -> tuple[AnyView, ...]:
    """The views of a resize and nothing else."""
    how = getattr(call.layer, "interpolation", "bilinear")
    if call.inputs == call.outputs:
        # TensorFlow hands it on untouched, whatever the interpolation.
        return (shifted(call, [0, 0]),)
    if how not in (*KERNELS, "area", "nearest"):
        return measured(call)
    smooth = getattr(call.layer, "antialias", False)
    return (per_axis(call, lambda n, m: resampled(n, m, how, antialias=smooth)),)


def part_resized(call: Call, sizes: Sequence[int]) -> tuple[AnyView, ...]:
    """The middle of the image (of larger `sizes`: the image with a border), resized."""
    starts = [(own - part) // 2 for own, part in zip(_image_size(call), sizes, strict=True)]
    between = list(call.inputs[0])
    for axis, size in zip(spatial_axes(call.layer, 3), sizes, strict=True):
        between[axis] = size
    resize = _resized(replace(call, inputs=(tuple(between),)))
    # What is outside of the part that was cut out is not seen.
    clipped = [
        replace(one, links=tuple(replace(link, clip=True) for link in one.links))
        for one in resize
        if isinstance(one, View)
    ]
    return chained([shifted(call, starts)], tuple(between), clipped or resize)


def largest_part(size: Sequence[int], wanted: tuple[int, int]) -> tuple[int, int]:
    """Sizes of the largest part of the image with the proportions of `wanted`, rounded down."""
    (height, width), (rows, columns) = size, wanted
    return (
        max(min(height, width * rows // columns), 1),
        max(min(width, height * columns // rows), 1),
    )


def _missing(size: Sequence[int], wanted: tuple[int, int]) -> tuple[int, int]:
    """Pixels the image lacks along each axis for the proportions of `wanted`, rounded down."""
    (height, width), (rows, columns) = size, wanted
    return max(width * rows // columns - height, 0), max(height * columns // rows - width, 0)


def resize(call: Call) -> tuple[AnyView, ...]:
    """Resizing of images, as the layer."""
    height, width = call.layer.size
    return resizing(as_layer(call, height=height, width=width))


def center_crop_squares(site: SquareSite) -> Recipe | None:
    """Crops; of an image too small, which is resized, the squares are measured."""
    pairs = zip(space_of(site), (site.layer.height, site.layer.width), strict=True)
    return framed_squares(site) if all(own >= kept for own, kept in pairs) else None


ENTRIES = (
    Entry(
        layers="Resizing",
        dependence=resizing,
        part=resampled_on_part,
        squares=upsampling_squares,
        affine=in_one_tensor,
    ),
    Entry(operations="Resize", dependence=resize, part=resampled_on_part, affine=in_one_tensor),
    Entry(
        layers="CenterCrop",
        dependence=center_crop,
        squares=center_crop_squares,
        affine=in_one_tensor,
    ),
    Entry(layers="RandomCrop", dependence=random_crop),
)

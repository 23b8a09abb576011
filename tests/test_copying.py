"""Squares of operations that copy entries, against Jacobians and samples of random networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_erf as erf
from keras_erf.fields.supports import support
from keras_erf.fields.tracing import Tracing
from keras_erf.graph import build_graph
from keras_erf.layers.copying import copied_squares
from keras_erf.layers.recipes import SquareSite
from keras_erf.layers.table import TABLE
from keras_erf.signals.signal_moments import drawn
from tests import jacobian
from tests.releases import ops

# Operations on two tensors of shape (4, 4, 2), of which the second may be left out.
COPIES: dict[str, Callable[[Any, Any], Any]] = {
    "Append": lambda x, y: ops.append(x, y, axis=1),
    "ArraySplit": lambda x, _: ops.array_split(x, 3, axis=1)[1] * 1.0,
    "CropImages": lambda x, _: ops.image.crop_images(x, 1, 0, 1, 0),
    "Diagonal": lambda x, _: ops.swapaxes(ops.diagonal(x, 1, axis1=1, axis2=2), 1, 2),
    "Dsplit": lambda x, _: ops.dsplit(x, 2)[1] * 1.0,
    "Dstack": lambda x, y: ops.dstack([x, y]),
    "ExtractSequences": lambda x, _: ops.extract_sequences(x[:, :, 0, 0], 2, 1),
    "Fliplr": lambda x, _: ops.fliplr(x),
    "Hsplit": lambda x, _: ops.hsplit(x, 2)[1] * 1.0,
    "Hstack": lambda x, y: ops.hstack([x, y]),
    "Pad": lambda x, _: ops.pad(x, ((0, 0), (1, 2), (1, 0), (0, 0))),
    "PadImages": lambda x, _: ops.image.pad_images(x, 1, 1, 1, 0),
    "Rearrange": lambda x, _: ops.rearrange(x, "b (h p) w c -> b h w (p c)", p=2),
    "Rot90": lambda x, _: ops.rot90(x, axes=(1, 2)),
    "SliceUpdate": lambda x, y: ops.slice_update(x, (0, 1, 1, 0), y[:, :3, :3]),
    "Stack": lambda x, y: ops.stack([x, y], axis=2),
    "Tile": lambda x, _: ops.tile(x, (1, 2, 1, 1)),
    "Tril": lambda x, _: ops.tril(x),
    "Triu": lambda x, _: ops.triu(x, -2),
}
SIZE = (4, 4, 2)


def built(name: str) -> keras.Model:
    """One operation on a convolution of the image and on another one, four times as strong."""
    with jacobian.precision():
        x = keras.Input(SIZE)
        one, other = (layers.Conv2D(2, 1, use_bias=False)(x) for _ in range(2))
        model = keras.Model(x, COPIES[name](one, other))
    model.layers[-2].set_weights([2 * weight for weight in model.layers[-2].get_weights()])
    return model


def squares_of_jacobian(model: keras.Model, unit: tuple[int, ...]) -> np.ndarray:
    """Sum over the unit's channels, mean over the input's, of the Jacobian's squares."""
    x = tf.constant(np.random.default_rng(1).normal(size=(1, *SIZE)), model.inputs[0].dtype)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = model(x)[(0, *unit)]
    rows = tape.jacobian(y, x, experimental_use_pfor=False).numpy()[:, 0]
    return np.square(rows).sum(axis=0).mean(axis=-1)


# TensorFlow has no gradient of updated slices; Keras rearranges a batch of definite size only.
@pytest.mark.parametrize("name", sorted(set(COPIES) - {"SliceUpdate", "Rearrange"}))
def test_squares_of_copies_are_those_of_the_jacobian(name):
    model = built(name)
    found = erf.expected(model, weights="given")
    wanted = squares_of_jacobian(model, found.unit)
    np.testing.assert_allclose(found.map, wanted, rtol=1e-12)
    assert found.provenance["expected"]["measured"] == []


def test_squares_of_a_centre_crop_that_enlarges_are_measured():
    """It interpolates: squares are those of the weights, which are below them."""
    x = keras.Input(SIZE)
    model = keras.Model(x, layers.CenterCrop(7, 9)(layers.Conv2D(2, 1, use_bias=False)(x)))
    found = erf.expected(model, weights="given")
    wanted = squares_of_jacobian(model, found.unit)
    assert found.map.sum() == pytest.approx(wanted.sum(), rel=0.3)
    assert found.provenance["expected"]["measured"] == [model.layers[-1].name]


@pytest.mark.parametrize("name", COPIES)
def test_signals_of_copies_are_as_strong_as_samples(name):
    inputs = [keras.Input(SIZE, batch_size=2) for _ in range(2)]
    graph = build_graph(keras.Model(inputs, COPIES[name](*inputs)))
    node = next(node for node in graph.nodes if node.kind == f"ops.{name}")
    call = Tracing(graph, 0).call(node)
    signals = tuple(drawn(4.0**place, 0.0, (place,)) for place in range(len(call.inputs)))
    site = SquareSite(
        call=call, node=node, signals=signals, reached=(0,), channels=len(call.output) - 1,
        narrow=False, weights="random", training=False, key=(7,),
    )  # fmt: skip
    random = np.random.default_rng(0)
    draws = [
        call.run(
            [
                2.0**place * random.standard_normal((2, *shape)).astype("float32")
                for place, shape in enumerate(call.inputs)
            ]
        )
        for _ in range(200)
    ]
    for place, signal in enumerate(copied_squares(site).signals):
        wanted = np.square([np.asarray(draw[place]) for draw in draws]).mean()
        assert signal.second == pytest.approx(wanted, rel=0.05)


def test_means_fall_with_the_zeros_between_copies():
    """Zeros along the channels leave some whole, zeros over space weaken all of them."""
    for pads, share, shared in (((0, 0, 2), 0.5, 0.5), ((4, 0, 0), 0.5, 0.25)):
        x = keras.Input(SIZE)
        padding = [(0, 0), *((0, more) for more in pads)]
        graph = build_graph(keras.Model(x, ops.pad(x, padding)))
        (node,) = graph.nodes
        site = SquareSite(
            call=Tracing(graph, 0).call(node), node=node, signals=(drawn(1.0, 0.6, (0,)),),
            reached=(0,), channels=2, narrow=False, weights="random", training=False, key=(7,),
        )  # fmt: skip
        (made,) = copied_squares(site).signals
        assert made.second == pytest.approx(share)
        assert made.shared == pytest.approx(0.6 * shared)


def test_every_operation_that_copies_has_a_case():
    copying = {
        str(kind).removeprefix("ops.")
        for kind, entry in TABLE.items()
        if isinstance(kind, str) and entry.squares is copied_squares
    }
    # These move samples, or are in `test_expected` and `test_operation_rules`.
    samples = {"Flipud", "Ravel", "Vsplit", "Vstack"}
    elsewhere = {
        "DepthToSpace", "ExpandDims", "Flip", "GetItem", "Moveaxis", "Repeat", "Reshape", "Roll",
        "SpaceToDepth", "Split", "Squeeze", "Swapaxes", "Transpose", "Unstack",
    }  # fmt: skip
    assert copying - samples - elsewhere <= set(COPIES)


def test_what_is_known_stays_known_behind_copies():
    """Scores far below all others have no weight in a softmax, wherever a copy puts them."""
    x = keras.Input((1, 8, 1))
    low = np.where(np.arange(8) < 5, -1e9, 0.0).reshape(1, 1, 8, 1).astype("float32")
    for copy in (
        lambda y: ops.fliplr(ops.swapaxes(y, 1, 2)),
        lambda y: ops.tile(y, (1, 2, 1, 1)),
        lambda y: ops.hsplit(ops.swapaxes(y, 1, 2), 2)[1],
    ):
        made = copy(x + low)
        along = 2 if made.shape[2] > 1 else 1
        graph = build_graph(keras.Model(x, ops.softmax(made, axis=along)))
        unit = (0, 7) if along == 2 else (0, 0) if made.shape[1] == 8 else (3, 0)
        seen = support(Tracing(graph, 0), graph.outputs[0], unit, through_global=True)
        assert np.argwhere(seen)[:, 1].tolist() == [5, 6, 7]

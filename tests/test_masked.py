"""Kernels, matrices and scores with zeros in them, against hand-worked fields and changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_erf
from keras_erf import check, probe, receptive_field
from tests import jacobian, perturbation

Taps = set[tuple[int, int]]

# Steps of the attention below.
STEPS = 6
CAUSAL = np.tri(STEPS, dtype=bool)
OPEN = CAUSAL.astype("float32")
BAND = abs(np.arange(STEPS)[:, None] - np.arange(STEPS)) <= 1


# --- Stacks of masked convolutions (van den Oord et al. 2016, "Pixel Recurrent Neural Networks") --


def pixel_mask(kind: str) -> np.ndarray:
    """The 3x3 mask of type A (what comes before a pixel), or B (the pixel, too)."""
    return np.array([[1, 1, 1], [1, kind == "B", 0], [0, 0, 0]], dtype="float32")


class Multiplied(layers.Layer):
    """A convolution whose kernel is multiplied by a mask as it runs."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__(**options)
        self.mask = pixel_mask(kind)[..., None, None]

    def build(self, shape):
        self.kernel = self.add_weight(shape=(3, 3, shape[-1], 4))
        self.bias = self.add_weight(shape=(4,))

    def call(self, x):
        return ops.relu(ops.conv(x, self.kernel * self.mask, padding="same") + self.bias)


class Written(Multiplied):
    """The same in TensorFlow."""

    def call(self, x):
        return tf.nn.relu(tf.nn.conv2d(x, self.kernel * self.mask, 1, "SAME") + self.bias)


class Inherited(layers.Conv2D):
    """The same by a subclass of Keras's layer."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__(4, 3, padding="same", activation="relu", **options)
        self.mask = pixel_mask(kind)[..., None, None]

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel * self.mask)


class Assigning(layers.Layer):
    """The layer of Keras's own example: it masks the kernel of another one, then runs it."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__(**options)
        self.mask = pixel_mask(kind)[..., None, None]
        self.conv = layers.Conv2D(4, 3, padding="same", activation="relu")

    def build(self, shape):
        self.conv.build(shape)

    def call(self, x):
        self.conv.kernel.assign(self.conv.kernel * self.mask)
        return self.conv(x)


def assigned(kind: str, name: str) -> Callable[[Any], Any]:
    """A plain layer whose kernel is masked once."""
    layer = layers.Conv2D(4, 3, padding="same", activation="relu", name=name)

    def apply(x: Any) -> Any:
        made = layer(x)
        layer.kernel.assign(layer.kernel * pixel_mask(kind)[..., None, None])
        return made

    return apply


def taps_of(depth: int) -> Taps:
    """Offsets that a stack sees, one mask after the other: the first of type A, the others B."""
    seen = {(0, 0)}
    for number in range(depth):
        taps = np.argwhere(pixel_mask("B" if number else "A")) - 1
        seen = {(row + down, column + right) for row, column in seen for down, right in taps}
    return seen


def stack(make: Callable[..., Any], depth: int, size: int = 14) -> keras.Model:
    x = y = keras.Input((size, size, 2))
    for number in range(depth):
        y = make("B" if number else "A", name=f"masked{number}")(y)
    return keras.Model(x, y)


MAKERS = {
    "multiplied": (Multiplied, "exact"),
    "written": (Written, "exact"),
    "inherited": (Inherited, "exact"),
    "assigning": (Assigning, "exact"),
    "assigned": (assigned, "exact"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_stack_of_masked_convolutions(name):
    make, status = MAKERS[name]
    depth = 3
    model = stack(make, depth, 12)
    field = receptive_field(model, unit=(8, 6))
    expected = np.zeros(field.input_size, dtype=bool)
    for down, right in taps_of(depth):
        expected[8 + down, 6 + right] = True
    np.testing.assert_array_equal(field.support(), expected)
    assert (field.size, field.status) == ((depth + 1, 2 * depth + 1), status)
    # The box has one row above for each layer and none below; type A leaves its own pixel out.
    assert field.box() == ((8 - depth, 9), (6 - depth, 7 + depth))
    assert check(model, unit=(8, 6)).verdict == "pass"
    for cone in (True, False):
        result = probe(model, unit=(8, 6), samples=16, cone=cone, seed=1)
        np.testing.assert_array_equal(result.map > 0, expected)
    result = keras_erf.expected(model, unit=(8, 6))
    assert not (result.map[~expected] > 1e-9 * result.map.max()).any()


def test_one_mask_of_five_taps():
    x = keras.Input((9, 9, 1))
    field = receptive_field(keras.Model(x, Multiplied("B")(x)), unit=(4, 4))
    assert np.argwhere(field.support()).tolist() == [[3, 3], [3, 4], [3, 5], [4, 3], [4, 4]]
    assert (field.size, field.padding, field.status) == ((2, 3), (1, 1), "exact")


# --- Any kernel, with zeros assigned -----------------------------------------------------------

KERNELS = {
    "Conv1D": (lambda: layers.Conv1D(2, 5, dilation_rate=2), (15, 2)),
    "Conv2D": (lambda: layers.Conv2D(2, (3, 5), strides=2), (11, 11, 2)),
    "grouped": (lambda: layers.Conv2D(2, 3, groups=2, padding="same"), (7, 6, 2)),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(3, padding="same"), (7, 7, 2)),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(2, 3, padding="same"), (7, 7, 2)),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(2, 3, 2, padding="same"), (5, 5, 2)),
    "Conv1DTranspose": (lambda: layers.Conv1DTranspose(2, 4, 3), (5, 2)),
    "Conv3D": (lambda: layers.Conv3D(1, (2, 3, 2)), (4, 4, 4, 1)),
    "Dense": (lambda: layers.Dense(5), (3, 6)),
    "EinsumDense": (lambda: layers.EinsumDense("bic,ij->bjc", (5, 3)), (6, 3)),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", KERNELS)
def test_zeros_that_were_assigned(name, seed):
    make, shape = KERNELS[name]
    with jacobian.precision():
        layer, x = make(), keras.Input(shape)
        channels = name == "Dense"
        # What a dense layer mixes are channels, until they are made positions.
        model = keras.Model(x, layers.Permute((2, 1))(layer(x)) if channels else layer(x))
        jacobian.make_positive(model)
        kernel = getattr(layer, "depthwise_kernel", getattr(layer, "kernel", None))
        taps = tuple(kernel.shape[:-2]) or tuple(kernel.shape)
        mask = np.random.default_rng(seed).random(taps) < 0.5
        mask[(0,) * mask.ndim] = True
        mask[(-1,) * mask.ndim] = False
        kernel.assign(kernel * mask.reshape(*taps, *[1] * (len(kernel.shape) - len(taps))))
        (changed,) = perturbation.dependence(lambda values: [model(values[0])], [shape], draws=1)
        graph = keras_erf.fields.theoretical.tracing_of(model)
        tensor = graph.graph.outputs[0]
        for unit in np.ndindex(*changed.shape[: len(shape)]):
            seen = np.zeros(changed.shape[: len(shape)], dtype=bool)
            seen[unit] = True
            masks = seen_by(graph, tensor, seen)
            expected = changed[unit].any(axis=-1) if not channels else changed[unit]
            np.testing.assert_array_equal(
                masks.any(axis=-1) if not channels else masks, expected, err_msg=f"{unit}"
            )


def seen_by(tracing: Any, tensor: int, seen: np.ndarray) -> np.ndarray:
    """The mask of the input that a mask of a tensor's elements sees."""
    masks = {tensor: seen}
    for node in reversed(tracing.ancestors(tensor)):
        for view in tracing.dependences.of(node):
            made, source = node.outputs[view.output], node.inputs[view.input]
            if made in masks:
                mask = view.mask(masks[made], tracing.shape(made), tracing.shape(source))
                masks[source] = mask | masks[source] if source in masks else mask
    shape = tracing.shape(tracing.input)
    return np.broadcast_to(masks.get(tracing.input, np.zeros(shape, dtype=bool)), shape)


def test_a_kernel_that_is_zero_throughout_is_not_trained_yet():
    x = keras.Input((9, 9, 2))
    layer = layers.Conv2D(2, 3, kernel_initializer="zeros")
    model = keras.Model(x, layer(x))
    assert receptive_field(model).size == (3, 3)
    assert check(model).verdict == "pass"


def test_zeros_of_weights_that_will_change_do_not_count():
    x = keras.Input((9, 9, 2))
    layer = layers.Conv2D(2, 3)
    model = keras.Model(x, layer(x))
    layer.kernel.assign(layer.kernel * pixel_mask("B")[..., None, None])
    locate = keras_erf.fields.theoretical.locate
    assert locate(model).receptive_field.size == (2, 3)
    assert locate(model, assigned=False).receptive_field.size == (3, 3)


# --- Tokens: masked matrices and masked scores ------------------------------------------------


class Mixing(layers.Layer):
    """Steps mixed by a matrix with zeros, in one of several forms."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def build(self, shape):
        self.matrix = self.add_weight(shape=(STEPS, STEPS))
        self.open = self.add_weight(shape=(STEPS, STEPS), trainable=False, initializer="ones")
        self.open.assign(OPEN)

    def call(self, x):
        w = self.matrix
        forms = {
            "tril, einsum": lambda: ops.einsum("ij,bjc->bic", ops.tril(w), x),
            "product, matmul": lambda: ops.matmul(w * OPEN, x),
            "variable, matmul": lambda: ops.matmul(w * self.open, x),
            "rectified, matmul": lambda: ops.matmul(ops.relu(w) * OPEN, x),
            "where, matmul": lambda: ops.matmul(ops.where(CAUSAL, w, 0.0), x),
            "triu, transposed": lambda: ops.transpose(
                ops.matmul(ops.transpose(x, (0, 2, 1)), ops.triu(w)), (0, 2, 1)
            ),
            "every pair": lambda: ops.sum(
                ops.expand_dims(x, 1) * ops.expand_dims(w * OPEN, -1), axis=2
            ),
        }
        return forms[self.form]()


FORMS = [
    "tril, einsum",
    "product, matmul",
    "variable, matmul",
    "rectified, matmul",
    "where, matmul",
    "triu, transposed",
    "every pair",
]


@pytest.mark.parametrize("form", FORMS)
def test_a_masked_matrix_over_steps(form):
    x = keras.Input((STEPS, 3))
    model = keras.Model(x, Mixing(form)(x))
    field = receptive_field(model)
    assert field.status == "exact"
    for unit in range(STEPS):
        np.testing.assert_array_equal(field.support((unit,)), CAUSAL[unit])
        assert field.box((unit,)) == ((0, unit + 1),)
    assert check(model, unit=(2,)).verdict == "pass"


class Attending(layers.Layer):
    """Attention written by hand, its scores masked in one of several forms."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def build(self, shape):
        self.kernels = [self.add_weight(shape=(shape[-1], 4)) for _ in range(3)]

    def call(self, x):
        query, key, value = (ops.matmul(x, kernel) for kernel in self.kernels)
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 1))) / 2
        closed = 1 - OPEN
        forms = {
            "added": lambda: ops.softmax(scores + closed * -1e9),
            "subtracted": lambda: ops.softmax(scores - 1e9 * ops.cast(closed, scores.dtype)),
            "infinite": lambda: ops.softmax(ops.where(CAUSAL, scores, -np.inf)),
            "both": lambda: ops.softmax(scores * OPEN - 1e10 * closed),
            "of the scores": lambda: ops.softmax(
                ops.where(ops.tril(ops.ones_like(scores)) > 0, scores, -1e9)
            ),
            "layer": lambda: layers.Softmax()(scores, mask=CAUSAL),
            "by hand": lambda: exponential(scores + closed * -1e9),
            "band": lambda: ops.softmax(scores + np.where(BAND, 0, -1e9).astype("float32")),
            "after": lambda: ops.softmax(scores) * OPEN,
        }
        return ops.matmul(forms[self.form](), value)


def exponential(scores: Any) -> Any:
    powers = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True))
    return powers / ops.sum(powers, axis=-1, keepdims=True)


# Behind the softmax a mask is too late: its sum is over all scores.
SCORES = {
    **dict.fromkeys(
        ("added", "subtracted", "infinite", "both", "of the scores", "layer", "by hand"), CAUSAL
    ),
    "band": BAND,
    "after": np.ones_like(CAUSAL),
}


@pytest.mark.parametrize("form", SCORES)
def test_masked_scores(form):
    with jacobian.precision():
        x = keras.Input((STEPS, 3))
        model = keras.Model(x, Attending(form)(x))
        field = receptive_field(model)
        assert field.status in ("exact", "whole")
        (changed,) = perturbation.dependence(
            lambda values: [model(values[0])], [(STEPS, 3)], draws=2, draw=perturbation.normal
        )
        changed = changed.any(axis=(1, 3))
        np.testing.assert_array_equal(changed, SCORES[form])
        for unit in range(STEPS):
            np.testing.assert_array_equal(field.support((unit,)), changed[unit])
        if form in ("infinite", "of the scores", "by hand"):
            assert check(model, unit=(2,)).verdict == "pass"


class Windows(layers.Layer):
    """Attention in 4 windows of 4 tokens and 2 heads, shifted: masks differ by window.

    Reference: Liu et al. 2021, "Swin Transformer", figure 4.
    """

    def build(self, shape):
        self.kernels = [self.add_weight(shape=(shape[-1], 6)) for _ in range(3)]
        self.bias = self.add_weight(shape=(2, 4, 4))
        rows, columns = np.indices((2, 2)).reshape(2, 4)
        across = [(rows[:, None] != rows), (columns[:, None] != columns)]
        self.closed = np.zeros((4, 4, 4), dtype=bool)
        self.closed[1], self.closed[2], self.closed[3] = *across, across[0] | across[1]

    def call(self, x):
        query, key, value = (
            ops.transpose(ops.reshape(ops.matmul(x, kernel), (-1, 4, 4, 2, 3)), (0, 1, 3, 2, 4))
            for kernel in self.kernels
        )
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 2, 4, 3))) + self.bias
        scores = scores + (self.closed * -1e9).astype("float32")[None, :, None]
        mixed = ops.transpose(ops.matmul(ops.softmax(scores), value), (0, 1, 3, 2, 4))
        return ops.reshape(mixed, (-1, 4, 4, 6))


def test_shifted_windows():
    x = keras.Input((4, 4, 3))
    layer = Windows(name="windows")
    model = keras.Model(x, layer(x))
    field = receptive_field(model)
    assert field.status == "exact"
    for window, token in np.ndindex(4, 4):
        expected = np.zeros((4, 4), dtype=bool)
        expected[window] = ~layer.closed[window, token]
        np.testing.assert_array_equal(field.support((window, token)), expected)
    assert check(model, unit=(3, 1)).verdict == "pass"


@pytest.mark.parametrize(
    "options", [{"use_causal_mask": True}, {"attention_mask": CAUSAL[None]}, {"constant": True}]
)
def test_masks_of_keras_attention(options):
    x = keras.Input((STEPS, 4))
    attend = layers.MultiHeadAttention(2, 2)
    if "constant" in options:
        options = {"attention_mask": ops.tril(ops.ones_like(ops.matmul(x, ops.swapaxes(x, 1, 2))))}
    model = keras.Model(x, attend(x, x, **options))
    field = receptive_field(model)
    assert field.status == "exact"
    for unit in range(STEPS):
        assert field.box((unit,)) == ((0, unit + 1),)


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_masks_of_the_attention_operation(name):
    x = keras.Input((STEPS, 2, 4))
    given = {"mask": CAUSAL[None, None], "bias": np.where(CAUSAL, 0, -1e9)[None, None]}[name]
    given = given.astype("float32" if name == "bias" else bool)
    model = keras.Model(x, ops.dot_product_attention(x, x, x, **{name: given}))
    field = receptive_field(model)
    for unit in range(STEPS):
        np.testing.assert_array_equal(field.support((unit, 0))[:, 0], CAUSAL[unit])


def test_a_map_times_a_mask():
    holes = np.ones((7, 6, 1), dtype="float32")
    holes[2:4, 3] = 0
    x = keras.Input((7, 6, 2))
    y = layers.AveragePooling2D(3, 1, padding="same")(x * holes)
    field = receptive_field(keras.Model(x, y))
    for unit in np.ndindex(7, 6):
        expected = np.zeros((7, 6), dtype=bool)
        row, column = unit
        expected[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
        np.testing.assert_array_equal(field.support(unit), expected & (holes[..., 0] > 0))


def test_the_model_and_its_random_state_are_left_alone():
    model = stack(Assigning, 1)
    before = [np.array(one) for one in model.variables]
    receptive_field(model)
    check(model)
    for kept, now in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(kept, now)

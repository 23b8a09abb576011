"""Models of every kind of call, and what tests of graphs and copies do with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

CHANGED = (
    "Keras {version} no longer has what keras_erf/graph/ reads: {what}. Adapt that package, the "
    "only one that touches Keras's private structures"
)


def changed(what: str) -> str:
    return CHANGED.format(version=keras.__version__, what=what)


def block(filters: int, name: str) -> keras.Sequential:
    return keras.Sequential(
        [
            keras.Input((None, None, 2)),
            layers.Conv2D(filters, 3, padding="same", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
        ],
        name=name,
    )


def chain() -> keras.Model:
    return keras.Sequential(
        [keras.Input((6, 5, 2), name="image"), block(3, "inner"), layers.Conv2D(2, 2, name="last")],
        name="outer",
    )


def nested() -> keras.Model:
    x = keras.Input((6, 5, 2), name="image")
    deep = keras.Input((None, None, 2))
    middle = keras.Model(deep, layers.Conv2D(2, 1, name="out")(block(2, "deep")(deep)), name="mid")
    return keras.Model(x, layers.Add(name="sum")([x, middle(x)]))


def shared_layer() -> keras.Model:
    x = keras.Input((6, 5, 2), name="image")
    conv = layers.Conv2D(2, 3, padding="same", name="conv")
    return keras.Model(x, layers.Add(name="sum")([x, conv(layers.ReLU(name="relu")(conv(x)))]))


def shared_model() -> keras.Model:
    first, second = keras.Input((6, 5, 2), name="first"), keras.Input((6, 5, 2), name="second")
    tower = block(3, "tower")
    return keras.Model(
        [first, second], layers.Subtract(name="minus")([tower(first), tower(second)])
    )


def by_name() -> keras.Model:
    """A nested model that is given its inputs by name, in another order than its own."""
    a, b = keras.Input((4, 1), name="a"), keras.Input((4, 1), name="b")
    inner = keras.Model([b, a], layers.Subtract()([b, layers.Conv1D(1, 2, padding="same")(a)]))
    p, q = keras.Input((4, 1), name="p"), keras.Input((4, 1), name="q")
    return keras.Model([p, q], inner({"a": p, "b": q}))


def by_key() -> keras.Model:
    """A model with named inputs and outputs."""
    x, gate = keras.Input((6, 5, 2), name="z"), keras.Input((2,), name="gate")
    y = layers.Multiply()([layers.Conv2D(2, 3)(x), gate])
    return keras.Model({"z": x, "gate": gate}, {"one": y, "two": layers.ReLU()(y)})


def operations() -> keras.Model:
    x = keras.Input((6, 5, 2))
    y = 2.0 - ops.relu(x * 0.5 + x) / 3
    y = ops.maximum(y, ops.sigmoid(layers.Conv2D(2, 3, padding="same")(x)))
    return keras.Model(x, ops.concatenate([y, x], axis=-1) ** 2)


def keywords() -> keras.Model:
    """Tensors passed by keyword, and a layer that gets several."""
    x = keras.Input((6, 4))
    context = layers.Dense(4, name="context")(x)
    y = layers.MultiHeadAttention(2, 3, name="attention")(x, value=context, key=x)
    return keras.Model(x, layers.Add()([y, x]))


def several_outputs() -> keras.Model:
    x = keras.Input((6, 4))
    first, second = ops.split(layers.Conv1D(6, 3)(x), 2, axis=-1)
    inner_x = keras.Input((4, 3))
    inner = keras.Model(inner_x, [layers.Conv1D(2, 1)(inner_x), layers.Conv1D(2, 2)(inner_x)])
    return keras.Model(x, [first, *inner(second)])


def from_the_middle() -> keras.Model:
    """A model that starts and ends inside another one."""
    whole = nested()
    return keras.Model(whole.get_layer("sum").input, whole.output)


def padded() -> keras.Model:
    """Masks travel with the tensors."""
    x = keras.Input((6,), dtype="int32")
    y = layers.Embedding(5, 3, mask_zero=True)(x)
    return keras.Model(x, layers.GlobalAveragePooling1D()(y))


def mixed() -> keras.Model:
    x = keras.Input((6, 5, 2))
    y = layers.Conv2D(3, 3, dtype="mixed_float16")(x)
    return keras.Model(x, layers.Conv2D(2, 2, dtype="float32")(y))


def several_calls() -> keras.Model:
    """A nested model with arguments of its own at the call."""
    x = keras.Input((6, 5, 2))
    inner = block(2, "inner")
    return keras.Model(x, layers.Add()([inner(x, training=False), inner(inner(x))]))


MODELS: dict[str, Callable[[], keras.Model]] = {
    make.__name__: make
    for make in (
        chain,
        nested,
        shared_layer,
        shared_model,
        by_name,
        by_key,
        operations,
        keywords,
        several_outputs,
        from_the_middle,
        padded,
        mixed,
        several_calls,
    )
}


def randomize(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if variable.dtype.startswith("float"):
            variable.assign(rng.uniform(0.1, 1, variable.shape))
    return model


def values_of(model: keras.Model, *, batch: int = 3) -> list[tf.Tensor]:
    rng = np.random.default_rng(1)
    return [
        tf.cast(rng.uniform(0, 5, (batch, *tensor.shape[1:])), tensor.dtype)
        for tensor in model.inputs
    ]


def call(model: keras.Model, values: list[tf.Tensor], **options: Any) -> list[np.ndarray]:
    given = values[0]
    if not isinstance(model, keras.Sequential):
        given = keras.tree.pack_sequence_as(model.input, values)
    return [one.numpy() for one in keras.tree.flatten(model(given, **options))]


class Holder(layers.Layer):
    """A layer that holds others and adds a loss."""

    def __init__(self):
        super().__init__()
        self.inner = layers.Conv2D(2, 1, activity_regularizer="l1")
        self.dropout = layers.Dropout(0.5, seed=2)

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, x, training=None):
        self.add_loss(ops.mean(x))
        return self.dropout(self.inner(x), training=training)


def restless() -> keras.Model:
    """All that keeps a state: statistics, seeds, recorded losses, a layer that adds its own."""
    x = keras.Input((6, 5, 2), name="image")
    inner = block(3, "inner")
    y = layers.Dropout(0.5, seed=1)(inner(x))
    y = layers.Conv2D(2, 3, activity_regularizer="l2", kernel_regularizer="l1")(y)
    y = layers.ActivityRegularization(l1=0.1)(layers.GaussianNoise(0.3)(y))
    y = Holder()(y)
    return keras.Model(x, layers.BatchNormalization()(y))


def state_of(model: keras.Model) -> dict[str, Any]:
    every = model._flatten_layers()
    return {
        "variables": [(one.path, one.numpy().tolist()) for one in model.variables],
        "seeds": [
            generator.state.numpy().tolist()
            for layer in model._flatten_layers()
            for generator in layer._seed_generators
        ],
        "nodes": [
            (layer.name, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in every
        ],
        "losses": [(id(one), float(one)) for one in model._get_own_losses()]
        + [(id(o), float(o)) for layer in model._flatten_layers() for o in layer._losses],
        "built": [layer.built for layer in model._flatten_layers()],
    }

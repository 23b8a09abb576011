"""Files of tf_keras in every form with the outputs of their models; run in a process of its own.

`python tests/old_files.py FOLDER` writes the files, and what the models in memory give when they
are translated.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.old_saving import draw_weights, drawn_inputs

IMAGE = (8, 8, 3)


def models(k: Any) -> dict[str, Any]:
    """Small models whose weights lie in files in different ways."""
    layers = k.layers

    def block(channels: int, frozen: bool = False) -> Any:
        x = k.Input((None, None, channels))
        y = layers.Conv2D(channels, 3, padding="same")(x)
        y = layers.BatchNormalization(trainable=not frozen)(y)
        y = layers.SeparableConv2D(channels, 3, padding="same")(y)
        return k.Model(x, layers.BatchNormalization()(layers.PReLU(shared_axes=[1, 2])(y)))

    def nested() -> Any:
        inner = k.Sequential([k.Input(IMAGE), layers.Conv2D(4, 1), block(4), block(4, frozen=True)])
        x = k.Input(IMAGE)
        frozen = block(3)
        frozen.trainable = False
        return k.Model(x, layers.Dense(2)(layers.Flatten()(inner(frozen(x)))))

    def shared() -> Any:
        one, two = k.Input(IMAGE), k.Input(IMAGE)
        body = k.Sequential(
            [k.Input(IMAGE), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)]
        )
        conv = layers.Conv2D(3, 3, padding="same")
        a, b = body(conv(one)), body(conv(conv(two)))
        return k.Model([one, two], [layers.subtract([a, b]), layers.Dense(2)(a)])

    def sequences() -> Any:
        x = k.Input((7, 5))
        y = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
        y = layers.GRU(3, return_sequences=True)(y)
        y = layers.GRU(3, reset_after=False, return_sequences=True, name="old_gru")(y)
        z = layers.MultiHeadAttention(2, 3)(y, y)
        z = layers.TimeDistributed(layers.Dense(4))(z)
        cells = [layers.LSTMCell(3), layers.GRUCell(2)]
        return k.Model(x, [layers.RNN(cells)(z), layers.SimpleRNN(2)(y)])

    def frames() -> Any:
        x = k.Input((3, *IMAGE))
        y = layers.TimeDistributed(k.Sequential([k.Input(IMAGE), layers.Conv2D(2, 3), block(2)]))(x)
        return k.Model(x, layers.ConvLSTM2D(2, 3)(y))

    def statistics() -> Any:
        norm = layers.Normalization()
        norm.adapt(np.random.default_rng(1).normal(3, 2, (20, 5)))
        x = k.Input((5,))
        y = layers.Dropout(0.5)(layers.Dense(4, use_bias=False)(norm(x)))
        return k.Model(x, layers.LayerNormalization()(y))

    def words() -> Any:
        return k.Sequential(
            [k.Input((6,), dtype="int32"), layers.Embedding(9, 4), layers.Conv1D(3, 2),
             layers.GlobalMaxPooling1D(), layers.Dense(2)]
        )  # fmt: skip

    def chain() -> Any:
        return k.Sequential(
            [layers.RandomFlip(input_shape=IMAGE), layers.Rescaling(1 / 255), layers.Conv2D(4, 3),
             layers.Conv2DTranspose(3, 3), layers.DepthwiseConv2D(3), layers.Flatten(),
             layers.Dense(3)]
        )  # fmt: skip

    return {
        function.__name__: function()
        for function in (nested, shared, sequences, frames, statistics, words, chain)
    }


def main(folder: Path) -> None:
    """Writes every model in every form, with inputs, outputs and those of the translated model."""
    import tf_keras as k

    from keras_erf.legacy.in_memory import modern_model

    random = np.random.default_rng(0)
    for name, model in models(k).items():
        # What it has adapted to is no longer read from its weights.
        kept = [
            w
            for layer in model.layers
            if type(layer) is k.layers.Normalization
            for w in layer.weights
        ]
        draw_weights(model, random, kept)
        inputs = drawn_inputs(model, random)
        call = inputs if len(inputs) > 1 else inputs[0]
        arrays = {f"input:{number}": array for number, array in enumerate(inputs)}
        before = model.get_weights()
        for kind, each in (("output", model), ("memory", modern_model(model))):
            outputs = each(call, training=False)
            for number, array in enumerate(outputs if isinstance(outputs, list) else [outputs]):
                arrays[f"{kind}:{number}"] = np.asarray(array)
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        np.savez(folder / f"{name}.npz", **arrays)
        model.save(folder / f"{name}.h5")
        model.save(folder / f"{name}.keras")
        model.save(folder / name, save_format="tf")
        (folder / f"{name}.json").write_text(model.to_json(), encoding="utf-8")
        model.save_weights(folder / f"{name}_by_layer.h5")
        model.save_weights(folder / f"{name}.weights.h5")
        model.save_weights(folder / f"{name}_checkpoint", save_format="tf")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

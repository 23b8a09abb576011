"""Models of tf_keras in memory, handed to every public function; run in a process of its own.

`python tests/old_memory.py FILE` writes for each check what went wrong, as JSON: an empty text for
what is right. tf_keras is imported last, because nothing before may need it.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

IMAGE = (24, 20, 3)
Checks = dict[str, Callable[[], None]]


def before() -> None:
    """What needs no tf_keras does not import it."""
    import keras

    import keras_erf as erf

    x = keras.Input(IMAGE)
    model = keras.Model(x, keras.layers.Conv2D(2, 3)(x))
    erf.receptive_fields(model)
    erf.probe(model, samples=2, inputs=np.zeros((2, *IMAGE), "float32"))
    assert not [name for name in sys.modules if name.partition(".")[0] == "tf_keras"]


def network(k: Any, activation: Any = "relu") -> Any:
    """A residual network with strides, pooling and a head."""
    k.utils.set_random_seed(1)
    layers = k.layers
    x = k.Input(IMAGE, name="image")
    y = layers.Conv2D(4, 3, padding="same", activation=activation, name="first")(x)
    z = layers.BatchNormalization(name="norm")(layers.DepthwiseConv2D(3, padding="same")(y))
    y = layers.MaxPooling2D(name="pool")(layers.Add()([y, z]))
    y = layers.Conv2D(4, 3, 2, padding="same", use_bias=False, name="second")(y)
    return k.Model(x, layers.Conv2D(3, 3, padding="same", name="last")(y), name="network")


def same(one: Any, other: Any) -> None:
    """Asserts that two results hold the same numbers and texts."""
    if isinstance(one, np.ndarray):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7 + 1e-5 * np.ptp(one))
        return
    assert one == other, f"{one} != {other}"


def checks() -> Checks:
    """Each public function that takes a model, on one of tf_keras and on its translation."""
    import tf_keras

    import keras_erf as erf
    from keras_erf.legacy.in_memory import modern_model

    old = network(tf_keras)
    random = np.random.default_rng(0)
    for weight in old.weights:
        draw = random.normal(size=weight.shape) * 0.4
        weight.assign(np.abs(draw) + 0.2 if "variance" in weight.name else draw)
    new = modern_model(old)
    kept = old.get_weights(), old.to_json()
    images = random.normal(size=(3, *IMAGE)).astype("float32")

    def translated() -> None:
        assert type(new).__module__.startswith("keras.")
        same(np.asarray(new(images, training=False)), np.asarray(old(images, training=False)))
        assert modern_model(new) is new

    def both(take: Callable[[Any], Any]) -> Callable[[], None]:
        return lambda: same(take(old), take(new))

    def unchanged() -> None:
        for one, other in zip(kept[0], old.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert old.to_json() == kept[1]
        assert old.layers[1].name == "first"
        assert type(old).__module__.startswith("tf_keras")

    def layers() -> None:
        """A layer may be named by itself."""
        for layer in old.layers[1:]:
            one = erf.receptive_field(old, layer)
            assert one.size == erf.receptive_field(new, layer.name).size

    def functions() -> None:
        """A Lambda of a model in memory has its function."""
        import keras

        x = tf_keras.Input(IMAGE)
        y = tf_keras.layers.Lambda(lambda value: value[:, ::2] * 2.0)(x)
        model = tf_keras.Model(x, tf_keras.layers.Conv2D(2, 3)(y))
        done = modern_model(model)
        same(np.asarray(done(images)), np.asarray(model(images)))
        assert erf.receptive_field(model).stride == (2, 1)
        assert any(isinstance(layer, keras.layers.Lambda) for layer in done.layers)

    def ensemble() -> None:
        """Every network that is built is translated."""

        def build(seed: int) -> Any:
            model = network(tf_keras)
            model.set_weights([weight * (1 + seed) for weight in model.get_weights()])
            return model

        how = {"layer": "second", "runs": 2, "samples": 2}
        one = erf.ensemble(build, **how)
        same(one.map, erf.ensemble(lambda seed: modern_model(build(seed)), **how).map)

    def refused(make: Callable[[], Any], text: str) -> Callable[[], None]:
        def check() -> None:
            says = "it was not refused"
            try:
                erf.receptive_fields(make())
            except erf.errors.KerasERFError as error:
                says = str(error)
            assert text in says, says
            assert "\n" not in says

        return check

    class Subclassed(tf_keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs

    class Own(tf_keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    def waiting() -> Any:
        return tf_keras.Sequential([tf_keras.layers.Conv2D(2, 3)])

    def built() -> None:
        """What the message about it advises."""
        model = waiting()
        model.build((None, *IMAGE))
        assert erf.receptive_field(model).size == (3, 3)

    def registered() -> None:
        """A class of one's own that is registered with Keras 3 as well."""
        import keras

        class Again(keras.layers.Layer):
            def call(self, inputs: Any) -> Any:
                return inputs * 2

        x = tf_keras.Input(IMAGE)
        model = tf_keras.Model(x, tf_keras.layers.Conv2D(2, 3)(Own()(x)))
        keras.saving.get_custom_objects()["Own"] = Again
        assert erf.receptive_field(model).size == (3, 3)

    x = tf_keras.Input(IMAGE)
    own = tf_keras.Model(x, Own()(x))
    return {
        "translated": translated,
        "receptive_field": both(lambda m: erf.receptive_field(m, "second", unit=(1, 2)).box()),
        "receptive_fields": both(
            lambda m: [
                (f.layer, f.size, f.stride, f.padding) for f in erf.receptive_fields(m).fields
            ]
        ),
        "path_sizes": both(lambda m: repr(erf.path_sizes(m, "last"))),
        "projective_field": both(lambda m: repr(erf.projective_field(m, "last", pixel=(9, 9)))),
        "tile_overlap": both(lambda m: repr(erf.tile_overlap(m, "last"))),
        "unproductive_layers": both(lambda m: erf.unproductive_layers(m)),
        "check": both(lambda m: repr(erf.check(m, "second").verdict)),
        "probe": both(lambda m: erf.probe(m, "last", samples=3, seed=1).map),
        "probe of images": both(lambda m: erf.probe(m, "last", inputs=images).map),
        "profile": both(lambda m: erf.profile(m, ["first", "last"], samples=2)["last"].map),
        "expected": both(lambda m: erf.expected(m, "last").map),
        "growth": both(lambda m: erf.growth(m, ["first", "last"])["last"].map),
        "ensemble": ensemble,
        "calibrate_batch_norm": both(
            lambda m: erf.calibrate_batch_norm(m, images).get_layer("norm").get_weights()[2]
        ),
        "layers": layers,
        "functions": functions,
        "subclassed": refused(Subclassed, "Build the network with keras.Model(inputs, outputs)"),
        "not built": refused(waiting, "call `model.build(input_shape)`"),
        "built": built,
        "own class": refused(lambda: own, "register_keras_serializable. Received: model="),
        "registered": registered,
        "unchanged": unchanged,
    }


def main(file: Path) -> None:
    """Writes what went wrong, check by check."""
    results = {}

    def tried(name: str, check: Callable[[], None]) -> None:
        try:
            check()
            results[name] = ""
        except Exception:
            results[name] = traceback.format_exc()

    tried("not imported", before)
    for name, check in checks().items():
        tried(name, check)
    file.write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

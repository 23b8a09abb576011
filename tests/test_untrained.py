"""Notes about networks that were never trained, and measuring them calibrated."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import keras_erf as erf
from keras_erf.errors import InvalidInputError
from keras_erf.fields.theoretical import locate
from keras_erf.measuring.untrained import SWITCHED_OFF, UNCALIBRATED, UNTRAINED, notes_of

IMAGE = (9, 9, 3)
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(2, 3, (20, *IMAGE)).astype("float32")


class Inside(layers.Layer):
    """A convolution, and a normalisation whose layer is hidden."""

    def __init__(self, **options):
        super().__init__(**options)
        self.conv, self.norm = layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization()

    def build(self, shape):
        self.conv.build(shape)
        self.norm.build((*shape[:-1], 3))

    def call(self, x):
        return self.norm(self.conv(x))

    def compute_output_shape(self, shape):
        return (*shape[:-1], 3)


class Scaled(layers.Layer):
    """A gain for each channel, of a name of Keras's own making, as ConvNeXt has it."""

    def __init__(self, value, **options):
        super().__init__(**options)
        self.value = value

    def build(self, shape):
        start = keras.initializers.Constant(self.value)
        self.gain = self.add_weight(shape=(shape[-1],), initializer=start)

    def call(self, x):
        return x * self.gain


def conv(x, **options):
    return layers.Conv2D(3, 3, padding="same", **options)(x)


def model_of(body, shape=IMAGE) -> keras.Model:
    keras.utils.set_random_seed(0)
    x = keras.Input(shape)
    return keras.Model(x, body(x))


def normed(x, **options):
    return layers.BatchNormalization(**options)(conv(x, use_bias=False))


def frozen(x):
    norm = layers.BatchNormalization()
    norm.trainable = False
    return norm(conv(x))


def nested(x):
    inner = keras.Sequential([keras.Input(IMAGE), layers.BatchNormalization()])
    return conv(inner(conv(x)))


def residual(value):
    def body(x):
        start = conv(x)
        return layers.Add()([start, Scaled(value)(conv(start))])

    return body


def last_gain_zero(x):
    start = conv(x)
    return layers.Add()([start, normed(start, gamma_initializer="zeros")])


def last_kernel_zero(x):
    start = conv(x)
    return layers.Add()([start, conv(start, kernel_initializer="zeros")])


def trained(model: keras.Model) -> keras.Model:
    """Weights as training leaves them, none of them a constant."""
    for variable in model.weights:
        variable.assign(RANDOM.uniform(0.5, 1.5, variable.shape))
    return model


def only(model: keras.Model, kind: type, value: np.ndarray | float) -> keras.Model:
    """A trained model with one fresh batch normalisation."""
    for layer in trained(model).layers:
        if isinstance(layer, kind):
            layer.moving_mean.assign(np.full(layer.moving_mean.shape, value))
            layer.moving_variance.assign(np.ones(layer.moving_variance.shape))
    return model


NORM = layers.BatchNormalization
TABLE = {
    "fresh norm": (lambda: model_of(normed), [UNCALIBRATED, UNTRAINED]),
    "fresh norm without gains": (
        lambda: model_of(lambda x: normed(x, center=False, scale=False)),
        [UNCALIBRATED, UNTRAINED],
    ),
    "frozen norm": (lambda: model_of(frozen), [UNCALIBRATED, UNTRAINED]),
    "nested norm": (lambda: model_of(nested), [UNCALIBRATED, UNTRAINED]),
    "norm in a custom layer": (lambda: model_of(Inside()), [UNCALIBRATED, UNTRAINED]),
    "norm in a wrapper": (
        lambda: model_of(lambda x: layers.TimeDistributed(NORM())(conv(x))),
        [UNCALIBRATED, UNTRAINED],
    ),
    "norm of other initial statistics": (
        lambda: model_of(
            lambda x: normed(x, moving_variance_initializer=keras.initializers.Constant(4.0))
        ),
        [UNCALIBRATED, UNTRAINED],
    ),
    "one fresh norm in a trained network": (
        lambda: only(model_of(lambda x: NORM()(conv(conv(x)))), NORM, 0.0),
        [UNCALIBRATED],
    ),
    "mean of no initial value": (lambda: only(model_of(normed), NORM, 0.1), []),
    "trained": (lambda: trained(model_of(normed)), []),
    "calibrated": (lambda: erf.calibrate_batch_norm(model_of(normed), X), []),
    "no norm, fresh": (lambda: model_of(lambda x: conv(conv(x))), [UNTRAINED]),
    "no norm, trained": (lambda: trained(model_of(lambda x: conv(conv(x)))), []),
    "kernels alone": (lambda: model_of(lambda x: conv(x, use_bias=False)), []),
    "trained before a fresh head": (
        lambda: model_of(lambda x: conv(trained(model_of(conv))(x))),
        [],
    ),
    "fresh recurrence": (
        lambda: model_of(layers.LSTM(3, return_sequences=True), (9, 3)),
        [UNTRAINED],
    ),
    "fresh attention": (
        lambda: model_of(lambda x: layers.MultiHeadAttention(2, 3)(x, x), (9, 3)),
        [UNTRAINED],
    ),
    "gain of nearly 0": (lambda: model_of(residual(1e-6)), [UNTRAINED, SWITCHED_OFF]),
    "gain of 1": (lambda: model_of(residual(1.0)), [UNTRAINED]),
    "gain off the branch": (lambda: model_of(lambda x: Scaled(1e-6)(conv(x))), [UNTRAINED]),
    "trained gain": (lambda: trained(model_of(residual(1e-6))), []),
    "last gain 0": (lambda: model_of(last_gain_zero), [UNCALIBRATED, UNTRAINED, SWITCHED_OFF]),
    "last kernel 0": (lambda: model_of(last_kernel_zero), [UNTRAINED, SWITCHED_OFF]),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_is_noted_of_a_network(name):
    make, wanted = TABLE[name]
    model = make()
    before = model.get_weights()
    assert notes_of([locate(model)], X) == [wanted]
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_statistics_of_normal_noise_are_the_initial_ones():
    model = model_of(lambda x: conv(NORM()(x)))
    target = locate(model)
    assert notes_of([target], "normal") == [[UNTRAINED]]
    assert notes_of([target], X) == notes_of([target], "uniform") == [[UNCALIBRATED, UNTRAINED]]


def test_a_note_is_about_the_path_to_the_unit():
    model = model_of(lambda x: conv(normed(conv(trained(model_of(conv))(x)), name="norm")))
    profile = erf.profile(model, samples=2)
    notes = [one.provenance.get("notes") for one in profile]
    # A convolution that is trained, two before the normalisation, and two behind it.
    assert notes == [None, None, None, [UNCALIBRATED], [UNCALIBRATED]]


@pytest.mark.parametrize("weights", ["trained", "initial"])
def test_shipped_weights(weights):
    model = erf.zoo.load("cifar_resnet14", weights)
    result = erf.probe(model, samples=2)
    assert result.provenance.get("notes") == (
        None if weights == "trained" else [UNCALIBRATED, UNTRAINED]
    )


# --- Calibrated ----------------------------------------------------------------------------------


def wide(x):
    y = layers.ReLU()(normed(layers.ReLU()(normed(x))))
    return conv(y, name="last")


@pytest.mark.parametrize("inputs", ["normal", X], ids=["noise", "array"])
def test_a_calibrated_result_is_that_of_the_calibrated_copy(inputs, tmp_path):
    model = model_of(wide)
    before = model.get_weights()
    options = {"inputs": inputs, "samples": 8}
    result = erf.probe(model, calibrate=True, **options)
    copy = erf.calibrate_batch_norm(model, inputs)
    wanted = erf.probe(copy, **options)
    np.testing.assert_array_equal(result.block_sums, wanted.block_sums)
    assert not np.array_equal(result.map, erf.probe(model, **options).map)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert result.provenance["calibrated"] is True
    assert "notes" not in result.provenance
    # The user's weights name the network, whatever the machine that calibrated it.
    plain = erf.probe(model, **options)
    assert result.provenance["weights"] == plain.provenance["weights"]
    assert plain.provenance["notes"] == [UNCALIBRATED, UNTRAINED]
    found = erf.profile(model, "last", path=tmp_path, calibrate=True, **options)
    np.testing.assert_array_equal(found["last"].block_sums, wanted.block_sums)
    with pytest.raises(InvalidInputError, match="other calibrate: give another folder"):
        erf.profile(model, "last", path=tmp_path, **options)
    read = erf.load(next(tmp_path.glob("last*.npz")))
    assert read.provenance["calibrated"] is True


def test_a_network_is_calibrated_at_the_size_it_is_measured_at():
    model = model_of(wide, (None, None, 3))
    result = erf.probe(model, calibrate=True, samples=4)
    copy = erf.calibrate_batch_norm(model, input_shape=result.receptive_field.input_size)
    np.testing.assert_array_equal(result.map, erf.probe(copy, samples=4).map)


def test_layers_that_cannot_run_at_a_size_do_not_stop_it():
    def body(x):
        y = conv(normed(x), name="last")
        return NORM()(layers.Dense(2)(layers.Flatten()(y)))

    result = erf.probe(model_of(body), "last", input_shape=15, calibrate=True, samples=4)
    wanted = erf.probe(
        erf.calibrate_batch_norm(model_of(lambda x: conv(normed(x), name="last"), (15, 15, 3))),
        samples=4,
    )
    np.testing.assert_allclose(result.map, wanted.map, rtol=1e-5, atol=1e-8)


def test_without_batch_normalisation_nothing_changes():
    model = model_of(lambda x: conv(layers.ReLU()(conv(x))))
    result, plain = (erf.probe(model, samples=4, calibrate=one) for one in (True, False))
    np.testing.assert_array_equal(result.map, plain.map)
    assert "calibrated" not in result.provenance
    assert result.merge(erf.probe(model, samples=4, seed=1)).count == 8


def test_calibrated_results_merge_with_their_kind_alone():
    model = model_of(wide)
    first, second = (erf.probe(model, samples=4, seed=seed, calibrate=True) for seed in (0, 1))
    both = first.merge(second)
    # One network, whatever the seed.
    copy = erf.calibrate_batch_norm(model)
    wanted = [erf.probe(copy, samples=4, seed=seed).map for seed in (0, 1)]
    np.testing.assert_allclose(both.map, np.mean(wanted, axis=0), rtol=1e-12)
    assert both.provenance["calibrated"] is True
    for one, other in ((first, "plain"), ("plain", first)):
        plain = erf.probe(model, samples=4, seed=2)
        one, other = (plain if part == "plain" else part for part in (one, other))
        with pytest.raises(InvalidInputError, match=r"same calibration\. Received: calibrate="):
            one.merge(other)


def test_each_network_of_an_ensemble_is_calibrated():
    def build(seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        x = keras.Input(IMAGE)
        return keras.Model(x, wide(x))

    options = {"runs": 3, "samples": 2}
    result = erf.ensemble(build, calibrate=True, **options)
    wanted = erf.ensemble(lambda seed: erf.calibrate_batch_norm(build(seed)), **options)
    np.testing.assert_array_equal(result.block_sums, wanted.block_sums)
    assert result.provenance["calibrated"] is True
    assert "notes" not in result.provenance
    # Fresh weights are what an ensemble is of.
    assert erf.ensemble(build, **options).provenance["notes"] == [UNCALIBRATED]


def test_given_weights_are_noted_in_an_expected_field_and_random_ones_are_not():
    model = model_of(wide)
    assert "notes" not in erf.expected(model).provenance
    notes = erf.expected(model, weights="given").provenance["notes"]
    assert notes == [UNCALIBRATED, UNTRAINED]


def test_a_value_that_is_neither_is_refused():
    with pytest.raises(InvalidInputError, match=r"`calibrate` must be True or False\. Received: "):
        erf.probe(model_of(wide), calibrate="yes")

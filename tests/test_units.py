"""Units named by arrays, lists and NumPy's numbers are those named by tuples, everywhere."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import keras_erf
from keras_erf import studies
from keras_erf.errors import InvalidInputError

UNITS = [np.array([3, 4]), [3, 4], [np.int64(3), np.int32(4)], np.array([3, 4], np.uint8)]


def build(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    x = keras.Input((9, 9, 2))
    y = layers.Conv2D(3, 3, padding="same", activation="tanh", name="first")(x)
    return keras.Model(x, layers.Conv2D(3, 3, padding="same", name="last")(y), name="network")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build()


def profile_of(model: keras.Model, unit) -> keras_erf.Profile:
    return keras_erf.profile(model, "last", unit=unit, samples=2)


CALLS = {
    "receptive_field": lambda model, unit: keras_erf.receptive_field(model, unit=unit).box(),
    "box": lambda model, unit: keras_erf.receptive_field(model).box(unit),
    "center": lambda model, unit: keras_erf.receptive_field(model).center(unit),
    "visible": lambda model, unit: keras_erf.receptive_field(model).visible(unit),
    "support": lambda model, unit: keras_erf.receptive_field(model).support(unit),
    "check": lambda model, unit: keras_erf.check(model, unit=unit).receptive_field.box(),
    "probe": lambda model, unit: keras_erf.probe(model, unit=unit, samples=2).map,
    "profile": lambda model, unit: profile_of(model, unit)["last"].map,
    "expected": lambda model, unit: keras_erf.expected(model, unit=unit).map,
    "growth": lambda model, unit: keras_erf.growth(model, unit=unit)["last"].map,
    "ensemble": lambda model, unit: keras_erf.ensemble(build, unit=unit, runs=2, samples=1).map,
    "projective_field": lambda model, unit: keras_erf.projective_field(model, pixel=unit).mask,
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_a_unit_by_an_array_is_the_same_unit(model, call):
    expected = CALLS[call](model, (3, 4))
    # Slow calls take one of the kinds: all go through one function.
    for unit in UNITS if call in ("receptive_field", "box") else UNITS[:1]:
        np.testing.assert_array_equal(CALLS[call](model, unit), expected)


def test_a_result_names_its_unit_by_plain_numbers(model, tmp_path):
    result = keras_erf.probe(model, unit=np.array([3, 4]), samples=2)
    assert result.unit == (3, 4)
    assert all(type(one) is int for one in result.unit)
    result.save(tmp_path / "a.npz")
    field = keras_erf.load(tmp_path / "a.npz").receptive_field
    assert field.box(np.array([3, 4])) == result.receptive_field.box()
    with pytest.raises(InvalidInputError, match="the only one a result read from a file knows"):
        field.box(np.array([4, 3]))


def test_tokens_and_sequences():
    x = keras.Input((12, 3))
    line = keras.Model(x, layers.Conv1D(2, 3, padding="same")(x))
    for unit in (5, np.int64(5), np.array(5), np.array([5]), [5]):
        assert keras_erf.receptive_field(line, unit=unit).unit == (5,)
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 2, strides=2)(x)
    tokens = keras.Model(x, layers.Reshape((16, 4), name="tokens")(y))
    grid = keras_erf.receptive_field(tokens, unit=(1, 2))
    assert keras_erf.receptive_field(tokens, unit=np.array([1, 2])).box() == grid.box()
    assert keras_erf.receptive_field(tokens, unit=np.array([6])).box() == grid.box()


def test_the_logger_and_studies_take_arrays():
    logger = keras_erf.ERFLogger("last", unit=np.array([3, 4]), samples=1)
    network = build()
    network.compile("sgd", "mse")
    images = np.zeros((2, 9, 9, 2), "float32")
    network.fit(images, np.zeros((2, 9, 9, 3)), epochs=1, verbose=0, callbacks=[logger])
    assert {result.unit for result in logger.results.values()} == {(3, 4)}
    entry = studies.ModelEntry("plain")
    plans = [studies.Study({"network": entry}, units=[unit]) for unit in ((3, 4), np.array([3, 4]))]
    assert plans[0].units == plans[1].units == ((3, 4),)


@pytest.mark.parametrize(
    "unit",
    [
        np.array([3.0, 4.0]), np.array([3]), np.array([3, 4, 5]), np.array([3, 9]),
        np.array([-1, 4]), np.array([[3], [4]]), np.array(["3", "4"]), (3.0, 4.0), "middle", None,
    ],
)  # fmt: skip
def test_what_names_no_unit_is_refused_on_one_line(model, unit):
    with pytest.raises(InvalidInputError, match=r"`unit` must be 'center' or an index") as caught:
        keras_erf.receptive_field(model, unit=unit)
    assert "\n" not in str(caught.value)

"""The families of the zoo: their fields, energies and initialisers against closed forms."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_erf as erf
from keras_erf import zoo
from keras_erf.errors import InvalidInputError
from keras_erf.models.weak_centre import WeakCentre
from tests import oracles


def field_of(name: str, **options) -> tuple[tuple[int, ...], tuple[int, ...]]:
    field = erf.receptive_field(zoo.build(name, **options))
    return field.size, field.stride


@pytest.mark.parametrize("positions", [(5, 10, 15), (4, 8, 12), (3, 6, 9), (1, 2, 3), (13, 14, 15)])
@pytest.mark.parametrize("weights", ["uniform", "random"])
def test_sub_sampled_stacks_are_the_oracles_chain(positions, weights):
    chain = oracles.structure(strided=positions)
    variance, kurtosis, support = oracles.chain_cumulants(chain)
    model = zoo.build("subsample", positions=positions, weights=weights, dtype="float64")
    assert erf.receptive_field(model).size == (support, support)
    found = erf.expected(model) if weights == "random" else erf.probe(model)
    # E[g^2] of random kernels is the map of uniform ones.
    np.testing.assert_allclose(found.moments().sigma, math.sqrt(variance), rtol=1e-9)
    np.testing.assert_allclose(found.moments().kurtosis, kurtosis, rtol=1e-7)


def test_dilated_stacks_are_the_oracles_chain():
    chain = oracles.structure(dilated=((2, 2), (3, 4), (9, 8)))
    variance, kurtosis, support = oracles.chain_cumulants(chain)
    model = zoo.build("dilation", positions=(2, 3, 9), weights="uniform", dtype="float64")
    assert erf.receptive_field(model).size == (support, support)
    found = erf.probe(model).moments()
    np.testing.assert_allclose(found.sigma, math.sqrt(variance), rtol=1e-9)
    np.testing.assert_allclose(found.kurtosis, kurtosis, rtol=1e-7)


@pytest.mark.parametrize(("blocks", "layers", "kernel"), [(10, 2, 3), (3, 1, 5)])
def test_twins_have_one_field_and_one_set_of_weights(blocks, layers, kernel):
    options = {"blocks": blocks, "layers": layers, "kernel_size": kernel, "seed": 7}
    wanted = 1 + (blocks * layers + 1) * (kernel - 1)
    for name in ("skip", "no_skip"):
        assert field_of(name, **options) == ((wanted, wanted), (1, 1))
    one, other = (zoo.build(name, **options).get_weights() for name in ("skip", "no_skip"))
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize(("energy", "layers"), [(1.0, 1), (2.0, 1), (3.0, 2)])
def test_a_branch_has_the_energy_asked_for(activation, energy, layers):
    # Two blocks: the share of shortcuts alone is 1 / (1 + v)^2 of the whole.
    options = {
        "blocks": 2,
        "layers": layers,
        "filters": 6,
        "energy": energy,
        "activation": activation,
    }
    found = erf.expected(zoo.build("skip", **options)).map
    stem = erf.expected(zoo.build("skip", **options), "stem").map
    if activation is None:
        assert found.sum() / stem.sum() == pytest.approx((1 + energy) ** 2, rel=1e-9)
    else:
        # Of the examples of a signal; what a ReLU lets pass is exact.
        assert found.sum() / stem.sum() == pytest.approx((1 + energy) ** 2, rel=0.01)


def test_dropout_stands_between_and_is_active_in_training_only():
    model = zoo.build("dropout", depth=4, rate=0.25, input_shape=(15, 15))
    names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert names == ["drop1", "drop2", "drop3"]
    quiet, active = erf.expected(model), erf.expected(model, training=True)
    ratio = active.map.sum() / quiet.map.sum()
    assert ratio == pytest.approx((1 / 0.75) ** 3, rel=1e-9)


def test_the_camvid_network_has_the_posters_field():
    model = zoo.build("camvid_resnet", widths=(2,) * 5, input_shape=(None, None))
    for layer in ("stage5_block4_out", "logits"):
        field = erf.receptive_field(model, layer)
        assert (field.size, field.stride) == ((505, 505), (16, 16))
        assert field.center((3, 5)) == (3 * 16 + 7, 5 * 16 + 7)
    blocks = [layer for layer in model.layers if layer.name.endswith("_add")]
    assert len(blocks) == 16
    up = zoo.build("camvid_resnet", widths=(2,) * 5, input_shape=(64, 96), upsample=True)
    assert up.output_shape == (None, 64, 96, 12)


def test_the_cifar_network_has_17_blocks_and_no_stride():
    model = zoo.build("cifar_resnet36", width=2)
    assert len([layer for layer in model.layers if layer.name.endswith("_add")]) == 17
    assert erf.receptive_field(model, "block17_out").size == (71, 71)
    assert erf.receptive_field(model, "block17_out").stride == (1, 1)
    assert model.output_shape == (None, 10)
    assert zoo.build("cifar_resnet36", width=2, include_top=False).output_shape[1:3] == (32, 32)


def test_foveal_streams_are_as_wide_as_their_dilation():
    assert field_of("foveal", scales=(1, 3), depth=2) == ((1 + 2 + 2 * 2 * 3 + 2,) * 2, (1, 1))
    # A sharp peak on a wide foot: tails heavier than a Gaussian's.
    assert (erf.expected(zoo.build("foveal")).moments().kurtosis > 1).all()


@pytest.mark.parametrize(("blocks", "kernel"), [(2, 7), (3, 31)])
def test_large_kernels_add_up(blocks, kernel):
    wanted = 1 + blocks * (kernel - 1)
    assert field_of("large_kernel", blocks=blocks, kernel_size=kernel) == ((wanted,) * 2, (1, 1))


# --- The weaker centre ---------------------------------------------------------------------------


@pytest.mark.parametrize("softness", [1.0, 0.3, 0.0])
def test_a_weak_centre_widens_by_the_closed_form(softness):
    model = zoo.build("weak_centre", softness=softness, depth=8, input_shape=(21, 21))
    found = erf.expected(model)
    wanted = math.sqrt(8 * 6 / (8 + softness))
    np.testing.assert_allclose(found.moments().sigma, wanted, rtol=1e-10)
    # The energy stays: that of a plain stack.
    plain = erf.expected(zoo.build("plain", depth=8, input_shape=(21, 21)))
    assert found.map.sum() == pytest.approx(plain.map.sum(), rel=1e-10)


def test_all_weight_at_the_corners_is_the_optimum():
    model = zoo.build("weak_centre", softness=0.0, corners=True, depth=8, input_shape=(21, 21))
    plain = erf.expected(zoo.build("plain", depth=8, input_shape=(21, 21)))
    gain = erf.expected(model).moments().sigma / plain.moments().sigma
    np.testing.assert_allclose(gain, math.sqrt(1.5), rtol=1e-10)
    assert round(math.sqrt(1.5), 4) == 1.2247


@pytest.mark.parametrize("shape", [(3, 3, 40, 50), (5, 40, 50), (4, 4, 30, 40)])
def test_draws_have_the_variance_that_is_stated(shape):
    start = WeakCentre(0.2, True, 2.0)
    drawn = np.stack([np.asarray(start(shape)) for _ in range(8)])
    axes = (0, drawn.ndim - 2, drawn.ndim - 1)
    stated = start.second_moment(shape)
    np.testing.assert_allclose(np.square(drawn).mean(axis=axes), stated[..., 0, 0], rtol=0.1)
    assert stated.sum() / shape[-1] == pytest.approx(2.0, rel=1e-12)
    corners = stated[0, ..., 0, 0] if len(shape) == 3 else stated[0, 0, 0, 0]
    assert np.max(stated) == pytest.approx(np.max(corners))


def test_the_initialiser_is_saved_with_its_model(tmp_path):
    model = zoo.build("weak_centre", depth=2, softness=0.25, input_shape=(9, 9))
    model.save(tmp_path / "one.keras")
    again = keras.models.load_model(tmp_path / "one.keras")
    start = again.get_layer("conv1").kernel_initializer
    assert isinstance(start, WeakCentre)
    assert start.softness == 0.25
    np.testing.assert_allclose(erf.expected(again).map, erf.expected(model).map, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("subsample", {"positions": (0, 3)}, "`positions` must be different numbers of layers"),
        ("subsample", {"positions": (3, 16)}, "from 1 to 15"),
        ("subsample", {"positions": 3}, "`positions`"),
        ("dilation", {"rates": (2, 4)}, "`rates` must be 3 positive integers"),
        ("conv_only", {"depth": 0}, "`depth` must be a positive integer"),
        ("skip", {"shortcuts": 1}, "`shortcuts` must be True or False"),
        ("conv_only", {"activation": "rely"}, "`activation` must be the name"),
        ("skip", {"energy": 0}, "`energy` must be a positive number"),
        ("skip", {"blocks": 1.5}, "`blocks` must be a positive integer"),
        ("dropout", {"rate": 1.0}, "`rate` must be a number from 0 to below 1"),
        ("weak_centre", {"softness": 2}, "`softness` must be a number from 0 to 1"),
        ("weak_centre", {"corners": 1}, "`corners` must be True or False"),
        ("camvid_resnet", {"widths": (8, 8)}, "`widths` must be a tuple of 5"),
        ("camvid_resnet", {"input_shape": (100, 96), "upsample": True}, "multiples of 16"),
        ("cifar_resnet36", {"width": 0}, "`width` must be a positive integer"),
        ("foveal", {"scales": (1, 1)}, "`scales` must be two or more different"),
        ("large_kernel", {"dims": 3}, "`dims` must be 1 or 2"),
    ],
)
def test_bad_options_are_reported(name, options, text):
    with pytest.raises(InvalidInputError, match=text):
        zoo.build(name, **options)


def test_the_command_reads_a_model_of_ours(tmp_path):
    zoo.build("weak_centre", depth=2, input_shape=(9, 9)).save(tmp_path / "weak.keras")
    # In a process of its own, in which nothing has registered the initialiser.
    run = subprocess.run(
        [sys.executable, "-m", "keras_erf.cli", "trf", str(tmp_path / "weak.keras"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["layers"][-1]["size"] == [5, 5]

"""The result of a probe: its figures, its file, and putting two together."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import pickle
import zipfile
from fractions import Fraction
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import keras_erf
from keras_erf import analysis, zoo
from keras_erf.definitions import Definition
from keras_erf.effective import BLOCKS, EffectiveReceptiveField, load
from keras_erf.errors import InvalidInputError
from keras_erf.probing import probe
from keras_erf.theoretical import receptive_field
from tests import oracles

SIZE = (14, 13)
IMAGES = np.random.default_rng(12).normal(size=(48, *SIZE, 2)).astype("float32")


def net(seed: int = 0, *, name: str = "net", size: tuple[int, int] = SIZE) -> keras.Model:
    """Strides, an up-sampling and a curved function: nothing in the result is trivial."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((*size, 2), name="image")
    y = layers.Conv2D(4, 3, padding="same", activation="tanh", name="first")(x)
    y = layers.Conv2D(4, 3, strides=2, padding="same", activation="tanh", name="strided")(y)
    y = layers.Conv2D(4, 3, padding="same", name="second")(y)
    return keras.Model(x, layers.UpSampling2D(4, name="up")(y), name=name)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return net()


@pytest.fixture(scope="module")
def measured(model) -> EffectiveReceptiveField:
    return probe(model, "second", unit=(3, 4), inputs=IMAGES[:20])


@pytest.fixture(scope="module")
def uniform() -> EffectiveReceptiveField:
    """A map known in closed form, of a unit far from the image's middle."""
    stack = zoo.build("plain", depth=5, weights="uniform", input_shape=(31, 40), dtype="float64")
    return probe(stack, unit=(20, 9), samples=2)


def made_of(maps: np.ndarray, field, *, definition: str = "luo2016") -> EffectiveReceptiveField:
    """A result whose samples have these maps."""
    counts = np.bincount(np.arange(len(maps)) % BLOCKS, minlength=BLOCKS)
    sums = np.zeros((BLOCKS, *maps.shape[1:]))
    for number, one in enumerate(maps):
        sums[number % BLOCKS] += one
    runs = [{"inputs": "array of shape ()", "seed": 0, "samples": len(maps), "skipped": []}]
    made = {"model": "m", "weights": "w", "training": False, "runs": runs, "versions": {}}
    chosen = keras_erf.DEFINITIONS[definition]
    return EffectiveReceptiveField(sums, counts, 0, field, chosen, made)


# -- figures --


def test_figures_of_a_known_map(uniform):
    field = uniform.receptive_field
    assert uniform.layer == "conv5"
    assert uniform.unit == (20, 9)
    assert uniform.size == pytest.approx(math.sqrt(oracles.PIXELS_OF_UNIFORM[5]))
    assert uniform.trf_size == pytest.approx(11)
    assert uniform.ratio == pytest.approx(math.sqrt(69) / 11)
    # Both samples are alike: the net is linear.
    assert uniform.size_error == 0
    assert uniform.ratio_error == 0
    np.testing.assert_allclose(uniform.standard_error, 0, atol=1e-9)
    moments = uniform.moments()
    np.testing.assert_allclose(moments.centroid, (20, 9), atol=1e-9)
    np.testing.assert_allclose(moments.sigma**2, oracles.uniform_variance(5, 3), rtol=1e-9)
    np.testing.assert_allclose(moments.kurtosis, oracles.uniform_kurtosis(5, 3), rtol=1e-8)
    compared = uniform.compare()
    assert compared.trf_size == field.size == (11, 11)
    np.testing.assert_allclose(compared.offset, 0, atol=1e-9)
    assert compared.erf_size == uniform.size
    assert compared.ratio == pytest.approx(uniform.ratio)


def test_the_gaussian_is_fitted_to_the_field_and_not_to_the_zeros_around(uniform):
    inside = oracles.uniform_map(5, 3)
    expected = analysis.fit_gaussian(inside)
    fit = uniform.gaussian()
    np.testing.assert_allclose(fit.sigma, expected.sigma, rtol=1e-6)
    assert fit.r_squared == pytest.approx(expected.r_squared, abs=1e-9)
    np.testing.assert_allclose(uniform.compare().sigma, expected.sigma, rtol=1e-6)
    # With the zeros around it the share explained would be another.
    around = analysis.fit_gaussian(uniform.map)
    assert abs(around.r_squared - expected.r_squared) > 1e-4


def test_a_field_that_leaves_the_image_is_fitted_where_it_is_inside():
    stack = zoo.build("plain", depth=5, weights="uniform", input_shape=(31, 40), dtype="float64")
    corner = probe(stack, unit=(1, 38), samples=1)
    assert corner.receptive_field.box() == ((-4, 7), (33, 44))
    expected = analysis.fit_gaussian(corner.map[:7, 33:])
    np.testing.assert_allclose(corner.gaussian().sigma, expected.sigma, rtol=1e-6)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_theoretical_size_is_the_geometric_mean_of_its_sides(ndim):
    kernel = (2, 5, 3)[:ndim]
    stack = zoo.build("plain", depth=1, kernel_size=kernel, dims=ndim, weights="uniform",
                      input_shape=(9,) * ndim)  # fmt: skip
    result = probe(stack, samples=1)
    sides = math.prod(kernel) ** (1 / ndim)
    assert result.trf_size == pytest.approx(sides)
    # All taps of one layer weigh the same: the whole field is effective.
    assert result.size == pytest.approx(sides)
    assert result.ratio == pytest.approx(1)


def test_regions(uniform):
    peak = uniform.map.max()
    region = uniform.region()
    np.testing.assert_array_equal(region.mask, uniform.map > 0.0455 * peak)
    assert region.rule == "threshold"
    assert uniform.region("threshold", fraction=0.5).pixels == (uniform.map > 0.5 * peak).sum()
    # The fewest pixels, by sorting: all that are as large as the last one needed.
    descending = np.sort(uniform.map, axis=None)[::-1]
    needed = np.argmax(np.cumsum(descending) >= 0.9545 * uniform.map.sum())
    mass = uniform.region("mass")
    np.testing.assert_array_equal(mass.mask, uniform.map >= descending[needed])
    assert mass.rule == "mass"
    assert uniform.region("mass", mass=0.5).pixels < mass.pixels


def test_the_centre_of_a_region_is_the_fields_and_not_the_images():
    field = receptive_field(net(), "second", unit=(3, 4))
    maps = np.full((1, *SIZE), 0.5)
    row, column = map(int, field.center())
    assert field.center() == (row, column) != tuple((n - 1) / 2 for n in SIZE)
    maps[0, row, column], maps[0, 0, 0], maps[0, 1, 1] = 40.0, 200.0, 5.0
    result = made_of(maps, field)
    # 4.55 % of 200 is 9.1, of 40 it is 1.8, and of the rest less than the rest.
    assert result.region().pixels == 2
    assert result.region(reference="center").pixels == 3
    assert result.region(reference="center", center=(0, 0)).pixels == 2
    assert result.region(reference="center", center=(1, 2)).pixels == maps.size


@pytest.mark.parametrize("rule", ["peak", "", None])
def test_an_unknown_rule(uniform, rule):
    with pytest.raises(InvalidInputError, match=r"`rule` must be .*'mass'. Received: rule="):
        uniform.region(rule)


def test_area_ratios(uniform):
    # The box about the unit that holds at least half: sides by growing it pixel by pixel.
    for side in range(1, 12, 2):
        half = side // 2
        box = uniform.map[20 - half : 21 + half, 9 - half : 10 + half]
        if box.sum() >= 0.5 * uniform.map.sum():
            break
    found = uniform.area_ratio(0.5)
    assert found.side == side
    assert found.ratio == pytest.approx(side**2 / (31 * 40))
    # RepLKNet's measure is about the image's middle, far from this unit's.
    published = uniform.area_ratio(0.5, scale_free=False)
    scores = np.log10(uniform.map + 1)
    half = published.side // 2
    box = scores[max(15 - half, 0) : 16 + half, max(20 - half, 0) : 21 + half]
    inner = scores[max(16 - half, 0) : 15 + half, max(21 - half, 0) : 20 + half]
    assert box.sum() > 0.5 * scores.sum() >= inner.sum()
    assert published.side > 2 * side


def test_summary_and_frame(measured):
    summary, field, compared = measured.summary(), measured.receptive_field, measured.compare()
    assert summary == json.loads(json.dumps(summary))
    assert summary["layer"] == "second"
    assert summary["unit"] == [3, 4]
    assert summary["status"] == "exact"
    assert summary["trf_size"] == list(field.size) == [9, 9]
    assert summary["trf_stride"] == [2, 2]
    assert summary["trf_center"] == list(field.center())
    assert summary["erf_size"] == measured.size
    assert summary["erf_size_error"] == measured.size_error > 0
    assert summary["mass_size"] == measured.region("mass").size
    assert summary["ratio"] == pytest.approx(measured.size / 9)
    assert summary["ratio_error"] == pytest.approx(measured.size_error / 9)
    assert summary["sigma"] == pytest.approx(measured.gaussian().sigma.tolist())
    assert summary["r_squared"] == pytest.approx(measured.gaussian().r_squared)
    assert summary["centroid"] == pytest.approx(measured.moments().centroid.tolist())
    assert summary["offset"] == list(compared.offset)
    assert summary["samples"] == 20
    assert summary["dead"] == 0
    assert summary["definition"] == "luo2016"
    frame = measured.to_frame()
    assert list(frame.columns) == list(summary)
    assert len(frame) == 1
    assert frame.iloc[0].to_dict() == summary


def test_a_map_too_flat_for_a_gaussian_has_all_other_figures():
    stack = zoo.build("plain", depth=1, weights="uniform", input_shape=(9, 9), dtype="float64")
    result = probe(stack, samples=1)
    with pytest.raises(InvalidInputError):
        result.gaussian()
    summary = result.summary()
    assert summary["erf_size"] == pytest.approx(3)
    assert all(map(math.isnan, [*summary["sigma"], summary["r_squared"]]))


def test_a_stride_between_pixels_is_a_plain_number(model):
    result = probe(model, "up", unit=(9, 9), inputs=IMAGES[:2])
    assert result.receptive_field.stride == (Fraction(1, 2),) * 2
    assert result.summary()["trf_stride"] == [0.5, 0.5]


def test_repr_tells_the_main_figures_on_one_line(measured):
    shown = repr(measured)
    assert "\n" not in shown
    for word in ("second", "(3, 4)", "9x9", "luo2016", "20 samples", f"{measured.size:.1f} +- "):
        assert word in shown
    assert f"({100 * measured.size / 9:.0f} %)" in shown


def test_repr_of_one_sample_states_no_error(measured):
    counts = np.zeros_like(measured.block_counts)
    counts[0] = 1
    sums = np.where(np.arange(len(counts))[:, None, None] == 0, measured.block_sums, 0.0)
    one = dataclasses.replace(measured, block_sums=sums, block_counts=counts)
    assert f"size {one.size:.1f} px of 9x9 px" in repr(one)
    assert repr(one).endswith("1 sample>")


@pytest.mark.parametrize(
    ("spread", "samples", "constant"),
    [(0, 16, True), (0, 5, True), (1e-8, 16, True), (1e-3, 16, False), (0, 1, False)],
)
def test_samples_that_agree_but_for_rounding_have_no_error(measured, spread, samples, constant):
    counts = (np.arange(16) < samples) * np.arange(1, 17)
    noise = 1 + spread * np.random.default_rng(0).normal(size=(16, *measured.map.shape))
    sums = measured.map * noise * counts[:, None, None]
    result = dataclasses.replace(measured, block_sums=sums, block_counts=counts)
    assert result.constant == constant
    assert ("+-" in repr(result)) == (not constant and samples > 1)


def test_a_result_is_frozen(measured):
    for name in ("block_sums", "dead_count", "definition", "map"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(measured, name, 0)


# -- errors of the figures --


def test_the_error_of_the_size_covers_its_scatter():
    # Noisy maps: the error of one run against the scatter of many.
    field = receptive_field(net(size=(64, 64)), "second", unit=(16, 16))
    bell = oracles.gaussian_map((64, 64), field.center(), np.eye(2) * 36)
    rng = np.random.default_rng(1)
    results = [
        made_of(bell * rng.gamma(1, size=(32, 1, 1)) * rng.gamma(5, 0.2, (32, 64, 64)), field)
        for _ in range(30)
    ]
    scatter = np.std([result.size for result in results], ddof=1)
    errors = np.array([result.size_error for result in results])
    assert scatter > 0
    assert np.sqrt((errors**2).mean()) == pytest.approx(scatter, rel=0.4)


def test_normalized_maps_sum_to_one_and_so_do_their_errors(model):
    result = probe(model, "second", unit=(3, 4), inputs=IMAGES[:32], definition="openerf")
    assert result.map.sum() == pytest.approx(1, abs=1e-12)
    # Leaving out one block after the other, by hand.
    means = result.block_sums / 2
    without = np.array([np.delete(means, block, axis=0).sum(axis=0) for block in range(BLOCKS)])
    without /= without.sum(axis=(1, 2), keepdims=True)
    expected = np.sqrt(15 / 16 * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    np.testing.assert_allclose(result.standard_error, expected, rtol=1e-9, atol=1e-15)


def test_a_single_block_that_sees_something_leaves_no_error():
    field = receptive_field(net(), "second", unit=(3, 4))
    maps = np.zeros((3, *SIZE))
    maps[1, 4:9, 5:10] = 1
    for definition in ("luo2016", "openerf"):
        result = made_of(maps, field, definition=definition)
        assert result.size == pytest.approx(5)
        assert math.isnan(result.size_error)
    assert np.isnan(result.standard_error).all()


# -- files --


def assert_same(one: EffectiveReceptiveField, other: EffectiveReceptiveField) -> None:
    np.testing.assert_array_equal(one.map, other.map)
    np.testing.assert_array_equal(one.standard_error, other.standard_error)
    np.testing.assert_array_equal(one.block_sums, other.block_sums)
    np.testing.assert_array_equal(one.block_counts, other.block_counts)
    assert one.receptive_field == other.receptive_field
    assert one.receptive_field.box() == other.receptive_field.box()
    assert one.receptive_field.center() == other.receptive_field.center()
    assert one.receptive_field.visible() == other.receptive_field.visible()
    assert one.definition == other.definition
    assert one.provenance == other.provenance
    assert one.dead == other.dead
    assert one.summary() == other.summary()
    assert repr(one) == repr(other)


@pytest.mark.parametrize("definition", ["luo2016", "openerf", "own"])
@pytest.mark.parametrize(("layer", "unit"), [("second", (0, 4)), ("up", (9, 9))])
def test_a_file_gives_back_the_result(model, tmp_path, layer, unit, definition):
    chosen = Definition("own", seed="mean", measure="square") if definition == "own" else definition
    options = {"unit": unit, "inputs": IMAGES[:20], "definition": chosen, "seed": np.int64(3)}
    result = probe(model, layer, **options)
    # At the border the field leaves the image, and less of it is visible.
    assert (result.receptive_field.box() != result.receptive_field.visible()) == (unit[0] == 0)
    result.save(tmp_path / "result.npz")
    assert_same(load(tmp_path / "result.npz"), result)
    assert_same(load(str(tmp_path / "result.npz")), result)
    # Once more round, so that loading loses nothing that saving needs.
    load(tmp_path / "result.npz").save(tmp_path / "again.npz")
    assert_same(load(tmp_path / "again.npz"), result)


def test_the_file_is_called_as_asked(measured, tmp_path):
    measured.save(tmp_path / "plain")
    assert [one.name for one in tmp_path.iterdir()] == ["plain"]
    assert_same(load(tmp_path / "plain"), measured)


def test_the_file_holds_no_pickle(measured, tmp_path):
    measured.save(tmp_path / "result.npz")
    with np.load(tmp_path / "result.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["about", "block_counts", "block_sums"]
        assert all(file[name].dtype != object for name in file.files)
        about = json.loads(str(file["about"]))
    assert about["definition"]["name"] == "luo2016"
    assert about["provenance"]["runs"][0]["samples"] == 20


def test_a_file_knows_its_own_unit_only(measured, tmp_path):
    measured.save(tmp_path / "result.npz")
    field = load(tmp_path / "result.npz").receptive_field
    assert field.box((3, 4)) == measured.receptive_field.box()
    for question in (field.box, field.visible, field.center):
        with pytest.raises(InvalidInputError, match=r"`unit` must be \(3, 4\)"):
            question((0, 0))
    with pytest.raises(InvalidInputError, match="no support mask"):
        field.support()


def test_saving_where_nothing_can_be_written(measured, tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InvalidInputError, match="`path`"):
        measured.save(tmp_path / "file" / "result.npz")
    assert (tmp_path / "file").read_text() == "kept"


class Bomb:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def parts(measured, tmp_path) -> dict:
    """What a good file holds, its text taken apart."""
    measured.save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as file:
        found = dict(file)
    (tmp_path / "good.npz").unlink()
    return {**found, "about": json.loads(str(found["about"]))}


def rejected(path: Path) -> str:
    with pytest.raises(InvalidInputError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith("`path` must be an .npz file written by")
    assert message.endswith(f"Received: {str(path)!r}")
    assert "\n" not in message
    return message


def write(path: Path, parts: dict, **changes) -> Path:
    about = json.dumps({**parts["about"], **changes.pop("about", {})})
    np.savez(path, **{**parts, "about": np.array(about), **changes})
    return path


def test_the_parts_make_a_good_file(parts, measured, tmp_path):
    assert_same(load(write(tmp_path / "file.npz", parts)), measured)


@pytest.mark.parametrize(
    "content", [b"", b"a,b\n1,2\n", b"PK\x03\x04 and nothing more", b"\x93NUMPY"]
)
def test_files_of_other_kinds_are_refused(tmp_path, content):
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    rejected(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "No such file" in rejected(tmp_path / "nowhere.npz")
    assert "directory" in rejected(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(measured, tmp_path, share):
    path = tmp_path / "file.npz"
    measured.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    rejected(path)


def test_a_file_with_a_flipped_byte_is_refused(measured, tmp_path):
    path = tmp_path / "file.npz"
    measured.save(path)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("block_sums.npy")
    whole = bytearray(path.read_bytes())
    whole[info.header_offset + 200 + info.compress_size // 2] ^= 0xFF
    path.write_bytes(whole)
    rejected(path)


def test_a_plain_array_is_refused(tmp_path):
    np.save(tmp_path / "file.npy", np.ones(3))
    rejected(tmp_path / "file.npy")


def test_pickles_are_not_opened(parts, tmp_path):
    bomb = np.array([Bomb(tmp_path / "exploded")], dtype=object)
    np.savez(tmp_path / "file.npz", about=bomb, block_sums=parts["block_sums"])
    rejected(tmp_path / "file.npz")
    rejected(write(tmp_path / "sums.npz", parts, block_sums=bomb))
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    rejected(tmp_path / "raw.npz")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("lost", ["about", "block_sums", "block_counts"])
def test_a_missing_part_is_refused(parts, tmp_path, lost):
    about = np.array(json.dumps(parts["about"]))
    rest = {name: value for name, value in {**parts, "about": about}.items() if name != lost}
    np.savez(tmp_path / "file.npz", **rest)
    assert lost in rejected(tmp_path / "file.npz")


@pytest.mark.parametrize(
    "lost", ["format", "dead_count", "definition", "provenance", "receptive_field"]
)
def test_a_missing_entry_is_refused(parts, tmp_path, lost):
    del parts["about"][lost]
    assert lost in rejected(write(tmp_path / "file.npz", parts))


SUMS = np.ones((16, *SIZE))
HOLED = SUMS.copy()
HOLED[3, 4, 5] = np.nan


@pytest.mark.parametrize(
    "changes",
    [
        {"about": {"format": "something else"}},
        {"about": {"dead_count": "many"}},
        {"about": {"definition": {"name": "own", "speed": 3}}},
        {"about": {"definition": {"name": "own", "measure": "evil"}}},
        {"about": {"provenance": 3}},
        {"about": {"receptive_field": []}},
        {"block_sums": SUMS[:8]},
        {"block_sums": SUMS[:, :-1]},
        {"block_sums": SUMS[0]},
        {"block_sums": SUMS.astype("float32")},
        {"block_sums": HOLED},
        {"block_sums": 0 * SUMS},
        {"block_counts": np.zeros(16, dtype=np.int64)},
        {"block_counts": -np.ones(16, dtype=np.int64)},
        {"block_counts": np.ones(16)},
        {"block_counts": np.ones((16, 1), dtype=np.int64)},
        {"block_counts": np.array(16)},
    ],
)
def test_wrong_parts_are_refused(parts, tmp_path, changes):
    rejected(write(tmp_path / "file.npz", parts, **changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stride", ["1/0", "2"]),
        ("stride", ["2"]),
        ("size", [9]),
        ("size", ["a", "b"]),
        ("padding", [0, 0, 0]),
        ("unit", [3]),
        ("box", [[0, 3]]),
        ("box", [[0], [3]]),
        ("visible", 7),
    ],
)
def test_a_wrong_field_is_refused(parts, tmp_path, name, value):
    parts["about"]["receptive_field"][name] = value
    rejected(write(tmp_path / "file.npz", parts))


def test_an_array_larger_than_memory_is_refused(parts, tmp_path):
    path = write(tmp_path / "file.npz", parts)
    header = io.BytesIO()
    about = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)}
    np.lib.format.write_array_header_1_0(header, about)
    with (
        zipfile.ZipFile(tmp_path / "file.npz") as old,
        zipfile.ZipFile(tmp_path / "huge.npz", "w") as new,
    ):
        for name in old.namelist():
            content = header.getvalue() if name == "block_sums.npy" else old.read(name)
            new.writestr(name, content)
    path.unlink()
    rejected(tmp_path / "huge.npz")


# -- merging --


def test_two_halves_are_the_whole(model):
    # Sample n goes to block n modulo 16: halves of 16 fall into the same blocks as the whole.
    whole = probe(model, "second", inputs=IMAGES, batch_size=16)
    first, *others = (
        probe(model, "second", inputs=IMAGES[start : start + 16]) for start in (0, 16, 32)
    )
    merged = first.merge(others[0]).merge(others[1])
    np.testing.assert_allclose(merged.map, whole.map, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(merged.block_sums, whole.block_sums, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(merged.block_counts, whole.block_counts)
    np.testing.assert_allclose(merged.standard_error, whole.standard_error, rtol=1e-9, atol=1e-15)
    assert merged.count == whole.count == 48
    assert merged.size == pytest.approx(whole.size)
    assert merged.size_error == pytest.approx(whole.size_error)
    assert [run["samples"] for run in merged.provenance["runs"]] == [16, 16, 16]
    # The parts are as they were.
    assert first.count == 16
    assert len(first.provenance["runs"]) == 1


def test_blocks_that_do_not_line_up_change_errors_only(model):
    whole = probe(model, "second", inputs=IMAGES)
    merged = probe(model, "second", inputs=IMAGES[:21]).merge(
        probe(model, "second", inputs=IMAGES[21:])
    )
    np.testing.assert_allclose(merged.map, whole.map, rtol=1e-4, atol=1e-7)
    assert merged.count == 48
    assert merged.size_error == pytest.approx(whole.size_error, rel=1)


def test_normalized_results_are_merged_before_they_are_normalized(model):
    # A mean of two normalized maps would be another map: the halves differ in amplitude.
    images = IMAGES[:32] * np.where(np.arange(32) < 16, 0.1, 3)[:, None, None, None]
    # Batches of one size: others are summed in another order, and float32 shows it.
    options = {"definition": "openerf", "batch_size": 16}
    whole = probe(model, "second", inputs=images, **options)
    one, two = (probe(model, "second", inputs=images[part], **options)
                for part in (slice(16), slice(16, 32)))  # fmt: skip
    np.testing.assert_allclose(one.merge(two).map, whole.map, rtol=1e-12, atol=1e-15)
    assert np.abs((one.map + two.map) / 2 - whole.map).max() > 1e-3 * whole.map.max()


def test_dead_samples_add_up():
    x = keras.Input((5, 5, 1))
    y = layers.Conv2D(1, 3, kernel_initializer="ones", padding="same", activation="relu")(x)
    model = keras.Model(x, y)
    signs = np.array([1.0, -1, 1, 1, -1, -1, -1, 1])[:, None, None, None] * np.ones((8, 5, 5, 1))
    one, two = (probe(model, inputs=signs[part]) for part in (slice(4), slice(4, 8)))
    assert (one.dead, two.dead) == (1 / 4, 3 / 4)
    assert one.merge(two).dead == 1 / 2


def test_noise_of_different_seeds_is_merged_and_of_one_seed_is_not(model):
    one, two, again = (
        probe(model, "second", samples=samples, seed=seed)
        for samples, seed in ((4, 1), (4, 2), (6, 1))
    )
    merged = one.merge(two)
    np.testing.assert_allclose(merged.map, (one.map + two.map) / 2, rtol=1e-12)
    for pair in ((one, one), (one, again), (merged, again), (again, merged)):
        with pytest.raises(InvalidInputError, match=r"`other` must have .* another `seed`"):
            pair[0].merge(pair[1])
    uniform = probe(model, "second", samples=4, seed=1, inputs="uniform")
    assert one.merge(uniform).count == 8


def test_a_loaded_result_is_merged_as_any(model, tmp_path):
    one, two = (probe(model, "up", samples=4, seed=seed) for seed in (1, 2))
    one.save(tmp_path / "one.npz")
    loaded = load(tmp_path / "one.npz")
    for merged in (loaded.merge(two), two.merge(loaded)):
        np.testing.assert_allclose(merged.map, one.merge(two).map, rtol=1e-12)


def test_results_of_different_things_are_not_merged(model, measured):
    noise = {"seed": 5, "samples": 2}
    unlike = {
        "model": probe(net(name="twin"), "second", unit=(3, 4), **noise),
        "weights": probe(net(1), "second", unit=(3, 4), **noise),
        "training": probe(model, "second", unit=(3, 4), training=True, **noise),
        "definition": probe(model, "second", unit=(3, 4), definition="raghu2021", **noise),
        "number of blocks": dataclasses.replace(
            measured, block_sums=measured.block_sums[:8], block_counts=measured.block_counts[:8]
        ),
    }
    fields = [
        probe(model, "second", unit=(3, 5), **noise),
        probe(model, "strided", unit=(3, 4), **noise),
        probe(model, "second", unit=(3, 4), input_shape=(14, 15), **noise),
    ]
    cases = [*unlike.items(), *(("field", one) for one in fields)]
    for what, other in cases:
        with pytest.raises(InvalidInputError, match=f"result of the same {what}") as caught:
            measured.merge(other)
        assert "\n" not in str(caught.value)
    assert measured.merge(probe(model, "second", unit=(3, 4), **noise)).count == 22


def test_only_results_are_merged(measured):
    with pytest.raises(InvalidInputError, match=r"`other` .* type ndarray"):
        measured.merge(measured.map)

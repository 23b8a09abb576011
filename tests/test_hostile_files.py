"""Files that are broken, or made to do harm: refused in a line, or read as they are."""

from __future__ import annotations

import copy
import io
import json
import random
import time
import tracemalloc
import zipfile

import h5py
import keras
import numpy as np
import pytest

import keras_erf as erf
from keras_erf.custom_code import FileOptions
from keras_erf.errors import InvalidInputError, ModelLoadError
from keras_erf.files import archives, vetting
from keras_erf.files.hdf5 import count_stored
from keras_erf.graph import count_weights
from keras_erf.inputs.images import images
from keras_erf.inputs.sources import InputSpec
from keras_erf.named_models import find_model as load_model
from keras_erf.results import storing
from keras_erf.studies import StudyStore
from keras_erf.training.loop import _read_checkpoint

MUTANTS = 300


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> bytes:
    file = tmp_path_factory.mktemp("results") / "good.npz"
    network = erf.zoo.build("plain", depth=2, activation="relu")
    erf.probe(network, samples=4, input_shape=(9, 9)).save(file)
    return file.read_bytes()


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(parts: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return made.getvalue()


def header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    made = io.BytesIO()
    fields = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(made, fields)
    return made.getvalue()


def about(parts: dict[str, bytes], **changes) -> dict[str, bytes]:
    """A result with other values; names of the field begin with `field_`."""
    content = json.loads(str(np.load(io.BytesIO(parts["about.npy"]))))
    for name, value in changes.items():
        holder = content["receptive_field"] if name.startswith("field_") else content
        holder[name.removeprefix("field_")] = value
    made = io.BytesIO()
    np.save(made, np.array(json.dumps(content)))
    return {**parts, "about.npy": made.getvalue()}


def changed(part: bytes, change) -> bytes:
    """An array's member with other numbers."""
    made = io.BytesIO()
    np.save(made, change(np.load(io.BytesIO(part))))
    return made.getvalue()


HOSTILE = {
    "claims a size of petabytes": lambda parts: {**parts, "block_sums.npy": header((2**20, 2**30))},
    "claims more numbers than there are": lambda parts: {
        **parts,
        "block_counts.npy": header((10**18,), "<i8"),
    },
    "has objects": lambda parts: {**parts, "block_counts.npy": header((1,), "|O") + b"\x80\x04N."},
    "has a member more": lambda parts: {**parts, "more.npy": header((0,))},
    "lacks a member": lambda parts: {"about.npy": parts["about.npy"]},
    "leaves its folder": lambda parts: {**parts, "../up.npy": header((0,))},
    "has texts that are no JSON": lambda parts: {**parts, "about.npy": header((), "<U0")},
    "has a stride of a billion digits": lambda parts: about(
        parts, field_stride=["1e999999999"] * 2
    ),
    "has a box that is no box": lambda parts: about(parts, field_box=[[0, 1e300], [0, True]]),
    "has an axis of more than any": lambda parts: about(parts, field_size=[10**30, 3]),
    "has a box that ends before it starts": lambda parts: about(parts, field_box=[[3, 0], [0, 3]]),
    "has an axis of less than nothing": lambda parts: about(parts, field_size=[-5, 5]),
    "has a unit outside of its layer": lambda parts: about(parts, field_unit=[10**6, 2]),
    "has numbers too large to square": lambda parts: {
        **parts,
        "block_sums.npy": changed(parts["block_sums.npy"], lambda sums: sums / sums.max() * 1e308),
    },
    "has a block of more samples than any": lambda parts: {
        **parts,
        "block_counts.npy": changed(
            parts["block_counts.npy"], lambda counts: counts + (np.arange(counts.size) == 0) * 2**58
        ),
    },
    "has half a pixel": lambda parts: about(parts, field_unit=[1.5, 2]),
    "has more dead samples than samples": lambda parts: about(parts, dead_count=10**6),
    "does not tell its runs": lambda parts: about(
        parts, provenance={"model": "plain", "versions": {"keras_erf": "1"}, "runs": []}
    ),
    "does not tell what made it": lambda parts: about(
        parts, provenance={"model": "plain", "versions": {}, "runs": [{"inputs": "zeros"}]}
    ),
    "has a name that is a list": lambda parts: about(parts, format=list(range(10**4))),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_result_is_refused_before_memory_is_allocated(kind, good, tmp_path):
    file = tmp_path / "hostile.npz"
    file.write_bytes(packed(HOSTILE[kind](members(good))))
    tracemalloc.start()
    with pytest.raises(InvalidInputError, match=r"`path` must be an \.npz file") as caught:
        erf.load(file)
    assert len(str(caught.value)) < 500
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50e6
    assert sorted(tmp_path.iterdir()) == [file]


def test_a_result_that_would_fill_memory_is_refused(good, tmp_path, monkeypatch):
    (tmp_path / "good.npz").write_bytes(good)
    erf.load(tmp_path / "good.npz")
    monkeypatch.setattr(storing, "MOST_BYTES", 1000)
    with pytest.raises(InvalidInputError, match="it would take more than"):
        erf.load(tmp_path / "good.npz")


def test_mutants_are_read_right_or_refused(good, tmp_path):
    random, file = np.random.default_rng(0), tmp_path / "mutant.npz"
    file.write_bytes(good)
    wanted, messages = erf.load(file).map, []
    for _ in range(MUTANTS):
        mutant = bytearray(good)
        for place in random.integers(0, len(mutant), random.integers(1, 4)):
            mutant[place] = random.integers(0, 256)
        if random.random() < 0.2:
            mutant = mutant[: random.integers(0, len(mutant))]
        file.write_bytes(bytes(mutant))
        try:
            found = erf.load(file)
        except InvalidInputError as error:
            messages.append(str(error))
        else:
            # A zip has check sums: what passes them is as it was.
            np.testing.assert_array_equal(found.map, wanted)
    assert len(messages) > MUTANTS / 2
    assert not [one for one in messages if "\n" in one]


def test_a_result_packed_to_unfold_in_one_go_is_refused(good, tmp_path):
    # A block of bzip2 unfolds as a whole, whatever size the archive tells.
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_BZIP2) as archive:
        for name, part in members(good).items():
            archive.writestr(name, part)
    (tmp_path / "packed.npz").write_bytes(made.getvalue())
    with pytest.raises(InvalidInputError, match="packed in an unusual way"):
        erf.load(tmp_path / "packed.npz")


def test_objects_are_no_plain_numbers_whatever_their_size(good, tmp_path):
    content = packed({**members(good), "block_counts.npy": header((1,), "|O") + bytes(8)})
    with (
        zipfile.ZipFile(io.BytesIO(content)) as archive,
        pytest.raises(ValueError, match="no array of plain numbers"),
    ):
        archives.check_arrays(archive)


# --- Models --------------------------------------------------------------------------------------


def small() -> keras.Model:
    layers = [keras.layers.Conv2D(2, 3, name="conv"), keras.layers.Flatten(), keras.layers.Dense(4)]
    return keras.Sequential([keras.Input((6, 6, 1)), *layers])


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, bytes]:
    """The same small model in both formats."""
    folder, model = tmp_path_factory.mktemp("models"), small()
    for suffix in (".keras", ".h5"):
        model.save(folder / f"good{suffix}")
    return {suffix: (folder / f"good{suffix}").read_bytes() for suffix in (".keras", ".h5")}


def edited(models: dict[str, bytes], suffix: str, change) -> bytes:
    """A model file whose HDF5 part `change` has had its way with."""
    parts = members(models[".keras"]) if suffix == ".keras" else {}
    inner = io.BytesIO(parts["model.weights.h5"] if parts else models[".h5"])
    with h5py.File(inner, "r+") as file:
        change(file)
    if not parts:
        return inner.getvalue()
    return packed({**parts, "model.weights.h5": inner.getvalue()})


def configured(models: dict[str, bytes], suffix: str, change) -> bytes:
    """A model file of another configuration, changed in place or replaced by `change`."""
    if suffix == ".keras":
        parts = members(models[".keras"])
        config = json.loads(parts["config.json"])
        return packed({**parts, "config.json": json.dumps(change(config) or config).encode()})

    def rewrite(file: h5py.File) -> None:
        config = json.loads(file.attrs["model_config"])
        file.attrs["model_config"] = json.dumps(change(config) or config)

    return edited(models, suffix, rewrite)


def refusal(tmp_path, name: str, content: bytes) -> str:
    """What is said of a file that must be refused: in a line, at once, and nothing is written."""
    file = tmp_path / name
    file.write_bytes(content)
    tracemalloc.start()
    # Seconds of the processor: those of the clock depend on what else runs.
    begin = time.process_time()
    with pytest.raises(ModelLoadError) as caught:
        load_model(str(file))
    seconds = time.process_time() - begin
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message
    assert name in message
    assert most < 100e6
    assert seconds < 20
    assert sorted(tmp_path.iterdir()) == [file]
    return message


def first_array(file: h5py.File) -> str:
    names: list[str] = []
    file.visititems(lambda name, one: names.append(name) if isinstance(one, h5py.Dataset) else None)
    return names[0]


def instead(make):
    """A change that puts something in the place of the first array."""

    def change(file: h5py.File) -> None:
        name = first_array(file)
        old = file[name][()]
        del file[name]
        make(file, name, old)

    return change


def virtual(file: h5py.File, name: str, old: np.ndarray) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "data", shape=(4,))
    file.create_virtual_dataset(name, layout)


def link(target):
    def make(file: h5py.File, name: str, old: np.ndarray) -> None:
        file[name] = target

    return make


HDF5 = {
    "terabytes of one value, packed": (
        lambda file, name, old: file.create_dataset(
            name, (10**6, 10**6), "f4", chunks=(64, 64), compression="gzip"
        ),
        "would unfold",
    ),
    "terabytes that were never written": (
        lambda file, name, old: file.create_dataset(name, (10**12,), "f4"),
        "fewer numbers than its shape says",
    ),
    "numbers of another file": (
        lambda file, name, old: file.create_dataset(
            name, old.shape, "f4", external=[("/etc/hostname", 0, 10**4)]
        ),
        "in another file",
    ),
    "numbers of another file, virtually": (virtual, "put together of other arrays"),
    "objects": (
        lambda file, name, old: file.create_dataset(name, old.shape, h5py.ref_dtype),
        "none of plain numbers",
    ),
    "a link to another file": (link(h5py.ExternalLink("other.h5", "/")), "another place or file"),
    "a link to another place": (link(h5py.SoftLink("/")), "another place or file"),
    "a named type": (
        lambda file, name, old: file.__setitem__(name, np.dtype("f4")),
        "neither a group nor an array",
    ),
    "a loop": (lambda file, name, old: file.__setitem__(name, file["/"]), "under another name"),
}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kind", HDF5)
def test_weights_that_are_not_in_the_file_are_refused(kind, suffix, models, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.models, "load_model", None)
    make, expected = HDF5[kind]
    content = edited(models, suffix, instead(make))
    assert expected in refusal(tmp_path, f"hostile{suffix}", content)


def test_arrays_that_together_are_larger_than_the_file_are_refused(models):
    arrays: list[h5py.Dataset] = []
    with h5py.File(io.BytesIO(models[".h5"])) as file:
        file.visititems(
            lambda _, one: arrays.append(one) if isinstance(one, h5py.Dataset) else None
        )
        numbers, held = sum(one.size for one in arrays), sum(one.nbytes for one in arrays)
        assert count_stored(file, models[".h5"]) == numbers == 2 * 9 + 2 + 32 * 4 + 4
        # So they are where two of them share their bytes.
        with pytest.raises(ValueError, match="together are larger than the file"):
            count_stored(file, bytes(held - 1))


def test_an_attribute_that_is_larger_than_the_file_is_refused():
    with h5py.File(io.BytesIO(), "w") as file:
        file.attrs["names"] = np.zeros(1000)
        assert count_stored(file, bytes(8 * 1000)) == 0
        with pytest.raises(ValueError, match="attribute 'names' is larger than the file"):
            count_stored(file, bytes(8 * 1000 - 1))


def test_texts_that_hdf5_would_read_for_ever_are_refused(models, tmp_path):
    content = models[".h5"]
    heap = content.index(b"GCOL")
    # Behind 16 bytes come the number of the first text, of what refers to it, and its length.
    without = content[: heap + 16] + bytes(16) + content[heap + 32 :]
    assert "texts of no length" in refusal(tmp_path, "endless.h5", without)
    (tmp_path / "endless.h5").unlink()
    longer = content[: heap + 24] + (10**12).to_bytes(8, "little") + content[heap + 32 :]
    assert "texts are cut off" in refusal(tmp_path, "longer.h5", longer)
    (tmp_path / "longer.h5").unlink()
    larger = content[: heap + 8] + (10**12).to_bytes(8, "little") + content[heap + 16 :]
    assert "texts are cut off" in refusal(tmp_path, "larger.h5", larger)


ARCHIVES = {
    "a member that leaves the folder": (lambda parts: {**parts, "../up": b""}, "leaves the folder"),
    "a member with a whole path": (lambda parts: {**parts, "/tmp/up": b""}, "leaves the folder"),
    "a member with a drive": (lambda parts: {**parts, "C:\\up": b""}, "leaves the folder"),
    "a member Keras does not write": (
        lambda parts: {**parts, "model.weights.npz": b""},
        "no part of a model",
    ),
    "no weights": (
        lambda parts: {"config.json": parts["config.json"]},
        "it has no model.weights.h5",
    ),
    "a gigabyte of zeros": (
        lambda parts: {**parts, "assets/zeros": bytes(300 << 20)},
        "would unfold from",
    ),
    "a configuration nested without end": (
        lambda parts: {**parts, "config.json": b"[" * 10**6 + b"]" * 10**6},
        "nested too deeply",
    ),
    "a configuration nested deeper than any": (
        lambda parts: {**parts, "config.json": b'{"a":' * 250 + b"1" + b"}" * 250},
        "nested too deeply",
    ),
    "a number of a million digits": (
        lambda parts: {**parts, "config.json": b"1" * 10**6},
        "`MODEL` must be a whole model",
    ),
    "a configuration that is a list": (
        lambda parts: {**parts, "config.json": b"[]"},
        "no JSON object",
    ),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_hostile_archive_is_refused_before_keras_sees_it(kind, models, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.models, "load_model", None)
    change, expected = ARCHIVES[kind]
    content = packed(change(members(models[".keras"])))
    assert expected in refusal(tmp_path, "hostile.keras", content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_two_members_of_a_name_is_refused(models, tmp_path):
    made = io.BytesIO(models[".keras"])
    with zipfile.ZipFile(made, "a") as archive:
        archive.writestr("config.json", "{}")
    assert "two members of one name" in refusal(tmp_path, "twice.keras", made.getvalue())


def test_a_member_that_claims_another_size_is_refused(models, tmp_path):
    content = models[".keras"]
    # The last entry of the directory: two sizes of four bytes each, 20 bytes in.
    place = content.rindex(b"PK\x01\x02") + 24
    content = content[:place] + (2**31).to_bytes(4, "little") + content[place + 4 :]
    assert "has two sizes" in refusal(tmp_path, "lying.keras", content)


def test_members_that_overlap_are_refused(models):
    with zipfile.ZipFile(io.BytesIO(models[".keras"])) as archive:
        archives.checked_members(archive)
        archive.infolist()[0].compress_size = archive.infolist()[0].file_size = 10**6
        with pytest.raises(ValueError, match="overlap"):
            archives.checked_members(archive)


def test_a_configuration_larger_than_any_is_refused(models, tmp_path, monkeypatch):
    for suffix, content in models.items():
        monkeypatch.setattr(vetting, "MOST_CONFIG", 100)
        assert "larger than" in refusal(tmp_path, f"large{suffix}", content)
        (tmp_path / f"large{suffix}").unlink()


def last_layer(config: dict) -> dict:
    return config["config"]["layers"][-1]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("units", [10**7, 10**12, 10**18])
def test_weights_that_are_asked_for_and_not_there_are_never_made(
    suffix, units, models, tmp_path, monkeypatch
):
    monkeypatch.setattr(keras.models, "load_model", None)

    def widen(config: dict) -> None:
        last_layer(config)["config"]["units"] = units

    content = configured(models, suffix, widen)
    # What is there: 2 filters of 3 x 3 and their biases; 32 inputs to 4 units, and their biases.
    held, asked = 2 * 9 + 2 + 32 * 4 + 4, 2 * 9 + 2 + 33 * units
    message = refusal(tmp_path, f"wide{suffix}", content)
    assert f"it asks for {asked} weights, and holds {held}" in message


def test_counting_weights_makes_none_and_leaves_no_trace(models):
    x = keras.Input((3,))
    simple = keras.Model(x, keras.layers.Dropout(0.5)(keras.layers.Dense(4)(x)))
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(simple)))
    kept, state = copy.deepcopy(config), random.getstate()
    # Besides kernel and biases, the two numbers of the dropout's generator.
    assert count_weights(config, legacy=False) == 3 * 4 + 4 + 2
    assert config == kept
    assert random.getstate() == state
    config = json.loads(members(models[".keras"])["config.json"])
    # Keras makes up for weights that it put off when it leaves a stateless scope.
    last_layer(config)["config"]["units"] = 10**12
    assert count_weights(config, legacy=False) == 2 * 9 + 2 + 33 * 10**12
    with keras.StatelessScope():
        pass
    assert count_weights({"class_name": "Nothing", "config": {}}, legacy=False) is None


OUTSIDE = {
    "Lambda": {"class_name": "Lambda", "module": "keras.layers", "config": {}},
    "Lambda by another name": {"class_name": "layers.Lambda", "module": "keras", "config": {}},
    "code": {"class_name": "__lambda__", "config": {"value": ""}},
    "a stored graph": {"class_name": "TFSMLayer", "module": "keras.layers", "config": {}},
    "a pickle of torch": {"class_name": "TorchModuleWrapper", "module": "keras.layers"},
    "a download": {"class_name": "function", "module": "keras.utils", "config": "get_file"},
    "a download of a class": {"class_name": "get_file", "module": "keras.src.utils.file_utils"},
    "a switch": {"class_name": "enable_unsafe_deserialization", "module": "keras.config"},
    "another model": {"class_name": "load_model", "module": "keras.models", "config": {}},
    "a file of words": {"class_name": "StringLookup", "config": {"vocabulary": "/etc/hostname"}},
}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kind", OUTSIDE)
def test_what_reaches_outside_is_refused_without_the_switch(
    kind, suffix, models, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(keras.models, "load_model", lambda path, **how: asked.append(how))

    def hide(config: dict) -> None:
        last_layer(config)["config"]["activation"] = {"deep": [OUTSIDE[kind]]}

    content = configured(models, suffix, hide)
    assert "--unsafe" in refusal(tmp_path, f"hostile{suffix}", content)
    load_model(str(tmp_path / f"hostile{suffix}"), opening=FileOptions(unsafe=True))
    assert asked == [{"compile": False, "safe_mode": False}]


def test_what_models_are_made_of_is_let_through(tmp_path):
    # Classes and functions of many modules of Keras, in one model.
    x = keras.Input((8, 8, 3))
    y = keras.layers.Conv2D(
        4,
        3,
        activation=keras.ops.relu,
        kernel_initializer=keras.initializers.HeNormal(),
        kernel_regularizer=keras.regularizers.L2(0.1),
        kernel_constraint=keras.constraints.MaxNorm(),
        dtype=keras.dtype_policies.DTypePolicy("mixed_float16"),
    )(x)
    y = keras.ops.mean(keras.layers.Dropout(0.1)(y) * 2, axis=1)
    model = keras.Model(x, keras.layers.LSTM(2, activation="tanh")(y))
    model.compile("adam", "mse", metrics=["mae"])
    model.save(tmp_path / "many.keras")
    loaded = load_model(str(tmp_path / "many.keras")).model
    for mine, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize("name", ["plain", "folder.h5", "folder.keras"])
def test_a_folder_is_no_model(name, unsafe, models, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.models, "load_model", lambda path, **how: "Keras reads folders")
    with zipfile.ZipFile(io.BytesIO(models[".keras"])) as archive:
        archive.extractall(tmp_path / name)
    with pytest.raises(ModelLoadError, match="unpacked archive of Keras; zip its files"):
        load_model(str(tmp_path / name), opening=FileOptions(unsafe=unsafe))


def test_running_out_of_memory_is_reported_in_a_line(models, tmp_path, monkeypatch):
    def exhausted(*args, **how):
        raise MemoryError

    monkeypatch.setattr(keras.models, "load_model", exhausted)
    message = refusal(tmp_path, "good.keras", models[".keras"])
    assert "needs more memory than there is" in message


def test_weights_for_a_network_of_keras_are_looked_at_too(models, tmp_path, monkeypatch):
    make, _ = HDF5["numbers of another file"]
    file = tmp_path / "hostile.h5"
    file.write_bytes(edited(models, ".h5", instead(make)))

    def build(weights):
        raise AssertionError("Keras has seen it")

    build.__module__ = "keras.src.applications.mobilenet"
    monkeypatch.setattr(keras.applications, "MobileNet", build)
    with pytest.raises(ModelLoadError, match=r"of MobileNet\. Received: .* is in another file"):
        load_model("MobileNet", weights=str(file))


def test_a_checkpoint_is_looked_at_too(models, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.models, "load_model", None)
    make, expected = HDF5["numbers of another file"]
    (tmp_path / "checkpoint.keras").write_bytes(edited(models, ".keras", instead(make)))
    with pytest.raises(InvalidInputError, match=f"checkpoint that cannot be read.*{expected}"):
        _read_checkpoint(tmp_path / "checkpoint.keras")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_mutant_models_are_read_right_or_refused(suffix, models, tmp_path):
    draws, file = np.random.default_rng(0), tmp_path / f"mutant{suffix}"
    good = models[suffix]
    file.write_bytes(good)
    wanted, messages = load_model(str(file)).model.get_weights(), []
    for _ in range(25):
        mutant = bytearray(good)
        for place in draws.integers(0, len(mutant), draws.integers(1, 30)):
            mutant[place] = draws.integers(0, 256)
        if draws.random() < 0.2:
            mutant = mutant[: draws.integers(0, len(mutant))]
        file.write_bytes(bytes(mutant))
        try:
            found = load_model(str(file)).model.get_weights()
        except ModelLoadError as error:
            messages.append(str(error))
        else:
            assert [one.shape for one in found] == [one.shape for one in wanted]
    assert messages
    assert not [one for one in messages if "\n" in one]


# --- Images --------------------------------------------------------------------------------------


def test_images_that_are_none_are_named_and_left_out(tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.full((9, 9, 3), 50, np.uint8)).save(tmp_path / "calm.png")
    whole = (tmp_path / "calm.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    # 400 million pixels in fifty kilobytes; and as many as Pillow begins to warn at.
    image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    image.new("1", (10_000, 9_000)).save(tmp_path / "large.png")
    spec = InputSpec("x", (5, 5, 3), "float32", 2)
    source = images(erf.ImageFolder(tmp_path), [spec], 0)
    with pytest.warns(
        (UserWarning, image.DecompressionBombWarning), match="Left out|bomb"
    ) as caught:
        batches = list(source.batches(8))
    np.testing.assert_array_equal(batches[0][0], np.full((1, 5, 5, 3), 50.0))
    hostile = {"bomb.png", "cut.png", "empty.jpg", "large.png"}
    assert set(source.skipped) == hostile
    # Pillow warns of the large one by itself.
    messages = [str(one.message) for one in caught if one.category is UserWarning]
    assert all(one.startswith("Left out") for one in messages)
    assert all(any(name in one for one in messages) for name in hostile)
    assert len(messages) == len(hostile)


# --- Studies -------------------------------------------------------------------------------------


def test_an_index_that_is_broken_later_is_reported_in_a_line(tmp_path):
    store = StudyStore(tmp_path)
    index = tmp_path / "index.sqlite"
    content = index.read_bytes()
    index.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    with pytest.raises(InvalidInputError, match="can be read and written: "):
        store.states()


def test_free_places_that_hdf5_would_follow_for_ever_are_refused(models, tmp_path):
    content = models[".h5"]
    # Behind 8 bytes come the names' size, their first free place and where they are.
    heap = content.index(b"HEAP")
    size, free, names = (
        int.from_bytes(content[heap + offset : heap + offset + 8], "little")
        for offset in (8, 16, 24)
    )
    assert free + 16 <= size
    first = names + free
    for what, following in (("circle", free), ("outside", size), ("far", 2**63)):
        name = f"{what}.h5"
        mutant = content[:first] + following.to_bytes(8, "little") + content[first + 8 :]
        assert "free places that do not end" in refusal(tmp_path, name, mutant)
        (tmp_path / name).unlink()
    cut = content[: heap + 8] + (10**12).to_bytes(8, "little") + content[heap + 16 :]
    assert "free places that do not end" in refusal(tmp_path, "larger.h5", cut)


def test_places_that_are_counted_from_elsewhere_are_refused():
    # Behind a block of the user's, what looks like free places may be bait.
    made = io.BytesIO()
    with h5py.File(made, "w", userblock_size=512) as file:
        file["kernel"] = np.zeros(4)
    with (
        h5py.File(made, "r") as file,
        pytest.raises(ValueError, match="in eight bytes from its beginning"),
    ):
        count_stored(file, made.getvalue())

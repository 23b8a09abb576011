"""Result files that are broken, or made to do harm: refused in a line, or read as they are."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

import keras_erf as erf
from keras_erf.errors import InvalidInputError
from keras_erf.results import storing

MUTANTS = 300


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> bytes:
    file = tmp_path_factory.mktemp("results") / "good.npz"
    net = erf.zoo.build("plain", depth=2, activation="relu")
    erf.probe(net, samples=4, input_shape=(9, 9)).save(file)
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
    told = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(made, told)
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
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_result_is_refused_before_room_is_made(kind, good, tmp_path):
    file = tmp_path / "hostile.npz"
    file.write_bytes(packed(HOSTILE[kind](members(good))))
    tracemalloc.start()
    with pytest.raises(InvalidInputError, match=r"`path` must be an \.npz file"):
        erf.load(file)
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

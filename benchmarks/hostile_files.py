"""Whether mutated files do harm: each is read right or refused in a line.

    python benchmarks/hostile_files.py [--results 10000] [--models 1000] [--old 2000]
        [--images 1000] [--seed 0]

Good files are changed at random, in their bytes and, with the check sums put right again, in what
is inside of them. A process reads each, in limited memory and time. Exit status 1 if one crashed or
hung it, ran code, took too much memory, wrote a file, failed otherwise or was read wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import numpy as np
from mutating import mutant
from old_layouts import ARCHITECTURE, WEIGHTS_FILE, old_layouts
from recording import parse, record

SECONDS = 60.0
# More than a worker has at its start: in all, and really used.
MOST_SPACE, MOST_USED = 8 << 30, 1 << 30
# Keras keeps something of every model.
FILES_PER_WORKER = 250
# Of a file that is zipped only to be one file.
MOST_UNZIPPED = 64 << 20
MARKER = "code-was-run"
# A model's arguments may make no sense, which shows when its layers are called.
GOOD = ("read right", "read right, but not to be called", "refused")


def main() -> int:
    """Prints what became of the files of each kind; 1 if any of them did harm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--old", type=int, default=2000, help="models of Keras 1, 2 and tf.keras")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that did harm")
    options = parse(parser)
    harm, files = False, {}
    with tempfile.TemporaryDirectory() as folder:
        # A kind's place is part of its seed: new ones come last.
        makers = {"results": _results, "models": _models, "images": _images, "old": _old}
        for number, (kind, make) in enumerate(makers.items()):
            (home := Path(folder) / kind).mkdir()
            count = getattr(options, kind)
            goods = make(home) if count else []
            random = np.random.default_rng([options.seed, number])
            begin = time.perf_counter()
            outcomes = _tried(kind, count, goods, random, home, options.keep)
            seconds = time.perf_counter() - begin
            counts = ", ".join(f"{times} {outcome}" for outcome, times in outcomes.most_common())
            print(f"{count} {kind}: {counts}; {seconds:.0f} s", flush=True)
            harm |= bool(set(outcomes) - {*GOOD})
            files[kind] = {**outcomes, "seconds": seconds}
    return record(options, not harm, files=files)


def _tried(
    kind: str, count: int, goods: list[Path], random: Any, home: Path, keep: Path | None
) -> Counter[str]:
    """What became of mutants of good files, by outcome."""
    contents = [file.read_bytes() for file in goods]
    code, outcomes, worker = _code(), Counter[str](), None
    inside = home / "inside"
    inside.mkdir()
    (home / "work").mkdir()
    known = {*home.iterdir(), home / "log.txt"}
    for number in range(count):
        which = int(random.integers(0, len(goods)))
        suffix = goods[which].suffix
        content = mutant(random, suffix, contents[which], contents, code)
        file = inside / f"mutant{suffix}"
        file.write_bytes(content)
        known.add(file)
        if worker is None or number % FILES_PER_WORKER == 0:
            if worker is not None:
                worker.end()
            worker = _Worker(kind, home)
        outcome, detail = worker.read(file)
        if not worker.alive:
            worker = None
        places = (inside, home, home / "work")
        new = [file for place in places for file in place.iterdir() if file not in known]
        for file in new:
            file.unlink()
        if new:
            code_ran = any(file.name == MARKER for file in new)
            outcome, detail = "ran code" if code_ran else "wrote a file", str(new)
        outcomes[outcome] += 1
        if outcome not in GOOD:
            print(f"{kind} {number}, of {goods[which].name}: {outcome}: {detail}", flush=True)
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{kind}-{number}{suffix}").write_bytes(content)
        file.unlink()
    if worker is not None:
        worker.end()
    return outcomes


class _Worker:
    """A process that reads files, and may die of it."""

    def __init__(self, kind: str, home: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.log = home / "log.txt"
        self.process = context.Process(target=_serve, args=(kind, home, theirs))
        self.process.start()
        theirs.close()
        self.alive = True
        # Loading TensorFlow is no part of a file's time.
        self.pipe.recv()

    def read(self, file: Path) -> tuple[str, str]:
        """What became of a file, and a line on it."""
        self.pipe.send(str(file))
        try:
            if self.pipe.poll(SECONDS):
                return self.pipe.recv()
            outcome = "hung"
        except (EOFError, ConnectionError):
            outcome = "crashed"
        self.end()
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
        return outcome, f"exit status {self.process.exitcode}: {' '.join(last)[:200]}"

    def end(self) -> None:
        """Ends the process, if it has not ended itself."""
        self.alive = False
        self.pipe.close()
        self.process.join(1.0)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


def _serve(kind: str, home: Path, pipe: Any) -> None:
    """Reads files by name, as long as there are any."""
    os.chdir(home / "work")
    log = os.open(home / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    readers = {
        "results": _read_result, "models": _read_model, "images": _read_image, "old": _read_old,
    }  # fmt: skip
    read = readers[kind]
    with contextlib.suppress(Exception):
        read(next(file for file in home.iterdir() if file.name.startswith("good")))
    limit = _memory("VmSize") + MOST_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    pipe.send("ready")
    while True:
        try:
            file = Path(pipe.recv())
        except EOFError:
            return
        # The peak is counted from here on.
        Path("/proc/self/clear_refs").write_text("5")
        before = _memory("VmRSS")
        outcome = _outcome(read, file)
        used = _memory("VmHWM") - before
        if used > MOST_USED:
            outcome = "took memory", f"{used >> 20} MiB"
        pipe.send(outcome)


class _NotUnzipped(Exception):
    """What stands for a folder or for two files is no archive any more."""


class _NotCallable(Exception):
    """A model was loaded as its file says, and fails when it is called."""


def _memory(name: str) -> int:
    return 1024 * int(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0])


def _outcome(read: Any, file: Path) -> tuple[str, str]:
    from keras_erf.errors import KerasERFError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(file)
    except KerasERFError as error:
        one_line = "\n" not in str(error) and len(str(error)) < 1000
        return ("refused", "") if one_line else ("said too much", str(error)[:300])
    except _NotCallable as error:
        return "read right, but not to be called", str(error.__cause__)[:200]
    except _NotUnzipped:
        return "refused", ""
    except AssertionError as error:
        return "read wrong", " ".join(str(error).split())[:300]
    except BaseException:
        return "failed otherwise", " | ".join(traceback.format_exc().splitlines()[-5:])[:700]
    return "read right", ""


# --- Results -------------------------------------------------------------------------------------


def _results(home: Path) -> list[Path]:
    """Results of a probe and an expectation, of one axis, of two, and of a part."""
    import keras

    import keras_erf as erf

    relu = erf.zoo.build("plain", depth=2, activation="relu")
    line = keras.Input((30, 2))
    sound = keras.Model(line, keras.layers.Conv1D(3, 5, strides=2)(line))
    files = {
        "relu": erf.probe(relu, samples=6, input_shape=(9, 9)),
        "part": erf.probe(relu, samples=2, input_shape=(40, 40), unit=(3, 3)),
        "line": erf.probe(sound, samples=4),
        "expected": erf.expected(erf.zoo.build("plain", depth=3)),
    }
    for name, result in files.items():
        result.save(home / f"good-{name}.npz")
    return [home / f"good-{name}.npz" for name in files]


def _read_result(file: Path) -> None:
    import keras_erf as erf

    result = erf.load(file)
    with np.load(file, allow_pickle=False) as held:
        about = json.loads(str(held["about"]))
        np.testing.assert_array_equal(result.block_sums, held["block_sums"])
        np.testing.assert_array_equal(result.block_counts, held["block_counts"])
    field = about["receptive_field"]
    for name in ("unit", "input_size", "output_size", "size", "padding"):
        assert list(getattr(result.receptive_field, name)) == field[name], name
    for name in ("layer", "input", "status"):
        assert getattr(result.receptive_field, name) == field[name], name
    assert json.dumps(result.provenance) == json.dumps(about["provenance"])
    assert result.dead_count == about["dead_count"]
    assert result.linear == about["linear"]
    for stride, stored in zip(result.receptive_field.stride, field["stride"], strict=True):
        assert str(stride) == stored or stride == eval_fraction(stored), stored
    result.summary()
    repr(result)


def eval_fraction(text: str) -> float:
    """A fraction's value, by division."""
    above, _, below = text.partition("/")
    return int(above) / int(below or 1)


# --- Models --------------------------------------------------------------------------------------


def _code() -> Any:
    """Python code that makes a file, as Keras writes it."""
    import keras

    layer = keras.layers.Lambda(_marking(), output_shape=(4,))
    return keras.saving.serialize_keras_object(layer)


def _marking() -> Any:
    return eval(f"lambda x: (open({MARKER!r}, 'w').close(), x)[1]")


def _models(home: Path) -> list[Path]:
    """Small models of many kinds of layers, one of them with code, in both formats."""
    import keras
    from keras import layers

    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    z = layers.BatchNormalization()(layers.Conv2D(4, 1)(y))
    images = keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.add([y, z]))))
    t = keras.Input((6, 4))
    s = layers.LayerNormalization()(layers.MultiHeadAttention(2, 2)(t, t))
    times = keras.Model(t, layers.Dropout(0.1)(layers.LSTM(3)(s)))
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.SeparableConv2D(2, 3)])
    nested = keras.Model(x, layers.Flatten()(inner(x)))
    tokens = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(9, 4),
            layers.Bidirectional(layers.GRU(2)),
        ]
    )
    scaled = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Rescaling(1 / 255), layers.Conv2DTranspose(2, 3, strides=2)]
    )
    code = keras.Sequential([keras.Input((4,)), layers.Lambda(_marking()), layers.Dense(2)])
    lookup = layers.IntegerLookup(vocabulary=[1, 2, 3])
    words = keras.Sequential([keras.Input((3,), dtype="int64"), lookup, layers.Embedding(9, 2)])
    files = {
        "images": images, "times": times, "nested": nested, "tokens": tokens, "scaled": scaled,
        "code": code,
    }  # fmt: skip
    for name, model in files.items():
        model.save(home / f"good-{name}.keras")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save(home / f"good-{name}.h5")
    words.save(home / "good-words.keras")
    # Building the model with code has run it.
    Path(MARKER).unlink(missing_ok=True)
    return sorted(home.glob("good-*"))


def _read_model(file: Path) -> None:
    import keras

    from keras_erf.named_models import find_model

    try:
        model = find_model(str(file)).model
        _check_weights(model, _held(file))
        _call(model)
    finally:
        keras.backend.clear_session()
        gc.collect()


def _call(model: Any) -> None:
    """Calls a model whose values are few."""
    shapes = [tuple(1 if n is None else n for n in tensor.shape) for tensor in model.inputs]
    # A layer that is called twice has no one output.
    graph = getattr(model, "_functional", None) or model
    large = [
        tensor.shape
        for operation in graph.operations
        for node in operation._inbound_nodes
        for tensor in node.output_tensors
    ]
    if max(np.prod([n or 1 for n in shape], dtype=float) for shape in [*shapes, *large]) < 1e6:
        try:
            model([np.ones(shape, "float32") for shape in shapes])
        except Exception as error:
            raise _NotCallable from error


def _held(file: Path, archive: bool | None = None) -> list[np.ndarray]:
    """The arrays of a file, as HDF5 reads them."""
    source: Any = file
    if file.suffix == ".keras" if archive is None else archive:
        with zipfile.ZipFile(file) as archive:
            source = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(source) as held:
        return [*_arrays(held)]


def _arrays(group: h5py.Group) -> Iterator[np.ndarray]:
    # Not `visititems`, which also fails at what is never read.
    for item in group.values():
        if isinstance(item, h5py.Group):
            yield from _arrays(item)
        elif isinstance(item, h5py.Dataset):
            yield item[()]


def _check_weights(model: Any, held: list[np.ndarray]) -> None:
    for weight in model.weights:
        value = np.asarray(weight)
        fits = (
            np.array_equal(value, other.astype(value.dtype), equal_nan=value.dtype.kind == "f")
            for other in held
            if other.shape == value.shape and other.dtype.kind in "biuf"
        )
        # HDF5 models come without the states of random generators.
        assert "seed_generator" in weight.path or any(fits), f"{weight.path} is nowhere in the file"


# --- Old models ----------------------------------------------------------------------------------


def _old(home: Path) -> list[Path]:
    """Small models of every layout before Keras 3."""
    return old_layouts(home)


def _read_old(file: Path) -> None:
    import keras

    import keras_erf as erf

    stand_ins = {"lambda_1": "pointwise"} if "lambda_1" in _text(file) else {}
    with tempfile.TemporaryDirectory() as scratch:
        path, weights = _unzipped(file, Path(scratch))
        try:
            model = erf.load_model(path, weights=weights, stand_ins=stand_ins)
            _check_numbers(model, path if weights is None else weights)
            _call(model)
        finally:
            keras.backend.clear_session()
            gc.collect()


def _text(file: Path) -> str:
    return file.read_bytes().decode("latin-1")


def _unzipped(file: Path, folder: Path) -> tuple[Path, Path | None]:
    """What is opened, and its weights where they are in a file of their own.

    Raises:
        _NotUnzipped: The archive is damaged, which no user would name.
    """
    if file.suffix not in (".saved", ".pair"):
        return file, None
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if member.file_size < MOST_UNZIPPED:
                    archive.extract(member, folder)
    except Exception as error:
        raise _NotUnzipped from error
    if file.suffix == ".saved":
        return folder, None
    return folder / ARCHITECTURE, folder / WEIGHTS_FILE


def _check_numbers(model: Any, source: Path) -> None:
    """Asserts that the weights are in the file: turned around perhaps, but the same numbers."""
    if source.is_dir():
        import tensorflow as tf

        reader = tf.train.load_checkpoint(str(source / "variables" / "variables"))
        held = [np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()]
    else:
        with source.open("rb") as raw:
            archive = raw.read(2) == b"PK"
        held = _held(source, archive)
    numbers = np.concatenate(
        [
            np.zeros(1),
            *(array.ravel().astype(float) for array in held if array.dtype.kind in "biuf"),
        ]
    )
    for weight in model.weights:
        value = np.asarray(weight, float)
        inside = np.isin(value.astype("f4"), numbers.astype("f4")) | np.isnan(value)
        assert "seed_generator" in weight.path or inside.all(), f"{weight.path} is not in the file"


# --- Images --------------------------------------------------------------------------------------


def _images(home: Path) -> list[Path]:
    """An image in each format, and in the modes of PNG."""
    from PIL import Image

    values = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    picture = Image.fromarray(np.kron(values, np.ones((2, 2, 1), np.uint8)))
    for suffix in ("png", "jpg", "bmp", "gif", "webp", "tif"):
        picture.save(home / f"good-rgb.{suffix}")
    picture.convert("P").save(home / "good-palette.png")
    picture.convert("1").save(home / "good-bits.png")
    picture.convert("RGBA").save(home / "good-alpha.png")
    picture.save(home / "good-packed.tif", compression="tiff_lzw")
    picture.save(home / "good-progressive.jpg", progressive=True)
    # Of 8000 times 8000 pixels in a few bytes, and of more than anyone means.
    Image.new("1", (8000, 8000)).save(home / "good-large.png")
    Image.new("1", (20_000, 20_000)).save(home / "good-bomb.png")
    return sorted(home.glob("good-*"))


def _read_image(file: Path) -> None:
    """Reads a folder of the file and a good one, which is read whatever the other is."""
    from PIL import Image

    from keras_erf.inputs.images import ImageFolder, images
    from keras_erf.inputs.sources import InputSpec

    calm = file.parent / "calm.png"
    Image.fromarray(np.full((8, 8, 3), 77, np.uint8)).save(calm)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            source = images(ImageFolder(file.parent), [InputSpec("x", (8, 8, 3), "float32", 2)], 0)
            (batch,) = (np.concatenate(parts) for parts in zip(*source.batches(4), strict=True))
        assert any(np.array_equal(image, np.full((8, 8, 3), 77)) for image in batch), "the good one"
        assert np.isfinite(batch).all()
        assert batch.min() >= 0
        assert batch.max() <= 255
        # Pillow has warnings of its own, of margins it can do without.
        own = [
            text
            for text in (str(message.message) for message in caught)
            if text.startswith("Left out")
        ]
        if len(batch) == 1:
            assert source.skipped == [file.name]
            (message,) = own
            assert str(file) in message
            raise _refused(message)
        assert not own, own[0]
    finally:
        calm.unlink()


def _refused(message: str) -> Exception:
    from keras_erf.errors import InvalidInputError

    return InvalidInputError(message)


if __name__ == "__main__":
    sys.exit(main())

"""Whether files of Keras 2 open as the networks that were saved, and how long translating takes.

    python benchmarks/old_applications.py [--networks MobileNetV2 VGG16] [--forms h5 keras tf json]
        [--size 96] [--partial FILE]

Every network of `tf_keras.applications` (or those that are named) gets random weights, in a process
of its own, and is saved as HDF5, as an archive, as a SavedModel and as JSON with weights. Each file
is opened, and predictions are compared with those of tf_keras, as a share of their range. Then the
architecture is translated, and Keras builds the same network from its own configuration. The
difference is what translating costs. Exit status 1 if predictions differ by more than 1e-5 of their
range, or if translating takes longer than Keras takes to build the network.

Networks with random weights may amplify rounding to their whole range. Where a change of the input
by 1e-7 changes the original's own predictions by more than 1e-5, it is made in double precision.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from recording import parse, plain, record

TOLERANCE = 1e-5
FORMS = ("h5", "keras", "tf", "json")
# Of the head, which has most of the weights of some networks.
CLASSES = 10
# Of the input: what rounding does to it.
ROUNDING = 1e-7
# Times vary by a tenth and more.
REPEATS = 3


def main() -> int:
    """Prints the largest difference of each network in each form; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", help="those of tf_keras.applications by default")
    parser.add_argument("--forms", nargs="*", default=list(FORMS), choices=FORMS)
    parser.add_argument("--size", type=int, default=96, help="sides of the input, pixels")
    parser.add_argument("--partial", type=Path, help="file that keeps what is measured so far")
    parser.add_argument("--make", help=argparse.SUPPRESS)
    options = parse(parser)
    if options.make:
        return _make(options.make, Path.cwd(), options.forms, options.size)
    networks = _measured(options)
    differences = [value for network in networks.values() for value in network["forms"].values()]
    numbers = [value for value in differences if isinstance(value, float)]
    wrong = [
        f"{name} {form}"
        for name, network in networks.items()
        for form, value in network["forms"].items()
        if not (isinstance(value, float) and value <= TOLERANCE)
    ]
    ratios = {name: one["ratio"] for name, one in networks.items() if one["ratio"] is not None}
    slow = [name for name, ratio in ratios.items() if ratio >= 1]
    print(
        f"{len(networks)} networks, {len(differences)} files, at most {max(numbers, default=0):.1e}"
        f" of the range apart; wrong: {wrong or 'none'}; translating takes {_range(ratios)} of the"
        f" time that Keras takes; slower: {slow or 'none'}"
    )
    passed = bool(networks) and not wrong and not slow
    return record(options, passed, networks=networks, wrong=wrong, slow=slow)


def _range(ratios: dict[str, float]) -> str:
    values = list(ratios.values())
    return f"{min(values):.0%} to {max(values):.0%}" if values else "no share"


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    """What was measured of each network; what an earlier run has kept is not measured again."""
    kept: dict[str, Any] = {}
    if options.partial is not None and options.partial.exists():
        kept = json.loads(options.partial.read_text(encoding="utf-8"))
    for name in options.networks or _networks():
        if name in kept:
            continue
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable, str(Path(__file__).resolve()), "--make", name,
                "--size", str(options.size), "--forms", *options.forms,
            ]  # fmt: skip
            made = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
            if made.returncode:
                reason = made.stderr.strip()[-300:]
                kept[name] = {"forms": dict.fromkeys(options.forms, f"not made: {reason}")}
                kept[name] |= {"weights": None, "ratio": None}
                print(f"{name}: not made: {reason}", flush=True)
                continue
            kept[name] = _opened(name, Path(folder), options.forms)
            kept[name] |= _timed(name, Path(folder))
        if options.partial is not None:
            options.partial.write_text(json.dumps(kept, default=plain), encoding="utf-8")
    return kept


def _networks() -> list[str]:
    """Names of the networks, without importing tf_keras here: it disturbs Keras 3."""
    code = (
        "from tf_keras import applications as a\n"
        "print(*(n for n in dir(a) if n[:1].isupper() and callable(getattr(a, n))))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return run.stdout.split()


def _make(name: str, folder: Path, forms: list[str], size: int) -> int:
    """Saves a network of `tf_keras.applications`, with an input and its output."""
    import tf_keras

    precision = "float32"
    model, inputs, outputs, shift = _network(tf_keras, name, size)
    if shift > TOLERANCE:
        # Rounding alone would decide: in double precision it does not.
        precision = "float64"
        tf_keras.backend.set_floatx(precision)
        model, inputs, outputs, _ = _network(tf_keras, name, size)
    np.savez(folder / "outputs.npz", inputs=inputs, outputs=outputs, precision=precision)
    (folder / "model.json").write_text(model.to_json(), encoding="utf-8")
    if "h5" in forms:
        model.save(folder / "model.h5")
    if "keras" in forms:
        model.save(folder / "model.keras")
    if "tf" in forms:
        model.save(folder / "model", save_format="tf")
    if "json" in forms:
        model.save_weights(folder / "model_weights.h5")
    return 0


def _network(tf_keras: Any, name: str, size: int) -> tuple[Any, Any, Any, float]:
    """A network, an input, its output, and how far rounding the input shifts the output."""
    random = np.random.default_rng(0)
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(0)
    model = getattr(tf_keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None
    )
    # Vectors that are all alike would hide arrays that were exchanged, and let signals die.
    for weight in model.weights:
        if len(weight.shape) == 1:
            value = weight.numpy()
            factor = 1 + 0.1 * random.random(value.shape)
            weight.assign(value * factor + 0.1 * random.normal(size=value.shape))
    inputs = random.uniform(0, 1, (1, size, size, 3)).astype(tf_keras.backend.floatx())
    outputs = np.asarray(model(inputs, training=False))
    rounded = inputs * (1 + ROUNDING * random.normal(size=inputs.shape)).astype(inputs.dtype)
    shift = np.abs(np.asarray(model(rounded, training=False)) - outputs).max() / np.ptp(outputs)
    return model, inputs, outputs, float(shift)


def _opened(name: str, folder: Path, forms: list[str]) -> dict[str, Any]:
    """The difference of predictions for each form, and the number of weights."""
    import keras

    from keras_erf import load_model

    held, count = np.load(folder / "outputs.npz"), None
    differences: dict[str, Any] = {}
    for form in forms:
        path = folder / ("model" if form == "tf" else f"model.{form}")
        weights = folder / "model_weights.h5" if form == "json" else None
        begin = time.perf_counter()
        try:
            model = load_model(path, weights=weights)
            seconds = time.perf_counter() - begin
            outputs = np.asarray(model(held["inputs"], training=False))
            apart = np.abs(outputs - held["outputs"]).max() / np.ptp(held["outputs"])
            differences[form], count = float(apart), int(model.count_params())
            print(f"{name} {form}: {apart:.1e} of the range, {seconds:.1f} s", flush=True)
        except Exception as error:
            differences[form] = f"{type(error).__name__}: {error}"
            print(f"{name} {form}: {differences[form]}", flush=True)
        keras.backend.clear_session()
        gc.collect()
    return {"forms": differences, "weights": count, "precision": str(held["precision"])}


def _timed(name: str, folder: Path) -> dict[str, Any]:
    """Seconds of the processor, the least of some repetitions: to open and to build a network.

    A translator builds the network as well, so that translating is what it takes longer than Keras.
    """
    import keras

    from keras_erf import load_model

    try:
        model = load_model(folder / "model.json", weights="none")
        # Keras takes a configuration apart while it builds.
        configs = [copy.deepcopy(model.get_config()) for _ in range(REPEATS)]
        objects = {type(layer).__name__: type(layer) for layer in model.layers}
        build = [
            lambda: load_model(folder / "model.json", weights="none"),
            lambda: type(model).from_config(configs.pop(), custom_objects=objects),
        ]
        opening, building = (min(_seconds(each) for _ in range(REPEATS)) for each in build)
    except Exception as error:
        print(f"{name}: not timed: {type(error).__name__}: {error}", flush=True)
        return {"opening": None, "building": None, "ratio": None}
    finally:
        keras.backend.clear_session()
        gc.collect()
    ratio = max(0.0, opening - building) / building
    print(
        f"{name}: {opening:.2f} s, of which Keras takes {building:.2f} s; ratio {ratio:.2f}",
        flush=True,
    )
    return {"opening": opening, "building": building, "ratio": ratio}


def _seconds(build: Callable[[], Any]) -> float:
    gc.collect()
    begin = time.process_time()
    build()
    return time.process_time() - begin


if __name__ == "__main__":
    sys.exit(main())

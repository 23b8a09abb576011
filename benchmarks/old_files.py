"""Whether files of Keras 2 open as the networks that were saved.

    python benchmarks/old_files.py [--networks MobileNetV2 VGG16] [--forms h5 keras tf json]

Every network of `tf_keras.applications` (or those that are named) gets random weights, in a process
of its own, and is saved as HDF5, as an archive, as a SavedModel and as JSON with weights. Each file
is opened, and predictions are compared with those of tf_keras, as a share of their range. Exit
status 1 if any differs by more than 1e-5.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from recording import parse, record

TOLERANCE = 1e-5
FORMS = ("h5", "keras", "tf", "json")


def main() -> int:
    """Prints the largest difference of each network in each form; 1 if any is too large."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", help="those of tf_keras.applications by default")
    parser.add_argument("--forms", nargs="*", default=list(FORMS), choices=FORMS)
    parser.add_argument("--most", type=float, default=float("inf"), help="million weights at most")
    parser.add_argument("--make", help=argparse.SUPPRESS)
    options = parse(parser)
    if options.make:
        return _make(options.make, Path.cwd(), options.forms, options.most)
    found: dict[str, Any] = {}
    for name in options.networks or _networks():
        with tempfile.TemporaryDirectory() as folder:
            made = subprocess.run(
                [
                    sys.executable, str(Path(__file__).resolve()), "--make", name,
                    "--most", str(options.most), "--forms", *options.forms,
                ],
                cwd=folder, check=False, capture_output=True, text=True,
            )  # fmt: skip
            if made.returncode:
                print(f"{name}: not made: {made.stderr.strip()[-300:]}", flush=True)
                continue
            if (Path(folder) / "outputs.npz").exists():
                found[name] = _opened(name, Path(folder), options.forms)
    wrong = [
        f"{name} {form}"
        for name, forms in found.items()
        for form, difference in forms.items()
        if not (isinstance(difference, float) and difference <= TOLERANCE)
    ]
    print(f"{len(found)} networks, {sum(map(len, found.values()))} files; wrong: {wrong or 'none'}")
    return record(options, not wrong, networks=found)


def _networks() -> list[str]:
    code = (
        "from tf_keras import applications as a\n"
        "print(*(n for n in dir(a) if n[:1].isupper() and callable(getattr(a, n))))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return run.stdout.split()


def _make(name: str, folder: Path, forms: list[str], most: float) -> int:
    """Saves a network of `tf_keras.applications`, with an input and its output."""
    import tf_keras

    random = np.random.default_rng(0)
    tf_keras.utils.set_random_seed(0)
    model = getattr(tf_keras.applications, name)(weights=None, classifier_activation=None)
    if model.count_params() > most * 1e6:
        return 0
    # Statistics that are all alike would hide arrays that were exchanged.
    for weight in model.weights:
        if len(weight.shape) == 1:
            value = weight.numpy()
            weight.assign(value * (1 + 0.1 * random.random(value.shape)) + 1e-3 * random.normal())
    (shape,) = (tensor.shape[1:] for tensor in model.inputs)
    inputs = random.uniform(0, 1, (1, *shape)).astype("float32")
    np.savez(folder / "outputs.npz", inputs=inputs, outputs=model(inputs, training=False))
    if "h5" in forms:
        model.save(folder / "model.h5")
    if "keras" in forms:
        model.save(folder / "model.keras")
    if "tf" in forms:
        model.save(folder / "model", save_format="tf")
    if "json" in forms:
        (folder / "model.json").write_text(model.to_json(), encoding="utf-8")
        model.save_weights(folder / "model_weights.h5")
    return 0


def _opened(name: str, folder: Path, forms: list[str]) -> dict[str, Any]:
    import keras

    from keras_erf import load_model

    held, found = np.load(folder / "outputs.npz"), {}
    for form in forms:
        path = folder / ("model" if form == "tf" else f"model.{form}")
        weights = folder / "model_weights.h5" if form == "json" else None
        begin = time.perf_counter()
        try:
            model = load_model(path, weights=weights)
            seconds = time.perf_counter() - begin
            outputs = np.asarray(model(held["inputs"], training=False))
            found[form] = float(np.abs(outputs - held["outputs"]).max() / np.ptp(held["outputs"]))
            print(f"{name} {form}: {found[form]:.1e} of the range, {seconds:.1f} s", flush=True)
        except Exception as error:
            found[form] = f"{type(error).__name__}: {error}"
            print(f"{name} {form}: {found[form]}", flush=True)
        keras.backend.clear_session()
    return found


if __name__ == "__main__":
    sys.exit(main())

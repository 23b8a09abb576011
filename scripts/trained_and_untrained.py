"""Compares a trained model's effective field with that of its untrained twin.

    python scripts/trained_and_untrained.py MODEL --layer NAME --images DIR [--scale 1/255] ...

The twin has the same layers with fresh weights; its batch normalisations are
calibrated on the same images, since they hold no statistics of their own. Prints both sizes, with
standard errors, and the theoretical one.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import keras_erf as erf
from keras_erf.commands.parsing import read_preprocess


def main(arguments: list[str] | None = None) -> int:
    """Prints a line for the trained model and one for its twin."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a .keras or .h5 file")
    parser.add_argument("--layer", nargs="+", default=[None], metavar="NAME", help="layers")
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--scale", help="factor of the pixels' values, such as 1/255")
    parser.add_argument("--mean", help="taken off after that, one number or three")
    parser.add_argument("--std", help="divided by after that, one number or three")
    parser.add_argument("--bgr", action="store_true", help="channels from blue to red")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--size", type=int, nargs="+", help="spatial size of the input")
    options = parser.parse_args(arguments)
    preprocess = read_preprocess(
        options.scale, options.mean, options.std, options.bgr, options.images
    )
    inputs = erf.ImageFolder(options.images, preprocess)
    shape = tuple(options.size) if options.size else None
    trained = keras.models.load_model(options.model, compile=False)
    keras.utils.set_random_seed(0)
    fresh = keras.models.clone_model(trained)
    twin = erf.calibrate_batch_norm(fresh, inputs, samples=options.samples, input_shape=shape)
    print(f"{'layer':<32}{'TRF':>8}{'trained':>18}{'untrained':>18}")
    for layer in options.layer:
        both = [
            erf.probe(model, layer, inputs=inputs, samples=options.samples, input_shape=shape)
            for model in (trained, twin)
        ]
        sizes = [f"{result.size:.1f} ± {result.size_error:.1f} px" for result in both]
        print(
            f"{both[0].layer:<32}{both[0].trf_size:>5.0f} px{sizes[0]:>18}{sizes[1]:>18}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Trains the zoo's CIFAR-10 ResNet on a folder of images.

    python scripts/train_cifar10.py --data path/to/cifar10 --out path/to/output

The package has to be installed (`pip install .`). The data folder holds
`train/<class>/*.jpg` and `test/<class>/*.jpg` (any image format Pillow reads, all of one
size). The output folder receives `initial.weights.h5`, `trained.weights.h5`,
`metrics.json`, a log of every epoch, the decoded images and a backup: the same command
continues an interrupted run from its last whole epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_erf import zoo

NAME = "cifar_resnet14"
preprocess = zoo.preprocess_input(NAME)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything written")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.1, help="peak of the schedule")
    parser.add_argument("--weight-decay", type=float, default=5e-3, help="times learning rate")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order, augmentation")
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="continue from the backup in --out, if there is one",
    )
    return parser.parse_args(argv)


def read_split(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Decodes `folder/<class>/*`; labels count the class folders in alphabetical order.

    Returns:
        Images, uint8 of shape `(n, height, width, 3)`, and labels, int64 of shape `(n,)`.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    files = [(file, label) for label, path in enumerate(classes) for file in sorted(path.iterdir())]
    if not files:
        raise SystemExit(f"No class folders with images in {folder}.")
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file, _ in files])
    return images, np.array([label for _, label in files])


def read_data(data: Path, cache: Path) -> dict[str, np.ndarray]:
    """Reads both splits, from the cache if an earlier run left one."""
    if not cache.exists():
        arrays = {}
        for split in ("train", "test"):
            arrays[f"{split}_x"], arrays[f"{split}_y"] = read_split(data / split)
        # Written aside first: an interrupted run must not leave half a cache.
        partial = cache.with_name("partial.npz")
        np.savez(partial, **arrays)
        os.replace(partial, cache)
    with np.load(cache) as arrays:
        return dict(arrays)


def augment(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Random crop after padding by 4 pixels, and random mirror image (He et al., 4.2)."""
    seed = tf.cast(seed, tf.int32)
    padded = tf.pad(image, [[4, 4], [4, 4], [0, 0]])
    crop = tf.image.stateless_random_crop(padded, tf.shape(image), seed=[seed, 0])
    return tf.image.stateless_random_flip_left_right(crop, seed=[seed, 1]), label


def training_batches(x: np.ndarray, y: np.ndarray, batch_size: int, seed: int) -> tf.data.Dataset:
    """Shuffled, augmented, standardised batches; another order and crop in every epoch."""
    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
    index = tf.data.Dataset.range(len(x)).shuffle(len(x), seed=seed)
    images, labels = tf.constant(x), tf.constant(y)
    return (
        tf.data.Dataset.zip(index, seeds)
        .map(
            lambda i, draw: augment(tf.gather(images, i), tf.gather(labels, i), draw),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(batch_size, drop_remainder=True)
        .map(lambda image, label: (preprocess(image), label))
        .prefetch(tf.data.AUTOTUNE)
    )


def accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """Share of images whose largest logit is their class."""
    logits = model.predict(preprocess(x), batch_size=500, verbose=0)
    return float(np.mean(np.argmax(logits, axis=-1) == y))


def make_optimizer(arguments: argparse.Namespace, steps: int) -> keras.optimizers.Optimizer:
    """SGD with Nesterov momentum; one epoch of warm-up, then a cosine to zero."""
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=arguments.learning_rate / 10,
        warmup_target=arguments.learning_rate,
        warmup_steps=steps,
        decay_steps=max(1, (arguments.epochs - 1) * steps),
    )
    optimizer = keras.optimizers.SGD(
        schedule, momentum=0.9, nesterov=True, weight_decay=arguments.weight_decay
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def main(argv: list[str] | None = None) -> int:
    """Trains, saves and measures."""
    arguments = parse_arguments(argv)
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(arguments.seed)
    data = read_data(arguments.data, out / "images.npz")
    test = data["test_x"], data["test_y"]

    model, uncompiled = (
        zoo.build(NAME, classes=int(data["train_y"].max()) + 1, seed=arguments.seed)
        for _ in range(2)
    )
    uncompiled.save_weights(out / "initial.weights.h5")
    before = accuracy(model, *test)

    steps = len(data["train_x"]) // arguments.batch_size
    model.compile(
        optimizer=make_optimizer(arguments, steps),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    callbacks = [keras.callbacks.CSVLogger(str(out / "epochs.csv"), append=arguments.resume)]
    if arguments.resume:
        callbacks.append(keras.callbacks.BackupAndRestore(str(out / "backup")))
    start = time.monotonic()
    model.fit(
        training_batches(data["train_x"], data["train_y"], arguments.batch_size, arguments.seed),
        epochs=arguments.epochs,
        shuffle=False,
        validation_data=(preprocess(test[0]), test[1]),
        validation_batch_size=500,
        callbacks=callbacks,
        verbose=2,
    )
    # A model that was never compiled saves no optimizer state.
    uncompiled.set_weights(model.get_weights())
    uncompiled.save_weights(out / "trained.weights.h5")
    metrics = {
        "test_accuracy_before": before,
        "test_accuracy_after": accuracy(uncompiled, *test),
        "test_images": len(test[1]),
        "train_images": len(data["train_y"]),
        "parameters": model.count_params(),
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "learning_rate": arguments.learning_rate,
        "weight_decay": arguments.weight_decay,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - start),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

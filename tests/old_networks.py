"""Small networks of the families of `tf_keras.applications`; run in a process of its own.

`python tests/old_networks.py FOLDER` writes each in four forms, with an input and its output.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 64
FORMS = ("h5", "keras", "tf", "json")


def networks() -> dict[str, Any]:
    """Networks by name: the smallest of a family, or one with fewer blocks."""
    from tf_keras import applications as known
    from tf_keras.src.applications import convnext, densenet, efficientnet_v2

    shape = {"input_shape": (SIZE, SIZE, 3), "weights": None}
    head = {**shape, "classes": 5, "classifier_activation": None}
    stages = [
        {"kernel_size": 3, "num_repeat": 1, "input_filters": 16, "output_filters": 8,
         "expand_ratio": ratio, "se_ratio": se, "strides": 2, "conv_type": kind}
        for ratio, se, kind in ((1, 0, 1), (4, 0.25, 0))
    ]  # fmt: skip
    stages[1]["input_filters"] = 8
    return {
        "mobilenet": known.MobileNet(alpha=0.25, **head),
        "convnext": convnext.ConvNeXt(
            depths=[1, 1, 1, 1], projection_dims=[4, 8, 8, 8],
            default_size=SIZE, model_name="convnext", **head,
        ),
        "densenet": densenet.DenseNet([1, 1, 1, 1], include_top=False, pooling="avg", **shape),
        "efficientnet_v2": efficientnet_v2.EfficientNetV2(
            1.0, 1.0, SIZE, blocks_args=stages, model_name="efficientnet", **head
        ),
    }  # fmt: skip


def main(folder: Path) -> None:
    """Writes all networks in all forms."""
    import tf_keras

    random = np.random.default_rng(0)
    tf_keras.utils.set_random_seed(0)
    for name, model in networks().items():
        # Vectors that are all alike would hide arrays that were exchanged.
        for weight in model.weights:
            if len(weight.shape) == 1:
                weight.assign(weight * (1 + 0.1 * random.random(weight.shape)) + 1e-3)
        inputs = random.uniform(0, 255, (1, SIZE, SIZE, 3)).astype("float32")
        np.savez(folder / f"{name}.npz", inputs=inputs, outputs=model(inputs, training=False))
        model.save(folder / f"{name}.h5")
        model.save(folder / f"{name}.keras")
        model.save(folder / f"{name}.tf", save_format="tf")
        (folder / f"{name}.json").write_text(model.to_json(), encoding="utf-8")
        model.save_weights(folder / f"{name}_weights.h5")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

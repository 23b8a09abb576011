"""Small trainings that can be interrupted."""

from __future__ import annotations

import keras
import numpy as np

import keras_erf as erf
from keras_erf.training import Options
from keras_erf.training.batches import ExampleBatches
from keras_erf.training.datasets import Examples
from keras_erf.training.loop import run

RANDOM = np.random.default_rng(0)

EXAMPLES = Examples(
    RANDOM.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8), RANDOM.integers(0, 3, 40)
)


def plainly(images: np.ndarray) -> np.ndarray:
    return np.asarray(images, np.float32) / 255


class Killed(Exception):
    """Stands for the end of the process."""


def tiny() -> keras.Model:
    keras.utils.set_random_seed(3)
    x = keras.Input((16, 16, 3))
    y = keras.layers.Conv2D(4, 3, padding="same", name="last")(x)
    y = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(y))
    return keras.Model(x, keras.layers.Dense(3)(y))


def trained(folder, *, kill=None, epochs=4, data="noise", build=tiny, **options):
    def batches(epoch):
        made = ExampleBatches(EXAMPLES, 8, seed=0, epoch=epoch, preprocess=plainly)
        if kill is not None and epoch == kill[0]:
            real = made.__class__.__getitem__

            class Broken(ExampleBatches):
                def __getitem__(self, number):
                    if number == kill[1]:
                        raise Killed("Killed")
                    return real(self, number)

            return Broken(EXAMPLES, 8, seed=0, epoch=epoch, preprocess=plainly)
        return made

    return run(
        build,
        batches,
        Options(epochs=epochs, batch_size=8, learning_rate=0.05, weight_decay=1e-3, **options),
        erf.ERFLogger("last", inputs=plainly(EXAMPLES.images[:16]), path=folder / "erf"),
        folder,
        data=data,
        compiled={"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
    )


def soft() -> keras.Model:
    # Not above: the process that resumes must not have it from here.
    from keras_erf.models.weak_centre import WeakCentre

    model = tiny()
    model.get_layer("last").kernel_initializer = WeakCentre(0.25)
    return model

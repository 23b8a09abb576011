"""Model files of every age, opened as Keras 3 models."""

from keras_erf.loading.arguments import keras_itself
from keras_erf.loading.model_files import load_model

__all__ = ["keras_itself", "load_model"]

"""Models of Keras 1 and 2 and of tf.keras, built in Keras 3 from what their files say."""

from keras_erf.legacy.architecture import Architecture, Built, PlacedLayer
from keras_erf.legacy.assembling import build
from keras_erf.legacy.surveying import lambdas_of, unknown_classes

__all__ = ["Architecture", "Built", "PlacedLayer", "build", "lambdas_of", "unknown_classes"]

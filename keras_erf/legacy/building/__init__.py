"""Models of Keras 3, built by replaying the graphs in old configurations."""

from keras_erf.legacy.building.models import build

__all__ = ["build"]

"""The picture of an effective receptive field.

Functions here take results, draw, and return matplotlib `Axes`: every figure
drawn is a method of the result or of `keras_erf.analysis`. They never save or
show anything, and leave matplotlib's settings as they are.
"""

from keras_erf.plotting.maps import plot_map

__all__ = ["plot_map"]

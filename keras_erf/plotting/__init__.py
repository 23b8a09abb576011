"""The pictures of effective receptive fields: one unit's map, and many layers over depth.

Functions here take results, draw, and return matplotlib `Axes`: every figure
drawn is a method of the result or of `keras_erf.analysis`. They never save or
show anything, and leave matplotlib's settings as they are.
"""

from keras_erf.plotting.histories import plot_history
from keras_erf.plotting.maps import plot_map
from keras_erf.plotting.panels import plot_panel
from keras_erf.plotting.profiles import plot_profile
from keras_erf.plotting.trainings import plot_training

__all__ = ["plot_history", "plot_map", "plot_panel", "plot_profile", "plot_training"]

"""The pictures of effective receptive fields, of one unit, of many layers, of trainings.

Functions here take results, draw, and return matplotlib `Axes`, or where there are
several an array of them or the `Figure`: every number drawn is a method of the result
or of `keras_erf.analysis`. They never save or
show anything, and leave matplotlib's settings as they are.
"""

from keras_erf.plotting.grids import plot_grid, plot_pair
from keras_erf.plotting.growths import plot_growth
from keras_erf.plotting.histories import plot_history
from keras_erf.plotting.ladders import plot_ladder
from keras_erf.plotting.maps import plot_map
from keras_erf.plotting.overlays import plot_overlay
from keras_erf.plotting.panels import plot_panel
from keras_erf.plotting.profiles import plot_profile
from keras_erf.plotting.radial import plot_radial
from keras_erf.plotting.trainings import plot_training
from keras_erf.plotting.volumes import plot_volume

__all__ = [
    "plot_grid",
    "plot_growth",
    "plot_history",
    "plot_ladder",
    "plot_map",
    "plot_overlay",
    "plot_pair",
    "plot_panel",
    "plot_profile",
    "plot_radial",
    "plot_training",
    "plot_volume",
]

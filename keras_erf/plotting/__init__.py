"""Pictures of effective receptive fields: of one unit, of many layers, of trainings.

Functions take results, draw them, and return matplotlib `Axes`, or for several axes an
array of them or the `Figure`. Every number drawn comes from the result or from
`keras_erf.analysis`. Functions never save or show anything, and do not change matplotlib's
settings.
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

"""Metrics of an effective receptive field, from plain arrays.

A *map* is an array of one to three spatial axes: the impact of each input pixel
on one unit. Coordinates are pixel indices, pixel `i` being centred on
coordinate `i`; lengths are input pixels; a box is one `(start, stop)` pair per
axis, stop excluded. A map may hold negative values (a signed gradient): every
metric is then computed on its absolute value.

This package knows neither Keras nor TensorFlow.
"""

from keras_erf.analysis.areas import AreaRatio, high_contribution_area, mass_area
from keras_erf.analysis.comparison import Comparison, compare, is_bell
from keras_erf.analysis.concentration import (
    effective_pixels,
    entropy,
    fwhm,
    gini,
    half_mass_radius,
    mass_radius,
    mass_within,
)
from keras_erf.analysis.constants import MASS, THRESHOLD
from keras_erf.analysis.estimates import Estimate
from keras_erf.analysis.gaussian import GaussianFit, fit_gaussian
from keras_erf.analysis.growth import PowerLaw, bootstrap_power_law, fit_power_law
from keras_erf.analysis.jackknife import jackknife
from keras_erf.analysis.moments import Moments, marginals, moments
from keras_erf.analysis.regions import Region, erf_size, mass_region, threshold_region

__all__ = [
    "MASS",
    "THRESHOLD",
    "AreaRatio",
    "Comparison",
    "Estimate",
    "GaussianFit",
    "Moments",
    "PowerLaw",
    "Region",
    "bootstrap_power_law",
    "compare",
    "effective_pixels",
    "entropy",
    "erf_size",
    "fit_gaussian",
    "fit_power_law",
    "fwhm",
    "gini",
    "half_mass_radius",
    "high_contribution_area",
    "is_bell",
    "jackknife",
    "marginals",
    "mass_area",
    "mass_radius",
    "mass_region",
    "mass_within",
    "moments",
    "threshold_region",
]

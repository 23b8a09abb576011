"""The poster's mathematics: what the effective field of simple networks must be.

Along one axis, for layers as `Step`s, first one first. Kernels of several axes that are
products, such as uniform ones, are products of these. Keras is not used.
"""

from keras_erf.theory.chains import (
    Step,
    cumulants,
    excess_kurtosis,
    field_size,
    impact,
    impact_map,
    mean,
    sigma,
    structure,
    variance,
)
from keras_erf.theory.coefficients import (
    fourier_impact,
    polynomial_coefficient,
    polynomial_coefficients,
)
from keras_erf.theory.laws import (
    GAUSSIAN_SIZE,
    gaussian_size,
    growth_exponents,
    size_ratio,
    uniform_map,
    uniform_size,
)
from keras_erf.theory.limits import (
    berry_esseen_bound,
    edgeworth_distribution,
    gaussian_distance,
    gaussian_limit,
    impact_distribution,
)
from keras_erf.theory.variants import (
    corner_gain,
    dropout_factor,
    relu_factor,
    skip_map,
    skip_variance,
    soft_centre_variance,
)
from keras_erf.theory.walks import Move, expected_position, position_variance, walk

__all__ = [
    "GAUSSIAN_SIZE",
    "Move",
    "Step",
    "berry_esseen_bound",
    "corner_gain",
    "cumulants",
    "dropout_factor",
    "edgeworth_distribution",
    "excess_kurtosis",
    "expected_position",
    "field_size",
    "fourier_impact",
    "gaussian_distance",
    "gaussian_limit",
    "gaussian_size",
    "growth_exponents",
    "impact",
    "impact_distribution",
    "impact_map",
    "mean",
    "polynomial_coefficient",
    "polynomial_coefficients",
    "position_variance",
    "relu_factor",
    "sigma",
    "size_ratio",
    "skip_map",
    "skip_variance",
    "soft_centre_variance",
    "structure",
    "uniform_map",
    "uniform_size",
    "variance",
    "walk",
]

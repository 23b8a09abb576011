"""The squared network: a linear one whose gradients are another's mean squared gradients.

Over random weights of zero mean, or over random signs of given ones, the mixed terms of
a squared gradient vanish: `E[g^2]` goes back through a network of the kernels' mean
squares, from which activations have gone but for the mean square of their slope. It is
exact for linear networks, and a good approximation for wide ones with activations. What
channels have in common is carried to layer normalisations (`building`), what neighbours
have to pools (`neighbours`); `correlation` bounds what is left out. `layers` describes
which layers have squares in closed form; those of all others are measured.
"""

from keras_erf.second_moments.coherence import Coherent
from keras_erf.second_moments.network import SquaredNetwork, squared
from keras_erf.signals.initializers import TellsSecondMoment, Weights

__all__ = ["Coherent", "SquaredNetwork", "TellsSecondMoment", "Weights", "squared"]

"""Receptive-field rules: which inputs one output of a layer depends on.

A rule is a small pure function `rule(call) -> views`, with one view or more for
each pair of an input and an output that depend on each other. `RULES` has the rule of
every layer and operation of Keras; `keras_erf.layers` holds them, a family each.
"""

from keras_erf.algebra.geometry import Window
from keras_erf.algebra.views import Link, View
from keras_erf.dependence.call import Call, Rule
from keras_erf.dependence.measured import measured
from keras_erf.dependence.simple import whole
from keras_erf.layers.table import RULES, views

__all__ = ["RULES", "Call", "Link", "Rule", "View", "Window", "measured", "views", "whole"]

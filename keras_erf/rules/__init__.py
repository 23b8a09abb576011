"""Receptive-field rules: which inputs one output of a layer depends on.

A rule is a small pure function `rule(call) -> views`, with one view or more for
each pair of an input and an output that depend on each other. `layers.LAYERS`
lists the rule of every layer of Keras, `operations.OPERATIONS` that of every
operation; the other modules hold the rules, a family each.
"""

from keras_erf.algebra.geometry import Window
from keras_erf.algebra.views import Link, View
from keras_erf.rules.call import Call, Rule
from keras_erf.rules.everything import whole
from keras_erf.rules.measured import measured
from keras_erf.rules.table import RULES, views

__all__ = ["RULES", "Call", "Link", "Rule", "View", "Window", "measured", "views", "whole"]

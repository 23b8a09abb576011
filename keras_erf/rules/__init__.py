"""Receptive-field rules: which inputs one output of a layer depends on.

A rule is a small pure function `rule(call) -> views`, with one `View` for each
input tensor. `table.RULES` lists the rule of every known layer and operation;
the families `sliding`, `pointwise`, `everything` and `rearranging` hold them.
"""

from keras_erf.rules.call import Call, Rule
from keras_erf.rules.everything import whole
from keras_erf.rules.measured import measured
from keras_erf.rules.table import RULES, is_unknown, views

__all__ = ["RULES", "Call", "Rule", "is_unknown", "measured", "views", "whole"]

"""The table of operations of `keras.ops`, as they stand in a graph after `x + y` or `ops.relu(x)`.

An operation's key is the name of its class.
"""

from __future__ import annotations

from keras_erf.rules import pointwise
from keras_erf.rules.call import Rule

__all__ = ["OPERATIONS"]

OPERATIONS: dict[type | str, Rule] = {
    "ops.Absolute": pointwise.elementwise,
    "ops.Add": pointwise.elementwise,
    "ops.Cast": pointwise.elementwise,
    "ops.Clip": pointwise.elementwise,
    "ops.Divide": pointwise.elementwise,
    "ops.Elu": pointwise.elementwise,
    "ops.Exp": pointwise.elementwise,
    "ops.Gelu": pointwise.elementwise,
    "ops.HardSigmoid": pointwise.elementwise,
    "ops.HardSilu": pointwise.elementwise,
    "ops.LeakyRelu": pointwise.elementwise,
    "ops.Log": pointwise.elementwise,
    "ops.Maximum": pointwise.elementwise,
    "ops.Minimum": pointwise.elementwise,
    "ops.Multiply": pointwise.elementwise,
    "ops.Negative": pointwise.elementwise,
    "ops.Power": pointwise.elementwise,
    "ops.Relu": pointwise.elementwise,
    "ops.Relu6": pointwise.elementwise,
    "ops.Selu": pointwise.elementwise,
    "ops.Sigmoid": pointwise.elementwise,
    "ops.Silu": pointwise.elementwise,
    "ops.Softplus": pointwise.elementwise,
    "ops.Sqrt": pointwise.elementwise,
    "ops.Square": pointwise.elementwise,
    "ops.Subtract": pointwise.elementwise,
    "ops.Tanh": pointwise.elementwise,
    "ops.TrueDivide": pointwise.elementwise,
}

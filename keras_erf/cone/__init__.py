"""Computing some units of a model from no more than their own field.

To probe a unit only its receptive field matters. From the rules every tensor's
needed part is known; each layer runs on that part, with the padding written out
where it leaves the tensor. Values and gradients are those of the whole model, the
cost is that of the field. `layers` describes which layers can be run on parts; all
others run on whole tensors.
"""

from keras_erf.cone.cost import multiply_adds
from keras_erf.cone.planning import Cone, ConeStep, cone_of, whole_cone

__all__ = ["Cone", "ConeStep", "cone_of", "multiply_adds", "whole_cone"]

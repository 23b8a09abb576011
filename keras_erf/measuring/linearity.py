"""Whether a unit's gradient is the same for every sample, so that one sample tells all.

It is where every call on the way from the input is affine in the tensors that
the model's inputs make. A literal table says under which condition a layer or
operation is; what it does not name counts as not affine, and so does all that
is in doubt. Constants that are added change no gradient; those that multiply
must be weights or written down in the graph.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import layers

from keras_erf.fields.theoretical import Target
from keras_erf.graph import Argument, Node
from keras_erf.rules.table import by_class, by_operation, is_patched, is_unknown, look_up

__all__ = ["has_constant_gradient"]


def has_constant_gradient(target: Target, *, training: bool) -> bool:
    """Whether a layer's tensor is an affine function of the analysed input.

    Its gradient is then the same for every sample, whatever the other inputs
    are. What a definition makes of the tensor (a ReLU, say) is not looked at.

    Args:
        target: The unit; all units of a tensor have the same answer.
        training: Whether layers run in training mode.

    Returns:
        `True` only where it is certain.
    """
    tracing = target.tracing
    nodes = tracing.ancestors(target.tensor)
    own = set(target.graph.nodes)
    everything = (*nodes, *target.graph.ancestors(target.tensor))
    masked = any(_may_mask(node.operation) for node in everything)
    for node in nodes:
        if not any(map(tracing.reaches, node.inputs)):
            continue
        if is_patched(node.operation):
            return False
        inside = node not in own
        # Layers are looked into at inference; in training they may do something else.
        if (inside and training) or not _is_affine(
            _step(node, training, inside, masked), node.kind
        ):
            return False
    return True


@dataclass(frozen=True)
class _Step:
    """What a condition is told about a call.

    Args:
        layer: The layer or operation.
        given: Its arguments in one row; tensors as `Argument`.
        named: Its arguments by name.
        training: Whether it runs in training mode.
        inside: Whether a layer's own code makes the call.
        masked: Whether some layer before may have set a mask.
    """

    layer: Any
    given: tuple[Any, ...]
    named: Mapping[str, Any]
    training: bool
    inside: bool
    masked: bool

    @property
    def tensors(self) -> int:
        """How many of the arguments are tensors; one that stands there twice counts twice."""
        return sum(isinstance(one, Argument) for one in self.given)


def _step(node: Node, training: bool, inside: bool, masked: bool) -> _Step:
    args, kwargs = node.filled_arguments()
    bound = inspect.signature(node.operation.call).bind(*args, **kwargs)
    given = tuple(keras.tree.flatten((args, kwargs)))
    # A call inside of a layer may ask for training mode by itself.
    asked = bool(bound.arguments.get("training"))
    return _Step(node.operation, given, bound.arguments, training or asked, inside, masked)


def _is_affine(step: _Step, kind: type | str) -> bool:
    if isinstance(step.layer, layers.Layer) and step.layer.quantization_mode is not None:
        return False
    condition = look_up(kind, AFFINE)
    return condition is not None and condition(step)


def _may_mask(operation: Any) -> bool:
    """Whether a layer may set a mask, which goes on with its tensor unseen in the graph."""
    return (
        isinstance(operation, layers.Masking)
        or bool(getattr(operation, "mask_zero", False))
        or is_unknown(operation)
    )


# --- Conditions ----------------------------------------------------------------------------------


def jointly(step: _Step) -> bool:
    """Affine in all its tensors together."""
    return True


def alone(step: _Step) -> bool:
    """Affine in each of its tensors while the others stay as they are: there must be one only."""
    certain = not any(map(_is_computed, step.given)) if step.inside else True
    return step.tensors == 1 and certain


def first(step: _Step) -> bool:
    """Affine in its first operand only."""
    return isinstance(next(iter(step.named.values()), None), Argument) and alone(step)


def floating(step: _Step) -> bool:
    """Affine unless it makes whole numbers."""
    dtype = step.layer.dtype
    return alone(step) and (dtype is None or keras.backend.is_float_dtype(dtype))


def chosen(step: _Step) -> bool:
    """Affine where what is chosen from where is written down."""
    condition = step.named["condition"]
    return not (isinstance(condition, Argument) or (step.inside and _is_computed(condition)))


def without_activation(step: _Step) -> bool:
    """Affine if it ends in no activation."""
    return alone(step) and step.layer.activation in (None, keras.activations.linear)


def at_inference(step: _Step) -> bool:
    """Affine unless it draws at random, which it does in training."""
    return alone(step) and not step.training


def normalising(step: _Step) -> bool:
    """Affine with the statistics it holds; those of the batch depend on the samples."""
    return alone(step) and not (step.training and step.layer.trainable)


def unmasked(step: _Step) -> bool:
    """Affine where no mask takes samples' steps out."""
    return alone(step) and not step.masked


def over_time(step: _Step) -> bool:
    """As the layer inside."""
    inner = step.layer.layer
    return _is_affine(replace(step, layer=inner), type(inner))


def _is_computed(constant: Any) -> bool:
    """Whether a constant is a tensor: inside of a layer it may be drawn anew in every call."""
    return keras.ops.is_tensor(constant) and not isinstance(constant, keras.Variable)


Condition = Callable[[_Step], bool]

# --- The table: a condition, and the layers or operations it is for ------------------------------

LAYERS: tuple[tuple[Condition, str], ...] = (
    (
        without_activation,
        "Activation Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose Dense "
        "DepthwiseConv1D DepthwiseConv2D EinsumDense SeparableConv1D SeparableConv2D",
    ),
    (
        alone,
        "ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D "
        "AdaptiveAveragePooling3D AveragePooling1D AveragePooling2D AveragePooling3D CenterCrop "
        "Cropping1D Cropping2D Cropping3D Flatten GaussianNoise GlobalAveragePooling2D "
        "GlobalAveragePooling3D Identity Normalization Permute RepeatVector Rescaling Reshape "
        "Resizing UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D "
        "ZeroPadding3D",
    ),
    (unmasked, "GlobalAveragePooling1D"),
    (jointly, "Add Average Concatenate Subtract"),
    (normalising, "BatchNormalization"),
    (
        at_inference,
        "AlphaDropout Dropout GaussianDropout SpatialDropout1D SpatialDropout2D SpatialDropout3D",
    ),
    (over_time, "TimeDistributed"),
)

OPERATIONS: tuple[tuple[Condition, str], ...] = (
    (jointly, "Add Append Concatenate Dstack Hstack Stack Subtract"),
    (
        alone,
        "AdaptiveAveragePool ArraySplit AveragePool Conv ConvTranspose Copy CropImages Deg2rad "
        "DepthToSpace DepthwiseConv Diagonal Diff Dot Dsplit Einsum ExpandDims ExtractPatches "
        "Flip Fliplr Fold GaussianBlur Hsplit Inner Matmul Mean Moveaxis Multiply Negative "
        "PadImages RGBToGrayscale Rad2deg Reshape Resize Roll Rot90 SobelEdges SpaceToDepth "
        "Split Squeeze StopGradient Sum Swapaxes Tensordot Tile Trace Transpose Tril Triu Unfold "
        "Unstack",
    ),
    (first, "Average BatchNorm Divide GetItem Pad Repeat SeparableConv Take TrueDivide"),
    (floating, "Array Cast ConvertToTensor Cumsum"),
    (chosen, "Where"),
)

# Those layers that this Keras has, and the operations.
AFFINE: dict[type | str, Condition] = by_class(LAYERS) | by_operation(OPERATIONS)

"""Running single calls inside Keras's call context, on plain or symbolic tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import keras

from keras_erf.errors import reason_of
from keras_erf.graph.calls import Node
from keras_erf.types import Array, Operation, State

__all__ = [
    "called",
    "differentiable",
    "eagerly",
    "enter",
    "followed",
    "inferred",
    "layers_inside",
    "learned_weights",
    "own_weights",
    "stateless",
]


class _Entry(keras.Layer):
    """Stands for the model whose layers are called.

    The outermost layer of a call drops the losses it recorded before; this one
    is outermost, so that the user's layers keep theirs.
    """

    def call(self, *, action: Callable[[], None]) -> None:
        """Runs `action` inside Keras's call context."""
        action()


def enter(action: Callable[[], None]) -> None:
    """Runs `action` as a model's call would run."""
    # Of one plain precision: the layers bring their own.
    _Entry(name="graph", dtype="float32")(action=action)


def stateless(action: Callable[[], None], state: State = ()) -> keras.StatelessScope:
    """Runs `action` as a model's call, without a trace in any layer.

    Args:
        action: Calls layers.
        state: Pairs of a variable and the value to read in its place.

    Returns:
        The scope, which has the values that were assigned during the run.
    """
    with keras.StatelessScope(state_mapping=list(state)) as scope:
        enter(action)
    return scope


def eagerly(action: Callable[[], Any]) -> Any:
    """What `action` gives, run at once, also while a function is compiled."""
    if keras.backend.backend() != "tensorflow":
        return action()
    import tensorflow as tf

    with tf.init_scope():
        return action()


def followed(node: Node, specs: Mapping[int, Any], *, training: bool = False) -> list[Any]:
    """Symbolic outputs of a layer's own `call`."""

    def run(*args: Any, **kwargs: Any) -> Any:
        if isinstance(node.operation, keras.layers.TimeDistributed):
            # One step of it, which is what the layer inside is called on.
            return node.operation.layer(args[0])
        if "training" in inspect.signature(node.operation.call).parameters:
            kwargs["training"] = training
        return node.operation.call(*args, **kwargs)

    outputs: list[Any] = []
    for tensor in node.call(specs, run):
        # A tensor that is passed on unchanged, or twice, gets a call of its own.
        known = any(tensor is symbol for symbol in (*specs.values(), *outputs))
        first = next(iter(specs.values()))
        if isinstance(first, keras.KerasTensor) and not isinstance(tensor, keras.KerasTensor):
            tensor = _called_on(first, tensor)
        outputs.append(keras.layers.Identity()(tensor) if known else tensor)
    return outputs


def _called_on(symbol: Any, value: Array) -> Any:
    """An output that does not depend on the inputs, such as positions, as calls on one of them."""
    if not value.shape or value.shape[0] != symbol.shape[0]:
        raise ValueError("an output without a batch axis")
    nothing = keras.ops.zeros_like(symbol)
    if len(symbol.shape) > 1:
        nothing = keras.ops.sum(nothing, axis=tuple(range(1, len(symbol.shape))))
    nothing = keras.ops.reshape(nothing, (symbol.shape[0], *(1 for _ in value.shape[1:])))
    return keras.ops.add(keras.ops.cast(nothing, value.dtype), value)


def inferred(
    nodes: Sequence[Node], specs: Mapping[int, Any]
) -> tuple[dict[int, Any], dict[int, str]]:
    """Symbolic values of the tensors that calls make of those given.

    Returns:
        The tensors by number; and for those that cannot be made the reason.
    """
    known, failures = dict(specs), dict[int, str]()

    def infer() -> None:
        for node in nodes:
            lost = [number for number in node.inputs if number in failures]
            try:
                if lost:
                    raise ValueError(failures[lost[0]])
                outputs = _definite(node, known, node.call(known, _specifier(node.operation)))
                _refuse_empty(node, outputs)
            except Exception as error:  # Keras raises what it likes; the reason is kept.
                reason = failures[lost[0]] if lost else f"{node.name}: {reason_of(error)}"
                failures.update(dict.fromkeys(node.outputs, reason))
                continue
            known.update(zip(node.outputs, outputs, strict=True))

    enter(infer)
    return known, failures


def _definite(node: Node, known: Mapping[int, Any], outputs: Sequence[Any]) -> Sequence[Any]:
    """The outputs of a call whose layer states their shape as open, as running it makes them.

    Runs that fail, or whose shapes depend on the values, leave them open.
    """
    sources = [known[number] for number in node.inputs]
    if not any(None in output.shape[1:] for output in outputs) or any(
        None in source.shape[1:] for source in sources
    ):
        return outputs
    runs: list[list[Any]] = []
    try:
        for fill in (keras.ops.zeros, keras.ops.ones):
            values = {
                number: fill((source.shape[0] or 1, *source.shape[1:]), dtype=source.dtype)
                for number, source in zip(node.inputs, sources, strict=True)
            }
            stateless(lambda: runs.append(called(node, values, training=False)))  # noqa: B023
    except Exception:  # A layer raises what it likes.
        return outputs
    shapes, others = ([tuple(value.shape[1:]) for value in run] for run in runs)
    if shapes != others or 0 in (size for shape in shapes for size in shape):
        return outputs
    return [
        keras.KerasTensor((output.shape[0], *shape), dtype=output.dtype, name="output")
        for output, shape in zip(outputs, shapes, strict=True)
    ]


def _refuse_empty(node: Node, outputs: Sequence[Any]) -> None:
    """Raises if a layer leaves nothing of its input, which older releases of Keras do not."""
    for tensor in outputs if isinstance(node.operation, keras.Layer) else ():
        if any(isinstance(size, int) and size < 1 for size in tensor.shape):
            raise ValueError(f"no position is left, its output would have shape {tensor.shape}")


def _specifier(operation: Operation) -> Callable[..., Any]:
    """What infers the outputs of a call; of a layer that only knows shapes, without detours."""
    plain = (
        isinstance(operation, keras.Layer)
        and type(operation).compute_output_spec is keras.Layer.compute_output_spec
        and not getattr(operation.compute_output_shape, "_is_default", False)
    )
    if not plain:
        return operation.compute_output_spec

    def infer(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != 1 or not isinstance(args[0], keras.KerasTensor):
            return operation.compute_output_spec(*args, **kwargs)
        shape = operation.compute_output_shape(args[0].shape)
        if not all(isinstance(size, (int, type(None))) for size in shape):
            return operation.compute_output_spec(*args)
        return keras.KerasTensor(shape, dtype=operation.compute_dtype, name="output")

    return infer


def called(
    node: Node,
    values: Mapping[int, Any],
    *,
    training: bool,
    constant: Callable[[Any], Any] = lambda argument: argument,
    batch: int | None = None,
) -> list[Any]:
    """The outputs of a call on plain values.

    Args:
        node: The call.
        values: Values of its tensors, by number.
        training: Whether layers run in training mode.
        constant: As in `Node.call`.
        batch: Number of samples; `None` for that on which the layer around the call was followed.
    """
    node = node.at(batch, training=training)

    def run(*args: Any, **kwargs: Any) -> Any:
        if "training" in getattr(node.operation, "_call_context_args", ()):
            kwargs["training"] = training
        return differentiable(node.operation, node.operation)(*args, **kwargs)

    return node.call(values, run, constant)


def differentiable(function: Callable[..., Any], operation: Operation) -> Callable[..., Any]:
    """What an operation runs, compiled where the device has no gradients of it otherwise."""
    if not _is_channels_first(operation) or _differentiates_channels_first():
        return function
    import tensorflow as tf

    return tf.function(function, autograph=False, jit_compile=True)


def _is_channels_first(operation: Operation) -> bool:
    layers = layers_inside(operation) if isinstance(operation, keras.Layer) else [operation]
    return any(getattr(layer, "data_format", None) == "channels_first" for layer in layers)


@cache
def _differentiates_channels_first() -> bool:
    """Whether TensorFlow has gradients of convolutions of channels first, as GPUs and oneDNN do."""
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    try:
        # Run now, even while a function is traced.
        with tf.init_scope(), tf.GradientTape() as tape:
            image = tf.Variable(tf.zeros((1, 1, 3, 3)))
            value = tf.nn.conv2d(image, tf.zeros((2, 2, 1, 1)), 1, "VALID", data_format="NCHW")
        tape.gradient(value, image)
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        return False
    return True


def layers_inside(layer: keras.Layer) -> list[keras.Layer]:
    """A layer, and all layers inside it."""
    return list(layer._flatten_layers())


def own_weights(layer: keras.Layer) -> list[Any]:
    """The weights that training changes, frozen ones included, without those of layers inside."""
    return list(layer._trainable_variables)


def learned_weights(layer: keras.Layer) -> list[Any]:
    """The weights of a layer that training changes, frozen ones included."""
    return [weight for inner in layers_inside(layer) for weight in own_weights(inner)]

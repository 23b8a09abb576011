"""Code that calls TensorFlow, as calls of `keras.ops` and of the layers it calls.

TensorFlow's functions take no symbolic tensors of Keras. So the code runs in a graph of
TensorFlow's, on tensors without values, and the operations found there are performed once more by
`keras.ops` on symbolic tensors (`tensorflow_operations`, which old files need as well). What is
computed of constants and weights alone is computed; an operation that no table has stays what it
is, and is measured by itself.

While the code runs, calls of the layers that it is made of are recorded: they are performed by
these layers, so that they keep their names and their rules.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_erf.graph.unrolling import functional
from keras_erf.tensorflow_operations.dilated import in_one_piece
from keras_erf.tensorflow_operations.live import computed, constant_of, performed
from keras_erf.tensorflow_operations.rows import Rows, as_rows, in_rows
from keras_erf.tensorflow_operations.sizes import BATCH, is_static

__all__ = ["replayed"]

# Operations that hand on a variable itself.
READING = ("ReadVariableOp", "Identity")


@dataclass(frozen=True, eq=False)
class _LayerCall:
    """A call of a layer inside the code: tensors of TensorFlow's graph."""

    layer: keras.Layer
    args: Any
    kwargs: Any
    outputs: list[Any]


@dataclass(frozen=True, eq=False)
class _Trace:
    """A graph of TensorFlow's, and what of it layers made.

    Args:
        operations: In the order in which they were made.
        inputs: Names of the tensors that stand for the code's inputs.
        outputs: What the code returned, by name.
        held: Values of what the graph takes from outside: variables and tensors, by name.
        layers: The layer's call that made a tensor, by its name.
    """

    operations: list[Any]
    inputs: list[str]
    outputs: list[str]
    held: dict[str, Any]
    layers: dict[str, _LayerCall] = field(default_factory=dict)


def replayed(
    function: Callable[..., Sequence[Any]],
    symbols: Sequence[keras.KerasTensor],
    layers: Sequence[keras.Layer] = (),
    variables: Sequence[keras.Variable] = (),
) -> list[Any]:
    """Symbolic outputs of code that calls TensorFlow.

    Args:
        function: Takes tensors and returns some.
        symbols: Stand for its inputs.
        layers: Those that it is made of.
        variables: Those that it may read, besides TensorFlow's own.

    Raises:
        Exception: The code does not run in a graph, or uses what cannot be performed.
    """
    trace = _traced(function, symbols, layers, variables)
    return _Performer(trace, symbols).outputs()


def _traced(
    function: Callable[..., Sequence[Any]],
    symbols: Sequence[keras.KerasTensor],
    layers: Sequence[keras.Layer],
    variables: Sequence[keras.Variable],
) -> _Trace:
    """Runs the code in a graph of TensorFlow's."""
    import tensorflow as tf

    handles = {id(_taken(one)): one for one in variables}
    graph = tf.__internal__.FuncGraph("traced")
    made: dict[str, _LayerCall] = {}
    eager = tf.config.functions_run_eagerly()
    # What the code has compiled is to run as it is written.
    tf.config.run_functions_eagerly(True)
    try:
        with graph.as_default(), _recorded(layers, graph, made):
            inputs = [tf.compat.v1.placeholder(one.dtype, one.shape) for one in symbols]
            ends = [tf.convert_to_tensor(one) for one in function(*inputs)]
    finally:
        tf.config.run_functions_eagerly(eager)
    # Those of TensorFlow's own; without the record their values of today are taken.
    for one in getattr(graph, "_watched_variables", ()):
        handles.setdefault(id(one.handle), one)
    held = {
        inner.name: handles.get(id(outer), outer if outer.dtype == tf.resource else outer.numpy())
        for outer, inner in graph.captures
    }
    return _Trace(
        graph.get_operations(), [one.name for one in inputs], [one.name for one in ends], held, made
    )


def _taken(variable: keras.Variable) -> Any:
    """What a graph takes of a variable: its handle, or the value that is read in its place."""
    value = variable.value
    return getattr(value, "handle", value)


@contextmanager
def _recorded(
    layers: Sequence[keras.Layer], graph: Any, made: dict[str, _LayerCall]
) -> Iterator[None]:
    """Lets the outermost calls of some layers be noted, by the names of what they make."""
    depth = 0

    def noting(layer: keras.Layer, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def note(*args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            if not _takes(layer, args):
                # Of a model that was built for another size the layers inside are noted.
                return call(*args, **kwargs)
            known = len(graph.get_operations())
            depth += 1
            try:
                outputs = call(*args, **kwargs)
            finally:
                depth -= 1
            if not depth:
                flat = keras.tree.flatten(outputs)
                record = _LayerCall(layer, args, kwargs, flat)
                # What is handed on unchanged stays the call's that made it.
                new = {one.name for one in graph.get_operations()[known:]}
                made.update({one.name: record for one in flat if one.op.name in new})
            return outputs

        return note

    # Not by `setattr`, which Keras notices.
    patched = [layer for layer in layers if "call" not in vars(layer)]
    for layer in patched:
        vars(layer)["call"] = noting(layer, layer.call)
    try:
        yield
    finally:
        for layer in patched:
            del vars(layer)["call"]


def _takes(layer: keras.Layer, args: Sequence[Any]) -> bool:
    """Whether a layer takes symbolic tensors of these shapes; of models only a graph may not."""
    graph = functional(layer)
    if graph is None:
        return True
    tensors = keras.tree.flatten(args)
    return len(tensors) == len(graph.inputs) and all(
        len(built.shape) == len(given.shape)
        and all(size in (None, own) for size, own in zip(built.shape, given.shape, strict=True))
        for built, given in zip(graph.inputs, tensors, strict=True)
    )


class _Performer:
    """Performs what the outputs of a trace need, in the order in which it was made."""

    def __init__(self, trace: _Trace, symbols: Sequence[keras.KerasTensor]) -> None:
        self._trace = trace
        self._values: dict[str, Any] = {
            **trace.held,
            **dict(zip(trace.inputs, symbols, strict=True)),
        }

    def outputs(self) -> list[Any]:
        """Symbolic values of the outputs."""
        needed = self._needed()
        for operation in self._trace.operations:
            for tensor in operation.outputs:
                if tensor.name not in needed or tensor.name in self._values:
                    continue
                record = self._trace.layers.get(tensor.name)
                if record is None:
                    self._perform(operation)
                else:
                    self._call(record)
        return [self._symbol(name) for name in self._trace.outputs]

    def _symbol(self, name: str) -> Any:
        """What takes the place of a tensor, as a layer takes it."""
        value = self._values[name]
        return value.together() if isinstance(value, Rows) else value

    def _needed(self) -> set[str]:
        """Names of all tensors that the outputs depend on, layers seen as a whole."""
        made = {one.name: op for op in self._trace.operations for one in op.outputs}
        needed, pending = set[str](), list(self._trace.outputs)
        while pending:
            name = pending.pop()
            if name in needed:
                continue
            needed.add(name)
            record = self._trace.layers.get(name)
            sources = made[name].inputs if record is None else _tensors(record)
            pending.extend(one.name for one in sources)
        return needed

    def _call(self, record: _LayerCall) -> None:
        """Calls a layer on symbolic tensors, as the code did on TensorFlow's."""

        def value(argument: Any) -> Any:
            return self._symbol(argument.name) if _is_symbolic(argument) else argument

        args, kwargs = keras.tree.map_structure(value, (record.args, record.kwargs))
        results = keras.tree.flatten(record.layer(*args, **kwargs))
        self._set([one.name for one in record.outputs], results)

    def _perform(self, operation: Any) -> None:
        """Performs an operation, or computes it where no tensor of the graph is needed."""
        inputs = [self._values[one.name] for one in operation.inputs]
        names = [one.name for one in operation.outputs]
        if operation.type == "Const":
            self._set(names, [constant_of(operation)])
        elif operation.type in READING and _is_variable(inputs[0]):
            self._set(names, inputs)
        elif not any(map(_is_open, inputs)):
            values = [_read(one) for one in inputs]
            self._set(names, [one.numpy() for one in computed(operation, values)])
        elif operation.type == "Shape" and not isinstance(inputs[0], Rows):
            # The size of the batch is not to be written into the calls.
            sizes = [BATCH if size is None else size for size in inputs[0].shape]
            self._set(names, [np.array(sizes, dtype=object)])
        else:
            self._set(names, self._performed(operation, inputs))

    def _performed(self, operation: Any, inputs: list[Any]) -> list[Any]:
        """The outputs of an operation on symbolic tensors."""
        whole = in_rows(operation, inputs)
        if whole is None:
            inputs = [one.together() if isinstance(one, Rows) else one for one in inputs]
            whole = as_rows(operation, inputs)
        if whole is None and operation.type == "BatchToSpaceND":
            whole = in_one_piece(operation, lambda one: self._values[one.name])
        return performed(operation, inputs) if whole is None else [whole]

    def _set(self, names: Sequence[str], values: Sequence[Any]) -> None:
        self._values.update(zip(names, values, strict=True))


def _tensors(record: _LayerCall) -> list[Any]:
    """The tensors that a layer is called on."""
    return [one for one in keras.tree.flatten((record.args, record.kwargs)) if _is_symbolic(one)]


def _is_symbolic(value: Any) -> bool:
    """Whether a value is a tensor of TensorFlow's graph."""
    import tensorflow as tf

    return tf.is_symbolic_tensor(value)


def _is_variable(value: Any) -> bool:
    import tensorflow as tf

    return isinstance(value, keras.Variable | tf.Variable)


def _read(value: Any) -> Any:
    """A constant, or the value of a variable."""
    import tensorflow as tf

    return tf.convert_to_tensor(value) if _is_variable(value) else value


def _is_open(value: Any) -> bool:
    """Whether a value is not known before the input is: a tensor, or the size of the batch."""
    batch = value is BATCH or (isinstance(value, np.ndarray) and value.dtype == object)
    return batch or isinstance(value, Rows) or not is_static(value)

"""A model of Keras 3, built by replaying the graph of an old file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from keras_erf.errors import ModelLoadError
from keras_erf.legacy import keras2
from keras_erf.legacy.architecture import Architecture, Arrange, Built, Config, PlacedLayer
from keras_erf.legacy.making import SHAPED, made, resolved_activation, shaped
from keras_erf.legacy.nodes import perform_node
from keras_erf.legacy.operations import perform
from keras_erf.legacy.surveying import (
    OPERATIONS,
    check,
    custom_object,
    is_lambda,
    layers_in,
    modern,
    name_of,
    stand_in,
)
from keras_erf.legacy.translating import (
    INNER,
    bare,
    is_functional,
    is_sequential,
    translate,
)
from keras_erf.legacy.values import dtype, plain

__all__ = ["build"]

CONSTANT = "_CONSTANT_VALUE"
# Their initial states follow the inputs in one list.
RECURRENT = (
    "SimpleRNN", "LSTM", "GRU", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D",
)  # fmt: skip
Shape = Any


def build(
    architecture: Architecture,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    stand_ins: Mapping[str, Any] | None = None,
    unsafe: bool = False,
) -> Built:
    """Builds the model that an old file describes.

    Args:
        architecture: The file's configuration, unchanged.
        custom_objects: Classes and functions of the user's, by name.
        stand_ins: For Lambda layers, by name: `"pointwise"` or a function.
        unsafe: Whether the bytecode of a Lambda without a stand-in may run.

    Raises:
        ModelLoadError: A Lambda has no stand-in, a class is unknown, or the graph cannot be built.
    """
    config = modern(architecture.config)
    if not (is_functional(config) or is_sequential(config)):
        raise ModelLoadError(
            "The model is a class of its own, not a graph of layers, so that its file does not "
            f"say how it is computed. Received: {config.get('class_name')!r}"
        )
    check(config, custom_objects, stand_ins or {}, unsafe)
    context = Context(dict(custom_objects or {}), dict(stand_ins or {}), unsafe)
    try:
        model = context.model(config, None)
    except ModelLoadError:
        raise
    except NotImplementedError as error:
        raise ModelLoadError(
            f"The model needs what Keras 3 has no counterpart of: {error}"
        ) from error
    if not model.layer.built:
        raise ModelLoadError("The model's file does not state the shape of its input")
    return Built(model.layer, model.order)


@dataclass
class Placed:
    """A layer that was made, with the entries of it and of all inside it."""

    layer: Any
    order: list[PlacedLayer] = field(default_factory=list)
    call: Config = field(default_factory=dict)


@dataclass
class Context:
    """What the user gave, for one build."""

    custom: dict[str, Any]
    stand_ins: dict[str, Any]
    unsafe: bool
    path: tuple[str, ...] = ()

    def inside(self, name: str) -> Context:
        """The context of the layers inside a layer."""
        return replace(self, path=(*self.path, name))

    def known(self, name: str) -> bool:
        """Whether the user gives a function or class of that name."""
        return custom_object(name, self.custom) is not None

    def model(self, layer: Config, shape: Shape) -> Placed:
        """A whole or nested model."""
        if is_functional(layer):
            return functional(layer, self)
        return sequential(layer, self, shape)

    def layer(self, layer: Config, name: str, shape: Shape) -> Placed:
        """One layer, under a name that Keras allows, for inputs of a shape if that is known."""
        old_name, class_name = name_of(layer), layer["class_name"]
        if is_functional(layer) or is_sequential(layer):
            inner = self.inside(old_name).model({**layer, "keras_name": name}, shape)
            own = layer["config"] if isinstance(layer["config"], dict) else {}
            first = PlacedLayer(old_name, class_name, own, inner.layer, None, self.path)
            return Placed(inner.layer, [first, *inner.order])
        config = layer["config"]
        made_layer: Any
        arrange: Arrange | None = None
        call: Config = {}
        inner_order: list[PlacedLayer] = []
        if is_lambda(layer):
            made_layer = self._lambda(layer, name, shape)
        elif self.known(class_name):
            made_layer = self._custom(class_name, config, name)
        elif bare(class_name) == "WeightNormalization":
            inner = self.inside(old_name).layer(_inner(config["layer"]), name, shape)
            made_layer, arrange = inner.layer, _normalized
        else:
            translated = translate(class_name, config, self.known)
            arguments = {**translated.config, "name": name}
            call = translated.call
            for key in INNER:
                if key in arguments and translated.class_name not in SHAPED:
                    arguments[key], order = self._inner(arguments[key], old_name, key, shape)
                    inner_order += order
            for key in arguments:
                if key.endswith("activation"):
                    arguments[key] = resolved_activation(arguments[key], self.custom)
            if translated.class_name in SHAPED:
                if shape is None:
                    raise ModelLoadError(
                        f"The layer {old_name!r} of the file needs the shape of its input, which "
                        "the file does not state"
                    )
                made_layer, arrange = shaped(translated.class_name, arguments, _first(shape))
            else:
                arguments.pop("old_output_shape", None)
                made_layer = made(replace(translated, config=arguments), keras2.HARMLESS, old_name)
        own = PlacedLayer(old_name, class_name, config, made_layer, arrange, self.path)
        return Placed(made_layer, [own, *inner_order], call)

    def _inner(
        self, value: Any, holder: str, key: str, shape: Shape
    ) -> tuple[Any, list[PlacedLayer]]:
        if isinstance(value, list | tuple):
            several = [self._inner(item, holder, key, None) for item in value]
            return [item for item, _ in several], [entry for _, order in several for entry in order]
        layer = _inner(value)
        step = None
        if key == "layer" and shape is not None:
            flat = _first(shape)
            step = (flat[0], *flat[2:]) if len(flat) > 2 else None
        name = _allowed(name_of(layer))
        placed = self.inside(holder).layer(layer, name, step)
        return placed.layer, placed.order

    def _custom(self, class_name: str, config: Config, name: str) -> Any:
        kind = custom_object(class_name, self.custom)
        arguments = {
            key: value
            for key, value in plain(config).items()
            if key not in ("batch_input_shape", "input_dtype", "build_config", "dynamic")
        }
        if "dtype" in arguments:
            arguments["dtype"] = dtype(arguments["dtype"])
        try:
            with keras.saving.custom_object_scope(self.custom):
                layer = kind.from_config({**arguments, "name": name})
        except Exception as error:
            raise ModelLoadError(
                f"The class given for the layer {name!r} does not take the file's arguments: "
                f"{' '.join(str(error).split())[:300]}. Received: {class_name}({arguments!r:.300})"
            ) from error
        return layer

    def _lambda(self, layer: Config, name: str, shape: Shape) -> Any:
        given = stand_in(layer, self.custom, self.stand_ins)
        config = layer["config"]
        if given is None and self.unsafe:
            given = _loaded(config)
        if given == "pointwise":
            stated = config.get("output_shape")
            if layer["class_name"] == "Merge" or (shape is not None and _is_several(shape)):
                raise ModelLoadError(
                    f"The Lambda {name_of(layer)!r} has several inputs, so that no function of "
                    "single pixels stands for it. Give its function with `--custom FILE.py`"
                )
            flat = None if shape is None else tuple(_first(shape))[1:]
            if (
                isinstance(stated, list)
                and flat is not None
                and tuple(stated) != flat
                and (tuple(stated[1:]) != flat)
            ):
                raise ModelLoadError(
                    f"The Lambda {name_of(layer)!r} changes the shape of its input from {flat} to "
                    f"{tuple(stated)}, so that it is not pointwise. Give its function with "
                    "`--custom FILE.py`"
                )
            return keras.layers.Activation("linear", name=name)
        if isinstance(given, type) and issubclass(given, keras.Layer):
            return given(name=name)
        if isinstance(given, keras.Layer):
            return given
        if not callable(given):
            raise ModelLoadError(
                f"What stands in for the Lambda {name_of(layer)!r} must be 'pointwise' or a "
                f"function. Received: {given!r}"
            )
        arguments = plain(config.get("arguments") or {})
        return keras.layers.Lambda(given, arguments=arguments, name=name)


def _loaded(config: Config) -> Any:
    """The function in a Lambda's bytecode; running it is the user's decision."""
    from keras.src.utils import python_utils

    function = config.get("function", config.get("mode"))
    if isinstance(function, dict):
        function = function.get("config", {})
        function = [function.get("code"), function.get("defaults"), function.get("closure")]
    try:
        return python_utils.func_load(*function)
    except Exception as error:
        raise ModelLoadError(
            "The bytecode of a Lambda is not that of this Python. Give its function with "
            f"`--custom FILE.py`. Received: {' '.join(str(error).split())[:200]}"
        ) from error


def _normalized(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Kernel and bias of a `WeightNormalization` (Salimans & Kingma 2016, equation 2)."""
    kernel = next(array for array in arrays if np.ndim(array) > 1)
    vectors = [array for array in arrays if np.ndim(array) == 1]
    axes = tuple(range(kernel.ndim - 1))
    scale = vectors[0] / np.sqrt(np.maximum((kernel**2).sum(axes), 1e-12))
    return [kernel * scale, *vectors[1:2]]


def _inner(value: Any) -> Config:
    return dict(value)


def _is_several(shape: Shape) -> bool:
    return bool(shape) and isinstance(shape[0], list | tuple)


def _first(shape: Shape) -> Any:
    return shape[0] if _is_several(shape) else shape


def _allowed(name: str) -> str:
    return name.replace("/", "_") or "layer"


class Names:
    """Names of one model that Keras allows: no slashes, and each but once."""

    def __init__(self, old: Sequence[str]) -> None:
        self.by_old: dict[str, str] = {}
        self.taken: set[str] = set()
        for name in old:
            self.by_old[name] = self.free(_allowed(name))

    def free(self, wanted: str) -> str:
        """A name that nothing has yet."""
        name, count = wanted, 0
        while name in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(name)
        return name


def functional(model: Config, context: Context) -> Placed:
    """A graph of layers, replayed node by node."""
    config = model["config"]
    layers: list[Config] = config["layers"]
    names = Names([name_of(layer) for layer in layers])
    graph = Graph(layers, config, names, context)
    graph.run()
    inputs = graph.decoded(config["input_layers"])
    outputs = graph.decoded(config["output_layers"])
    name = model.get("keras_name") or _allowed(str(config.get("name") or "model"))
    result = keras.Model(inputs=_single(inputs), outputs=_single(outputs), name=name)
    return Placed(result, graph.order())


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


class Graph:
    """The nodes of an old graph and the tensors they computed."""

    def __init__(
        self, layers: list[Config], config: Config, names: Names, context: Context
    ) -> None:
        self.layers = {name_of(layer): layer for layer in layers}
        self.names = names
        self.context = context
        self.placed: dict[str, Placed] = {}
        self.tensors: dict[tuple[str, int], list[Any]] = {}
        self.nodes: dict[str, list[Any]] = {
            name: list(layer.get("inbound_nodes") or ()) for name, layer in self.layers.items()
        }
        self.first = self._first_nodes(config)
        self.done = dict.fromkeys(self.layers, 0)
        self.named_operations: set[int] = set()

    def _first_nodes(self, config: Config) -> dict[str, int]:
        """Where the counting of each layer's nodes starts: at 1 for most nested models."""
        first: dict[str, int] = {}

        def visit(value: Any) -> None:
            if self._is_reference(value):
                if value[0] != CONSTANT:
                    first[value[0]] = min(first.get(value[0], value[1]), value[1])
                if len(value) == 4:
                    visit(value[3])
            elif isinstance(value, list | tuple):
                for item in value:
                    visit(item)
            elif isinstance(value, Mapping):
                for item in value.values():
                    visit(item)

        for nodes in self.nodes.values():
            visit(nodes)
        visit(config["output_layers"])
        return first

    def _is_reference(self, value: Any) -> bool:
        return (
            isinstance(value, list | tuple)
            and len(value) in (3, 4)
            and isinstance(value[0], str)
            and isinstance(value[1], int)
            and (value[0] in self.layers or value[0] == CONSTANT)
            and (len(value) == 3 or isinstance(value[3], Mapping))
            and (value[0] == CONSTANT or isinstance(value[2], int))
        )

    def decoded(self, value: Any) -> Any:
        """A structure of a node with tensors for references.

        Raises:
            KeyError: A tensor is not computed yet.
        """
        if self._is_reference(value):
            if value[0] == CONSTANT:
                return plain(value[2])
            return self.tensors[value[0], value[1]][value[2]]
        if isinstance(value, list | tuple):
            return [self.decoded(item) for item in value]
        if isinstance(value, Mapping):
            return {key: self.decoded(item) for key, item in value.items()}
        return value

    def arguments(self, node: Any) -> Config:
        """Arguments of a node's call, which stand with each of its inputs."""
        if self._is_reference(node):
            return dict(node[3]) if len(node) == 4 else {}
        items = node.values() if isinstance(node, Mapping) else node
        for item in items if isinstance(node, Mapping | list | tuple) else ():
            found = self.arguments(item)
            if found:
                return found
        return {}

    def run(self) -> None:
        """Computes every node whose inputs can be computed."""
        moved = True
        while moved:
            moved = False
            for name, layer in self.layers.items():
                if layer["class_name"] == "InputLayer" and name not in self.placed:
                    self._input(name, layer)
                    moved = True
                while self.done[name] < len(self.nodes[name]) and self._compute(name, layer):
                    moved = True
        for name in self.layers:
            if self.done[name] < len(self.nodes[name]):
                raise ModelLoadError(
                    f"The graph in the file is not whole: the inputs of the layer {name!r} are "
                    "not computed anywhere"
                )

    def _input(self, name: str, layer: Config) -> None:
        arguments = translate("InputLayer", layer["config"]).config
        shape = arguments.get("batch_shape")
        if shape is None:
            raise ModelLoadError(f"The input {name!r} of the file has no shape")
        tensor = keras.Input(
            batch_shape=tuple(shape),
            dtype=arguments.get("dtype") or "float32",
            name=self.names.by_old[name],
        )
        entry = PlacedLayer(
            name, "InputLayer", layer["config"], tensor._keras_history.operation,
            None, self.context.path,
        )  # fmt: skip
        self.placed[name] = Placed(entry.layer, [entry])
        self.tensors[name, 0] = [tensor]

    def _compute(self, name: str, layer: Config) -> bool:
        node = self.nodes[name][self.done[name]]
        try:
            inputs = self.decoded(node)
            arguments = self.decoded(self.arguments(node))
        except KeyError:
            return False
        if isinstance(arguments, Mapping):
            arguments = plain(arguments) if _holds_no_tensor(arguments) else arguments
        if layer["class_name"] in OPERATIONS:
            result = self._operation(name, layer, inputs, arguments)
        else:
            result = self._call(name, layer, _single(inputs), dict(arguments))
        place = self.first.get(name, 0) + self.done[name]
        self.tensors[name, place] = _flat(result)
        self.done[name] += 1
        return True

    def _call(self, name: str, layer: Config, inputs: Any, arguments: Config) -> Any:
        if name not in self.placed:
            shape = _shape_of(inputs)
            self.placed[name] = self.context.layer(layer, self.names.by_old[name], shape)
        placed = self.placed[name]
        kind = bare(layer["class_name"])
        arguments = {**placed.call, **{k: v for k, v in arguments.items() if v is not None}}
        if not arguments.get("training", True):
            arguments.pop("training")
        if kind in (*RECURRENT, "CuDNNLSTM", "CuDNNGRU") and isinstance(inputs, list):
            arguments.setdefault("initial_state", inputs[1:])
            inputs = inputs[0]
        if kind in ("AddLoss", "AddMetric"):
            return inputs
        if isinstance(inputs, list):
            tensor = next((i for i in inputs if isinstance(i, keras.KerasTensor)), None)
            inputs = [_as_operand(item, tensor) for item in inputs]
        try:
            return placed.layer(inputs, **arguments)
        except ModelLoadError:
            raise
        except Exception as error:
            raise _failed(name, layer, error) from error

    def _operation(self, name: str, layer: Config, inputs: Any, arguments: Config) -> Any:
        config = layer["config"]
        try:
            if layer["class_name"] == "TensorFlowOpLayer":
                tensors = inputs if isinstance(inputs, list) else [inputs]
                result = perform_node(config, tensors)
            else:
                symbol = config.get("function", "__operators__.getitem")
                several = isinstance(inputs, list) and len(inputs) == 1 and symbol not in LISTED
                result = perform(symbol, [inputs[0] if several else inputs], arguments)
        except ModelLoadError:
            raise
        except NotImplementedError as error:
            raise ModelLoadError(
                f"The operation {name!r} of the file needs {error}, which is not translated"
            ) from error
        except Exception as error:
            raise _failed(name, layer, error) from error
        self._rename(result, self.names.by_old[name])
        entry = PlacedLayer(name, layer["class_name"], config, None, None, self.context.path)
        self.placed[name] = Placed(None, [entry])
        return result

    def _rename(self, result: Any, wanted: str) -> None:
        """Gives the operations behind a result the name in the file, and names after it."""
        fresh = [t for t in _flat(result) if isinstance(t, keras.KerasTensor)]
        name = wanted
        while fresh:
            operation = fresh.pop()._keras_history.operation
            if isinstance(operation, keras.Layer) or id(operation) in self.named_operations:
                continue
            self.named_operations.add(id(operation))
            operation.name = name
            name = self.names.free(wanted)
            for node in operation._inbound_nodes:
                fresh.extend(node.input_tensors)

    def order(self) -> list[PlacedLayer]:
        """The entries of all layers, in the file's order."""
        entries: list[PlacedLayer] = []
        for name, layer in self.layers.items():
            placed = self.placed.get(name)
            if placed is None:
                config = layer["config"] if isinstance(layer["config"], dict) else {}
                entry = PlacedLayer(
                    name, layer["class_name"], config, None, None, self.context.path
                )
                entries.append(entry)
            else:
                entries += placed.order
        return entries


LISTED = ("concat", "stack", "math.add_n", "einsum", "compat.v1.concat")


def _holds_no_tensor(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_holds_no_tensor, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_holds_no_tensor, value))
    return not isinstance(value, keras.KerasTensor | np.ndarray)


def _failed(name: str, layer: Config, error: Exception) -> ModelLoadError:
    text = " ".join(str(error).split())[:400]
    return ModelLoadError(
        f"The {layer['class_name']} layer {name!r} of the file cannot be built in Keras 3: {text}"
    )


def _as_operand(value: Any, like: Any) -> Any:
    if isinstance(value, keras.KerasTensor) or like is None:
        return value
    return keras.ops.convert_to_tensor(np.asarray(value, dtype=like.dtype))


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [item for inner in value for item in _flat(inner)]
    if isinstance(value, Mapping):
        return [item for key in sorted(value) for item in _flat(value[key])]
    return [value]


def _shape_of(inputs: Any) -> Shape:
    if isinstance(inputs, keras.KerasTensor):
        return tuple(inputs.shape)
    if isinstance(inputs, Mapping):
        inputs = list(inputs.values())
    if isinstance(inputs, list | tuple):
        return [tuple(np.shape(t) if not hasattr(t, "shape") else t.shape) for t in inputs]
    return tuple(np.shape(inputs))


def sequential(model: Config, context: Context, shape: Shape) -> Placed:
    """A chain of layers."""
    config = model["config"]
    layers = [dict(layer) for layer in layers_in(model)]
    stated = config.get("name") if isinstance(config, Mapping) else model.get("name")
    name = model.get("keras_name") or _allowed(str(stated or "sequential"))
    if layers and layers[0]["class_name"] == "Merge":
        return _merged(layers, name, context)
    own_input = layers[0]["class_name"] == "InputLayer" if layers else False
    names = Names([name_of(layer) for layer in layers])
    batch_shape, kind = _input_shape(model, layers)
    if batch_shape is None and shape is not None and not _is_several(shape):
        batch_shape, kind = shape, None
    order: list[PlacedLayer] = []
    chain: list[Any] = []
    x = None
    # Shapes along the chain are worked out where a layer needs them, and not otherwise.
    needs = any(_needs_shape(layer) for layer in layers)
    if batch_shape is not None:
        input_name = names.by_old[name_of(layers[0])] if own_input else None
        x = keras.Input(
            batch_shape=tuple(batch_shape), dtype=kind or "float32",
            name=input_name or names.free(f"{_allowed(name_of(layers[0]))}_input"),
        )  # fmt: skip
        chain.append(x._keras_history.operation)
    for layer in layers:
        old = name_of(layer)
        if layer["class_name"] == "InputLayer":
            if layer is layers[0]:
                order.append(
                    PlacedLayer(old, "InputLayer", layer["config"], chain[0] if chain else None,
                                None, context.path)
                )  # fmt: skip
            continue
        placed = context.layer(layer, names.by_old[old], None if x is None else tuple(x.shape))
        order += placed.order
        chain.append(placed.layer)
        if needs and x is not None:
            try:
                x = placed.layer(x)
            except Exception as error:
                raise _failed(old, layer, error) from error
        else:
            x = None
    return Placed(_chained(chain, name), order)


def _chained(chain: list[Any], name: str) -> Any:
    try:
        return keras.Sequential(chain, name=name)
    except Exception as error:
        text = " ".join(str(error).split())[:400]
        raise ModelLoadError(f"The chain {name!r} cannot be built in Keras 3: {text}") from error


def _needs_shape(layer: Config) -> bool:
    if is_functional(layer):
        return False
    if is_sequential(layer):
        return any(map(_needs_shape, layers_in(layer)))
    if is_lambda(layer):
        return True
    config = layer["config"]
    inner = config.get("layer")
    if isinstance(inner, Mapping) and _needs_shape(dict(inner)):
        return True
    return bare(layer["class_name"]) in SHAPED


def _input_shape(model: Config, layers: list[Config]) -> tuple[Any, Any]:
    """The shape, with the batch, and the type of a chain's input, as far as the file states them."""
    config = model["config"]
    if layers:
        shape, kind = _stated(layers[0])
        if shape is not None:
            return shape, kind
    for place in (config, model) if isinstance(config, Mapping) else (model,):
        built = plain(place.get("build_config") or {})
        for shape in (plain(place.get("build_input_shape")), built.get("input_shape")):
            if isinstance(shape, list | tuple) and shape and not isinstance(shape[0], list | tuple):
                return tuple(shape), None
    return None, None


def _stated(layer: Config) -> tuple[Any, Any]:
    if is_functional(layer):
        inner = layer["config"]
        first = inner["input_layers"]
        while isinstance(first, list | tuple) and first and not isinstance(first[0], str):
            first = first[0]
        for candidate in inner["layers"]:
            if name_of(candidate) == first[0]:
                return _stated(candidate)
        return None, None
    if is_sequential(layer):
        inner_layers = [dict(inner) for inner in layers_in(layer)]
        return _input_shape(layer, inner_layers)
    config = plain(layer["config"])
    kind = dtype(config.get("input_dtype") or config.get("dtype"))
    kind = kind if isinstance(kind, str) and "mixed" not in kind else None
    for key in ("batch_input_shape", "batch_shape"):
        if config.get(key) is not None:
            return tuple(config[key]), kind
    if config.get("input_shape") is not None:
        return (None, *config["input_shape"]), kind
    if config.get("input_dim") is not None and bare(layer["class_name"]) != "Embedding":
        length = config.get("input_length")
        if bare(layer["class_name"]) in ("Dense", "MaxoutDense", "Highway", "Activation"):
            return (None, config["input_dim"]), kind
        return (None, length, config["input_dim"]), kind
    if bare(layer["class_name"]) == "Embedding" and "input_length" in config:
        return (None, config["input_length"]), kind
    return None, None


def _merged(layers: list[Config], name: str, context: Context) -> Placed:
    """A chain of Keras 1 that starts where other chains meet."""
    merge = layers[0]
    branches = [dict(branch) for branch in merge["config"].get("layers", ())]
    names = Names([name_of(layer) for layer in (*branches, *layers)])
    order: list[PlacedLayer] = []
    inputs, tensors = [], []
    for branch in branches:
        branch_name = names.by_old[name_of(branch)]
        placed = context.layer(branch, branch_name, None)
        order += placed.order
        if isinstance(placed.layer, keras.Model):
            inputs += placed.layer.inputs
            tensors.append(placed.layer.outputs[0])
        else:
            shape, kind = _stated(branch)
            x = keras.Input(batch_shape=shape, dtype=kind or "float32", name=f"{branch_name}_input")
            inputs.append(x)
            tensors.append(placed.layer(x))
    plain_merge = {
        **merge,
        "config": {key: value for key, value in merge["config"].items() if key != "layers"},
    }
    x = tensors
    for layer in (plain_merge, *layers[1:]):
        old = name_of(layer)
        placed = context.layer(layer, names.by_old[old], _shape_of(x))
        order += placed.order
        try:
            x = placed.layer(x)
        except Exception as error:
            raise _failed(old, layer, error) from error
    return Placed(keras.Model(inputs=_single(inputs), outputs=x, name=name), order)

"""A graph of layers, replayed node by node."""

from __future__ import annotations

from typing import Any

import keras

from keras_erf.errors import ModelLoadError
from keras_erf.legacy.architecture import Config, PlacedLayer
from keras_erf.legacy.building.calls import call_layer, call_operation
from keras_erf.legacy.building.context import Context, Placed
from keras_erf.legacy.building.layers import place_layer
from keras_erf.legacy.building.names import Names
from keras_erf.legacy.building.references import References
from keras_erf.legacy.building.structures import (
    flat,
    holds_no_tensor,
    shapes_of,
    unpacked,
)
from keras_erf.legacy.translation.configurations import OPERATIONS, allowed_name, name_of
from keras_erf.legacy.translation.layers import translate
from keras_erf.legacy.translation.values import plain

__all__ = ["place_graph"]


def place_graph(model: Config, name: str | None, context: Context) -> Placed:
    """Builds a Functional model.

    Args:
        model: Its configuration in the file.
        name: Its name in Keras 3; `None` for the one in the file.
        context: What the user gave.

    Raises:
        ModelLoadError: The graph is not whole, or a layer cannot be built.
    """
    config = model["config"]
    graph = _Graph(config, context)
    graph.run()
    inputs, outputs = (graph.tensors_of(config[key]) for key in ("input_layers", "output_layers"))
    result = keras.Model(
        inputs=unpacked(inputs),
        outputs=unpacked(outputs),
        name=name or allowed_name(str(config.get("name") or "model")),
    )
    return Placed(result, graph.order())


class _Graph:
    """The nodes of an old graph and the tensors they computed."""

    def __init__(self, config: Config, context: Context) -> None:
        self.layers: dict[str, Config] = {name_of(layer): layer for layer in config["layers"]}
        self.names = Names(list(self.layers))
        self.context = context
        self.placed: dict[str, Placed] = {}
        self.tensors: dict[tuple[str, int], list[Any]] = {}
        self.nodes: dict[str, list[Any]] = {
            name: list(layer.get("inbound_nodes") or ()) for name, layer in self.layers.items()
        }
        self.references = References(self.layers)
        self.first = self.references.first_nodes([self.nodes, config["output_layers"]])
        self.done = dict.fromkeys(self.layers, 0)

    def tensors_of(self, references: Any) -> Any:
        """A structure of references as one of tensors."""
        return self.references.decoded(references, self.tensors)

    def run(self) -> None:
        """Computes every node, each once its inputs are there."""
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
                    expected="The graph in the file is not whole: an input of the layer "
                    f"{name!r} is not computed anywhere",
                    received=str(self.nodes[name][self.done[name]])[:200],
                )

    def _input(self, name: str, layer: Config) -> None:
        arguments = translate("InputLayer", layer["config"]).config
        shape = arguments.get("batch_shape")
        if shape is None:
            raise ModelLoadError(
                expected=f"The input {name!r} of the file has no shape",
                received=str(layer["config"])[:200],
            )
        tensor = keras.Input(
            batch_shape=tuple(shape),
            dtype=arguments.get("dtype") or "float32",
            name=self.names.by_old[name],
        )
        made = tensor._keras_history.operation
        self.placed[name] = Placed(made, [self.context.entry(layer, made)])
        self.tensors[name, 0] = [tensor]

    def _compute(self, name: str, layer: Config) -> bool:
        """Computes the next node of a layer; `False` if an input is not computed yet."""
        node = self.nodes[name][self.done[name]]
        try:
            inputs = self.tensors_of(node)
            arguments = self.tensors_of(self.references.arguments(node))
        except KeyError:
            return False
        if holds_no_tensor(arguments):
            arguments = plain(arguments)
        if layer["class_name"] in OPERATIONS:
            result = call_operation(layer, inputs, arguments)
            self.names.name_operations(result, self.names.by_old[name])
            self.placed[name] = Placed(None, [self.context.entry(layer, None)])
        else:
            inputs = unpacked(inputs)
            if name not in self.placed:
                new_name = self.names.by_old[name]
                self.placed[name] = place_layer(layer, new_name, shapes_of(inputs), self.context)
            result = call_layer(layer, self.placed[name], inputs, dict(arguments))
        place = self.first.get(name, 0) + self.done[name]
        self.tensors[name, place] = flat(result)
        self.done[name] += 1
        return True

    def order(self) -> list[PlacedLayer]:
        """The entries of all layers, in the file's order."""
        entries: list[PlacedLayer] = []
        for name, layer in self.layers.items():
            placed = self.placed.get(name)
            entries += [self.context.entry(layer, None)] if placed is None else placed.order
        return entries

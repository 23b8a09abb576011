"""Layers and operations made again from their configurations, with the same weights."""

from __future__ import annotations

import inspect
import random
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_erf.errors import reason_of
from keras_erf.graph.unrolling import functional
from keras_erf.types import KerasTensor, Layer, Model

__all__ = ["Copier", "RefusedError", "surroundings"]

# What `get_config` returns for every layer.
_COMMON = ("name", "trainable", "dtype")


class RefusedError(Exception):
    """A layer cannot be made again; the text says which and why."""


class Copier:
    """Makes each layer and operation once, however often it is called.

    Args:
        dtypes: As in `cloned`.
    """

    def __init__(self, dtypes: Mapping[str, str]) -> None:
        self.dtypes = dtypes
        # The original is kept with its copy: an `id` is good for as long as its object lives.
        self.made: dict[int, tuple[Any, Any]] = {}

    def copy(self, part: Any) -> Any:
        """The copy of a model, layer or operation."""
        if id(part) not in self.made:
            if functional(part) is not None:
                copy = self._model(part)
            elif isinstance(part, keras.Layer):
                copy = self._layer(part)
            else:
                copy = self._operation(part)
            self.made[id(part)] = (part, copy)
        return self.made[id(part)][1]

    def unbuilt(self, model: Model) -> Any:
        """The copy of a model that is not built; weights of its layers that are come with them."""
        if type(model).call is not keras.Sequential.call:
            return self.copy(model)
        return keras.Sequential(list(map(self.copy, model.layers)), name=model.name)

    def finish(self) -> None:
        """Gives all copies the names, weights and flags of their originals."""
        for part, copy in list(self.made.values()):
            if isinstance(part, keras.Layer) and functional(part) is None and part.built:
                for original, other in _pairs(part, copy):
                    # Layers made in `build` come with names and dtypes of their own.
                    other.name = original.name
                    self._set_dtype(other)
                    if original.built:
                        _load(original, other)
        # Outer layers and models hand their flag down, so they come first.
        for part, copy in reversed(self.made.values()):
            if isinstance(part, keras.Layer) and part.built:
                alone = functional(part) is not None
                for original, other in [(part, copy)] if alone else _pairs(part, copy):
                    if other.trainable != original.trainable:
                        other.trainable = original.trainable

    def _model(self, model: Model) -> Any:
        function = functional(model)
        inputs = keras.tree.map_structure(self._input, function._inputs_struct)
        if isinstance(model, keras.Sequential):
            start = inputs._keras_history.operation
            return keras.Sequential([start, *map(self.copy, model.layers)], name=model.name)
        outputs = function._run_through_graph(inputs, operation_fn=self.copy)
        kind = keras.Model if isinstance(model, keras.Model) else keras.Function
        return kind(inputs, outputs, name=model.name)

    def _input(self, tensor: KerasTensor) -> Any:
        layer = tensor._keras_history.operation
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        start = keras.KerasTensor(
            tensor.shape,
            dtype=self.dtypes.get(dtype, dtype),
            sparse=tensor.sparse,
            name=tensor.name,
        )
        entry = keras.layers.InputLayer(
            input_tensor=start, optional=layer.optional, name=layer.name
        )
        return entry.output

    def _operation(self, part: Any) -> Any:
        # Operations hold options and no weights; copying one by `copy` would save it to a file.
        copy = object.__new__(type(part))
        vars(copy).update(vars(part), _inbound_nodes=[], _outbound_nodes=[])
        if isinstance(vars(copy).get("dtype"), str):
            copy.dtype = self.dtypes.get(copy.dtype, copy.dtype)
        return copy

    def _layer(self, part: keras.Layer) -> keras.Layer:
        try:
            copy = _made_again(part)
        except NotImplementedError as error:
            raise RefusedError(
                f"layer {part.name!r} cannot be made again, as its class "
                f"{type(part).__name__} has no `get_config`"
            ) from error
        except Exception as error:
            # Keras wraps what a constructor raises, and puts the whole config in front.
            cause = error.__context__ if isinstance(error.__context__, Exception) else error
            raise RefusedError(
                f"layer {part.name!r} cannot be made again: {reason_of(cause)}"
            ) from error
        copy.name = part.name
        for original, other in zip(part._flatten_layers(), copy._flatten_layers(), strict=False):
            if type(original) is type(other) and isinstance(
                _function_of(original), types.FunctionType
            ):
                other.activation = original.activation
            self._set_dtype(other)
        return copy

    def _set_dtype(self, layer: keras.Layer) -> None:
        if isinstance(layer, keras.layers.InputLayer) and layer.dtype in self.dtypes:
            raise RefusedError(
                f"the input {layer.name!r} of a model inside a layer is {layer.dtype}"
            )
        wanted = self.dtypes.get(layer.compute_dtype)
        if wanted is not None:
            layer.dtype_policy = wanted


def _made_again(part: keras.Layer) -> keras.Layer:
    """A new layer of the same configuration."""
    if type(part) is keras.layers.Lambda:
        # The function itself is passed on: in a config it would lose what it refers to.
        return keras.layers.Lambda(
            part.function,
            output_shape=part._output_shape,
            mask=part.mask,
            arguments=part.arguments,
            dtype=part.dtype_policy,
        )
    with warnings.catch_warnings():
        # Keras warns of writing down a lambda, which is not done.
        warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
        config = part.get_config()
    if "activation" in config and isinstance(_function_of(part), types.FunctionType):
        config["activation"] = "linear"
    known = inspect.signature(type(part).__init__).parameters.values()
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in known):
        # A plain constructor, without what every layer has; that is set afterwards.
        names = {parameter.name for parameter in known}
        config = {key: config[key] for key in config if key in names or key not in _COMMON}
    return type(part).from_config(config)


def _is_option(value: Any) -> bool:
    kinds = (
        keras.initializers.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
    )
    return isinstance(value, kinds)


def _function_of(layer: Layer) -> Any:
    return getattr(layer, "activation", None)


def _pairs(part: keras.Layer, copy: keras.Layer) -> list[tuple[keras.Layer, keras.Layer]]:
    """The layers inside a layer, itself included, with those of its copy."""
    ours, theirs = part._flatten_layers(), copy._flatten_layers()
    if [type(layer) for layer in ours] != [type(layer) for layer in theirs]:
        raise RefusedError(f"layer {part.name!r} made from its config holds other layers")
    return list(zip(ours, theirs, strict=True))


def _load(layer: keras.Layer, copy: keras.Layer) -> None:
    """Hands the variables over as Keras does through a file, which a layer may have a say in."""
    store: dict[str, Any] = {}
    layer.save_own_variables(store)
    try:
        copy.load_own_variables({key: np.asarray(value) for key, value in store.items()})
    except Exception as error:
        raise RefusedError(
            f"layer {layer.name!r} made from its config has other weights"
        ) from error


@contextmanager
def surroundings(layers: Sequence[Any], dtypes: Mapping[str, str]) -> Iterator[None]:
    """What layers are made in; afterwards all is as it was."""
    named: dict[str, Any] = {}
    for layer in layers:
        named[type(layer).__name__] = type(layer)
        # So may be what draws, holds and bounds its weights.
        named |= {
            type(option).__name__: type(option)
            for option in vars(layer).values()
            if _is_option(option)
        }
        if isinstance(_function_of(layer), types.FunctionType):
            named[layer.activation.__name__] = layer.activation
    # Keras draws seeds of new layers from Python's generator, which is the user's.
    state, policy = random.getstate(), keras.config.dtype_policy()
    try:
        # Layers inside others are made with the current policy.
        keras.config.set_dtype_policy(dtypes.get(policy.compute_dtype, policy))
        with keras.saving.custom_object_scope(named):
            yield
    finally:
        keras.config.set_dtype_policy(policy)
        random.setstate(state)

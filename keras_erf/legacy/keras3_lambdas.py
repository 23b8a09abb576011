"""`Lambda` layers of Keras 3 files: their names, and functions that stand for them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from keras_erf.legacy.translation.configurations import takes_several

__all__ = ["POINTWISE", "lambda_inputs", "with_stand_ins", "without_lambdas"]

POINTWISE = "pointwise"


def lambda_inputs(config: Any) -> dict[str, bool]:
    """The names of the `Lambda` layers of a model, and whether each has several inputs."""
    return {str(_own(part).get("name")): takes_several(part) for part in _lambdas(config)}


def with_stand_ins(
    config: Any, stand_ins: Mapping[str, str | Callable[..., Any]]
) -> tuple[Any, dict[str, Callable[..., Any]]]:
    """A configuration whose `Lambda` layers name functions, and those functions by name."""
    changed = copy.deepcopy(config)
    functions: dict[str, Callable[..., Any]] = {}
    for part in _lambdas(changed):
        own = _own(part)
        if own.get("name") in stand_ins:
            function, name = stand_ins[own["name"]], f"stand_in_for_{own['name']}"
            functions[name] = function if callable(function) else _same
            own["function"] = {
                "class_name": "function", "module": "builtins", "config": name,
                "registered_name": name,
            }  # fmt: skip
            own.pop("function_type", None)
    return changed, functions


def without_lambdas(config: Any) -> Any:
    """A configuration without its `Lambda` layers, to check the rest of it."""
    changed = copy.deepcopy(config)
    for part in _lambdas(changed):
        part.clear()
    return changed


def _same(value: Any, **_: Any) -> Any:
    return value


def _own(part: dict[str, Any]) -> dict[str, Any]:
    own = part.get("config")
    return own if isinstance(own, dict) else {}


def _lambdas(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        if str(config.get("class_name")).rpartition(".")[2] == "Lambda":
            yield config
            return
        config = list(config.values())
    for part in config if isinstance(config, list) else ():
        yield from _lambdas(part)

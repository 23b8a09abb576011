"""What the installed release of Keras has: the oldest supported one lacks some operations."""

from __future__ import annotations

from typing import Any

import keras
import pytest

__all__ = ["ops"]


class _Known:
    """`keras.ops`, or a module of it; what is not there yet skips the test that calls it."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        if hasattr(self._module, name):
            found = getattr(self._module, name)
            return _Known(found) if type(found) is type(keras) else found

        def absent(*_: Any, **__: Any) -> Any:
            pytest.skip(f"Keras {keras.__version__} has no {self._module.__name__}.{name}")

        return absent


ops: Any = _Known(keras.ops)

"""Functions of a model that take its file or its name as well."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

from keras_erf.errors import KerasERFError

__all__ = ["takes_names"]

Function = TypeVar("Function", bound=Callable[..., Any])


def takes_names(function: Function, *, need_weights: bool) -> Function:
    """The public form of a function whose first argument is a model.

    Args:
        function: The function.
        need_weights: Whether weights make a difference, so that they are downloaded.

    Returns:
        The same function, of a model or of what names one: a model file, a network of
        `keras.applications`, or one of the zoo.
    """

    @functools.wraps(function)
    def of_named(model: Any, *args: Any, **options: Any) -> Any:
        if isinstance(model, (str, os.PathLike)):
            from keras_erf.named_models import find_model

            try:
                model = find_model(os.fspath(model), need_weights=need_weights).model
            except KerasERFError as error:
                raise error.renamed({"MODEL": "model"}) from error
        return function(model, *args, **options)

    # Found again by these, as pickles look for it.
    of_named.__module__, of_named.__qualname__ = "keras_erf", function.__name__
    return of_named  # type: ignore[return-value]

"""Names of models, known before Keras is imported."""

from __future__ import annotations

import ast
import difflib
import importlib.util
from functools import cache
from pathlib import Path

from keras_erf import zoo
from keras_erf.errors import InvalidInputError, ModelLoadError

__all__ = ["applications", "spelled"]

# What a file of a model may be called; another one is recognised by what it holds.
SUFFIXES = (".keras", ".h5", ".hdf5", ".json")


@cache
def applications() -> tuple[str, ...]:
    """The networks of `keras.applications`, read off its source; none if that is not there."""
    found = importlib.util.find_spec("keras")
    if found is None or found.origin is None:
        return ()
    listing = Path(found.origin).parent / "applications" / "__init__.py"
    if not listing.is_file():
        return ()
    names = [
        alias.asname or alias.name
        for statement in ast.parse(listing.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    ]
    return tuple(name for name in dict.fromkeys(names) if name[:1].isupper())


def spelled(name: str) -> str:
    """The name of a model as it is spelled: those of networks are taken in any case.

    Raises:
        ModelLoadError: It ends like a model file, and there is none.
        InvalidInputError: There is no model of that name; the nearest are listed.
    """
    path = Path(name)
    if path.exists():
        return name
    if path.suffix.lower() in SUFFIXES:
        raise ModelLoadError(
            argument="MODEL", expected="must be an existing file", received=repr(name)
        )
    networks = applications()
    known = {one.lower(): one for one in (*networks, *zoo.available())}
    if name.lower() in known:
        return known[name.lower()]
    if not networks:  # Keras itself knows.
        return name
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    raise InvalidInputError(
        argument="MODEL",
        expected="must be a model file, a network of keras.applications or one of the zoo "
        f"({', '.join(zoo.available())})",
        remedy=f"Nearest: {', '.join(known[one] for one in near)}" if near else None,
        received=repr(name),
    )

"""The fields of errors, their line, and other names for the arguments."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import pytest

from keras_erf import errors
from keras_erf.commands.parsing import OPTIONS, REMEDIES
from keras_erf.errors import InvalidInputError, KerasERFError, UnsupportedLayerError

# The line of an error: its argument, what was expected, the remedy, what was received.
LINES = {
    "`unit` must be 'center' or an index. Received: unit=(9, 9)": (
        "unit", "must be 'center' or an index", None, "unit=(9, 9)"),
    "`batch_size` must be 4; leave it out. Received: batch_size=3": (
        "batch_size", "must be 4", "leave it out", "batch_size=3"),
    "`layer` 'a.b' is not reached. Choose an earlier layer. Received: layer='a.b'": (
        "layer", "'a.b' is not reached", "Choose an earlier layer", "layer='a.b'"),
    "`panel` must be one of growth. Did you mean 'growth'? Received: panel='grwth'": (
        "panel", "must be one of growth", "Did you mean 'growth'?", "panel='grwth'"),
    "`--out` must be a folder. Received: 'a. Received: B'": (
        "--out", "must be a folder", None, "'a. Received: B'"),
    "Layer 'x' has no field: it counts. Choose a layer before it. Received: Layer": (
        None, "Layer 'x' has no field: it counts", "Choose a layer before it", "Layer"),
    "The model cannot be run": (None, "The model cannot be run", None, None),
}  # fmt: skip
FIELDS = ("argument", "expected", "remedy", "received")


@pytest.mark.parametrize("line", LINES)
def test_an_error_has_the_fields_of_its_line_and_the_line_of_its_fields(line):
    fields = dict(zip(FIELDS, LINES[line], strict=True))
    for error in (InvalidInputError(line), InvalidInputError(**fields)):
        for same in (error, error.renamed({}), pickle.loads(pickle.dumps(error))):
            assert str(same) == line
            assert {name: getattr(same, name) for name in FIELDS} == fields
            assert type(same) is InvalidInputError


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_keeps_its_kind_under_other_names(name):
    kind = getattr(errors, name)
    assert type(kind("`unit` must be one. Received: unit=2").renamed(OPTIONS)) is kind


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            "`input_shape` must fit. Choose another `unit`. Received: input_shape=3",
            "`--size` must fit. Choose another `--unit`. Received: --size 3",
        ),
        # What came is the user's own, and is shown unchanged.
        (
            "`layer` must be a layer. Received: layer='`unit`. Received: seed=1'",
            "`--layer` must be a layer. Received: --layer '`unit`. Received: seed=1'",
        ),
        (
            "Layer 'x' has no field: it sorts. Choose a layer before it, or pass a rule by "
            "`rules`. Received: Sort",
            "Layer 'x' has no field: it sorts. Choose a layer before it, or, in Python, pass a "
            "rule by `rules`. Received: Sort",
        ),
        (
            "Layer 'x' is unknown. Pass a rule by `rules={X: rule}`, or choose a layer before it",
            "Layer 'x' is unknown. In Python, pass a rule by `rules={X: rule}`, or choose a layer "
            "before it",
        ),
        (
            "`input` must be floating; probe a model that starts behind it. Received: int32",
            "`--input` must be floating; name another one. Received: int32",
        ),
    ],
)
def test_the_command_line_has_its_own_names_and_remedies(line, shown):
    assert str(UnsupportedLayerError(line).renamed(OPTIONS, REMEDIES)) == shown


def test_an_error_without_a_line_is_made_of_its_fields():
    error = KerasERFError(argument="seed", expected="must be at least 0", received="seed=-1")
    assert str(error) == "`seed` must be at least 0. Received: seed=-1"
    assert (error.argument, error.remedy) == ("seed", None)


def test_errors_are_raised_by_their_fields():
    """Not by one line of text, whose parts depend on the values in it."""
    names, by_fields, by_line = set(errors.__all__), 0, []
    for path in Path(errors.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in names:
                by_fields += bool(node.keywords)
                by_line += [f"{path.name}:{node.lineno}"] * bool(node.args)
    assert by_line == []
    assert by_fields > 200

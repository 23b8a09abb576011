"""The rules of operations, element by element, against what really changes.

One table of operations; each case is compared with the outputs that change
when one input element does, and where there is one with the gradient.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import keras
import keras.src.ops
import numpy as np
import pytest
from keras import layers

from keras_erf.dependence.measured import measured
from keras_erf.errors import UnsupportedLayerError
from keras_erf.graph import build_graph
from keras_erf.layers.table import ENTRIES, TABLE
from keras_erf.rules import views
from tests import networks
from tests.cases import Cases, check_all, model_of
from tests.operation_cases import CASES, MASK, PLANE, op
from tests.releases import ops
from tests.ruling import CHECKS, call_of, solve


@pytest.mark.parametrize("name", CASES)
def test_operation(name: str) -> None:
    check_all(CHECKS, solve(CASES[name]))


def test_a_constant_beside_a_tensor_sees_nothing() -> None:
    # The constant has the batch's size: brute force would need another one.
    x = keras.Input((4, 3), 2)
    graph = build_graph(keras.Model(x, ops.concatenate([np.ones((2, 1, 3)), x], axis=1)))
    call = call_of(graph, graph.nodes[0])
    (view,) = views(call, "ops.Concatenate")
    for unit in np.ndindex(5, 3):
        seen = np.zeros((5, 3), dtype=bool)
        seen[unit] = True
        expected = np.zeros((4, 3), dtype=bool)
        expected[max(unit[0] - 1, 0), unit[1]] = unit[0] > 0
        np.testing.assert_array_equal(view.mask(seen, (5, 3), (4, 3)), expected)


# --- The table -----------------------------------------------------------------------------------


def operation_classes() -> set[str]:
    """Names of Keras's own operations, wherever it defines them."""
    for module in pkgutil.iter_modules(keras.src.ops.__path__):
        if not module.name.endswith("_test"):
            importlib.import_module(f"keras.src.ops.{module.name}")
    kinds = {
        kind
        for kind in subclasses(keras.Operation)
        if kind.__module__.startswith("keras.") and not issubclass(kind, keras.Layer)
    }
    # A graph of calls, which is unrolled.
    return {kind.__name__ for kind in kinds} - {"Function"}


def subclasses(kind: type) -> set[type]:
    """All classes below one."""
    own = set(kind.__subclasses__())
    return own.union(*map(subclasses, own))


def test_every_operation_has_an_entry() -> None:
    missing = {f"ops.{name}" for name in operation_classes()} - TABLE.keys()
    assert not missing, "new operations of Keras: give each an entry in keras_erf/layers/"


def test_every_name_has_one_entry() -> None:
    names = [name for entry in ENTRIES for name in entry.names]
    assert len(names) == len(set(names))


def test_every_rule_has_a_case() -> None:
    graphs = [build_graph(model_of(case)) for case in CASES.one_of_each()]
    tested = {type(graph.nodes[0].operation).__name__ for graph in graphs}
    # Keras 3.15 cannot run `view_as_complex` eagerly.
    tested.add("ViewAsComplex")
    names = defaultdict(set)
    for entry in ENTRIES:
        names[entry.dependence].update(entry.operations.split())
    for rule, operations in names.items():
        refused = "refused" in getattr(rule, "__qualname__", "")
        if operations and rule is not measured and not refused:
            assert tested & operations, operations


# --- Across the batch ----------------------------------------------------------------------------

KERNEL = {"strides": 1, "padding": "valid"}
REFUSED: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "sum of all": (ops.sum, (PLANE,)),
    "sum over the batch": (op("sum", axis=0), (PLANE,)),
    "sum over the batch and a row": (op("sum", axis=(0, 1)), (PLANE,)),
    "argmax of all": (ops.argmax, (PLANE,)),
    "norm of all": (ops.norm, ((4, 3),)),
    "several quantiles": (op("quantile", q=[0.2, 0.8], axis=1), ((4, 3),)),
    "softmax over the batch": (op("softmax", axis=0), (PLANE,)),
    "cumsum of all": (ops.cumsum, ((4, 3),)),
    "cumsum over the batch": (op("cumsum", axis=0), ((4, 3),)),
    "sort over the batch": (op("sort", axis=0), ((4, 3),)),
    "determinant of the batch": (ops.det, ((2,),)),
    "matrix product over the batch": (lambda x: ops.matmul(np.ones((3, 2)), x), ((4,),)),
    "matrix product of other ranks": (ops.matmul, ((2, 3, 4), (4, 2))),
    "dot of two tensors": (ops.dot, ((3, 4), (4, 2))),
    "inner of two tensors": (ops.inner, ((3, 4), (3, 4))),
    "outer": (ops.outer, ((3,), (3,))),
    "sum of the batch by subscripts": (lambda x: ops.einsum("bij->ij", x), ((3, 4),)),
    "batch by batch": (lambda x, y: ops.einsum("bi,ci->bc", x, y), ((3,), (3,))),
    "batch put last": (lambda x: ops.einsum("bij->ijb", x), ((3, 4),)),
    "operands of other ranks": (lambda x, y: x + y, ((2, 3, 3), (3, 3))),
    "constant of more axes": (lambda x: x + np.ones((5, 1, 1, 1)), ((4, 3),)),
    "distances of the batch": (ops.cdist, ((4,), (4,))),
    "take by a tensor": (lambda x: ops.take(x, ops.cast(x[:, 0], "int32"), axis=1), ((4, 3),)),
    "batch moved": (op("transpose", axes=(1, 0, 2)), ((2, 3),)),
    "batch swapped": (op("swapaxes", axis1=0, axis2=1), ((2, 3),)),
    "all axes turned about": (ops.transpose, ((2, 2),)),
    "windows put into the batch": (lambda x: ops.reshape(x, (-1, 2, 2, 3)), ((4, 4, 3),)),
    "axes put into the batch": (ops.ravel, ((4,),)),
    "first sample": (lambda x: x[0], ((2, 3),)),
    "samples backwards": (lambda x: x[::-1, :], ((2, 3),)),
    "half of the samples": (lambda x: x[:1, :], ((2, 3),)),
    "flip of all": (ops.flip, ((2, 3),)),
    "flip of the batch": (ops.flipud, ((2, 3),)),
    "roll of all": (op("roll", shift=1), ((2, 3),)),
    "triangle with the batch": (ops.tril, ((3,),)),
    "concatenated samples": (lambda x: ops.concatenate([x, x], axis=0), ((2, 3),)),
    "stacked samples": (lambda x: ops.stack([x, x], axis=0), ((2, 3),)),
    "repeated samples": (lambda x: ops.repeat(x, 2, axis=0), ((2, 3),)),
    "tiled samples": (lambda x: ops.tile(x, (2, 1, 1)), ((2, 3),)),
    "axis before the batch": (op("expand_dims", axis=0), ((2, 3),)),
    "split samples": (lambda x: ops.split(x, 2, axis=0), ((2, 3),)),
    "unstacked samples": (ops.unstack, ((2, 3),)),
    "diagonal of the batch": (ops.diagonal, ((2, 3),)),
    "trace of the batch": (ops.trace, ((2, 3),)),
    "turned batch": (ops.rot90, ((2, 3),)),
    "kernel that is a tensor": (lambda x, k: ops.conv(x, k, **KERNEL), ((4, 3), (3, 5))),
    "equal at all": (ops.allclose, ((2, 3), (2, 3))),
    "where": (ops.where, ((2, 3),)),
    "segments": (lambda x: ops.segment_sum(x, np.array([0, 1]), 2), ((2, 3),)),
    "loss": (ops.binary_crossentropy, ((2, 3), (2, 3))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_acts_across_the_batch_is_refused(name: str) -> None:
    build, shapes = REFUSED[name]
    inputs = [keras.Input(shape, 2) for shape in shapes]
    graph = build_graph(keras.Model(inputs, build(*inputs)))
    node = graph.nodes[-1]
    with pytest.raises(UnsupportedLayerError, match=f"ayer {node.name!r}"):
        views(call_of(graph, node), node.kind)


# --- In networks ---------------------------------------------------------------------------------


def conv(x: Any, *, filters: int = 2, kernel: int = 3) -> Any:
    return layers.Conv1D(filters, kernel, padding="same")(x)


def plane(x: Any, *, kernel: int = 3) -> Any:
    return layers.Conv2D(2, kernel, padding="same")(x)


def attended(x: Any) -> Any:
    q, k, v = (ops.reshape(layers.Dense(4)(x), (-1, 6, 2, 2)) for _ in range(3))
    return ops.reshape(ops.dot_product_attention(q * 0.1, k, v, is_causal=True), (-1, 6, 4))


def written_attention(x: Any) -> Any:
    scores = ops.matmul(x * 0.1, ops.transpose(x * 0.1, (0, 2, 1)))
    return ops.einsum("bts,bsc->btc", ops.softmax(scores), x)


def merged(x: Any) -> Any:
    """Patch merging as in Swin: four neighbours become channels."""
    parts = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
    return layers.Dense(2)(ops.concatenate(parts, axis=-1))


def shuffled(x: Any) -> Any:
    """Channel shuffle as in ShuffleNet."""
    x = ops.reshape(layers.Conv2D(4, 3)(x), (-1, 4, 4, 2, 2))
    return plane(ops.reshape(ops.transpose(x, (0, 1, 2, 4, 3)), (-1, 4, 4, 4)))


NETWORKS = Cases(even=False, draws=2)
for name, (build, shape) in {
    "gate": (lambda x: conv(x) * ops.mean(conv(x), axis=1, keepdims=True), (6, 2)),
    "running sum": (lambda x: conv(ops.cumsum(conv(x), axis=1)), (6, 2)),
    "difference": (lambda x: conv(ops.diff(conv(x, kernel=1), n=2, axis=1)), (9, 2)),
    "gated halves": (lambda x: ops.glu(conv(x, filters=4)), (6, 2)),
    "gated halves of space": (lambda x: ops.glu(conv(x), axis=1), (8, 2)),
    "attention": (attended, (6, 2)),
    "written attention": (written_attention, (5, 2)),
    "halves swapped": (lambda x: layers.Conv1D(2, 3)(ops.roll(conv(x), 3, axis=1)), (7, 2)),
    "backwards": (lambda x: ops.concatenate([conv(x), x[:, ::-1]], axis=-1), (7, 2)),
    "side_by_side": (lambda x: conv(ops.concatenate([conv(x), x[:, 2:5]], axis=1)), (6, 2)),
    "padded": (lambda x: layers.Conv1D(2, 3, 2)(ops.pad(x, ((0, 0), (3, 1), (0, 0)))), (8, 2)),
    "mirrored": (
        lambda x: layers.Conv1D(2, 5)(ops.pad(x, ((0, 0), (2, 2), (0, 0)), mode="reflect")),
        (7, 2),
    ),
    "patches": (lambda x: layers.Dense(2)(ops.image.extract_patches(plane(x), 2)), (6, 4, 2)),
    "patches with a border": (
        lambda x: layers.Dense(2)(ops.image.extract_patches(x, 3, 2, padding="same")),
        (5, 6, 2),
    ),
    "patch merging": (merged, (6, 4, 2)),
    "channel shuffle": (shuffled, (6, 6, 2)),
    "tokens": (lambda x: ops.reshape(conv(ops.reshape(x, (-1, 20, 2))), (-1, 4, 5, 2)), (4, 5, 2)),
    "row means": (lambda x: plane(x) + ops.mean(x, axis=2, keepdims=True), (4, 5, 2)),
    "normalised rows": (lambda x: ops.layer_normalization(plane(x) * 0.1, axis=1), (4, 3, 2)),
    "edges": (
        lambda x: plane(ops.sum(ops.image.sobel_edges(x) ** 2, axis=-1) + x, kernel=1),
        (4, 5, 2),
    ),
    "pool": (lambda x: ops.average_pool(plane(x), (2, 3), (1, 2), padding="same"), (5, 6, 2)),
    "kernel": (lambda x: ops.conv(plane(x), np.ones((3, 2, 2, 1)), 2, padding="same"), (7, 6, 2)),
    "halves": (lambda x: ops.multiply(*ops.split(conv(x), 2, axis=1)), (8, 2)),
    "masked": (lambda x: conv(ops.where(MASK[:, None], conv(x), 0.0)), (5, 2)),
}.items():
    NETWORKS.add(name, build, shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str) -> None:
    check_all(networks.PROPERTIES, networks.solve(NETWORKS[name]))

"""The operation `ops.dot_product_attention`."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_erf.algebra.geometry import Blocks, Marks, Relation
from keras_erf.algebra.views import AnyView, Status
from keras_erf.dependence.axes import rank_of
from keras_erf.dependence.call import Call, bound_arguments
from keras_erf.dependence.labels import Label, labelled
from keras_erf.dependence.simple import ACROSS_BATCH
from keras_erf.graph import LOW, Argument
from keras_erf.layers.entry import Entry
from keras_erf.layers.products import operand_shape

__all__ = ["ENTRIES"]


def attention_operation(call: Call) -> tuple[AnyView, ...]:
    """Attention of queries of shape (T, N, H) to keys and values of shape (S, K, H).

    Output t of a head sees its own query and, by their weights, the keys and
    values that the constant mask and causality leave to it. A softmax over one
    key is 1, whatever the key and the query are. With fewer heads of keys than
    of queries, groups of queries share one. Reference: Vaswani et al. 2017,
    "Attention Is All You Need", section 3.2.
    """
    given = bound_arguments(call)
    steps, heads, _ = call.output
    keys, key_heads, _ = operand_shape(call, given["key"])[1:]
    visible, status = _visible(call, given["mask"], given["bias"], steps, keys)
    weighed = visible & (visible.sum(axis=1, keepdims=True) > 1)
    head: dict[Label, Relation] = {}
    if key_heads not in (1, heads):
        head["n"] = Blocks(heads // key_heads, 1)
    own = Marks(np.eye(steps, dtype=bool) & weighed.any(axis=1)) if not weighed.all() else None
    made = ["b", "t", "n", "h"]
    options: dict[str, Any] = {"gathers": True, "status": status}
    views = [
        *labelled(
            call,
            [(given["query"], ["b", "t", "n", "sum"])],
            made,
            relations={"t": own} if own else {},
            status=status,
        ),
        *labelled(
            call,
            [(given["key"], ["b", "t", "n", "sum"])],
            made,
            relations={"t": Marks(weighed), **head},
            **options,
        ),
        *labelled(
            call,
            [(given["value"], ["b", "t", "n", "h"])],
            made,
            relations={"t": Marks(visible), **head},
            **options,
        ),
    ]
    scores = [(given[name], ["b", "n", "t", "s"]) for name in ("bias", "mask")]
    if any(isinstance(one, Argument) and rank_of(call, one) != 4 for one, _ in scores):
        return ACROSS_BATCH(call)
    # Of the scores of its own row an output sees no more than the visible ones.
    bound: Status = "exact" if weighed.all() else "bound"
    views += labelled(call, scores, made, gathers=True, status=bound)
    return tuple(views)


def _visible(call: Call, mask: Any, bias: Any, steps: int, keys: int) -> tuple[np.ndarray, Status]:
    """Which keys each step may see, and how sure that is for each head of each sample."""
    visible = np.ones((steps, keys), dtype=bool)
    status: Status = "exact"
    for known, closed in ((call.fixed(mask), 0.0), (call.fixed(bias), LOW)):
        if known is None or (closed == 0 and np.isnan(known).any()):
            continue
        table = ~(known == 0) if closed == 0 else ~(known <= closed)
        table = np.broadcast_to(table, (*table.shape[:-2], steps, keys)).reshape(-1, steps, keys)
        visible &= table.any(axis=0)
        status = status if (table == table[0]).all() else "bound"
    if call.layer.is_causal:
        visible &= np.tri(steps, keys, dtype=bool)
    return visible, status


ENTRIES = (Entry(operations="DotProductAttention", dependence=attention_operation),)

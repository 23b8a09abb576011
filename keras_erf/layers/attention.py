"""Attention: every token takes in the tokens it may attend to, and its own query.

Token t of the output is sum_s softmax_s(score(q_t, k_s)) v_s (Vaswani et al. 2017, "Attention Is
All You Need", equation 1). It sees the values of all tokens s it may attend to, their keys where
there is a choice between several, and of the queries only its own. A causal mask allows s <= t, a
sliding window |s - t| below its width; a mask that is not known beforehand may allow anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from keras_erf.algebra.geometry import Blocks, Marks, Ranges, Relation
from keras_erf.algebra.views import AnyView, Link, Status, View
from keras_erf.dependence.axes import rank_of
from keras_erf.dependence.call import Call, bound_arguments
from keras_erf.dependence.labelled_axes import Label, labelled
from keras_erf.dependence.measured import measured
from keras_erf.dependence.simple import ACROSS_BATCH, refused
from keras_erf.graph import LOW, Argument
from keras_erf.layers.entry import Entry
from keras_erf.layers.products import operand_shape
from keras_erf.types import Array

__all__ = ["ENTRIES"]

wrong_scores = refused("Keras states another shape for its scores than it returns")


def attention(call: Call) -> tuple[AnyView, ...]:
    """`Attention` and `AdditiveAttention`: tokens along the last but one axis."""
    given = bound_arguments(call)
    query, value, *key = [tensor.place for tensor in given["inputs"]]
    if any(mask is not None for mask in given["mask"] or ()):
        return measured(call)
    axis = len(call.inputs[query]) - 2
    allowed = _allowed(*_lengths(call, query, value, [axis]), causal=given["use_causal_mask"])
    scores = (*call.inputs[query][:-1], call.inputs[value][axis])
    compared = (key or [value])[0]
    return _attending(call, query, value, compared, [axis], allowed, scores, projected=False)


def multi_head_attention(call: Call) -> tuple[AnyView, ...]:
    """`MultiHeadAttention` and `GroupQueryAttention`, over one axis of tokens or several."""
    given, config = bound_arguments(call), call.layer.get_config()
    query, value = given["query"].place, given["value"].place
    key = given["key"].place if given["key"] is not None else value
    rank = len(call.inputs[query])
    stated = config.get("attention_axes") or range(1, rank)
    axes = [axis % (rank + 1) - 1 for axis in stated]
    causal, width = given["use_causal_mask"], config.get("sliding_window")
    mask = given["attention_mask"]
    known = call.fixed(mask) if isinstance(mask, Argument) else None
    if known is not None and not np.isnan(known).any():
        mask = known
    masks = [given[name] for name in ("query_mask", "value_mask", "key_mask")]
    # With several axes Keras lays masks over the first two axes, whatever they are.
    limited = causal or width is not None or mask is not None
    if any(one is not None for one in masks) or (len(axes) > 1 and limited):
        return measured(call)
    if isinstance(mask, Argument) and len(call.inputs[mask.place]) != 2:
        return measured(call)
    lengths = _lengths(call, query, value, axes)
    allowed = _allowed(*lengths, causal=causal, width=width, mask=mask)
    heads = config.get("num_heads") or config.get("num_query_heads")
    gated = config.get("use_gate", False)
    found = _attending(call, query, value, key, axes, allowed, (heads, *lengths), gated=gated)
    if isinstance(mask, Argument):
        tokens = Link(None) if call.inputs[mask.place][0] == 1 else Link(axes[0])
        found = (*found, View((tokens, Link(None)), input=mask.place, gathers=True))
    return found


def relation_of(allowed: np.ndarray) -> Relation | None:
    """The relation of outputs (rows) to inputs (columns); `None` if all see all."""
    if allowed.all():
        return None
    firsts, counts = allowed.argmax(axis=1), allowed.sum(axis=1)
    stops = np.where(counts, firsts + counts, firsts)
    columns = np.arange(allowed.shape[1])
    runs = (columns >= firsts[:, None]) & (columns < stops[:, None])
    if (runs != allowed).any():
        return Marks(allowed)
    ratio = Fraction(allowed.shape[1], allowed.shape[0])
    return Ranges(tuple(firsts.tolist()), tuple(stops.tolist()), ratio)


def _lengths(call: Call, query: int, value: int, axes: Sequence[int]) -> tuple[int, int]:
    """Number of queries and of what they may attend to."""
    shapes = call.inputs[query], call.inputs[value]
    rows, columns = (math.prod(shape[axis] for axis in axes) for shape in shapes)
    return rows, columns


def _allowed(
    rows: int, columns: int, *, causal: bool = False, width: int | None = None, mask: Any = None
) -> np.ndarray:
    """Which tokens (columns) each query (row) may attend to."""
    row, column = np.arange(rows)[:, None], np.arange(columns)
    allowed = np.ones((rows, columns), dtype=bool)
    if causal:
        allowed &= column <= row
    if width is not None:
        allowed &= np.abs(row - column) < width
    if mask is not None and not isinstance(mask, Argument):
        known = np.asarray(mask).astype(bool)
        # Of samples and heads, whatever one of them may attend to.
        allowed &= known.any(axis=tuple(range(known.ndim - 2)))
    return allowed


def _attending(
    call: Call,
    query: int,
    value: int,
    key: int,
    axes: Sequence[int],
    allowed: np.ndarray,
    scores: tuple[int, ...],
    *,
    projected: bool = True,
    gated: bool = False,
) -> tuple[AnyView, ...]:
    """The views of queries, values and keys.

    Args:
        call: The call.
        query: Place of the queries among the inputs.
        value: Place of what is summed up.
        key: Place of what the queries are compared with.
        axes: Axes of the tokens; if several, all may be attended to.
        allowed: As `_allowed` gives it.
        scores: Shape of the scores, should they be returned too.
        projected: Whether matrices mix the channels.
        gated: Whether the output is weighed by a function of its query.
    """
    choices = allowed.sum(axis=1)
    if not choices.all():
        # Where nothing may be attended to, it depends on the precision what comes out.
        return measured(call)
    if len(call.outputs) > 1 and call.outputs[1] != scores:
        return wrong_scores(call)
    # Of one token alone the weight is 1, whatever is compared.
    compared = allowed & (choices > 1)[:, None]
    asking = compared.any(axis=1)
    # Without projections each channel of the values stays by itself.
    found: list[AnyView] = [_seen(call, value, 0, axes, allowed, mixes=projected)]
    for output in range(len(call.outputs)):
        if asking.any():
            exact = output == 0 or bool(allowed.all())
            found.append(_seen(call, key, output, axes, compared, exact=exact))
        if (gated and output == 0) or asking.all():
            found.append(_asked(call, query, output, axes))
        elif asking.any():
            found.append(_seen(call, query, output, axes, np.diag(asking), gathers=False))
    return tuple(found)


def _asked(call: Call, query: int, output: int, axes: Sequence[int]) -> View:
    """Each token by its own query."""
    links = [Link(axis) for axis in range(len(call.inputs[query]) - 1)]
    if output:
        links[axes[0]] = Link(len(call.outputs[output]) - 2)
    return View((*links, Link(None)), query, output)


def _seen(
    call: Call,
    place: int,
    output: int,
    axes: Sequence[int],
    allowed: np.ndarray,
    *,
    gathers: bool = True,
    exact: bool = True,
    mixes: bool = True,
) -> View:
    """Each token by those it may attend to (of several axes: by all)."""
    links = [Link(axis) for axis in range(len(call.inputs[place]) - 1)]
    relation = relation_of(allowed)
    tokens = axes[0] if output == 0 else len(call.outputs[output]) - 2
    for axis in axes:
        links[axis] = Link(None) if relation is None else Link(tokens, relation)
    last = Link(None if mixes else len(links))
    return View((*links, last), place, output, gathers, status="exact" if exact else "bound")


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
    own: dict[Label, Relation] = {}
    if not weighed.all():
        own["t"] = Marks(np.eye(steps, dtype=bool) & weighed.any(axis=1))
    made = ["b", "t", "n", "h"]
    views: list[AnyView] = []
    for name, last, relations in (
        ("query", "sum", own),
        ("key", "sum", {"t": Marks(weighed), **head}),
        ("value", "h", {"t": Marks(visible), **head}),
    ):
        seen = [(given[name], ["b", "t", "n", last])]
        gathers = name != "query"
        views += labelled(call, seen, made, relations=relations, gathers=gathers, status=status)
    scores = [(given[name], ["b", "n", "t", "s"]) for name in ("bias", "mask")]
    if any(isinstance(one, Argument) and rank_of(call, one) != 4 for one, _ in scores):
        return ACROSS_BATCH(call)
    # Of the scores of its own row an output sees no more than the visible ones.
    bound: Status = "exact" if weighed.all() else "bound"
    views += labelled(call, scores, made, gathers=True, status=bound)
    return tuple(views)


def _visible(
    call: Call, mask: Any, bias: Array, steps: int, keys: int
) -> tuple[np.ndarray, Status]:
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


ENTRIES = (
    Entry(layers="AdditiveAttention Attention", dependence=attention),
    Entry(layers="GroupQueryAttention MultiHeadAttention", dependence=multi_head_attention),
    Entry(operations="DotProductAttention", dependence=attention_operation),
)

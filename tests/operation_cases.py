"""Calls of operations: one table, with one case at least for each rule."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras.src.activations.activations import Mish

from tests.cases import Cases
from tests.perturbation import Draw, normal
from tests.releases import ops


def inside(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values from (0.05, 0.95)."""
    return rng.uniform(0.05, 0.95, shape)


def wide(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values from (-4, 4)."""
    return rng.uniform(-4, 4, shape)


def integers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 4, shape)


def natural(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(1, 40, shape)


def complex_(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def few(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(1, 6, shape)


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values from (0.2, 1); square matrices of three rows have a large diagonal."""
    diagonal = 3 * np.eye(3) if shape[-2:] == (3, 3) else 0
    return rng.uniform(0.2, 1, shape) + diagonal


def booleans(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 2, shape).astype(bool)


def rare(value: float) -> Draw:
    """Values of which every other one is `value`."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return np.where(rng.integers(0, 2, shape), value, rng.normal(size=shape))

    return draw


PLANE = (4, 5, 3)

CASES = Cases(shapes=(PLANE,), draws=3)
add = CASES.add


def names_in(text: str) -> list[str]:
    return text.split()


def op(name: str, **options: Any) -> Callable[..., Any]:
    return lambda *tensors: getattr(ops, name)(*tensors, **options)


# --- Element by element --------------------------------------------------------------------------

SLOPED = names_in("""
    abs absolute arcsin arccos arctan arcsinh arctanh cos cosh deg2rad elu celu
    erf erfc erfinv exp exp2 expm1 gelu hard_tanh leaky_relu log log10 log1p
    log2 log_sigmoid negative rad2deg reciprocal relu relu6 rsqrt selu sigmoid silu sin
    sinh softplus softsign sparse_plus sqrt square squareplus tan tanh tanh_shrink
""")
for name in SLOPED:
    add(name, getattr(ops, name), (2, 3), draw=inside, gradient=True)
STEPPED = "ceil fabs floor hard_sigmoid hard_silu round sign signbit sinc sparse_sigmoid trunc"
STEPPED += " hard_shrink soft_shrink i0 cbrt real imag conj conjugate angle isreal copy"
for name in STEPPED.split():
    # Of a real number the imaginary part is zero.
    if name not in ("imag", "isreal"):
        add(name, getattr(ops, name), (2, 3), draw=wide, draws=8)
for name in ("imag", "angle", "conj"):
    complexes = {"draw": complex_, "dtypes": "complex64", "tolerance": 1e-5}
    add(f"{name}-complex", getattr(ops, name), (2, 3), **complexes)
add("arccosh", ops.arccosh, (2, 3), draw=lambda rng, shape: 1 + inside(rng, shape))
add("threshold", lambda x: ops.threshold(x, 0.5, 9.0), (2, 3), draw=wide)
add("clip", lambda x: ops.clip(x, -1, 1), (2, 3), draw=wide)
add("nan_to_num", ops.nan_to_num, (2, 3), draw=rare(np.inf))
add("stop_gradient", ops.stop_gradient)
add("cast", lambda x: ops.cast(x, "float32"), tolerance=1e-6)
add("saturate_cast", lambda x: ops.saturate_cast(x, "int8"), draw=wide, draws=8)
add("convert_to_tensor", lambda x: ops.convert_to_tensor(x, dtype="float64"))
add("array", lambda x: ops.array(x))
for name, value in {
    "isnan": np.nan,
    "isinf": np.inf,
    "isposinf": np.inf,
    "isfinite": np.nan,
}.items():
    add(name, getattr(ops, name), (2, 3), draw=rare(value), draws=8)
add("isneginf", ops.isneginf, (2, 3), draw=rare(-np.inf), draws=8)
for name in ["logical_not"]:
    add(name, getattr(ops, name), (2, 3), draw=booleans, dtypes="bool", draws=8)
for name in ["bitwise_invert", "bitwise_not"]:
    add(name, getattr(ops, name), (2, 3), draw=integers, dtypes="int32", draws=8)

# Functions of `keras.activations` called on a tensor: some are no operations of `keras.ops`. Keras
# 3.15 cannot call four of them so; three are none, and the others are called below.
LEFT_OUT = names_in("hard_silu hard_swish mish sparsemax deserialize get serialize glu threshold")
for name, function in vars(keras.activations).items():
    if inspect.isfunction(function) and name not in (*LEFT_OUT, "linear"):
        add(f"activation-{name}", function, (2, 3), draw=wide, draws=8)
relu = keras.activations.relu
add("ReLU", relu, (2, 3), draw=wide, draws=8)
add("ReLU-bounded", lambda x: relu(x, 0.1, 2.0, 0.5), (2, 3), draw=wide, draws=8)
add("Mish", lambda x: Mish()(x), (2, 3), draw=wide)
quantized = keras.quantizers.fake_quant_with_min_max_vars
add("FakeQuantWithMinMaxVars", lambda x: quantized(x, -3.0, 3.0), (2, 3), draw=wide, draws=60)

PAIRS = names_in("""
    add arctan2 divide divide_no_nan hypot logaddexp logaddexp2 maximum
    minimum multiply power subtract true_divide fmax fmin
""")
BROADCAST = {"same": ((3, 2), (3, 2)), "stretched": ((3, 1), (3, 2)), "both": ((3, 1), (1, 2))}
for name in PAIRS:
    for kind, shapes in BROADCAST.items():
        smooth = name not in ("fmax", "fmin")
        add(
            f"{name}-{kind}",
            getattr(ops, name),
            *shapes,
            draws=8,
            gradient=smooth and kind == "both",
        )
DISCRETE = "equal greater greater_equal less less_equal not_equal floor_divide mod fmod isclose"
for name in DISCRETE.split():
    add(name, getattr(ops, name), (3, 1), (3, 2), draw=few, draws=200)
add("heaviside", ops.heaviside, (3, 2), (3, 2), draw=lambda r, s: r.integers(-1, 2, s), draws=60)
add("nextafter", ops.nextafter, (3, 2), (3, 2), draw=wide, draws=60, tolerance=0.0)
add("polar", ops.polar, (3, 2), (3, 2), dtypes="float32", draws=4, tolerance=1e-5)
for name in ["logical_and", "logical_or", "logical_xor"]:
    add(name, getattr(ops, name), (3, 2), (3, 2), draw=booleans, dtypes="bool", draws=30)
for name in ["bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift", "gcd", "lcm"]:
    shift = name.endswith("shift")
    drawn = (integers if shift else natural,) * 2
    add(name, getattr(ops, name), (3, 2), (3, 2), draw=drawn, dtypes="int32", draws=60)
for name in ["bitwise_left_shift", "bitwise_right_shift"]:
    add(name, getattr(ops, name), (3, 2), (3, 2), draw=integers, dtypes="int32", draws=60)
add("ldexp", ops.ldexp, (3, 2), (3, 2), draw=(wide, integers), dtypes=("float64", "int32"), draws=9)

add("constant", lambda x: x * np.ones((5, 3)))
add("constant-stretches", lambda x: ops.subtract(np.ones((4, 5, 3)), x), (4, 1, 3))
add("number", lambda x: 2 / x)
add("squared", lambda x: x * x)
add("operators", lambda x: x / np.ones(3))
add("remainder", lambda x: x % 2, draw=wide)
add("floored", lambda x: x // 0.5, draw=wide, draws=8)
add("power", lambda x: x**2)
add("reverse", lambda x: 2**x)
add("negated", lambda x: -x)
add("compared", lambda x: x > 1.0, draws=30)
add("inverted", lambda x: ~x, draw=booleans, dtypes="bool", draws=8)
add(
    "unravel_index",
    lambda x: ops.unravel_index(x, (3, 4)),
    (4, 2),
    draw=lambda r, s: r.integers(0, 12, s),
    dtypes="int32",
    draws=20,
)
add(
    "batch_normalization",
    lambda x: ops.batch_normalization(x, np.ones(3), np.ones(3), -1, np.ones(3), np.ones(3)),
)
add("view", lambda x: ops.view(x, "float64"))
add(
    "view-narrow",
    lambda x: ops.view(x, "int32"),
    (2, 3),
    draw=wide,
    dtypes="float64",
    draws=20,
    tolerance=0.0,
)
add(
    "view-wide",
    lambda x: ops.view(x, "int32"),
    (2, 4),
    draw=natural,
    dtypes="int16",
    draws=20,
    tolerance=0.0,
)
add("view_as_real", ops.view_as_real, (4, 3), **complexes)

# --- Choices -------------------------------------------------------------------------------------

MASK = np.array([1, 0, 1, 1, 0], dtype=bool)
add(
    "where",
    ops.where,
    (4, 1, 3),
    PLANE,
    (1, 5, 1),
    draw=(booleans, normal, normal),
    dtypes=("bool", "float64", "float64"),
    draws=30,
)
add("where-constant-mask", lambda x: ops.where(MASK[:, None], x, 0.0))
add("where-two-constant-mask", lambda x, y: ops.where(MASK[:, None], x, y), PLANE, (4, 1, 1))
add(
    "where-constant-values", lambda x: ops.where(x, 1.0, 0.0), draw=booleans, dtypes="bool", draws=9
)
add("where-stretches", lambda x: ops.where(MASK[:, None], x, 7.0), (4, 1, 3))
add(
    "select",
    lambda c, d, x, y: ops.select([c, d], [x, y], 0.0),
    *[(3, 2)] * 4,
    draw=(booleans, booleans, normal, normal),
    dtypes=("bool", "bool", "float64", "float64"),
    draws=60,
)
CONSTANT = [np.arange(6).reshape(3, 2) < n for n in (2, 4)]
add("select-constant", lambda x, y: ops.select(CONSTANT, [x, y], 0.0), (3, 2), (3, 2))
add("digitize", lambda x: ops.digitize(x, np.array([-2.0, 0.0, 2.0])), draw=wide, draws=20)
add("isin", lambda x: ops.isin(x, [1, 3]), draw=integers, dtypes="int32", draws=20)
add(
    "searchsorted",
    lambda x: ops.searchsorted(np.array([-2.0, 0.0, 2.0]), x),
    (),
    draw=wide,
    draws=20,
)
add("take", lambda x: ops.take(x, [2, 0, 2], axis=2))
add("take-negative", lambda x: ops.take(x, np.array([[0, -1], [3, 1]]), axis=1))
add(
    "take-from-constant",
    lambda x: ops.take(np.eye(4), x, axis=0),
    (5, 3),
    draw=integers,
    dtypes="int32",
    draws=40,
)
add(
    "take_along_axis",
    lambda x, i: ops.take_along_axis(x, i, axis=1),
    (4, 3),
    (5, 3),
    draw=(normal, integers),
    dtypes=("float64", "int32"),
    draws=60,
)
ORDER = np.array([3, 1, 1, 0, 2, 2]).reshape(1, 6, 1) * np.ones((1, 1, 3), int)
add("one_hot", lambda x: ops.one_hot(x, 4), (3, 2), draw=integers, dtypes="int32", draws=40)
add(
    "one_hot-first",
    lambda x: ops.one_hot(x, 4, axis=1),
    (3, 2),
    draw=integers,
    dtypes="int32",
    draws=40,
)
add("multi_hot", lambda x: ops.multi_hot(x, 4), (3,), draw=integers, dtypes="int32", draws=60)
add(
    "multi_hot-rows", lambda x: ops.multi_hot(x, 4), (3, 2), draw=integers, dtypes="int32", draws=60
)
add("rgb_to_grayscale", ops.image.rgb_to_grayscale)
add(
    "rgb_to_grayscale-first",
    lambda x: ops.image.rgb_to_grayscale(x, data_format="channels_first"),
    (3, 4, 5),
)
add("rgb_to_hsv", ops.image.rgb_to_hsv, draw=inside, draws=30)
add("hsv_to_rgb", ops.image.hsv_to_rgb, draw=inside, draws=60)
for name in ["zeros_like", "ones_like", "empty_like"]:
    if hasattr(ops, name):
        add(name, getattr(ops, name), draws=1)
add("full_like", lambda x: ops.full_like(x, 2.0))

# --- Copies --------------------------------------------------------------------------------------

add("flip", lambda x: ops.flip(x, axis=(1, 3)))
add("fliplr", ops.fliplr)
add("roll", lambda x: ops.roll(x, (2, -1), axis=(1, 2)))
add("rot90", lambda x: ops.rot90(x, axes=(1, 2)))
add("rot90-back", lambda x: ops.rot90(x, -1, axes=(2, 1)))
for mode in ("constant", "reflect", "symmetric"):
    add(f"pad-{mode}", lambda x, m=mode: ops.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0)), mode=m))
add("pad-value", lambda x: ops.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0)), constant_values=1))
add("tile", lambda x: ops.tile(x, (1, 2, 1, 3)))
add("repeat", lambda x: ops.repeat(x, 3, axis=2))
add("repeat-uneven", lambda x: ops.repeat(x, [1, 0, 2, 1], axis=1))
add("transpose", lambda x: ops.transpose(x, (0, 3, 1, 2)))
add("swapaxes", lambda x: ops.swapaxes(x, 1, 3))
add("moveaxis", lambda x: ops.moveaxis(x, 1, -1))
add("expand_dims", lambda x: ops.expand_dims(x, 2))
add("expand_dims-several", lambda x: ops.expand_dims(x, (1, -1)))
add("squeeze", lambda x: ops.squeeze(x, 2), (4, 1, 3))
add("reshape-patches", lambda x: ops.reshape(x, (-1, 2, 2, 5, 3)))
add("reshape-odd", lambda x: ops.reshape(x, (-1, 5, 3)), (3, 5))
add("reshape-flat", lambda x: ops.reshape(x, (-1, 60)))
add("reshape-tokens", lambda x: ops.reshape(x, (-1, 20, 3)))
add("broadcast", lambda x: ops.stack([x, x], axis=1))
add("stack-last", lambda x, y: ops.stack([x, y], axis=-1), (4, 3), (4, 3))
add("concatenate", lambda x, y: ops.concatenate([x, y, x], axis=1), (4, 3), (2, 3))
add("append", lambda x, y: ops.append(x, y, axis=2), (4, 3), (4, 2))
add("hstack", lambda x, y: ops.hstack([x, y]), (4, 3), (2, 3))
add("dstack", lambda x, y: ops.dstack([x, y]), (4, 3), (4, 2))
add("split", lambda x: ops.split(x, 2, axis=1))
add("split-places", lambda x: ops.split(x, [1, 4], axis=2))
add("array_split", lambda x: ops.array_split(x, 3, axis=1))
add("hsplit", lambda x: ops.hsplit(x, 2))
add("dsplit", lambda x: ops.dsplit(x, [2]))
add("unstack", lambda x: ops.unstack(x, axis=2))
add("diagonal", lambda x: ops.diagonal(x, 1, axis1=1, axis2=2))
add("tril", lambda x: ops.tril(x, 1))
add("triu", lambda x: ops.triu(x, -1))
add("slice_update", lambda x, y: ops.slice_update(x, (0, 1, 0, 1), y), PLANE, (2, 5, 1))
add("rearrange", lambda x: ops.rearrange(x, "b (h p) w c -> b h w (p c)", p=2), batch=2)
add("depth_to_space", lambda x: ops.depth_to_space(x, 2), (2, 3, 8))
add("space_to_depth", lambda x: ops.space_to_depth(x, 2), (4, 2, 3))
add("extract_sequences", lambda x: ops.extract_sequences(x, 4, 3), (2, 11))
add("pad_images", lambda x: ops.image.pad_images(x, 1, 2, 3, 0))
add("crop_images", lambda x: ops.image.crop_images(x, 1, 0, 1, 2))
for name, key in {
    "columns": np.s_[:, 1:, ::2],
    "backwards": np.s_[:, ::-1, 4:0:-2],
    "ellipsis": np.s_[..., 1],
    "new axis": np.s_[:, None, 2, ..., None],
    "negative": np.s_[:, -2:, -1],
    "one": np.s_[:, 1:2, 2, 0],
}.items():
    add(f"getitem-{name}", lambda x, k=key: x[k])

# --- Whole axes ----------------------------------------------------------------------------------

SUMS = "all any amax amin max mean min prod sum std var logsumexp median nanmax nanmin nanmean"
SUMS += " nansum nanprod nanstd nanvar nanmedian ptp argmax argmin nanargmax nanargmin norm"
SUMS += " count_nonzero average trapezoid"
AXES = {"rows": 1, "channels": -1}
for name in SUMS.split():
    if not hasattr(ops, name):
        continue
    kind = {"all": booleans, "any": booleans, "count_nonzero": integers}.get(name, normal)
    often = kind is not normal or "arg" in name
    for axes, axis in AXES.items():
        add(
            f"{name}-{axes}",
            op(name, axis=axis),
            (3, 2, 2),
            draw=kind,
            dtypes={booleans: "bool", integers: "int32"}.get(kind, "float64"),
            draws=90 if often else 3 if name == "nanmedian" else 25,
        )
for name in ["mean", "max", "sum", "var"]:
    function = getattr(ops, name)
    add(
        f"{name}-keepdims",
        lambda x, f=function: f(x, axis=(1, -1), keepdims=True),
        (3, 4, 2),
        draws=60,
        gradient=name != "max",
    )
    add(f"{name}-two", lambda x, f=function: f(x, axis=[2, 1]), (3, 4, 2), draws=60)
    add(f"{name}-all", lambda x, f=function: f(x, axis=(1, 2, 3)), (3, 4, 2), draws=60)
for name in ["quantile", "percentile"]:
    if hasattr(ops, name):
        add(name, op(name, q=0.4, axis=1, keepdims=True), (5, 2), draws=60)
add("average-weights", lambda x: ops.average(x, axis=1, weights=np.arange(1.0, 5)))
add("average-weighed", lambda x, w: ops.average(x, axis=1, weights=w), (4, 2), (4, 2))
add("norm-matrix", lambda x: ops.norm(x, axis=(1, 2)))
add("moments", lambda x: ops.moments(x, axes=(1, 2), keepdims=True))
add("moments-rows", lambda x: ops.moments(x, axes=[1]))
for name in ["sort", "argsort"]:
    add(name, op(name, axis=1), (4, 2), draws=90)
add("argpartition", lambda x: ops.argpartition(x, 2, axis=-1), (4,), draws=200)
add("top_k", lambda x: ops.top_k(x, 2), (2, 4), draws=90)
add(
    "in_top_k",
    lambda t, x: ops.in_top_k(t, x, 2),
    (),
    (4,),
    draw=(integers, normal),
    dtypes=("int32", "float32"),
    draws=90,
)
for name in ["softmax", "log_softmax"]:
    add(name, op(name), gradient=True)
    add(f"{name}-rows", op(name, axis=1))
add("sparsemax", ops.sparsemax, (2, 4), draw=lambda r, s: 0.2 * inside(r, s))
add("normalize", lambda x: ops.normalize(x, axis=1), gradient=True)
add("layer_normalization", lambda x: ops.layer_normalization(x), gradient=True)
add("layer_normalization-scaled", lambda x: ops.layer_normalization(x, np.ones(3), np.ones(3)))
add("layer_normalization-space", lambda x: ops.layer_normalization(x, axis=[1, 2]))
add("rms_normalization", lambda x: ops.rms_normalization(x, axis=2))
add("glu", lambda x: ops.glu(x, axis=2), (3, 4))
for name in ["cumsum", "cumprod", "nancumsum", "nancumprod"]:
    if hasattr(ops, name):
        add(name, op(name, axis=2), gradient=name == "cumsum")
add("diff", lambda x: ops.diff(x, axis=1), gradient=True)
add("diff-third", lambda x: ops.diff(x, n=3, axis=2), (3, 6))
add("trace", lambda x: ops.trace(x, -1, axis1=2, axis2=1), gradient=True)
add("trace-outer", lambda x: ops.trace(x, 1, axis1=1, axis2=3), (3, 2, 4))
for name in ["det", "inv", "pinv"]:
    function = getattr(ops, name)
    add(name, function, (2, 3, 3), draw=positive, tolerance=1e-7)
add("svd", lambda x: ops.svd(x, compute_uv=False), (3, 2), draw=normal)
add("eig", lambda x: ops.eig(x), (3, 3), draw=normal, tolerance=1e-7)
add("eigh", ops.eigh, (3, 3), draw=positive, status="bound")
add("logdet", ops.logdet, (3, 3), draw=positive, status="bound")
add("qr", lambda x: ops.qr(x), (3, 2), draw=normal, status="bound")
add("cholesky", ops.cholesky, (3, 3), draw=positive, status="bound")

# --- Products ------------------------------------------------------------------------------------

add("matmul", ops.matmul, (3, 4), (4, 2), gradient=True)
add("matmul-stacks", ops.matmul, (2, 3, 4), (2, 4, 2))
add("matmul-stretched", ops.matmul, (1, 3, 2), (2, 2, 4))
add("matmul-constant", lambda x: x @ np.ones((3, 2)))
add("matmul-constant-left", lambda x: ops.matmul(np.ones((2, 4)), x), (4, 3))
add("matmul-vector", lambda x: ops.matmul(x, np.ones(3)))
add("matmul-vectors", lambda x: ops.matmul(x, np.ones((3, 2))), (3,))
add("dot", lambda x: ops.dot(x, np.ones((3, 2))))
add("dot-vector", lambda x: ops.dot(x, np.ones(3)))
add("dot-number", lambda x: ops.dot(x, 3.0))
add("dot-three", lambda x: ops.dot(x, np.ones((2, 3, 4))))
add("inner", lambda x: ops.inner(x, np.ones((2, 3))))
add("inner-vector-first", lambda x: ops.inner(np.ones(3), x))
add("tensordot", lambda x: ops.tensordot(x, np.ones((5, 3, 2)), axes=2))
TWO = ([1, 3], [2, 0])
add("tensordot-axes", lambda x: ops.tensordot(x, np.ones((3, 2, 4)), TWO), batch=2)
add("tensordot-none", lambda x: ops.tensordot(x, np.ones((2, 1)), axes=0), (2, 3))
for subscripts, shapes in {
    "bnc,bmc->bnm": ((4, 3), (5, 3)),
    "bhwc,bhvc->bwhv": ((2, 3, 4), (2, 5, 4)),
    "...ij,...jk->...ik": ((2, 3), (3, 4)),
    "b...c,b...c->b...": ((2, 3, 4), (2, 3, 4)),
    "bxy->byx": ((2, 3),),
    "bii->bi": ((3, 3),),
    "bii->b": ((3, 3),),
    "biji->bj": ((3, 2, 3),),
    "bij,bj->bi": ((2, 3), (3,)),
}.items():
    add(f"einsum-{subscripts}", lambda *x, s=subscripts: ops.einsum(s, *x), *shapes)
add("einsum-constant", lambda x: ops.einsum("...c,cd->...d", x, np.ones((3, 2))))
add("einsum-implicit", lambda x: ops.einsum("bij,jk", x, np.ones((3, 2))), (2, 3))
add("einsum-twice", lambda x: ops.einsum("bic,bjc->bij", x, x), (3, 2))
add("cross", ops.cross, (4, 3), (4, 3))
add("cross-constant", lambda x: ops.cross(x, np.array([1.0, 2, 3])), (4, 3))
add("cross-plane", ops.cross, (4, 2), (4, 2))
add("cross-mixed", ops.cross, (4, 2), (4, 3))
add("cdist", getattr(ops, "cdist", None), (3, 2), (4, 2)) if hasattr(ops, "cdist") else None
add("solve", lambda a, b: ops.solve(a, b), (3, 3), (3, 2), draw=(positive, normal))
add(
    "solve_triangular",
    lambda a, b: ops.solve_triangular(a, b, lower=True),
    (3, 3),
    (3, 2),
    draw=(positive, normal),
    status="bound",
)
HEADS = ((3, 2, 2), (4, 2, 2), (4, 2, 2))
add("attention", ops.dot_product_attention, *HEADS, tolerance=1e-8)
add(
    "attention-causal",
    lambda q, k, v: ops.dot_product_attention(q, k, v, is_causal=True),
    *[(4, 2, 2)] * 3,
    tolerance=1e-8,
)
BAND = np.abs(np.subtract.outer(np.arange(4), np.arange(4))) < 2
add(
    "attention-masked",
    lambda q, k, v: ops.dot_product_attention(q, k, v, mask=BAND[None, None]),
    *[(4, 2, 2)] * 3,
    tolerance=1e-8,
)
add("attention-groups", ops.dot_product_attention, (3, 4, 2), (3, 2, 2), (3, 2, 2), tolerance=1e-8)
add(
    "attention-bias",
    lambda q, k, v, b: ops.dot_product_attention(q, k, v, bias=b),
    *HEADS,
    (2, 3, 4),
    tolerance=1e-8,
)
add("attention-self", lambda x: ops.dot_product_attention(x, x, x), (3, 2, 2), tolerance=1e-8)

# --- Windows -------------------------------------------------------------------------------------

FIRST, LAST = {"data_format": "channels_first"}, {"data_format": "channels_last"}
for padding in ("valid", "same"):
    o = {"padding": padding}
    add(
        f"average_pool-{padding}",
        lambda x, o=o: ops.average_pool(x, (2, 3), (2, 1), **o),
        (5, 6, 2),
    )
    add(f"max_pool-{padding}", lambda x, o=o: ops.max_pool(x, 2, **o), (5, 6, 2), draws=30)
    add(f"max_pool-line-{padding}", lambda x, o=o: ops.max_pool(x, 3, 2, **o), (8, 2), draws=30)
    add(
        f"conv-{padding}",
        lambda x, o=o: ops.conv(x, np.ones((2, 3, 2, 4)), (2, 1), **o),
        (5, 6, 2),
        gradient=True,
    )
    add(
        f"conv-dilated-{padding}",
        lambda x, o=o: ops.conv(x, np.ones((3, 2, 1)), 1, dilation_rate=2, **o),
        (8, 2),
    )
    add(
        f"depthwise_conv-{padding}",
        lambda x, o=o: ops.depthwise_conv(x, np.ones((3, 2, 2, 2)), 1, **o),
        (5, 6, 2),
    )
    add(
        f"separable_conv-{padding}",
        lambda x, o=o: ops.separable_conv(x, np.ones((3, 2, 2, 1)), np.ones((1, 1, 2, 3)), 2, **o),
        (5, 6, 2),
    )
    add(
        f"conv_transpose-{padding}",
        lambda x, o=o: ops.conv_transpose(x, np.ones((3, 4, 2)), 2, **LAST, **o),
        (4, 2),
        eager=True,
    )
    add(
        f"conv_transpose-plane-{padding}",
        lambda x, o=o: ops.conv_transpose(x, np.ones((2, 3, 4, 2)), (2, 3), **LAST, **o),
        (3, 2, 2),
        eager=True,
    )
    add(
        f"extract_patches-{padding}",
        lambda x, o=o: ops.image.extract_patches(x, (3, 2), (2, 1), **o),
        (6, 5, 2),
    )
    add(
        f"extract_patches-dilated-{padding}",
        lambda x, o=o: ops.image.extract_patches(x, 2, 1, dilation_rate=2, **o),
        (6, 5, 2),
    )
add(
    "extract_patches-space", lambda x: ops.image.extract_patches_3d(x, (2, 1, 2)), (4, 2, 3, 2)
) if hasattr(ops.image, "extract_patches_3d") else None
for kind in ("average", "max"):
    pool = getattr(ops, f"adaptive_{kind}_pool")
    for count in (3, 4, 5, 7):
        add(
            f"adaptive_{kind}_pool-{count}",
            lambda x, f=pool, n=count: f(x, (n,), **FIRST),
            (2, 8),
            draws=40,
        )
    add(f"adaptive_{kind}_pool-plane", lambda x, f=pool: f(x, (2, 3), **FIRST), (1, 5, 6), draws=60)
for size, options in itertools.product(
    ((4, 9), (8, 4)), ({}, {"interpolation": "nearest"}, {"antialias": True})
):
    add(
        f"resize-{size}-{options}",
        lambda x, s=size, o=options: ops.image.resize(x, s, data_format="channels_last", **o),
        (5, 6, 2),
    )
for size in ((3, 3), (2, 4)):
    add(
        f"gaussian_blur-{size}",
        lambda x, s=size: ops.image.gaussian_blur(x, s, data_format="channels_last"),
        (5, 6, 2),
    )
add("sobel_edges", ops.image.sobel_edges, (4, 5, 2), tolerance=1e-6)
add("sobel_edges-first", lambda x: ops.image.sobel_edges(x, **FIRST), (2, 4, 5), tolerance=1e-6)
for options, windows in (
    ({}, 16),
    ({"padding": 1, "stride": 2}, 9),
    ({"dilation": (1, 2), "padding": (0, 1)}, 16),
):
    add(f"unfold-{options}", lambda x, o=options: ops.unfold(x, (2, 3), **o), (2, 5, 6))
    add(
        f"fold-{options}",
        lambda x, o=options: ops.fold(x, (5, 6), (2, 3), **o),
        (12, windows),
        dtypes="float32",
        tolerance=1e-6,
        draws=1,
    )
add(
    "ssim",
    lambda x, y: ops.image.ssim(x, y, filter_size=3),
    (5, 4, 1),
    (5, 4, 1),
    dtypes="float32",
    tolerance=1e-7,
)

# --- Spectra -------------------------------------------------------------------------------------

for size in (4, 6, 7):
    o = {"draw": normal, "dtypes": "float32", "tolerance": 1e-5, "draws": 4}
    add(f"fft-{size}", lambda x, y: ops.fft((x, y)), (2, size), (2, size), **o)
    add(f"rfft-{size}", ops.rfft, (2, size), **o)
    add(f"irfft-{size}", lambda x, y: ops.irfft((x, y)), (2, size), (2, size), **o)
add("rfft-shorter", lambda x: ops.rfft(x, 4), (7,), **o)
add("rfft-longer", lambda x: ops.rfft(x, 8), (5,), **o)
add("irfft-shorter", lambda x, y: ops.irfft((x, y), 4), (7,), (7,), **o)
add("irfft-odd", lambda x, y: ops.irfft((x, y), 7), (4,), (4,), **o)
add("fft2", lambda x, y: ops.fft2((x, y)), (4, 3), (4, 3), **{**o, "status": "bound"})
add("ifft2", lambda x, y: ops.ifft2((x, y)), (4, 3), (4, 3), **{**o, "status": "bound"})
for name, options in {
    "plain": {"center": False, "window": None},
    "mirrored": {},
    "hamming": {"window": "hamming", "center": False},
}.items():
    add(
        f"stft-{name}",
        lambda x, k=options: ops.stft(x, 5, 3, 8, **k),
        (2, 13),
        **{**o, "draw": normal},
    )
for name, shape in {"line": (13,), "plane of lines": (2, 2, 10)}.items():
    add(f"stft-{name}", lambda x: ops.stft(x, 5, 3, 8), shape, **{**o, "draw": normal})

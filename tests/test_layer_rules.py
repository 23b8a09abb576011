"""The rules of layers, element by element, against what really changes.

`network_cases` has the layers that slide a window; here is one
case at least for every other class, and a walk over all of `keras.layers`.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from keras_erf import receptive_field
from keras_erf.algebra.geometry import Window
from keras_erf.algebra.views import Link, View
from keras_erf.errors import UnsupportedLayerError
from keras_erf.graph import build_graph
from keras_erf.layers.table import ENTRIES, RULES, find_rule
from keras_erf.rules import Call, measured, views
from tests import network_cases, ruling
from tests.cases import Cases, check_all, model_of, of
from tests.perturbation import normal
from tests.releases import ops
from tests.ruling import CHECKS, solve

CASES = Cases(draws=2)
add = CASES.add


def indices(count: int) -> Callable[..., np.ndarray]:
    return lambda rng, shape: rng.integers(0, count, shape)


# --- Transposed convolutions ---------------------------------------------------------------------

for padding, kernel, stride in itertools.product(("valid", "same"), (1, 2, 3, 4), (1, 2, 3)):
    for extra in range(stride):
        if padding == "same" and not 1 <= kernel % 2 + extra <= stride:
            # TensorFlow takes no output that its own convolution would not make of the input.
            continue
        add(
            f"Conv1DTranspose-{padding}-{kernel}-{stride}-{extra}",
            of("Conv1DTranspose", 2, kernel, stride, padding=padding, output_padding=extra),
            (4, 2),
        )
add(
    "Conv2DTranspose-output-padding",
    of("Conv2DTranspose", 1, (2, 3), (3, 2), "same", output_padding=(2, 1)),
    (3, 2, 1),
)
add(
    "Conv3DTranspose-output-padding",
    of("Conv3DTranspose", 1, (1, 2, 3), (2, 1, 2), output_padding=(1, 0, 1)),
    (2, 2, 2, 1),
)

# --- Resampling ----------------------------------------------------------------------------------

WEIGHED = ("bilinear", "bicubic", "lanczos3", "lanczos5", "area")
# TensorFlow weighs in single precision: a weight of zero comes out near 1e-7.
ROUGH = {"tolerance": 3e-6}
SIZES = [(5, 7), (4, 12), (9, 4), (8, 3), (9, 3), (6, 4), (5, 15), (3, 1), (1, 4), (4, 6), (4, 4)]
for how, (size, wanted), antialias in itertools.product(
    ("nearest", *WEIGHED), SIZES, (False, True)
):
    add(
        # Along one axis: the products of two small weights are lost in single precision.
        f"Resizing-{how}-{size}-{wanted}{'-antialias' * antialias}",
        lambda x, h=how, w=wanted, a=antialias: layers.Resizing(w, 1, interpolation=h, antialias=a)(
            x
        ),
        (size, 1, 1),
        **ROUGH,
    )
for how, (size, wanted) in itertools.product(
    ("nearest", "bilinear", "area"), [((5, 4), (7, 2)), ((6, 3), (2, 9)), ((4, 3), (4, 3))]
):
    add(
        f"Resizing-{how}-{size}-{wanted}".replace(" ", ""),
        of("Resizing", *wanted, interpolation=how),
        (*size, 2),
        **ROUGH,
    )
for how, keep, (size, wanted) in itertools.product(
    ("nearest", "bilinear", "bicubic"),
    ("crop", "pad"),
    [((5, 8), (4, 3)), ((8, 5), (9, 12)), ((6, 3), (3, 3)), ((5, 5), (2, 4))],
):
    add(
        f"Resizing-{keep}-{how}-{size}-{wanted}".replace(" ", ""),
        of("Resizing", *wanted, interpolation=how, **{f"{keep}_to_aspect_ratio": True}),
        (*size, 1),
        **ROUGH,
    )
add(
    "Resizing-first",
    of("Resizing", 1, 7, interpolation="nearest", data_format="channels_first"),
    (2, 4, 5),
)
add(
    "Resizing-first-bilinear",
    of("Resizing", 3, 1, data_format="channels_first"),
    (2, 4, 5),
    **ROUGH,
)
for how, factors in itertools.product(("bicubic", "lanczos3", "lanczos5"), [(2, 3), (1, 4)]):
    add(
        f"UpSampling2D-{how}-{factors}".replace(" ", ""),
        of("UpSampling2D", factors, interpolation=how),
        (4, 5, 1),
        **ROUGH,
    )
for wanted in [(4, 3), (5, 6), (1, 2), (8, 7), (9, 3), (3, 9), (12, 5)]:
    add(f"CenterCrop-{wanted}".replace(" ", ""), of("CenterCrop", *wanted), (8, 7, 1), **ROUGH)
add("CenterCrop-first", of("CenterCrop", 2, 3, data_format="channels_first"), (2, 5, 6))
add("RandomCrop-all", of("RandomCrop", 4, 3), (4, 3, 2))

for kind, (rank, (shape, sizes)) in itertools.product(
    ("Average", "Max"),
    {
        1: ((7, 2), [1, 2, 3, 5, 7, 9]),
        2: ((5, 6, 1), [(2, 4), (5, 1), (3, 3)]),
        3: ((3, 4, 3, 1), [(2, 3, 2)]),
    }.items(),
):
    for size in sizes:
        if 1 in np.ravel(size) and kind == "Max":
            # TensorFlow ends the process over a window one longer than the axis.
            continue
        add(
            f"Adaptive{kind}Pooling{rank}D-{size}".replace(" ", ""),
            of(f"Adaptive{kind}Pooling{rank}D", size),
            shape,
            draws=60 if kind == "Max" else 2,
            dtype="float32",
            tolerance=1e-6,
        )
add(
    "AdaptiveAveragePooling2D-first",
    of("AdaptiveAveragePooling2D", (2, 3), data_format="channels_first"),
    (2, 5, 4),
)

# --- Attention -----------------------------------------------------------------------------------

TOKENS, OTHERS = (4, 3), (5, 3)
SMALL = {"draw": normal}
for name, make in {
    "Attention": lambda: layers.Attention(),
    "Attention-scale": lambda: layers.Attention(use_scale=True),
    "Attention-concat": lambda: layers.Attention(score_mode="concat"),
    "AdditiveAttention": lambda: layers.AdditiveAttention(),
}.items():
    add(f"{name}-self", lambda x, m=make: m()([x, x]), TOKENS, **SMALL)
    add(f"{name}-cross", lambda x, y, m=make: m()([x, y]), TOKENS, OTHERS, **SMALL)
    add(f"{name}-key", lambda x, y, z, m=make: m()([x, y, z]), TOKENS, OTHERS, OTHERS, **SMALL)
    add(f"{name}-causal", lambda x, m=make: m()([x, x], use_causal_mask=True), TOKENS, **SMALL)
    add(
        f"{name}-cross-causal",
        lambda x, y, z, m=make: m()([x, y, z], use_causal_mask=True),
        TOKENS,
        OTHERS,
        OTHERS,
        **SMALL,
    )
    add(
        f"{name}-scores",
        lambda x, y, m=make: m()([x, y], return_attention_scores=True),
        TOKENS,
        OTHERS,
        **SMALL,
    )
add("Attention-rank-4", lambda x, y: layers.Attention()([x, y]), (2, 3, 2), (2, 4, 2), **SMALL)
add(
    "Attention-scores-causal",
    lambda x: layers.Attention()([x, x], return_attention_scores=True, use_causal_mask=True),
    TOKENS,
    status="bound",
    **SMALL,
)


def heads(**options: Any) -> layers.Layer:
    return layers.MultiHeadAttention(2, 3, **options)


def grouped(**options: Any) -> layers.Layer:
    return layers.GroupQueryAttention(3, 4, 2, **options)


for name, make in {"MultiHeadAttention": heads, "GroupQueryAttention": grouped}.items():
    add(f"{name}-self", lambda x, m=make: m()(x, x), TOKENS, **SMALL)
    add(f"{name}-cross", lambda x, y, m=make: m()(x, y), TOKENS, OTHERS, **SMALL)
    add(f"{name}-key", lambda x, y, z, m=make: m()(x, y, key=z), TOKENS, OTHERS, OTHERS, **SMALL)
    add(f"{name}-causal", lambda x, m=make: m()(x, x, use_causal_mask=True), TOKENS, **SMALL)
    add(
        f"{name}-causal-dropout",
        lambda x, y, m=make: m(dropout=0.1)(x, y, use_causal_mask=True),
        TOKENS,
        OTHERS,
        **SMALL,
    )
    add(
        f"{name}-scores", lambda x, m=make: m()(x, x, return_attention_scores=True), TOKENS, **SMALL
    )
    add(
        f"{name}-cross-scores",
        lambda x, y, m=make: m()(x, y, return_attention_scores=True),
        TOKENS,
        TOKENS,
        **SMALL,
    )
    add(
        f"{name}-mask",
        lambda x, y, m=make: m()(
            x, y, attention_mask=np.eye(4, 5, 1, dtype=bool)[None] | (np.arange(5) == 0)
        ),
        TOKENS,
        OTHERS,
        **SMALL,
    )
    if "sliding_window" in inspect.signature(type(make()).__init__).parameters:
        for causal in (False, True):
            add(
                f"{name}-window{'-causal' * causal}",
                lambda x, m=make, c=causal: m(sliding_window=2)(x, x, use_causal_mask=c),
                TOKENS,
                **SMALL,
            )
    if "use_gate" in inspect.signature(type(make()).__init__).parameters:
        add(
            f"{name}-gate",
            lambda x, y, m=make: m(use_gate=True)(x, y, use_causal_mask=True),
            TOKENS,
            OTHERS,
            **SMALL,
        )
add("MultiHeadAttention-plane", lambda x: heads()(x, x), (2, 3, 2), **SMALL)
for axes in [(1,), (2,), (1, 2), (-2,)]:
    add(
        f"MultiHeadAttention-axes-{axes}".replace(" ", ""),
        lambda x, y, a=axes: heads(attention_axes=a)(x, y),
        (2, 3, 2),
        (2, 3, 2),
        **SMALL,
    )
add(
    "MultiHeadAttention-output-shape",
    lambda x: heads(output_shape=5, value_dim=2)(x, x),
    TOKENS,
    **SMALL,
)

# --- Recurrence ----------------------------------------------------------------------------------

STEPS = (4, 2)
RUNS = {
    "last": {},
    "sequence": {"return_sequences": True},
    "state": {"return_state": True},
    "both": {"return_sequences": True, "return_state": True},
    "backwards": {"go_backwards": True, "return_sequences": True},
    "backwards-last": {"go_backwards": True},
    "unrolled": {"unroll": True, "return_sequences": True},
}
for kind, (run, options) in itertools.product(("SimpleRNN", "GRU", "LSTM"), RUNS.items()):
    layer = getattr(layers, kind)
    add(f"{kind}-{run}", lambda x, c=layer, o=options: c(2, **o)(x), STEPS, **SMALL)
    if run != "unrolled":
        continue
    states = [(2,)] * (2 if kind == "LSTM" else 1)
    add(
        f"{kind}-initial-state",
        lambda x, *s, c=layer: c(2, return_sequences=True, return_state=True)(
            x, initial_state=list(s)
        ),
        STEPS,
        *states,
        **SMALL,
    )
    cells = getattr(layers, f"{kind}Cell")
    add(f"RNN-{kind}Cell", lambda x, c=cells: layers.RNN(c(2), return_sequences=True)(x), STEPS)
    add(f"{kind}Cell", lambda x, *s, c=cells: c(2)(x, list(s)), (3,), *states, **SMALL)
add(
    "RNN-stack",
    lambda x: layers.RNN(
        [layers.GRUCell(2), layers.LSTMCell(3)], return_sequences=True, return_state=True
    )(x),
    STEPS,
    **SMALL,
)
for mode, (run, options) in itertools.product(("concat", "sum", "mul", "ave", None), RUNS.items()):
    if run in ("last", "sequence", "both"):
        add(
            f"Bidirectional-{mode}-{run}",
            lambda x, m=mode, o=options: layers.Bidirectional(layers.GRU(2, **o), m)(x),
            STEPS,
            **SMALL,
        )
add(
    "Bidirectional-backwards-first",
    lambda x: layers.Bidirectional(
        layers.LSTM(2, return_sequences=True, go_backwards=True),
        backward_layer=layers.LSTM(2, return_sequences=True),
        merge_mode=None,
    )(x),
    STEPS,
    **SMALL,
)
add(
    "Bidirectional-state",
    lambda x, *s: layers.Bidirectional(layers.LSTM(2, return_sequences=True, return_state=True))(
        x, initial_state=list(s)
    ),
    STEPS,
    *[(2,)] * 4,
    **SMALL,
)

CONVOLVED = {
    "plain": {"kernel_size": 3},
    "even": {"kernel_size": 2, "padding": "same"},
    "same": {"kernel_size": 3, "padding": "same", "return_sequences": True},
    "stride": {"kernel_size": 2, "strides": 2, "return_sequences": True, "return_state": True},
    "dilated": {"kernel_size": 3, "dilation_rate": 2, "padding": "same"},
    "backwards": {"kernel_size": 2, "go_backwards": True, "return_sequences": True},
    "point": {"kernel_size": 1, "return_sequences": True},
    "softmax": {"kernel_size": 2, "activation": "softmax"},
}
for kind, options in CONVOLVED.items():
    add(f"ConvLSTM1D-{kind}", of("ConvLSTM1D", 2, **options), (3, 7, 1), **SMALL)
add(
    "ConvLSTM2D",
    of("ConvLSTM2D", 1, (3, 2), padding="same", return_sequences=True),
    (3, 4, 3, 1),
    **SMALL,
)
add("ConvLSTM3D", of("ConvLSTM3D", 1, (2, 1, 2)), (2, 4, 2, 3, 1), **SMALL)
add(
    "Bidirectional-ConvLSTM1D",
    lambda x: layers.Bidirectional(layers.ConvLSTM1D(1, 2, padding="same", return_sequences=True))(
        x
    ),
    (3, 4, 1),
    **SMALL,
)

# --- Wrappers ------------------------------------------------------------------------------------

for name, make, shape in [
    ("Conv2D", lambda: layers.Conv2D(2, 2), (2, 3, 4, 1)),
    ("Conv2DTranspose", lambda: layers.Conv2DTranspose(1, 2, 3), (2, 2, 2, 1)),
    ("Flatten", lambda: layers.Flatten(), (2, 2, 3)),
    ("Reshape", lambda: layers.Reshape((2, 3)), (2, 3, 2)),
    ("LSTM", lambda: layers.LSTM(2), (2, 3, 2)),
    ("softmax", lambda: layers.DepthwiseConv1D(2, activation="softmax"), (2, 3, 2)),
    ("LayerNormalization", lambda: layers.LayerNormalization(axis=1), (2, 3, 2)),
    ("TimeDistributed", lambda: layers.TimeDistributed(layers.Conv1D(1, 2)), (2, 2, 3, 1)),
    ("MaxPooling1D", lambda: layers.MaxPooling1D(2), (2, 4, 1)),
    ("Resizing", lambda: layers.Resizing(2, 3, interpolation="nearest"), (2, 3, 2, 1)),
]:
    add(
        f"TimeDistributed-{name}",
        lambda x, m=make: layers.TimeDistributed(m())(x),
        shape,
        draw=normal,
        draws=20,
    )
add(
    "SpectralNormalization-Conv2D",
    lambda x: layers.SpectralNormalization(layers.Conv2D(2, 2, 2))(x),
    (4, 5, 1),
)
add(
    "SpectralNormalization-Dense-softmax",
    lambda x: layers.SpectralNormalization(layers.Dense(3, "softmax"))(x),
    (3, 2),
)
if hasattr(layers, "Pipeline"):
    add(
        "Pipeline",
        lambda x: layers.Pipeline([layers.AutoContrast(), layers.Resizing(3, 2)])(
            x, training=False
        ),
        (4, 3, 1),
        draws=40,
        **ROUGH,
    )

# --- Channels and normalisation ------------------------------------------------------------------

PLANE = (3, 2, 4)
for equation, output, shape in [
    ("abc,cd->abd", (3, 2), (3, 4)),
    ("abc,bd->adc", (2, 4), (3, 4)),
    ("abc,bcd->ad", 2, (3, 4)),
    ("abc,cde->abde", (3, 2, 3), (3, 4)),
    ("abcd,cde->abe", (3, 3), (3, 2, 4)),
    ("...x,xy->...y", 3, (3, 3, 4)),
    ("...x,xy->...y", 3, (2, 4)),
    ("ax...,xy->ay...", 2, (3, 4)),
    ("abc,bcd->abd", (3, 2), (3, 4)),
]:
    add(f"EinsumDense-{equation}-{len(shape)}", of("EinsumDense", equation, output), shape, **SMALL)
add("EinsumDense-softmax", of("EinsumDense", "abc,bd->adc", (2, 4), "softmax"), (3, 4), **SMALL)
for axes, shapes in [
    (1, ((3, 2), (3, 4))),
    (2, ((3, 2), (5, 2))),
    (-1, ((3, 2), (5, 2))),
    ((1, 2), ((3, 2), (4, 3))),
    (1, ((3,), (3,))),
    ((2, 1), ((3, 4), (4,))),
]:
    for normalize in (False, True):
        add(
            f"Dot-{axes}-{shapes}-{normalize}".replace(" ", ""),
            lambda x, y, a=axes, n=normalize: layers.Dot(a, n)([x, y]),
            *shapes,
            **SMALL,
        )
for groups, axis in [(2, -1), (1, -1), (-1, -1), (4, -1), (3, 1), (-1, 2), (2, -2)]:
    add(
        f"GroupNormalization-{groups}-{axis}",
        of("GroupNormalization", groups, axis),
        PLANE,
        draw=normal,
    )
for axis in (1, 2, 3, -1, -2):
    add(f"BatchNormalization-{axis}", of("BatchNormalization", axis=axis), PLANE)
for axis in (1, (1, 2), (1, 2, 3), (2, -1), -2):
    for kind in ("LayerNormalization", "UnitNormalization", "Softmax"):
        add(
            f"{kind}-{axis}".replace(" ", ""),
            lambda x, k=kind, a=axis: getattr(layers, k)(
                axis=list(a) if isinstance(a, tuple) else a
            )(x),
            PLANE,
            draw=normal,
        )
for axis in (-1, 3):
    add(f"RMSNormalization-{axis}", of("RMSNormalization", axis), PLANE, draw=normal)
add("SpatialDropout1D", of("SpatialDropout1D", 0.5), (3, 2))
add(
    "Masking",
    of("Masking", 1),
    (3, 2),
    draw=lambda rng, shape: rng.integers(1, 3, shape),
    draws=60,
    status="exact",
)
add("RepeatVector", of("RepeatVector", 3), (4,))
add("Embedding", of("Embedding", 9, 3), (4,), draw=indices(9), draws=9, dtypes="int32")
add("Embedding-plane", of("Embedding", 9, 2), (2, 3), draw=indices(9), draws=9, dtypes="int32")
if "ReversibleEmbedding" in vars(layers):
    add(
        "ReversibleEmbedding",
        of("ReversibleEmbedding", 9, 3),
        (4,),
        draw=indices(9),
        draws=9,
        dtypes="int32",
    )
    add(
        "ReversibleEmbedding-reverse",
        lambda x: layers.ReversibleEmbedding(9, 3)(x, reverse=True),
        (4, 3),
    )

# --- Activations ---------------------------------------------------------------------------------

# No functions, or of more than one argument; gated linear units halve an axis.
OTHERS_THERE = {"deserialize", "get", "glu", "serialize", "threshold"}
for name, function in vars(keras.activations).items():
    # A Keras release with another one that mixes channels fails here.
    if inspect.isfunction(function) and name not in OTHERS_THERE:
        add(
            f"activation-{name}",
            of("DepthwiseConv1D", 1, activation=name),
            (2, 3),
            draw=lambda rng, shape: 3 * rng.normal(size=shape),
            draws=30,
        )
for name, make in {
    "LeakyReLU": lambda: layers.LeakyReLU(),
    "Softmax-rows": lambda: layers.Softmax(axis=1),
    "PReLU": lambda: layers.PReLU(),
}.items():
    add(
        f"activation-layer-{name}",
        lambda x, m=make: layers.DepthwiseConv2D((2, 1), activation=m())(x),
        (4, 3, 2),
        draw=normal,
        draws=40,
    )

# --- Preparing data ------------------------------------------------------------------------------

AUGMENTATION: dict[str, dict[str, Any]] = {
    "AugMix": {},
    "CutMix": {},
    "MaxNumBoundingBoxes": {"max_number": 3},
    "MixUp": {},
    "RandAugment": {},
    "RandomBrightness": {"factor": 0.5},
    "RandomColorDegeneration": {"factor": 0.5},
    "RandomColorJitter": {},
    "RandomContrast": {"factor": 0.5},
    "RandomElasticTransform": {},
    "RandomErasing": {},
    "RandomFlip": {},
    "RandomGaussianBlur": {},
    "RandomGrayscale": {},
    "RandomHue": {"factor": 0.5},
    "RandomInvert": {},
    "RandomPerspective": {},
    "RandomPosterization": {"factor": 2},
    "RandomRotation": {"factor": 0.5},
    "RandomSaturation": {"factor": 0.5},
    "RandomSharpness": {"factor": 0.5},
    "RandomShear": {},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2},
    "RandomZoom": {"height_factor": 0.2, "width_factor": 0.2},
    "Solarization": {},
}
for name, options in AUGMENTATION.items():
    if name in vars(layers):
        add(name, of(name, **options), (3, 4, 3), dtype="float32", draws=1, tolerance=1e-6)
add("AutoContrast", of("AutoContrast"), (3, 4, 2), draws=200, tolerance=1e-7)
if "ContrastLimitedAdaptiveHistogramEqualization" in vars(layers):
    add(
        "ContrastLimitedAdaptiveHistogramEqualization",
        of("ContrastLimitedAdaptiveHistogramEqualization", tile_grid_size=(2, 2)),
        (4, 5, 1),
        draw=lambda rng, shape: rng.uniform(0, 255, shape),
        dtype="float32",
        tolerance=1e-6,
        status="bound",
    )
add("Rescaling", of("Rescaling", 2.0, 1.0), PLANE)
for padding, expand, mode in itertools.product(
    ("valid", "same"), (False, True), ("log", "stft", "real")
):
    options = {"padding": padding, "expand_dims": expand, "mode": mode}
    add(
        "STFTSpectrogram-" + "-".join(map(str, options.values())),
        of("STFTSpectrogram", frame_length=4, frame_step=3, fft_length=4, **options),
        (11, 2),
        dtype="float64",
        draw=normal,
    )
for window, length in [("hann", 4), ("hann", 5), ("hamming", 4), (None, 3), ("hann", 8)]:
    add(
        f"MelSpectrogram-{window}-{length}",
        of(
            "MelSpectrogram",
            fft_length=8,
            sequence_stride=3,
            sequence_length=length,
            window=window,
            num_mel_bins=1,
            min_freq=100.0,
            power_to_db=False,
        ),
        (13,),
        draw=normal,
        tolerance=1e-7,
    )
add(
    "MelSpectrogram-decibels",
    of(
        "MelSpectrogram",
        fft_length=8,
        sequence_stride=3,
        num_mel_bins=2,
        min_freq=100.0,
        top_db=1.0,
    ),
    (9,),
    draw=normal,
    draws=8,
    dtype="float32",
    tolerance=1e-6,
    alone=True,
)
WORDS = {"draw": indices(5), "draws": 60, "dtypes": "int64", "dtype": "float32"}
for name, make in {
    "CategoryEncoding-multi_hot": lambda: layers.CategoryEncoding(5),
    "CategoryEncoding-count": lambda: layers.CategoryEncoding(5, output_mode="count"),
    "CategoryEncoding-one_hot": lambda: layers.CategoryEncoding(5, output_mode="one_hot"),
    "Discretization": lambda: layers.Discretization(bin_boundaries=[1, 3]),
    "Discretization-one_hot": lambda: layers.Discretization(
        bin_boundaries=[1, 3], output_mode="one_hot"
    ),
    "Hashing": lambda: layers.Hashing(7),
    "IntegerLookup": lambda: layers.IntegerLookup(vocabulary=[1, 2, 3]),
    "IntegerLookup-multi_hot": lambda: layers.IntegerLookup(
        vocabulary=[1, 2, 3], output_mode="multi_hot"
    ),
}.items():
    add(name, lambda x, m=make: m()(x), (3,), **WORDS)
    # Where the axes differ Keras states a wrong shape.
    plane = (3, 3) if name.endswith(("count", "multi_hot")) else (2, 3)
    add(f"{name}-plane", lambda x, m=make: m()(x), plane, **WORDS)
add(
    "CategoryEncoding-one_hot-column",
    of("CategoryEncoding", 5, output_mode="one_hot"),
    (3, 1),
    **WORDS,
)
add("HashedCrossing", lambda x, y: layers.HashedCrossing(50)([x, y]), (1,), (1,), **WORDS)


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str) -> None:
    check_all(CHECKS, solve(CASES[name]))


# --- Every class ---------------------------------------------------------------------------------

# Refused: no shape of theirs can be asked for.
REFUSED = {"InputLayer", "Layer", "StringLookup", "TextVectorization", "Wrapper"}
# Keras 3.15 cannot put it into a functional model.
UNCALLABLE = {"Equalization"}


def layers_of_keras() -> set[type]:
    kinds = (kind for kind in vars(layers).values() if inspect.isclass(kind))
    return {kind for kind in kinds if issubclass(kind, layers.Layer)}


def test_every_layer_of_keras_has_an_entry() -> None:
    missing = sorted(kind.__name__ for kind in layers_of_keras() - set(RULES))
    assert not missing, "new layers of Keras: give each an entry in keras_erf/layers/"


def test_every_entry_with_a_field_has_a_case() -> None:
    cases = CASES.one_of_each() + network_cases.CASES.one_of_each()
    kinds = {node.kind for case in cases for node in build_graph(model_of(case)).nodes}
    named = {name: entry.dependence for entry in ENTRIES for name in entry.layers.split()}
    without = {name for name in named if vars(layers).get(name) not in kinds}
    unknown = {name for name, rule in named.items() if rule is measured}
    assert without - unknown <= REFUSED | UNCALLABLE | set(named) - set(vars(layers))


def test_layers_of_words_are_refused() -> None:
    x = keras.Input((), dtype="string")
    layer = layers.StringLookup(vocabulary=["a", "b"], name="odd")
    node = build_graph(keras.Model(x, layer(x))).nodes[0]
    with pytest.raises(UnsupportedLayerError, match=r"'odd'.*words.*Choose a layer before it"):
        views(ruling.call_of(build_graph(keras.Model(x, layer(x))), node), node.kind)


# --- What is refused -----------------------------------------------------------------------------

MIXING: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "LayerNormalization": (lambda x: layers.LayerNormalization(axis=0)(x), (4, 3)),
    "Softmax": (lambda x: layers.Softmax(axis=0)(x), (4, 3)),
    "Concatenate": (lambda x: layers.Concatenate(axis=0)([x, x]), (4, 3)),
    "EinsumDense": (lambda x: layers.EinsumDense("abc,cd->bad", (4, 3))(x), (4, 3)),
    "CategoryEncoding": (lambda x: layers.CategoryEncoding(5)(x), ()),
    "Resizing": (lambda x: layers.Resizing(2, 2)(x), (4, 3)),
}


@pytest.mark.parametrize("name", MIXING)
def test_a_layer_across_the_batch_is_refused(name: str) -> None:
    build, shape = MIXING[name]
    x = keras.Input(shape, batch_size=4)
    graph = build_graph(keras.Model(x, build(x)))
    with pytest.raises(UnsupportedLayerError, match=r"batch.*Choose a layer before it"):
        views(ruling.call_of(graph, graph.nodes[0]), graph.nodes[0].kind)


def test_a_crop_that_keras_does_not_make_is_refused() -> None:
    x = keras.Input((8, 6, 1))
    model = keras.Model(x, layers.RandomCrop(4, 4)(x))
    with pytest.raises(UnsupportedLayerError, match="uncropped"):
        receptive_field(model, model.output)


@pytest.mark.parametrize("tokens", [2, 5])
def test_scores_of_another_shape_than_keras_states_are_refused(tokens: int) -> None:
    x, y = keras.Input((3, 2)), keras.Input((tokens, 2))
    outputs = layers.MultiHeadAttention(4, 2)(x, y, return_attention_scores=True)
    model = keras.Model([x, y], outputs)
    # Keras takes it that there are as many values as queries.
    assert model.outputs[1].shape == (None, 4, 3, 3)
    made = model([np.ones((1, 3, 2)), np.ones((1, tokens, 2))])[1]
    assert made.shape == (1, 4, 3, tokens)
    with pytest.raises(UnsupportedLayerError, match="another shape for its scores"):
        receptive_field(model, model.outputs[0])


# --- What is measured ----------------------------------------------------------------------------


class Turned(layers.LSTM):
    """Overrides what its parent's `call` calls."""

    def inner_loop(self, sequences, initial_state, mask, training=False):
        return super().inner_loop(ops.flip(sequences, 1), initial_state, mask, training)


class Doubled(layers.Add):
    def _merge_function(self, inputs):
        return 2 * ops.roll(inputs[0], 1, axis=1) + inputs[1]


@keras.saving.register_keras_serializable("tests")
class Step(layers.SimpleRNNCell):
    def call(self, sequence, states, training=False):
        return super().call(sequence * 2, states)


def scaled(x: Any) -> Any:
    return x * 2


def gated(x: Any) -> Any:
    return x * ops.max(x, axis=-1, keepdims=True)


def centred(x: Any) -> Any:
    return x - ops.mean(x, axis=1, keepdims=True)


UNKNOWN: dict[str, Callable[..., Any]] = {
    "lambda": lambda x: layers.Lambda(scaled)(x),
    "inner loop": lambda x: Turned(2, return_sequences=True)(x),
    "merge": lambda x: Doubled()([x, layers.Identity()(x)]),
    "cell": lambda x: layers.RNN(Step(2), return_sequences=True)(x),
    "cell in both directions": lambda x: layers.Bidirectional(
        layers.RNN(Step(2), return_sequences=True)
    )(x),
    "activation": lambda x: layers.Conv1D(2, 3, activation=centred)(x),
    "gated activation": lambda x: layers.Activation("glu")(x),
    "inner layer": lambda x: layers.TimeDistributed(layers.Lambda(scaled))(x),
    "inner activation": lambda x: layers.TimeDistributed(layers.Dense(2, activation=gated))(x),
    "inner model": lambda x: layers.TimeDistributed(
        keras.Sequential([keras.Input((2,)), layers.Dense(2)])
    )(x),
    "normalised": lambda x: layers.SpectralNormalization(Known(2, 3))(x),
    "mask": lambda x: layers.LSTM(2)(x, mask=ops.any(x > 0, axis=-1)),
}


class Known(layers.Conv1D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(ops.flip(inputs, axis=1), kernel)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_nobody_knows_is_measured(name: str) -> None:
    x = keras.Input((6, 2))
    model = keras.Model(x, UNKNOWN[name](x))
    node = build_graph(model).nodes[-1]
    found = views(ruling.call_of(build_graph(model), node), node.kind)
    assert found
    assert all(view.status in ("measured", "bound") for view in found)


def test_a_subclass_that_only_builds_otherwise_keeps_the_rule() -> None:
    class Built(layers.LSTM):
        def __init__(self, **options):
            super().__init__(2, **options)

        def build(self, *shapes):
            super().build(*shapes)

        def get_config(self):
            return {}

        def helper(self):
            return None

    assert find_rule(Built) is RULES[layers.LSTM]
    assert find_rule(Turned) is None
    assert find_rule(Doubled) is None


def test_a_rule_of_ones_own_counts_inside_other_layers() -> None:
    def rule(call: Call) -> tuple[View, ...]:
        return (View((Link(0, Window(3, padding=1)), Link(None))),)

    x = keras.Input((2, 7, 2))
    model = keras.Model(x, layers.TimeDistributed(Known(2, 3, padding="same"))(x))
    field = receptive_field(model, model.output, rules={Known: rule})
    assert field.size == (1, 3)
    assert field.status == "exact"


# --- Local paths and figures ---------------------------------------------------------------------

SAME = {"padding": "same", "return_sequences": True}
# Box of a unit with all paths, and with the local ones.
PATHS: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...], Any, Any]] = {
    "LSTM": (
        lambda x: layers.LSTM(2, return_sequences=True)(x),
        (9, 2),
        (4,),
        ((0, 5),),
        ((4, 5),),
    ),
    "LSTM-backwards": (
        lambda x: layers.LSTM(2, return_sequences=True, go_backwards=True)(x),
        (9, 2),
        (2,),
        ((6, 9),),
        ((6, 7),),
    ),
    "Bidirectional": (
        lambda x: layers.Bidirectional(layers.GRU(2, return_sequences=True))(x),
        (9, 2),
        (4,),
        ((0, 9),),
        ((4, 5),),
    ),
    "attention": (
        lambda x: layers.MultiHeadAttention(2, 2)(x, x),
        (9, 2),
        (4,),
        ((0, 9),),
        ((4, 5),),
    ),
    "attention-causal": (
        lambda x: layers.MultiHeadAttention(2, 2)(x, x, use_causal_mask=True),
        (9, 2),
        (4,),
        ((0, 5),),
        ((4, 5),),
    ),
    # Five taps of the step itself; four more, to the left and the right, for each step before.
    "ConvLSTM2D": (
        lambda x: layers.ConvLSTM2D(2, (5, 3), **SAME)(x),
        (4, 20, 20, 1),
        (2, 10, 10),
        ((0, 3), (4, 17), (7, 14)),
        ((2, 3), (8, 13), (9, 12)),
    ),
    "ConvLSTM2D-last": (
        lambda x: layers.ConvLSTM2D(2, (5, 3), padding="same")(x),
        (4, 20, 20, 1),
        (10, 10),
        ((0, 4), (2, 19), (6, 15)),
        ((3, 4), (8, 13), (9, 12)),
    ),
}


@pytest.mark.parametrize("name", PATHS)
def test_local_paths_leave_states_and_attention_out(name: str) -> None:
    build, shape, unit, entire, local = PATHS[name]
    x = keras.Input(shape)
    model = keras.Model(x, build(x))
    assert receptive_field(model, model.output, unit=unit).box() == entire
    field = receptive_field(model, model.output, unit=unit, through_global=False)
    assert field.box() == local
    assert field.status == "exact"


def test_a_convolutional_lstm_grows_by_its_kernel_with_each_step() -> None:
    x = keras.Input((7, 64, 1))
    model = keras.Model(x, layers.ConvLSTM1D(1, 4, **SAME)(x))
    for step in range(7):
        field = receptive_field(model, model.output, unit=(step, 32))
        assert field.size == (step + 1, 4 + step * 3)


@pytest.mark.parametrize("sequences", [True, False])
def test_a_convolutional_lstm_with_channels_first_is_the_mirror(sequences: bool) -> None:
    # TensorFlow does not run it on a CPU.
    last, first = keras.Input((3, 7, 6, 2)), keras.Input((3, 2, 7, 6))
    options = {"return_sequences": sequences, "padding": "same"}
    expected, found = (
        keras.Model(x, layers.ConvLSTM2D(4, (3, 2), data_format=order, **options)(x))
        for x, order in ((last, "channels_last"), (first, "channels_first"))
    )
    fields = [receptive_field(model, model.output) for model in (expected, found)]
    assert fields[0].input_size == fields[1].input_size == (3, 7, 6)
    assert fields[0].output_size == fields[1].output_size == ((3, 7, 6) if sequences else (7, 6))
    for unit in np.ndindex(*fields[0].output_size):
        assert fields[0].box(unit) == fields[1].box(unit)
        np.testing.assert_array_equal(fields[0].support(unit), fields[1].support(unit))


def test_figures_of_smooth_up_sampling() -> None:
    x = keras.Input((16, 1, 1))
    model = keras.Model(x, layers.UpSampling2D((2, 1), interpolation="bicubic")(x))
    field = receptive_field(model, model.output)
    # Four taps; half a pixel per unit.
    assert field.size == (4, 1)
    assert field.stride == (Fraction(1, 2), 1)
    assert field.status == "exact"

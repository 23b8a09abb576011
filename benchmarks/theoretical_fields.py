"""How long the theoretical fields of all layers take, against building the model.

    python benchmarks/theoretical_fields.py [--only NAME ...] [--backbones]
    python benchmarks/theoretical_fields.py --support

Weights are random, everything runs in one process, and imports are paid for by a small model
built first. A ratio above the limit, or a layer that was skipped, makes the exit status 1.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from recording import parse, record

import keras_erf

# Seconds for the fields per second for building the model.
LIMIT = 0.1
# Sizes of the images between which the cost of `visible` is compared, and how often it is taken.
SMALL, LARGE, REPEATS = 256, 8000, 20
# Times that the large image may cost as much as the small one.
SUPPORT_LIMIT = 2.0


@dataclass(frozen=True)
class Row:
    """One model's figures; times in seconds."""

    name: str
    layers: int
    build: float
    fields: float
    statuses: Counter[str]
    skipped: tuple[tuple[str, str], ...]

    @property
    def ratio(self) -> float:
        """Time for the fields, as a share of building."""
        return self.fields / self.build


def applications() -> dict[str, Callable[[], Any]]:
    """The networks of `keras.applications`, at their own sizes."""
    functions = inspect.getmembers(keras.applications, inspect.isfunction)
    return {name: lambda make=make: make(weights=None) for name, make in functions}


def backbones() -> dict[str, Callable[[], Any]]:
    """Backbones of keras-hub, small ones of each kind."""
    from keras_hub import models

    image = {"image_shape": (128, 128, 3)}

    def resnet(block: str = "basic_block") -> Any:
        return models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 128, 256, 512],
            stackwise_num_blocks=[2, 2, 2, 2],
            stackwise_num_strides=[1, 2, 2, 2],
            block_type=block,
            **image,
        )

    def vit_encoder() -> Any:
        return models.ViTDetBackbone(
            hidden_size=16,
            num_layers=4,
            intermediate_dim=32,
            num_heads=2,
            global_attention_layer_indices=[1, 3],
            patch_size=16,
            num_output_channels=8,
            window_size=2,
            **image,
        )

    def mit() -> Any:
        return models.MiTBackbone(
            layerwise_depths=[2, 2, 2, 2],
            num_layers=4,
            layerwise_num_heads=[1, 1, 2, 2],
            layerwise_sr_ratios=[8, 4, 2, 1],
            max_drop_path_rate=0.1,
            layerwise_patch_sizes=[7, 3, 3, 3],
            layerwise_strides=[4, 2, 2, 2],
            # Of different sizes: SegFormer's head names its layers by them.
            hidden_dims=[8, 16, 24, 32],
            **image,
        )

    return {
        "ResNet (basic)": resnet,
        "ResNet (bottleneck)": lambda: resnet("bottleneck_block"),
        "MobileNet": lambda: models.MobileNetBackbone(
            stackwise_expansion=[[40, 56], [64, 144, 144]],
            stackwise_num_blocks=[2, 3],
            stackwise_num_filters=[[16, 16], [24, 24, 24]],
            stackwise_kernel_size=[[3, 3], [5, 5, 5]],
            stackwise_num_strides=[[2, 1], [2, 1, 1]],
            stackwise_se_ratio=[[None, None], [0.25, 0.25, 0.25]],
            stackwise_activation=[["relu", "relu"], ["hard_swish"] * 3],
            stackwise_padding=[[1, 1], [2, 2, 2]],
            output_num_filters=64,
            depthwise_filters=8,
            input_num_filters=16,
            input_activation="hard_swish",
            output_activation="hard_swish",
            depthwise_stride=2,
            depthwise_residual=False,
            squeeze_and_excite=0.5,
            last_layer_filter=64,
            **image,
        ),
        "EfficientNet": lambda: models.EfficientNetBackbone(
            stackwise_width_coefficients=[0.25] * 7,
            stackwise_depth_coefficients=[0.5] * 7,
            stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
            stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
            stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
            stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
            stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
            stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
            stackwise_squeeze_and_excite_ratios=[0.25] * 7,
            stackwise_block_types=["v1"] * 7,
            **image,
        ),
        "DenseNet": lambda: models.DenseNetBackbone(
            stackwise_num_repeats=[3, 6, 6, 3], growth_rate=8, **image
        ),
        "CSPDarkNet": lambda: models.CSPNetBackbone(
            stem_filters=8,
            stem_kernel_size=3,
            stem_strides=1,
            stackwise_depth=[1, 2, 4],
            stackwise_strides=[2, 2, 2],
            stackwise_num_filters=[16, 32, 32],
            block_type="dark_block",
            stage_type="dark",
            **image,
        ),
        "ViT": lambda: models.ViTBackbone(
            image_shape=(64, 64, 3),
            patch_size=16,
            num_layers=3,
            num_heads=2,
            hidden_dim=16,
            mlp_dim=32,
        ),
        "MiT": mit,
        "SegFormer": lambda: models.SegFormerBackbone(
            image_encoder=mit(), projection_filters=16, **image
        ),
        "DeepLabV3+": lambda: models.DeepLabV3Backbone(
            image_encoder=resnet(),
            spatial_pyramid_pooling_key="P4",
            low_level_feature_key="P2",
            dilation_rates=[2, 4],
            upsampling_size=4,
            image_shape=(128, 128, 3),
        ),
        "SAM image encoder": vit_encoder,
    }


def measure(name: str, make: Callable[[], Any]) -> Row:
    """Builds a model and all its fields, by the clock."""
    keras.utils.clear_session()
    gc.collect()
    begin = time.perf_counter()
    model = make()
    built = time.perf_counter()
    table = keras_erf.receptive_fields(model)
    end = time.perf_counter()
    return Row(
        name,
        len(model.layers),
        built - begin,
        end - built,
        Counter(field.status for field in table.fields),
        table.skipped,
    )


def measure_support() -> float:
    """Prints how long `visible` and `support` of a field of 5 px take; returns the ratio."""
    times = {}
    for size in (SMALL, LARGE):
        x = keras.Input((size, size, 1))
        y = keras.layers.Conv2D(1, 3, padding="same")(x)
        field = keras_erf.receptive_field(
            keras.Model(x, keras.layers.Conv2D(1, 3, padding="same")(y))
        )
        for name in ("visible", "support"):
            taken = []
            for _ in range(REPEATS):
                begin = time.perf_counter()
                getattr(field, name)()
                taken.append(time.perf_counter() - begin)
            times[size, name] = min(taken)
    for name in ("visible", "support"):
        small, large = times[SMALL, name], times[LARGE, name]
        print(f"{name}: {1e3 * small:.2f} ms of {SMALL} px, {1e3 * large:.2f} ms of {LARGE} px")
    return times[LARGE, "visible"] / times[SMALL, "visible"]


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="names to measure")
    parser.add_argument("--backbones", action="store_true", help="those of keras-hub instead")
    parser.add_argument("--support", action="store_true", help="what masks of large images cost")
    options = parse(parser, arguments)
    if options.support:
        ratio = measure_support()
        print(f"ratio {ratio:.2f}, limit {SUPPORT_LIMIT}")
        return record(options, ratio <= SUPPORT_LIMIT, ratio=ratio)
    models = backbones() if options.backbones else applications()
    unknown = set(options.only) - set(models)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(models)}")

    x = keras.Input((32, 32, 3))
    small = keras.Sequential([x, keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()])
    keras_erf.receptive_fields(small)

    print(f"{'network':<22}{'layers':>7}{'build s':>9}{'fields s':>10}{'ratio':>8}  statuses")
    rows = []
    for name in options.only or models:
        row = measure(name, models[name])
        rows.append(row)
        statuses = ", ".join(f"{n} {status}" for status, n in row.statuses.items())
        skipped = f"; SKIPPED {len(row.skipped)}" if row.skipped else ""
        print(
            f"{row.name:<22}{row.layers:>7}{row.build:>9.2f}{row.fields:>10.3f}{row.ratio:>8.1%}"
            f"  {statuses}{skipped}",
            flush=True,
        )
        if row.skipped:
            layer, reason = row.skipped[0]
            print(f"    first skipped: {layer}: {reason}", flush=True)
    worst = max(rows, key=lambda row: row.ratio)
    skipped_layers = sum(len(row.skipped) for row in rows)
    build, fields = sum(row.build for row in rows), sum(row.fields for row in rows)
    print(
        f"{len(rows)} networks: {build:.1f} s to build, {fields:.1f} s for the fields; "
        f"worst ratio {worst.ratio:.1%} ({worst.name}); {skipped_layers} layers skipped"
    )
    return record(
        options,
        worst.ratio <= LIMIT and skipped_layers == 0,
        networks=len(rows),
        build_seconds=build,
        fields_seconds=fields,
        worst_ratio=worst.ratio,
        worst_network=worst.name,
        skipped_layers=skipped_layers,
    )


if __name__ == "__main__":
    sys.exit(main())

"""What older supported releases of Keras and TensorFlow lack, or cannot run themselves."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import version
from types import ModuleType
from typing import Any

import pytest

__all__ = ["ops", "reason_to_skip"]

# Parts of tests' names, by the release from which a package can run what they need.
SINCE = {
    ("tensorflow", (2, 20)): (
        # Depthwise convolutions with channels first, on a CPU.
        "test_rule_with_channels_first[depthwise",
        "test_rule_with_channels_first[separable",
    ),
    ("keras", (3, 13)): (
        # Layers that came with it.
        "test_rule[Adaptive",
        "test_affine[",
        "test_every_entry_is_seen_to_be_affine",
        "test_every_entry_with_a_field_has_a_case",
        "test_every_operation_has_an_entry",
        "test_renormalisation_gets_the_statistics_of_the_batches",
        # Files that newer releases saved.
        "test_a_real_network_passes",
        "test_analyze_works_on_real_models_and_images[resnet20",
        "test_analyze_works_on_real_models_and_images[espnet",
        "test_analyze_works_on_real_models_and_images[efficientnet",
        "test_real_models_open[resnet20",
        "test_real_models_open[espnet",
        "test_real_models_open[efficientnet",
        # Other weights of one seed; and each initialiser draws a seed when it is made.
        "docs/how-to/tokens.md",
        "test_nothing_is_drawn_from_the_global_seeds",
        # Graphs are drawn from what the newest release can run.
        "test_random_graphs",
        # Errors of Keras: it fails, or states another shape than it returns.
        "test_rule[Attention-rank-4",
        "test_rule[Discretization-one_hot",
        "test_rule[GroupQueryAttention-scores",
        "test_rule[GroupQueryAttention-cross-scores",
        "test_rule[IntegerLookup-multi_hot-plane",
        "-Normalization-rows]",
        "-RMSNormalization-space]",
        "test_network[patches with a border",
        "test_operation[attention-groups",
        "test_operation[cross",
        "test_operation[extract_patches-",
        "test_operation[flip]",
        "test_operation[inner-",
        "test_operation[matmul-vector]",
        "test_operation[rearrange]",
        "test_what_acts_across_the_batch_is_refused[inner of two tensors",
        "test_what_acts_across_the_batch_is_refused[several quantiles",
    ),
}


@cache
def _lacking() -> dict[str, str]:
    """Parts of names that the installed releases cannot run, and why; read once for all tests."""
    found = {}
    for (package, since), parts in SINCE.items():
        installed = version(package)
        if tuple(int(part) for part in installed.split(".")[:2]) < since:
            reason = f"needs {package} {'.'.join(map(str, since))}; this is {installed}"
            found.update(dict.fromkeys(parts, reason))
    return found


def reason_to_skip(name: str) -> str | None:
    """Why a test cannot be run with the installed release; `None` if it can."""
    return next((reason for part, reason in _lacking().items() if part in name), None)


class _Known:
    """`keras.ops`, or a module of it; what is not there yet skips the test that calls it."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        # Not before it is needed: tests are sorted without Keras.
        found = getattr(importlib.import_module(self._module), name, None)
        if isinstance(found, ModuleType):
            return _Known(f"{self._module}.{name}")

        def absent(*_: Any, **__: Any) -> Any:
            pytest.skip(f"Keras {version('keras')} has no {self._module}.{name}")

        return absent if found is None else found


ops: Any = _Known("keras.ops")

"""Models of Keras 1 and 2, translated."""

from __future__ import annotations

from typing import Any

from keras_erf.files.vetting import check_config
from keras_erf.graph import count_made
from keras_erf.legacy.architecture import Architecture, Built
from keras_erf.legacy.building import build
from keras_erf.legacy.input_search import with_input
from keras_erf.legacy.weights.stored import StoredTree
from keras_erf.legacy.weights.targets import targets_of_order
from keras_erf.loading.opened import Opened, check_count

__all__ = ["old_model"]


def old_model(opened: Opened) -> Any:
    """Builds the model of a file of Keras 1 or 2, with its weights.

    Raises:
        CarriesCodeError: It would run code or read files.
        ModelLoadError: A layer has no counterpart, or needs code of the user's.
        ValueError: Its weights are not those of its layers.
    """
    source = opened.source
    if not opened.unsafe:
        check_config(opened.config, old=True)
    architecture = Architecture(opened.config, source.version, source.backend)

    def translated(architecture: Architecture) -> Built:
        return build(
            architecture,
            custom_objects=opened.custom,
            stand_ins=opened.stand_ins,
            unsafe=opened.unsafe,
        )

    with opened.pointwise_errors():
        if not opened.untrained:
            weights = opened.stored_weights().weights
            if not isinstance(weights, StoredTree):
                architecture = with_input(architecture, weights, translated)
        if source.stored is not None and not opened.unsafe and opened.weights is None:
            check_count(count_made(lambda: translated(architecture).model), source.stored)
        built = translated(architecture)
        if not opened.untrained:
            opened.assign(targets_of_order(built.order))
    return built.model

"""Models of Keras 3, which Keras reads itself where nothing stands in for a part of them."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from keras_erf.files.kinds import Kind
from keras_erf.files.vetting import check_config
from keras_erf.graph import built_from, count_made
from keras_erf.legacy.keras3_classes import unknown_of
from keras_erf.legacy.keras3_lambdas import lambda_inputs, with_stand_ins, without_lambdas
from keras_erf.legacy.keras3_repairs import repaired
from keras_erf.legacy.missing_code import lambdas_without_function, unknown_layers
from keras_erf.legacy.weights.targets import targets_of_model
from keras_erf.loading.opened import Opened, check_count

__all__ = ["keras3_model"]


def keras3_model(opened: Opened, file: Path) -> Any:
    """Builds the model of a file of Keras 3, with its weights.

    Raises:
        CarriesCodeError: It would run code or read files.
        ModelLoadError: It needs code of the user's.
        ValueError: It claims more than it holds, or its weights are not those of its layers.
    """
    hdf5 = opened.source.kind is Kind.HDF5
    config = repaired(opened.config) if hdf5 else opened.config
    custom, stand_ins = dict(opened.custom), dict(opened.stand_ins)
    stand_ins |= {name: custom[name] for name in lambda_inputs(config) if name in custom}
    if stand_ins:
        config, functions = with_stand_ins(config, stand_ins)
        custom |= functions

    def built(unsafe: bool = False) -> Any:
        own = copy.deepcopy(config)
        return built_from(own, legacy=hdf5, custom_objects=custom, unsafe=unsafe)

    if not opened.unsafe:
        several = lambda_inputs(config)
        waiting = {name: several[name] for name in several if name not in stand_ins}
        if waiting:
            raise lambdas_without_function(waiting)
        check_config(without_lambdas(config), old=False)
        unknown = unknown_of(config, custom)
        if unknown:
            raise unknown_layers(unknown)
        if opened.source.stored is not None:
            check_count(count_made(built), opened.source.stored)
    whole = opened.source.kind is not Kind.JSON and opened.weights is None
    if whole and not opened.untrained and config is opened.config:
        how = {"custom_objects": custom} if custom else {}
        with _with_suffix(file, ".h5" if hdf5 else ".keras") as named:
            return keras.models.load_model(named, compile=False, safe_mode=not opened.unsafe, **how)
    with opened.pointwise_errors():
        model = built(opened.unsafe)
        if not opened.untrained:
            opened.assign(targets_of_model(model))
    return model


@contextmanager
def _with_suffix(file: Path, suffix: str) -> Iterator[Path]:
    """The file under a name that Keras recognises."""
    if file.suffix == suffix:
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"model{suffix}"
        try:
            link.symlink_to(file.resolve())
        except OSError:  # Windows lets few users make links.
            shutil.copyfile(file, link)
        yield link

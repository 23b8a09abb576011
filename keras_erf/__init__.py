"""What a Keras network really looks at: theoretical and effective receptive fields.

Names are loaded when first used, so that importing this package loads neither
Keras, TensorFlow nor a plotting library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from keras_erf._version import __version__

if TYPE_CHECKING:
    from keras_erf import (
        analysis,
        errors,
        experiments,
        plotting,
        rules,
        studies,
        theory,
        training,
        zoo,
    )
    from keras_erf.algebra.geometry import ReceptiveField
    from keras_erf.definitions import DEFINITIONS, Definition
    from keras_erf.fields.checking import Check, check
    from keras_erf.fields.path_sizes import PathSizes, path_sizes, unproductive_layers
    from keras_erf.fields.projective import ProjectiveField, projective_field
    from keras_erf.fields.theoretical import FieldTable, receptive_field, receptive_fields
    from keras_erf.fields.tiling import TileOverlap, tile_overlap
    from keras_erf.inputs.images import ImageFolder
    from keras_erf.loading import load_model
    from keras_erf.measuring.calibrating import calibrate_batch_norm
    from keras_erf.measuring.ensembles import ensemble
    from keras_erf.measuring.probing import probe
    from keras_erf.measuring.profiling import Profile, profile
    from keras_erf.predicting import expected, growth
    from keras_erf.reporting import report
    from keras_erf.results.effective import EffectiveReceptiveField, load
    from keras_erf.training.callbacks import ERFLogger

__all__ = [
    "DEFINITIONS",
    "Check",
    "Definition",
    "ERFLogger",
    "EffectiveReceptiveField",
    "FieldTable",
    "ImageFolder",
    "PathSizes",
    "Profile",
    "ProjectiveField",
    "ReceptiveField",
    "TileOverlap",
    "__version__",
    "analysis",
    "calibrate_batch_norm",
    "check",
    "ensemble",
    "errors",
    "expected",
    "experiments",
    "growth",
    "load",
    "load_model",
    "path_sizes",
    "plotting",
    "probe",
    "profile",
    "projective_field",
    "receptive_field",
    "receptive_fields",
    "report",
    "rules",
    "studies",
    "theory",
    "tile_overlap",
    "training",
    "unproductive_layers",
    "zoo",
]

_HOMES = {
    "Check": "fields.checking",
    "DEFINITIONS": "definitions",
    "Definition": "definitions",
    "ERFLogger": "training.callbacks",
    "EffectiveReceptiveField": "results.effective",
    "FieldTable": "fields.theoretical",
    "ImageFolder": "inputs.images",
    "Profile": "measuring.profiling",
    "PathSizes": "fields.path_sizes",
    "ProjectiveField": "fields.projective",
    "ReceptiveField": "algebra.geometry",
    "TileOverlap": "fields.tiling",
    "calibrate_batch_norm": "measuring.calibrating",
    "check": "fields.checking",
    "ensemble": "measuring.ensembles",
    "expected": "predicting",
    "growth": "predicting",
    "load": "results.effective",
    "load_model": "loading",
    "path_sizes": "fields.path_sizes",
    "probe": "measuring.probing",
    "profile": "measuring.profiling",
    "projective_field": "fields.projective",
    "receptive_field": "fields.theoretical",
    "receptive_fields": "fields.theoretical",
    "report": "reporting",
    "tile_overlap": "fields.tiling",
    "unproductive_layers": "fields.path_sizes",
}
# Functions of a model, which its file or name may stand for; and whether its weights matter.
_OF_A_MODEL = {
    "calibrate_batch_norm": True,
    "check": True,
    "expected": True,
    "growth": True,
    "path_sizes": False,
    "probe": True,
    "profile": True,
    "projective_field": False,
    "receptive_field": False,
    "receptive_fields": False,
    "tile_overlap": False,
    "unproductive_layers": False,
}
_MODULES = (
    "analysis",
    "errors",
    "experiments",
    "plotting",
    "rules",
    "studies",
    "theory",
    "training",
    "zoo",
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _OF_A_MODEL:
        takes_names = import_module(f"{__name__}.by_name").takes_names
        value = takes_names(value, need_weights=_OF_A_MODEL[name])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

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
    from keras_erf.calibrating import calibrate_batch_norm
    from keras_erf.callbacks import ERFLogger
    from keras_erf.checking import Check, check
    from keras_erf.definitions import DEFINITIONS, Definition
    from keras_erf.effective import EffectiveReceptiveField, load
    from keras_erf.ensembles import ensemble
    from keras_erf.geometry import ReceptiveField
    from keras_erf.paths import PathSizes, path_sizes, unproductive_layers
    from keras_erf.predicting import expected, growth
    from keras_erf.probing import probe
    from keras_erf.profiling import Profile, profile
    from keras_erf.projecting import ProjectiveField, projective_field
    from keras_erf.reporting import report
    from keras_erf.sampling import ImageFolder
    from keras_erf.theoretical import FieldTable, receptive_field, receptive_fields
    from keras_erf.tiling import TileOverlap, tile_overlap

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
    "Check": "checking",
    "DEFINITIONS": "definitions",
    "Definition": "definitions",
    "ERFLogger": "callbacks",
    "EffectiveReceptiveField": "effective",
    "FieldTable": "theoretical",
    "ImageFolder": "sampling",
    "Profile": "profiling",
    "PathSizes": "paths",
    "ProjectiveField": "projecting",
    "ReceptiveField": "geometry",
    "TileOverlap": "tiling",
    "calibrate_batch_norm": "calibrating",
    "check": "checking",
    "ensemble": "ensembles",
    "expected": "predicting",
    "growth": "predicting",
    "load": "effective",
    "path_sizes": "paths",
    "probe": "probing",
    "profile": "profiling",
    "projective_field": "projecting",
    "receptive_field": "theoretical",
    "receptive_fields": "theoretical",
    "report": "reporting",
    "tile_overlap": "tiling",
    "unproductive_layers": "paths",
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
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

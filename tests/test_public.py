"""What users type, frozen: a change here is a change of the public interface.

It needs a line in the changelog, and the old spelling kept alive for a release.
"""

from __future__ import annotations

import dataclasses
import inspect

import pytest

import keras_erf
from keras_erf import zoo

NAMES = [
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

SIGNATURES = {
    "receptive_field": (
        "(model, layer=None, *, unit='center', input=None, input_shape=None, through_global=True, "
        "grid=None, rules=None)"
    ),
    "receptive_fields": (
        "(model, *, input=None, input_shape=None, through_global=True, inside=False, rules=None)"
    ),
    "check": (
        "(model, layer=None, *, unit='center', input=None, input_shape=None, grid=None, rules=None)"
    ),
    "path_sizes": "(model, layer=None, *, input=None, input_shape=None, rules=None)",
    "projective_field": (
        "(model, layer=None, *, pixel, input=None, input_shape=None, through_global=True, "
        "grid=None, rules=None)"
    ),
    "tile_overlap": (
        "(model, layer=None, *, erf=None, mass=0.99, input=None, input_shape=None, "
        "through_global=True, rules=None)"
    ),
    "unproductive_layers": "(model, *, input=None, input_shape=None, rules=None)",
    "rules.measured": "(call)",
    "rules.views": "(call, kind, own=None)",
    "rules.whole": "(call)",
    "probe": (
        "(model, layer=None, *, unit='center', inputs='normal', samples=None, tolerance=None, "
        "definition='luo2016', batch_size=None, seed=0, input=None, input_shape=None, "
        "cone=True, training=False, calibrate=False, grid=None, rules=None, progress=None)"
    ),
    "profile": (
        "(model, layers=None, *, path=None, unit='center', inputs='normal', samples=None, "
        "tolerance=None, definition='luo2016', batch_size=None, seed=0, input=None, "
        "input_shape=None, cone=True, training=False, calibrate=False, grid=None, "
        "inside=False, rules=None, progress=None)"
    ),
    "ensemble": (
        "(build, layer=None, *, runs=20, samples=1, unit='center', inputs='normal', "
        "definition='luo2016', batch_size=None, seed=0, input=None, input_shape=None, "
        "cone=True, training=False, calibrate=False, grid=None, rules=None, progress=None)"
    ),
    "expected": (
        "(model, layer=None, *, weights='random', unit='center', input=None, input_shape=None, "
        "training=False, grid=None, rules=None)"
    ),
    "growth": (
        "(model, layers=None, *, weights='random', unit='center', input=None, input_shape=None, "
        "training=False, grid=None, rules=None)"
    ),
    "report": "(profile, path, *, compare=None, title=None)",
    "ERFLogger": (
        "(layers=None, *, inputs='normal', samples=None, tolerance=None, every=1, per='epoch', "
        "unit='center', definition='luo2016', batch_size=None, seed=0, input=None, "
        "input_shape=None, grid=None, rules=None, path=None, tensorboard=None, verbose=False)"
    ),
    "Profile.plot": "(self, ax=None, **options)",
    "calibrate_batch_norm": (
        "(model, inputs='normal', *, samples=None, batch_size=None, seed=0, input_shape=None)"
    ),
    "load": "(path)",
    "load_model": ("(path, *, weights=None, custom_objects=None, stand_ins=None, unsafe=False)"),
    "ImageFolder": "(path, preprocess=None)",
    "Definition": (
        "(name, seed='sum', measure='abs', channels='mean', after='none', normalized=False, "
        "display='linear', source='')"
    ),
    "experiments.run": "(panel, *, runs=20, seed=0, progress=None, **options)",
    "zoo.available": "()",
    "zoo.build": "(name, **options)",
    "zoo.describe": "(name)",
    "zoo.facts": "(name)",
    "zoo.load": "(name, weights='trained', **options)",
    "zoo.preprocess_input": "(name)",
    "zoo.weights": "(name)",
    "FieldTable.to_frame": "(self)",
    "ReceptiveField.box": "(self, unit=None)",
    "ReceptiveField.center": "(self, unit=None)",
    "ReceptiveField.support": "(self, unit=None)",
    "ReceptiveField.visible": "(self, unit=None)",
    "EffectiveReceptiveField.area_ratio": "(self, share, *, scale_free=True)",
    "EffectiveReceptiveField.compare": "(self)",
    "EffectiveReceptiveField.estimate": "(self, figure, *, level=0.95)",
    "EffectiveReceptiveField.gaussian": "(self)",
    "EffectiveReceptiveField.mass_radius": "(self, share=0.5)",
    "EffectiveReceptiveField.mass_within": "(self, radius)",
    "EffectiveReceptiveField.merge": "(self, other)",
    "EffectiveReceptiveField.moments": "(self)",
    "EffectiveReceptiveField.plot": "(self, ax=None, **options)",
    "EffectiveReceptiveField.region": "(self, rule='threshold', **options)",
    "EffectiveReceptiveField.save": "(self, path)",
    "EffectiveReceptiveField.summary": "(self)",
    "EffectiveReceptiveField.to_frame": "(self)",
}

# Fields of a dataclass in order, and what else can be read off it without a call.
ATTRIBUTES = {
    "Check": ("verdict receptive_field checked differences unmeasured", ""),
    "PathSizes": ("layer smallest largest", ""),
    "Profile": ("results depths skipped edges", "frame"),
    "ProjectiveField": ("layer input pixel mask status", "box"),
    "TileOverlap": ("layer before after step input_size mass status", ""),
    "Definition": (
        "name seed measure channels after normalized display source",
        "",
    ),
    "FieldTable": ("fields skipped", ""),
    "ImageFolder": ("path preprocess", ""),
    "ReceptiveField": (
        "layer input unit input_size output_size size stride padding status tracer size_range "
        "size_median",
        "",
    ),
    "EffectiveReceptiveField": (
        "block_sums block_counts dead_count receptive_field definition provenance part linear",
        "constant count dead expected layer map notes ratio ratio_error sigma sigma_error size "
        "size_error standard_error stopped_by trf_size unit unseen",
    ),
}

SUMMARY = (
    "layer unit status trf_size trf_size_range trf_stride trf_center erf_size erf_size_error ratio "
    "ratio_error mass_size mass_size_error sigma sigma_error r_squared r_squared_error centroid "
    "centroid_error offset offset_error half_mass_radius half_mass_radius_error mass_radii "
    "mass_radii_error fwhm fwhm_error entropy entropy_error effective_pixels "
    "effective_pixels_error gini gini_error samples dead definition notes"
)


def resolve(name: str):
    found = keras_erf
    for part in name.split("."):
        found = getattr(found, part)
    return found


def signature(function) -> str:
    """Names, kinds and defaults of the parameters; types may become more exact."""
    found = inspect.signature(function)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in found.parameters.values()]
    return str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def public(names) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def test_the_names():
    assert sorted(keras_erf.__all__) == sorted(NAMES)
    assert dir(keras_erf) == sorted(NAMES)
    for name in set(NAMES) - {"plotting"}:
        assert getattr(keras_erf, name) is not None
    assert zoo.__all__ == [
        "Facts", "available", "build", "describe", "facts", "load", "preprocess_input", "weights",
    ]  # fmt: skip
    # None may vanish; a new one needs no line here.
    assert {
        "luo2016", "luo2016-squared", "luo2016-signed", "replknet", "openerf", "raghu2021",
    } <= set(keras_erf.DEFINITIONS)  # fmt: skip


def test_star_import_gives_the_names():
    space: dict = {}
    exec("from keras_erf import *", space)
    assert set(space) - {"__builtins__"} == set(NAMES)


@pytest.mark.parametrize("name", ["nothing", "Probe", "erf_size", "__wrapped__"])
def test_an_unknown_name_is_no_attribute(name):
    with pytest.raises(AttributeError, match=f"'keras_erf' has no attribute '{name}'"):
        getattr(keras_erf, name)
    assert not hasattr(keras_erf, name)


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_signatures(name):
    assert signature(resolve(name)) == SIGNATURES[name]


def test_a_signature_shows_names_kinds_and_defaults():
    def one(a: int, b: str = "x", *, c: float | None = None) -> int:
        return a

    assert signature(one) == "(a, b='x', *, c=None)"


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_the_attributes(name):
    fields, others = (text.split() for text in ATTRIBUTES[name])
    kind = getattr(keras_erf, name)
    assert [one.name for one in dataclasses.fields(kind)] == fields
    assert kind.__dataclass_params__.frozen
    methods = {one.split(".")[1] for one in SIGNATURES if one.startswith(f"{name}.")}
    assert public(dir(kind)) - set(fields) == {*others, *methods}


def test_every_public_thing_is_documented():
    for name in [*SIGNATURES, *ATTRIBUTES]:
        assert (inspect.getdoc(resolve(name)) or "").strip(), name
    for name in ATTRIBUTES["EffectiveReceptiveField"][1].split():
        assert inspect.getdoc(getattr(keras_erf.EffectiveReceptiveField, name)), name


def test_the_summary():
    model = zoo.build("plain", depth=2, weights="uniform", input_shape=(9, 9))
    assert list(keras_erf.probe(model, samples=1).summary()) == SUMMARY.split()

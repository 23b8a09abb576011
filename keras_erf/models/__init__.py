"""Bridge for a checkout: lends `keras_erf.models` the top-level `models/` (no wheel holds it)."""

__path__.append(__file__.rpartition("keras_erf")[0] + "models")

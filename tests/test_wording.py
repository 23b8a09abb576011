"""Numbers in words."""

from __future__ import annotations

import math

import pytest

from keras_erf import wording


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (12.34, 0.21, "12.3 ± 0.2"),
        (12.34, 0.04, "12.34 ± 0.04"),
        # No more than two further digits.
        (12.3456, 1e-9, "12.346 ± 0.000"),
        (12.34, 0.0, "12.3"),
        (12.34, math.nan, "12.3"),
        (12.34, None, "12.3"),
        (math.nan, 0.2, "–"),
        (None, None, "–"),
    ],
)
def test_a_value_with_its_error(value, error, text):
    assert wording.with_error(value, error) == text


def test_samples_and_sizes():
    assert wording.counted(1, "layer") == "1 layer"
    assert wording.counted(0, "layer") == "0 layers"
    assert wording.counted_samples([1]) == "1 sample"
    assert wording.counted_samples([64, 1, 16]) == "1 to 64 samples"
    assert wording.counted_samples(iter([8, 8])) == "8 samples"
    assert wording.by((25, 31)) == "25 × 31"

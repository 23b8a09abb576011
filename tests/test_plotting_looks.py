"""How the main pictures look, compared with pictures that were looked at.

`make test` compares; `pytest --mpl-generate-path=tests/baseline tests/test_plotting_looks.py` makes
them again, to be checked by eye.
"""

from __future__ import annotations

import numpy as np
import pytest

from keras_erf.measuring.profiling import Profile
from keras_erf.plotting import (
    plot_grid,
    plot_ladder,
    plot_map,
    plot_overlay,
    plot_pair,
    plot_radial,
)
from tests.pictures import bell, gaussian, make_result

pytest.importorskip("pytest_mpl", reason="pytest-mpl is not installed")

# Texts are left out: fonts differ between versions. Differences are root mean squares of 256.
LOOKS = {"remove_text": True, "tolerance": 6, "savefig_kwargs": {"dpi": 50}, "style": "default"}


RESULTS = [bell(s, side, layer=f"conv{s}") for s, side in ((1.0, 5), (2.0, 11), (3.0, 21))]


@pytest.mark.mpl_image_compare(**LOOKS)
def test_looks_of_a_map():
    return plot_map(bell(3.0, 21)).figure


@pytest.mark.mpl_image_compare(**LOOKS)
def test_looks_of_a_curve():
    values = gaussian((41,), (20,), np.eye(1) / 9)
    return plot_map(make_result([0.8 * values, 1.2 * values], ((10, 31),))).figure


@pytest.mark.mpl_image_compare(**LOOKS)
def test_looks_of_a_grid():
    return plot_grid(RESULTS)[0].figure


@pytest.mark.mpl_image_compare(**LOOKS)
def test_looks_of_a_pair():
    return plot_pair(RESULTS[1], RESULTS[2])[0].figure


@pytest.mark.mpl_image_compare(**LOOKS)
def test_looks_of_an_overlay():
    rows, columns = np.indices((33, 37))
    return plot_overlay(RESULTS[2], ((rows // 4 + columns // 4) % 2).astype(float)).figure


@pytest.mark.mpl_image_compare(**LOOKS)
def test_looks_of_a_ladder():
    return plot_ladder(Profile(tuple(RESULTS), (2, 4, 8))).figure


@pytest.mark.mpl_image_compare(**LOOKS)
def test_looks_of_radial_profiles():
    return plot_radial(RESULTS).figure

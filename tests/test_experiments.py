"""The poster's statements, measured on small settings and held against theory."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pandas as pd
import pytest

import keras_erf as erf
from keras_erf import DEFINITIONS, experiments, theory, zoo
from keras_erf.errors import InvalidInputError
from keras_erf.experiments import PANELS
from keras_erf.experiments.panel import Runs, differences
from tests import oracles
from tests.panels import SMALL

# Standard errors within which a mean of few runs must lie; 3.5 is missed once in 2000.
SURE = 3.5


@pytest.fixture(scope="module")
def panels():
    """Panels as they are asked for, each measured once."""
    return cache(lambda name: experiments.run(name, **SMALL[name]))


def test_conditions_apart_share_no_networks():
    networks = Runs(3, 5, lambda done, wanted: None)
    for apart in (0, 0, 1):
        networks.ensemble(
            {}, "plain", "luo2016", channels=2, apart=apart, depth=2, weights="random"
        )
    first, again, other = (condition.result for condition in networks.measured)
    np.testing.assert_array_equal(first.map, again.map)
    wanted = erf.ensemble(
        lambda seed: zoo.build(
            "plain", depth=2, weights="random", filters=2, channels=2, seed=seed
        ),
        runs=3,
        seed=8,
    )
    np.testing.assert_allclose(other.map, wanted.map, rtol=1e-6)
    assert not np.allclose(first.map, other.map, rtol=1e-2)


def within(row, what: str, sure: float = SURE) -> bool:
    """Whether a figure lies within its errors of what theory predicts."""
    return abs(row[what] - row[f"predicted_{what}"]) <= sure * row[f"{what}_error"]


def test_gaussian_shape(panels):
    frame = panels("gaussian-shape").frame
    assert list(frame["trf_size"]) == [11] * 3 + [21] * 3
    uniform = frame[frame["weights"] == "Uniform"]
    pixels = [round(size**2) for size in uniform["erf_size"]]
    assert pixels == [oracles.PIXELS_OF_UNIFORM[n] for n in (5, 10)]
    for _, row in frame[frame["weights"] != "Uniform"].iterrows():
        wanted = math.sqrt(oracles.PIXELS_OF_ROOT[row["depth"]])
        assert row["predicted_size"] == pytest.approx(wanted)
        assert row["erf_size"] == pytest.approx(wanted, rel=0.05)
        # The root of an exact map is no Gaussian where the field cuts it, but nearly.
        assert row["r_squared"] > 0.98


def test_nonlinearities(panels):
    frame = panels("nonlinearities").frame
    assert list(frame["activation"]) == ["ReLU", "Tanh", "Sigmoid"]
    wanted = theory.uniform_size(8, measure="abs")
    np.testing.assert_allclose(frame["erf_size"], wanted, rtol=0.06)
    assert (frame["r_squared"] > 0.97).all()


def test_structures(panels):
    frame = panels("structures").frame.set_index("structure")
    assert list(frame["trf_size"]) == [31, 71, 53]
    for name, row in frame.iterrows():
        assert row["trf_size"] == row["predicted_trf_size"]
        assert within(row, "sigma"), name
        assert within(row, "kurtosis"), name
    # A dilated field is box-like; a sub-sampled one larger than that of dense layers.
    assert frame.loc["Dilation", "kurtosis"] == pytest.approx(-0.713, abs=0.08)
    dense, halved = frame.loc["ConvOnly"], frame.loc["Subsample"]
    error = math.hypot(dense["erf_size_error"], halved["erf_size_error"])
    assert halved["erf_size"] - dense["erf_size"] > 10 * error


def test_growth(panels):
    panel = panels("growth")
    fits = panel.fits.set_index(["measure", "quantity"])
    for measure, limit in (("|g|", 0.03), ("g²", 0.02)):
        table = oracles.PIXELS_OF_ROOT if measure == "|g|" else oracles.PIXELS_OF_UNIFORM
        at = np.log([5, 10, 15, 20])
        sizes = np.log([table[n] for n in (5, 10, 15, 20)]) / 2
        slope = np.polyfit(at, sizes, 1)[0]
        field = np.polyfit(at, np.log([11, 21, 31, 41]), 1)[0]
        for quantity, wanted in (("growth", slope), ("shrinkage", slope - field)):
            found = fits.loc[(measure, quantity)]
            assert found["predicted"] == pytest.approx(wanted, rel=1e-9)
            assert found["exponent"] == pytest.approx(wanted, abs=limit)
            assert found["low"] <= wanted <= found["high"]
    assert "-0.43" in panel.verdict
    assert "0.56" in panel.verdict


def test_dropout(panels):
    frame = panels("dropout").frame
    plain, dropped = frame.iloc[0], frame.iloc[1]
    for what in ("sigma", "kurtosis", "erf_size"):
        error = math.hypot(plain[f"{what}_error"], dropped[f"{what}_error"])
        assert abs(plain[what] - dropped[what]) <= SURE * error, what
    assert dropped["predicted_energy"] == 2**7
    assert dropped["energy"] == pytest.approx(2**7, rel=0.3)


def test_skip(panels):
    panel = panels("skip")
    plain, short = panel.frame.iloc[0], panel.frame.iloc[1]
    assert plain["trf_size"] == short["trf_size"] == 19
    # Path lengths are binomial: variances 9 x 2/3, and (1 + 8/2) x 2/3 with half of the layers.
    assert plain["predicted_sigma"] == pytest.approx(math.sqrt(9 * 2 / 3))
    assert short["predicted_sigma"] == pytest.approx(math.sqrt((1 + 4) * 2 / 3))
    assert within(plain, "sigma")
    assert within(short, "sigma")
    ratio = short["sigma"] / plain["sigma"]
    error = ratio * math.hypot(
        short["sigma_error"] / short["sigma"], plain["sigma_error"] / plain["sigma"]
    )
    assert abs(ratio - math.sqrt(5 / 9)) <= SURE * error
    assert short["erf_size"] < plain["erf_size"]


def test_initialisation(panels):
    frame = panels("initialisation").frame.set_index("kernels")
    for _, row in frame.iterrows():
        assert within(row, "sigma")
    assert frame.loc["corners", "predicted_gain"] == pytest.approx(math.sqrt(1.5))
    assert frame.loc["weaker centre", "predicted_gain"] == pytest.approx(math.sqrt(9 / 8.1))
    assert frame["gain"].is_monotonic_increasing


def test_definitions(panels):
    frame = panels("definitions").frame.set_index("name")
    assert list(frame.index) == list(DEFINITIONS)
    wanted = theory.uniform_size(8, measure="abs") / theory.uniform_size(8)
    found = frame.loc["luo2016", "erf_size"] / frame.loc["luo2016-squared", "erf_size"]
    assert found == pytest.approx(wanted, rel=0.06)
    # Both take the absolute value, and differ in nothing that a map shows.
    assert frame.loc["luo2016", "erf_size"] == frame.loc["raghu2021", "erf_size"]


@pytest.mark.parametrize("name", PANELS)
def test_panels_are_tidy(panels, name):
    panel = panels(name)
    assert panel.name == name
    keys = list(panel.frame.columns[: list(panel.frame.columns).index("definition")])
    assert list(panel.maps.columns) == [*keys, "row", "column", "value"]
    assert panel.maps["value"].max() == 1
    for part in ("Measured", "Theory", "Why they differ"):
        assert part in panel.verdict
    assert not panel.frame[["erf_size", "sigma", "ratio"]].isna().any(axis=None)


def test_verdicts_follow_the_metrics():
    frame = pd.DataFrame(
        {"kind": ["a", "b"], "sigma": [3.0, 4.0], "sigma_error": [0.1, 0.1],
         "predicted_sigma": [3.05, 4.1]}
    )  # fmt: skip
    assert differences(frame, "sigma").startswith("noise of the runs: values are at most 1.0")
    frame.loc[1, "predicted_sigma"] = 5.0
    assert differences(frame, "sigma").startswith("not by noise alone: sigma, b is 10.0 standard")
    shallow = experiments.run("growth", runs=2, depths=(2, 4)).verdict
    assert "neither map explains the published -0.43 by itself" in shallow


@pytest.mark.parametrize(
    ("panel", "options", "text"),
    [
        ("gaussian-shape", {"depths": ()}, "`depths` must be at least 1 different numbers"),
        ("growth", {"depths": 5}, "`depths` must be at least 2 different numbers"),
        ("growth", {"depths": (5,)}, "`depths` must be at least 2 different numbers"),
        ("structures", {"positions": (1, 2)}, "`positions` must be 3 different layers from 1 to"),
        ("structures", {"depth": 5}, "`positions` must be 3 different layers from 1 to 5"),
        ("structures", {"positions": 3}, "`positions` must be 3 different layers"),
        ("grow", {}, r"`panel` must be one of .* Did you mean 'growth'\? Received: panel='grow'"),
        ("growth", {"runs": 1}, "`runs` must be a whole number of at least 2"),
        ("growth", {"seed": -1}, "`seed` must be a whole number"),
        ("growth", {"depth": 3}, "`options` of 'growth' must be among: depths. Received: depth=3"),
    ],
)
def test_bad_arguments_are_reported(panel, options, text):
    with pytest.raises(InvalidInputError, match=text):
        experiments.run(panel, **options)

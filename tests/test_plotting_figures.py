"""Grids, pairs, overlays, ladders, radial profiles, volumes, growth: what they draw."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.patches import Circle, Rectangle
from matplotlib.text import Text

from keras_erf import analysis
from keras_erf.definitions import DEFINITIONS
from keras_erf.errors import InvalidInputError
from keras_erf.measuring.profiling import Profile
from keras_erf.plotting import (
    plot_grid,
    plot_growth,
    plot_history,
    plot_ladder,
    plot_map,
    plot_overlay,
    plot_pair,
    plot_profile,
    plot_radial,
    plot_volume,
)
from keras_erf.plotting.radial import radial_profile
from tests.pictures import bell, gaussian, make_result


@pytest.fixture
def results():
    return [bell(s, side, layer=f"conv{s}") for s, side in ((1.0, 5), (2.0, 11), (3.0, 21))]


@pytest.fixture
def profile(results):
    return Profile(tuple(results), (2, 4, 8))


def boxes(ax) -> list[tuple[float, float, float, float]]:
    found = [one for one in ax.patches if isinstance(one, Rectangle)]
    return [(*one.get_xy(), one.get_width(), one.get_height()) for one in found]


# --- Grids and pairs -----------------------------------------------------------------------------


def test_a_grid_has_one_scale_for_all(results):
    axes = plot_grid(results)
    assert axes.shape == (3,)
    for ax, one, side in zip(axes, results, (5, 11, 21), strict=True):
        assert ax.get_title() == f"{one.layer}\n{one.size:.1f} of {side} px"
        assert boxes(ax) == [(-side / 2, -side / 2, side, side)]
        assert ax.get_xlim() == (-ax.get_xlim()[1], ax.get_xlim()[1]) == axes[0].get_xlim()
        assert ax.get_ylim() == ax.get_xlim()[::-1]
        (image,) = ax.images
        assert (image.norm.vmin, image.norm.vmax) == (0, 1)
        np.testing.assert_allclose(image.get_array(), one.map / one.map.max())
        # The field's centre, pixel (15, 18), is at 0.
        assert tuple(image.get_extent()) == (-18.5, 18.5, 17.5, -15.5)
    assert axes[0].get_xlim()[1] == pytest.approx(21 * 0.58)


def test_a_grid_may_zoom_and_name_and_break_rows(results):
    axes = plot_grid({"a": results[0], "b": results[2]}, zoom=True, columns=1, scale="sqrt")
    assert [ax.get_title().split("\n")[0] for ax in axes] == ["a", "b"]
    assert axes[0].get_xlim()[1] == pytest.approx(5 * 0.58)
    assert axes[1].get_xlim()[1] == pytest.approx(21 * 0.58)
    geometry = axes[1].get_subplotspec().get_gridspec()
    assert (geometry.nrows, geometry.ncols) == (2, 1)
    five = plot_grid([results[0]] * 5)
    geometry = five[0].get_subplotspec().get_gridspec()
    assert (geometry.nrows, geometry.ncols) == (2, 3)
    assert not five[0].figure.axes[5].axison


def test_a_pair_shows_what_changed(results):
    before, after, change = plot_pair(results[1], results[2])
    assert before.get_title().startswith("before\n")
    assert after.get_title().startswith("after\n")
    (image,) = change.images
    wanted = results[2].map / results[2].map.max() - results[1].map / results[1].map.max()
    np.testing.assert_allclose(image.get_array(), wanted)
    # Nothing changed is the middle of the colours.
    assert image.norm.vmin == -image.norm.vmax
    assert change.get_xlim() == before.get_xlim() == after.get_xlim()


# --- One result ----------------------------------------------------------------------------------


def test_an_overlay_is_clear_where_the_unit_looks(results):
    image = np.random.default_rng(0).integers(0, 256, (33, 37, 3), dtype=np.uint8)
    ax = plot_overlay(results[1], image, veil=0.9)
    picture, veil = ax.images
    np.testing.assert_allclose(picture.get_array(), image / 255)
    shares = results[1].map / results[1].map.max()
    np.testing.assert_allclose(veil.get_alpha(), 0.9 * (1 - np.sqrt(shares)))
    assert veil.get_alpha()[15, 18] == 0
    assert boxes(ax) == [(12.5, 9.5, 11, 11)]
    # The ring of a Gaussian is sqrt(2 ln(1 / 0.0455)) sigma away.
    (ring,) = ax.lines
    far = np.hypot(ring.get_xdata() - 18, ring.get_ydata() - 15)
    np.testing.assert_allclose(far, 2.0 * math.sqrt(2 * math.log(1 / 0.0455)), rtol=1e-3)
    grey = plot_overlay(results[1], image[..., 0] / 255)
    np.testing.assert_allclose(grey.images[0].get_array(), image[..., 0] / 255)


def test_radial_profiles_are_means_of_rings():
    one = bell(3.0, 21)
    distances, means, errors = radial_profile(one)
    values, (rows, columns) = one.map, np.indices(one.map.shape)
    far = np.hypot(rows - 15, columns - 18)
    for at, (distance, mean) in enumerate(zip(distances[:12], means[:12], strict=True)):
        ring = np.abs(far - distance) <= 0.5
        assert mean == pytest.approx(values[ring].mean() / values[15, 18])
        # Two samples of half and one and a half of it: a standard error of half of the mean.
        assert errors[at] == pytest.approx(0.5 * mean)


def test_radial_profiles_of_parts_count_the_pixels_outside():
    whole = bell(3.0, 21)
    part = ((5, 26), (8, 29))
    cut = make_result(whole.block_sums, ((5, 26), (8, 29)))
    inside = make_result(whole.block_sums[:, 5:26, 8:29])
    held = type(cut)(
        inside.block_sums, cut.block_counts, 0, cut.receptive_field, cut.definition, {}, part=part
    )
    distances, means, _ = radial_profile(held)
    rows, columns = np.indices(held.map.shape)
    far = np.hypot(rows - 15, columns - 18).round()
    wanted = [held.map[far == one].mean() / held.map[15, 18] for one in distances]
    np.testing.assert_allclose(means, wanted)
    assert distances[-1] == round(math.hypot(10, 10))


def test_the_radial_picture(results):
    ax = plot_radial(results)
    assert ax.get_yscale() == "log"
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0].startswith("conv1.0: ")
    assert labels[-1] == "2σ level"
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), analysis.THRESHOLD)
    single = plot_radial(results[2], scale="linear")
    assert single.lines[-1].get_xdata()[0] == 10.5
    np.testing.assert_allclose(single.lines[0].get_ydata()[0], 1)


@pytest.mark.parametrize("view", ["slices", "projections"])
def test_a_volume_from_three_sides(view):
    values = gaussian((8, 10, 12), (3, 4, 5), np.diag([1.0, 0.5, 0.25]))
    one = make_result([values], ((1, 6), (2, 7), (3, 8)))
    axes = plot_volume(one, view=view)
    wanted = [values[3], values[:, 4], values[:, :, 5]]
    if view == "projections":
        wanted = [values.sum(axis=axis) for axis in range(3)]
    for ax, shown in zip(axes, wanted, strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), shown / shown.max())
    assert boxes(axes[0]) == [(2.5, 1.5, 5, 5)]
    assert boxes(axes[2]) == [(1.5, 0.5, 5, 5)]
    assert [ax.get_xlabel() for ax in axes] == ["axis 2 (px)", "axis 2 (px)", "axis 1 (px)"]
    assert [ax.get_ylabel() for ax in axes] == ["axis 1 (px)", "axis 0 (px)", "axis 0 (px)"]


# --- Profiles ------------------------------------------------------------------------------------


def test_a_ladder_is_of_one_scale(profile):
    ax = plot_ladder(profile)
    sides = [width for _, _, width, _ in boxes(ax)]
    assert sides == [5, 11, 21]
    discs = [one for one in ax.patches if isinstance(one, Circle)]
    for disc, one in zip(discs, profile.results, strict=True):
        assert math.pi * disc.radius**2 == pytest.approx(one.size**2)
        assert disc.center[1] == 0
        # Of a region that nearly fills its field the circle's edge is cut off.
        clip = disc.get_clip_box()
        half = one.trf_size / 2
        box = ax.transData.transform(
            [(disc.center[0] - half, -half), (disc.center[0] + half, half)]
        )
        np.testing.assert_allclose(clip.get_points(), box)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["conv1.0", "conv2.0", "conv3.0"]
    assert ax.get_aspect() == 1
    # Rungs stand apart.
    edges = [(x, x + width) for x, _, width, _ in boxes(ax)]
    assert all(one[1] < other[0] for one, other in itertools.pairwise(edges))


def test_a_ladder_of_many_layers_shows_some():
    many = [bell(1.0, 2 * n + 1, layer=f"conv{n}") for n in range(1, 16)]
    ax = plot_ladder(Profile(tuple(many), tuple(range(1, 16))), rungs=4)
    sides = [width for _, _, width, _ in boxes(ax)]
    assert sides[0] == 3
    assert sides[-1] == 31
    assert len(sides) == 4
    assert max(np.diff(sides)) <= 12


def test_growth_has_the_slopes_of_power_laws(profile):
    ax = plot_growth(profile)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    x = np.log([2, 4, 8])
    slopes = [
        np.polyfit(x, np.log(values), 1)[0]
        for values in ([5, 11, 21], [one.size for one in profile.results])
    ]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0].startswith(f"theoretical size: slope {slopes[0]:.2f} (")
    assert labels[1].startswith(f"effective size: slope {slopes[1]:.2f} (")


# --- Axes that are given, and mistakes -----------------------------------------------------------


@pytest.mark.parametrize("draw", [plot_radial, plot_overlay, plot_ladder, plot_growth])
def test_axes_that_are_given_are_drawn_on(draw, results, profile):
    of = {
        plot_radial: (results,),
        plot_overlay: (results[0], np.zeros((33, 37))),
        plot_ladder: (profile,),
        plot_growth: (profile,),
    }
    figure, ax = plt.subplots()
    assert draw(*of[draw], ax=ax) is ax
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda one: plot_grid([]), "`results` must hold at least one result"),
        (lambda one: plot_grid([one], columns=0), "`columns` must be a whole number of at least 1"),
        (lambda one: plot_grid([one], scale="cube"), "`scale` must be one of"),
        (lambda one: plot_grid([make_result(np.ones((1, 5)))]), "`results` must be of two spatial"),
        (lambda one: plot_pair(one, one, names=("a", "a")), "`names` must be two different names"),
        (
            lambda one: plot_pair(one, bell(1.0, 5, shape=(40, 40))),
            "`after` must be on an input of the size of `before`",
        ),
        (lambda one: plot_overlay(one, np.zeros((5, 5))), "`image` must be of the map's size, 33"),
        (lambda one: plot_overlay(one, np.zeros((33, 37, 4))), "grey or of three channels"),
        (lambda one: plot_overlay(one, np.full((33, 37), 7.0)), "`image` must hold whole numbers"),
        (lambda one: plot_overlay(one, np.zeros((33, 37)), veil=2), "`veil` must lie between 0"),
        (lambda one: plot_radial([]), "`results` must hold at least one result"),
        (lambda one: plot_radial(one, scale="cube"), "`scale` must be one of"),
        (lambda one: plot_volume(one), "`result` must have a map of three spatial axes"),
        (lambda one: plot_volume(one, view="top"), "`view` must be one of"),
        (lambda one: plot_ladder(Profile((), ())), "`profile` must hold layers with fields of two"),
        (lambda one: plot_ladder(Profile((one,), (1,)), rungs=0), "`rungs` must be a whole number"),
        (lambda one: plot_growth(Profile((one, one), (3, 3))), "of at least two depths"),
    ],
)
def test_mistakes_are_reported(call, text):
    with pytest.raises(InvalidInputError, match=text):
        call(bell(1.0, 5))


def texts(figure) -> str:
    """All that is written in a figure, in one line each."""
    found = [one.get_text() for one in figure.findobj(Text)]
    return " ".join(" ".join(found).split())


def history(names) -> pd.DataFrame:
    points = {"step": [0, 3], "epoch": [0, 1], "erf_size": [3.0, 4.0]}
    layers = enumerate(names)
    return pd.concat(
        pd.DataFrame({**points, "layer": f"conv{number}", "definition": name})
        for number, name in layers
    )


PICTURES = {
    "ladder": lambda several: plot_ladder(Profile(tuple(several), (2, 4, 8))),
    "radial": plot_radial,
    "overlay": lambda several: plot_overlay(several[0], np.zeros((33, 37))),
    "grid": lambda several: plot_grid(several)[0],
    "pair": lambda several: plot_pair(*several[1:])[0],
    "growth": lambda several: plot_growth(Profile(tuple(several), (2, 4, 8))),
    "map": lambda several: plot_map(several[0]),
    "profile": lambda several: plot_profile(Profile(tuple(several), (2, 4, 8))),
    "history": lambda several: plot_history(history([one.definition.name for one in several])),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("definition", ["luo2016", "replknet"])
def test_a_picture_names_its_definition(name, definition, results):
    about = {"model": "network"}
    definition_ = DEFINITIONS[definition]
    own = [replace(one, definition=definition_, provenance=about) for one in results]
    drawn = PICTURES[name](own)
    # Once, whatever the number of results.
    assert texts(drawn.figure).count(definition) == 1
    plt.close(drawn.figure)


@pytest.mark.parametrize("name", ["ladder", "radial", "grid", "pair", "growth", "history"])
def test_a_picture_of_two_definitions_names_both(name, results):
    own = [*results[:2], replace(results[2], definition=DEFINITIONS["openerf"])]
    drawn = PICTURES[name](own)
    assert "luo2016" in texts(drawn.figure)
    assert "openerf" in texts(drawn.figure)
    plt.close(drawn.figure)


def test_a_history_shows_where_phases_begin():
    frame = history(["luo2016"]).assign(phase=[0, 1])
    assert [list(line.get_xdata()) for line in plot_history(frame).lines[1:]] == [[0, 0]]
    assert len(plot_history(frame.assign(phase=0)).lines) == 1
    assert len(plot_history(frame.drop(columns="phase")).lines) == 1

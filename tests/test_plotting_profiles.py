"""The picture of a profile: what is drawn is what the profile holds, and it all fits."""

from __future__ import annotations

import dataclasses

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from keras_erf.errors import InvalidInputError
from keras_erf.measuring.profiling import Profile
from keras_erf.plotting import plot_profile
from tests.pictures import LONG, caption, draw, labels, line, make_result

SIDE = 40
ERRORS, BOUNDED = "effective size ± standard error", "whole input in sight"


def square(side: int, noise: float, samples: int) -> np.ndarray:
    """Maps of a square of that side; a row next to it is dimly seen, by half of the samples."""
    maps = np.zeros((samples, SIDE, SIDE))
    start = SIDE // 2 - side // 2
    maps[:, start : start + side, start : start + side] = 1
    rim = np.random.default_rng(side).random((samples, side)) < 0.5
    maps[:, start - 1, start : start + side] = noise * rim
    return maps


def field_of(side: int) -> tuple[tuple[int, int], ...]:
    start = SIDE // 2 - side // 2
    return ((start, start + side),) * 2


def make_profile(
    sides=(3, 5, 5, 9),
    used=(3, 4, 5, 6),
    depths=(1, 2, 3, 4),
    *,
    noise: float = 0.05,
    samples: int = 8,
    names=None,
    skipped=(),
    **options,
) -> Profile:
    """A profile of theoretical fields of `sides` pixels, of which squares of `used` are in use."""
    names = [f"layer{k}" for k in range(len(sides))] if names is None else names
    results = []
    for name, side, size in zip(names, sides, used, strict=True):
        result = make_result(square(size, noise, samples), field_of(side), layer=name, **options)
        results.append(dataclasses.replace(result, provenance={"model": "network", "runs": [{}]}))
    return Profile(tuple(results), tuple(depths), tuple(skipped))


def bars(ax: Axes) -> np.ndarray:
    """Ends of the error bars, shape (layers, 2 ends, x and y)."""
    (container,) = [one for one in ax.containers if isinstance(one, ErrorbarContainer)]
    return np.array(container.lines[2][0].get_segments())


# What is drawn


def test_dots_are_the_frames_sizes():
    profile = make_profile()
    frame = profile.frame
    ax = profile.plot()
    np.testing.assert_allclose(line(ax, "theoretical size"), [frame.depth, frame.trf_size])
    np.testing.assert_allclose(line(ax, ERRORS), [frame.depth, frame.erf_size])
    # Worked out by hand: fields of 3x3 px and so on.
    np.testing.assert_allclose(line(ax, "theoretical size")[1], [3, 5, 5, 9])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("layer, by depth", "size (input px)")


def test_bars_are_the_frames_standard_errors():
    profile = make_profile()
    frame = profile.frame
    assert (frame.erf_size_error > 0).all()
    drawn = bars(plot_profile(profile))
    middle, half = drawn.mean(axis=1), (drawn[:, 1] - drawn[:, 0]) / 2
    np.testing.assert_allclose(middle.T, [frame.depth, frame.erf_size])
    np.testing.assert_allclose(half.T, [[0] * 4, frame.erf_size_error], atol=1e-12)


def test_sizes_without_errors_have_no_bars():
    for profile in (make_profile(samples=1), make_profile(noise=0)):
        ax = plot_profile(profile)
        assert not ax.containers
        assert labels(ax) == ["theoretical size", "effective size"]
        np.testing.assert_allclose(line(ax, "effective size")[1], profile.frame.erf_size)


def test_a_layer_that_has_an_error_has_its_bar():
    both = zip(make_profile(noise=0).results[:2], make_profile().results[2:], strict=True)
    exact, noisy = map(list, zip(*both, strict=True))
    ax = plot_profile(Profile((*exact, *noisy), (1, 2, 3, 4)))
    np.testing.assert_array_equal(bars(ax)[:, 0, 0], [3, 4])


def test_lines_join_the_largest_field_of_each_depth():
    # The order of the graph: a branch of depth 2 comes last.
    ax = plot_profile(make_profile((3, 5, 9, 3), (3, 4, 6, 2), (1, 2, 3, 2)))
    seen, used = (np.array(one.get_data()) for one in ax.lines if one.get_linestyle() != "None")
    np.testing.assert_allclose(seen, [[1, 2, 3], [3, 5, 9]])
    np.testing.assert_allclose(used, [[1, 2, 3], [3, 4, 6]])
    assert len(line(ax, "theoretical size")[0]) == 4


def test_layers_that_see_the_whole_input_are_hollow():
    profile = make_profile((9, SIDE, 2 * SIDE), (5, 6, 7), (1, 2, 3))
    ax = plot_profile(profile)
    assert labels(ax) == ["theoretical size", ERRORS, BOUNDED, "size of the input"]
    hollow, filled = line(ax, BOUNDED), line(ax, ERRORS)
    np.testing.assert_array_equal(hollow[0], [2, 3])
    np.testing.assert_array_equal(filled[0], [1])
    (dots,) = [one for one in ax.lines if one.get_label() == BOUNDED]
    assert dots.get_markerfacecolor() == "white"
    assert set(line(ax, "size of the input")[1]) == {SIDE}
    # One row is out of sight.
    shifted = make_result(square(5, 0.05, 4), ((1, SIDE + 1), (0, SIDE)))
    shifted = dataclasses.replace(shifted, provenance=profile.results[0].provenance)
    assert "size of the input" not in labels(plot_profile(Profile((shifted,), (1,))))
    alone = plot_profile(make_profile((SIDE,), (5,), (1,)))
    assert labels(alone)[1] == f"{ERRORS}, {BOUNDED}"


@pytest.mark.parametrize(
    ("sides", "scale", "drawn"),
    [
        # Half of them above a fifth of the largest, or below.
        ((3, 9, 13, 17), None, "linear"),
        ((1, 3, 5, 33), None, "log"),
        ((3, 9, 13, 17), "log", "log"),
        ((1, 3, 5, 33), "linear", "linear"),
    ],
)
def test_scales(sides, scale, drawn):
    ax = plot_profile(make_profile(sides, (1, 2, 3, 4)), scale=scale)
    assert ax.get_yscale() == drawn
    assert (ax.get_ylim()[0] == 0) == (drawn == "linear")
    draw(ax)
    ticks = [one.get_text() for one in ax.get_yticklabels()]
    np.testing.assert_allclose([float(one) for one in ticks], ax.get_yticks(), rtol=1e-12)


# What is written


def test_all_names_are_written_where_there_is_room():
    ax = plot_profile(make_profile())
    assert [one.get_text() for one in ax.get_xticklabels()] == [f"layer{k}" for k in range(4)]
    np.testing.assert_array_equal(ax.get_xticks(), [1, 2, 3, 4])


@pytest.mark.parametrize("number", [60, 170])
def test_only_some_names_are_written_where_there_is_none(number):
    sides = 1 + np.arange(number) // 6
    profile = make_profile(sides, 1 + sides // 2, 3 + np.arange(number), samples=1)
    ax = plot_profile(profile)
    draw(ax)
    boxes = [one.get_window_extent() for one in ax.get_xticklabels()]
    right = np.sort([box.x1 for box in boxes])
    # Slanted texts keep apart if their ends are more than a line's height from each other.
    assert np.diff(right).min() > 1.2 * ax.figure.dpi * 8 / 72
    assert 10 < len(boxes) < 25
    assert ax.get_xticklabels()[-1].get_text() == f"layer{number - 1}"
    names = {
        int(at): one.get_text()
        for at, one in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    }
    assert all(name == f"layer{depth - 3}" for depth, name in names.items())


def test_long_names_are_cut_at_their_beginning():
    ax = plot_profile(make_profile((3,), (3,), (1,), names=[LONG]))
    (name,) = [one.get_text() for one in ax.get_xticklabels()]
    assert name.startswith("…")
    assert LONG.endswith(name[1:])
    assert len(name) == 26


def test_depths_are_written_in_place_of_names():
    ax = plot_profile(make_profile(), names=False)
    draw(ax)
    first, last = ax.get_xlim()
    shown = [one.get_text() for one in ax.get_xticklabels() if first < one.get_position()[0] < last]
    assert shown == ["1", "2", "3", "4"]
    assert ax.get_xlabel() == "depth (layers from the input)"


def test_title_and_caption():
    ax = plot_profile(make_profile(definition="raghu2021"))
    assert ax.get_title() == "network"
    assert caption(ax) == "definition raghu2021, 4 layers, 8 samples"
    few = make_profile((3,), (3,), (1,), samples=1, status="bound", skipped=[("a", "b")])
    assert (
        caption(plot_profile(few))
        == "definition luo2016, 1 layer, 1 sample, 1 of bound field, 1 skipped"
    )
    mixed = Profile((*make_profile(samples=4).results[:1], *few.results), (1, 2))
    assert "2 layers, 1 to 4 samples" in caption(plot_profile(mixed))


# How it behaves


def test_a_new_figure_is_made_only_without_axes():
    profile = make_profile()
    ax = plot_profile(profile)
    assert plt.get_fignums() == [ax.figure.number]
    figure, (_, given) = plt.subplots(1, 2)
    before = plt.get_fignums()
    assert plot_profile(profile, given) is given
    assert profile.plot(given, scale="log") is given
    assert plt.get_fignums() == before
    assert len(figure.axes) == 2


def test_settings_are_left_and_nothing_is_shown_or_saved(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("shown or saved")

    for owner, name in ((plt, "show"), (Figure, "show"), (Figure, "savefig")):
        monkeypatch.setattr(owner, name, refuse)
    with mpl.rc_context({"axes.grid": True, "font.size": 9.0}):
        before = dict(mpl.rcParams)
        plot_profile(make_profile())
        assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scale": "sqrt"}, "`scale` .*Received: scale='sqrt'"),
        ({"names": "all"}, "`names` .*Received: names='all'"),
    ],
)
def test_bad_options_are_named_in_one_line(options, says):
    with pytest.raises(InvalidInputError, match=says) as error:
        plot_profile(make_profile(), **options)
    assert "\n" not in str(error.value)
    assert plt.get_fignums() == []


def test_a_profile_of_no_layer_is_refused():
    with pytest.raises(InvalidInputError, match="`profile` must hold at least one layer") as error:
        plot_profile(Profile((), (), (("a", "no field"),)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("number", "name", "own"),
    [(1, LONG, True), (16, LONG, True), (170, "conv4_block6_3_bn", True), (16, LONG, False)],
)
def test_everything_fits(number, name, own):
    sides = 1 + np.arange(number) // 6
    profile = make_profile(sides, 1 + sides // 2, 1 + np.arange(number), names=[name] * number)
    given = None if own else plt.subplots(figsize=(6.4, 4.8), layout="constrained")[1]
    ax = plot_profile(profile, given)
    figure = draw(ax)
    bounds, size = figure.get_tightbbox(), figure.get_size_inches()
    assert (bounds.min >= -0.01).all()
    assert (bounds.max <= size + 0.01).all()
    assert (size < 8).all()
    under = ax.texts[0].get_window_extent()
    assert under.y1 <= ax.xaxis.label.get_window_extent().y0
    assert ax.xaxis.label.get_window_extent().y1 <= min(
        one.get_window_extent().y0 for one in ax.get_xticklabels()
    )

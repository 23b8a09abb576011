"""The picture of a result: what is drawn, where, and that it all fits."""

from __future__ import annotations

import dataclasses
from itertools import combinations, product

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch
from scipy.stats import chi2

from keras_erf import plotting
from keras_erf.errors import InvalidInputError
from keras_erf.plotting import plot_map
from tests.pictures import LONG, caption, draw, gaussian, labels, line, make_result

FRACTION = 0.0455


CENTER, PRECISION = (12.0, 17.5), np.linalg.inv([[6.0, 2.0], [2.0, 9.0]])
BELL = gaussian((26, 36), CENTER, PRECISION, 3.0)
BOX = ((3, 22), (7, 29))
# The outer samples differ, so that there is an error; their mean is the bell.
SAMPLES = [0.9 * BELL, BELL, 1.1 * BELL]
LINE = gaussian((40,), (21.0,), np.array([[0.05]]), 2.0)
VOLUME = gaussian((9, 15, 17), (4.0, 7.0, 9.0), np.diag([0.5, 0.3, 0.2]))


def child(artists, kind):
    (found,) = [artist for artist in artists if isinstance(artist, kind)]
    return found


def profiles(ax: Axes) -> list[Axes]:
    """The profile of the columns, then that of the rows."""
    return [one for one in ax.child_axes if any(isinstance(p, StepPatch) for p in one.patches)]


def steps(ax: Axes, label: str):
    (found,) = [one for one in ax.patches if one.get_label() == label]
    return found.get_data()


# What is returned, and what is left alone


def test_a_new_figure_is_made_only_without_axes():
    plt.close("all")
    result = make_result(SAMPLES, BOX)
    ax = plot_map(result)
    assert isinstance(ax, Axes)
    assert plt.get_fignums() == [ax.figure.number]
    figure, (_, given) = plt.subplots(1, 2)
    before = plt.get_fignums()
    assert plot_map(result, ax=given) is given
    assert plt.get_fignums() == before
    assert given.images
    assert len(figure.axes) == 2  # profiles and bar belong to the axes given
    assert result.plot(scale="log").images[0].norm.__class__ is LogNorm


@pytest.mark.parametrize("maps", [[LINE] * 2, SAMPLES, [VOLUME] * 2], ids=["1-D", "2-D", "3-D"])
def test_settings_are_left_and_nothing_is_shown_or_saved(maps, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("shown or saved")

    for owner, name in ((plt, "show"), (Figure, "show"), (Figure, "savefig")):
        monkeypatch.setattr(owner, name, refuse)
    with mpl.rc_context({"axes.grid": True, "font.size": 9.0}):
        before = dict(mpl.rcParams)
        plot_map(make_result(maps))
        assert dict(mpl.rcParams) == before


def test_the_result_type_is_not_needed():
    assert not hasattr(plotting, "EffectiveReceptiveField")
    assert plotting.__all__ == [
        "plot_grid",
        "plot_growth",
        "plot_history",
        "plot_ladder",
        "plot_map",
        "plot_overlay",
        "plot_pair",
        "plot_panel",
        "plot_profile",
        "plot_radial",
        "plot_training",
        "plot_volume",
    ]


# The image


def test_image_is_the_map():
    result = make_result(SAMPLES, BOX)
    ax = plot_map(result)
    image = ax.images[0]
    np.testing.assert_array_equal(image.get_array(), result.map)
    np.testing.assert_allclose(image.get_array(), BELL, rtol=1e-12)
    assert tuple(image.get_extent()) == (-0.5, 35.5, 25.5, -0.5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("input column (px)", "input row (px)")
    assert ax.get_aspect() == 1


def test_a_hot_pixel_is_drawn_at_its_column_and_row():
    values = np.full((12, 16), 1e-6)
    row, column = 3, 11
    values[row, column] = 1
    ax = plot_map(make_result([values]), margin=None, marginals=False, cmap="gray_r")
    for over in (*ax.lines, *ax.patches, *ax.collections):
        over.set_visible(False)
    canvas = draw(ax).canvas
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].mean(axis=-1)

    def lightness(row, column):
        # Off the pixel's centre, away from lines on its edges.
        x, y = ax.transData.transform((column + 0.2, row + 0.2))
        return pixels[len(pixels) - 1 - int(y), int(x)]

    assert lightness(row, column) < 10
    for other in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
        assert lightness(*other) > 245
    assert lightness(column, row) > 245
    first, second = ax.transData.transform([(0, 0), (0, 1)])[:, 1]
    assert second < first  # the next row is lower on the page


def test_signed_maps_are_drawn_by_their_absolute_value():
    signs = np.where(np.indices(BELL.shape).sum(axis=0) % 2, -1, 1)
    ax = plot_map(make_result([BELL * signs], BOX, definition="luo2016-signed"), marginals=False)
    np.testing.assert_array_equal(ax.images[0].get_array(), BELL)


@pytest.mark.parametrize(
    ("scale", "kind", "low"),
    [("linear", Normalize, 0), ("sqrt", PowerNorm, 0), ("log", LogNorm, 1e-4)],
)
def test_scales(scale, kind, low):
    values = BELL.copy()
    values[:5] = 0
    ax = plot_map(make_result([values], BOX), scale=scale)
    norm = ax.images[0].norm
    assert type(norm) is kind
    assert (norm.vmin, norm.vmax) == pytest.approx((low * values.max(), values.max()))
    shares = {"linear": 0.25, "sqrt": 0.5, "log": 1 + np.log10(0.25) / 4}
    assert norm(0.25 * values.max()) == pytest.approx(shares[scale])
    # Zero is the lowest colour, not a hole.
    assert norm(0.0) == 0
    assert not np.ma.is_masked(norm(values))
    columns, rows = profiles(ax)
    names = {"linear": "linear", "sqrt": "function", "log": "log"}
    assert (columns.get_yscale(), rows.get_xscale()) == (names[scale], names[scale])
    draw(ax)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("scale", "cubic"),
        ("region", "half"),
        ("margin", -0.1),
        ("margin", float("nan")),
        ("cmap", "viridiss"),
    ],
)
@pytest.mark.parametrize("maps", [SAMPLES, [LINE] * 2], ids=["2-D", "1-D"])
def test_bad_options_are_named_in_one_line(maps, option, value):
    with pytest.raises(InvalidInputError, match=f"`{option}` .*Received: {option}={value!r}") as e:
        plot_map(make_result(maps), **{option: value})
    assert "\n" not in str(e.value)
    assert plt.get_fignums() == []


# What is drawn over it


@pytest.mark.parametrize("box", [BOX, ((-4, 20), (10, 50))])
def test_box_and_center_are_the_fields(box):
    result = make_result(SAMPLES, box)
    ax = plot_map(result, margin=None, marginals=False)
    (top, bottom), (left, right) = box
    rectangle = child(ax.patches, Rectangle)
    assert rectangle.get_xy() == (left - 0.5, top - 0.5)
    assert (rectangle.get_width(), rectangle.get_height()) == (right - left, bottom - top)
    column, row = line(ax, "centre of the field")
    assert (row[0], column[0]) == ((top + bottom - 1) / 2, (left + right - 1) / 2)
    inside = box == BOX
    assert ("theoretical field" if inside else "theoretical field (past the input's edge)") in (
        labels(ax)
    )


def test_an_inexact_field_says_so():
    ax = plot_map(make_result(SAMPLES, BOX, status="bound"), marginals=False)
    assert "theoretical field (bound)" in labels(ax)


@pytest.mark.parametrize("rule", ["threshold", "mass"])
def test_outline_runs_between_the_pixels_inside_and_outside(rule):
    values = np.random.default_rng(0).random((7, 9)) ** 6
    result = make_result([values])
    ax = plot_map(result, region=rule, marginals=False)
    segments = child(ax.collections, LineCollection).get_segments()
    found = {tuple(sorted(map(tuple, segment))) for segment in segments}
    assert len(found) == len(segments)
    inside = {tuple(pixel) for pixel in np.argwhere(result.region(rule).mask).tolist()}
    expected = set()
    for (row, column), step in product(inside, ((-1, 0), (1, 0), (0, -1), (0, 1))):
        if (row + step[0], column + step[1]) in inside:
            continue
        middle, along = np.array([column, row]) + np.array(step[::-1]) / 2, np.array(step) / 2
        ends = (middle - np.abs(along), middle + np.abs(along))
        expected.add(tuple(tuple(end.tolist()) for end in ends))
    assert len(expected) > 20
    assert found == expected


@pytest.mark.parametrize("rule", ["threshold", "mass"])
def test_ring_is_the_gaussians_level_line(rule):
    ax = plot_map(make_result(SAMPLES, ((0, 26), (0, 36))), region=rule, marginals=False)
    column, row = line(ax, "2σ ring of the Gaussian fit")
    offset = np.stack([row, column], -1) - CENTER
    level = np.exp(-0.5 * np.einsum("ni,ij,nj->n", offset, PRECISION, offset))
    np.testing.assert_allclose(level, FRACTION, rtol=1e-3)
    # All the way round: it reaches as far as such an ellipse does on each axis.
    reach = np.sqrt(2 * np.log(1 / FRACTION) * np.diag(np.linalg.inv(PRECISION)))
    np.testing.assert_allclose(offset.max(axis=0), reach, rtol=1e-3)
    np.testing.assert_allclose(offset.min(axis=0), -reach, rtol=1e-3)


def test_ring_of_a_volume_is_the_shadow_of_its_region():
    result = make_result([VOLUME])
    for rule, square in (
        ("threshold", 2 * np.log(1 / FRACTION)),
        ("mass", chi2(df=3).ppf(1 - FRACTION)),
    ):
        column, row = line(
            plot_map(result, region=rule, marginals=False), "2σ ring of the Gaussian fit"
        )
        np.testing.assert_allclose(
            0.3 * (row - 7) ** 2 + 0.2 * (column - 9) ** 2, square, rtol=1e-3
        )


def test_a_map_without_gaussian_is_drawn_without():
    ax = plot_map(make_result([np.ones((8, 8))]))
    assert not any("Gaussian" in label for label in labels(ax))
    assert "R²" not in caption(ax)
    assert all(not one.lines[0].get_label().startswith("Gaussian") for one in profiles(ax))
    assert [len(one.lines) for one in profiles(ax)] == [2, 2]  # the box's edges alone
    assert "ERF 8.0 px, 100 % of the theoretical 8 × 8 px" in caption(ax)


def draw_of(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.random(shape) ** 6


WIDE = gaussian((26, 36), CENTER, np.eye(2) / 40.0**2)
BELLS = {
    "bell": (BELL, BOX, True),
    "noise": (draw_of(np.random.default_rng(0), (26, 36)), ((0, 26), (0, 36)), False),
    "wider than the field": (WIDE, BOX, False),
    "line": (LINE, ((12, 35),), True),
    "noisy line": (draw_of(np.random.default_rng(3), (40,)), ((0, 40),), False),
}


@pytest.mark.parametrize("case", BELLS)
def test_a_gaussian_is_drawn_where_it_says_something(case):
    values, box, drawn = BELLS[case]
    result = make_result([values], box)
    assert result.compare().is_bell == drawn
    ax = plot_map(result)
    assert any("Gaussian" in label for label in labels(ax)) == drawn
    assert all((len(one.lines) == 3) == drawn for one in profiles(ax))
    # How good the fit is is always written.
    assert "Gaussian fit R²" in caption(ax)


@pytest.mark.parametrize(
    ("mask", "faded"),
    [(np.ones((6, 6)), False), (np.eye(6)[::-1], True), (np.indices((6, 6)).sum(axis=0) % 2, True)],
    ids=["square", "diagonal", "specks"],
)
def test_the_outline_of_specks_is_faint(mask, faded):
    # A square of n pixels has 4 sqrt(n) edges, n pixels apart from each other 4 n.
    outline = child(plot_map(make_result([mask]), marginals=False).collections, LineCollection)
    pixels = mask.sum()
    calm = 1.0 if not faded else 2 * 4 * np.sqrt(pixels) / (4 * pixels)
    assert outline.get_alpha() == pytest.approx(max(calm, 0.55))
    assert outline.get_linewidth()[0] == pytest.approx(1.2 if calm * 0.4 * 48 > 1.2 else 0.5)


# What stands around it


def test_colour_bar_marks_the_level_of_the_region():
    result = make_result(SAMPLES, BOX)
    ax = plot_map(result)
    bar = ax.images[0].colorbar.ax
    assert bar in ax.child_axes
    assert bar.get_ylim() == pytest.approx((0, BELL.max()))
    (level,) = {float(value) for one in bar.lines for value in one.get_ydata()}
    assert level == result.region().level == pytest.approx(FRACTION * BELL.max())


def test_profiles_are_the_sums_over_the_other_axis():
    ax = plot_map(make_result(SAMPLES, BOX))
    columns, rows = profiles(ax)
    for one, axis in ((columns, 1), (rows, 0)):
        expected = BELL.sum(axis=1 - axis)
        values, edges, baseline = child(one.patches, StepPatch).get_data()
        np.testing.assert_allclose(values, expected, rtol=1e-12)
        np.testing.assert_array_equal(edges, np.arange(len(expected) + 1) - 0.5)
        assert baseline == 0
        bell, *_ = (np.array(found.get_data()) for found in one.lines)
        at, height = bell if axis else bell[::-1]
        np.testing.assert_array_equal(at, np.arange(len(expected)))
        # The map is a Gaussian: its fit has the same sums.
        np.testing.assert_allclose(height, expected, rtol=1e-4, atol=1e-4)
        dashed = [set(found.get_data()[1 - axis]) for found in one.lines[1:]]
        assert dashed == [{BOX[axis][0] - 0.5}, {BOX[axis][1] - 0.5}]
    # They lie along the image's own axes, whatever is shown.
    ax.set_xlim(4, 9)
    ax.set_ylim(8, 2)
    assert (columns.get_xlim(), rows.get_ylim()) == ((4, 9), (8, 2))


def test_profiles_can_be_left_out():
    ax = plot_map(make_result(SAMPLES, BOX), marginals=False)
    assert profiles(ax) == []
    assert ax.child_axes == [ax.images[0].colorbar.ax]


def test_title_legend_and_caption():
    result = make_result(SAMPLES, BOX, layer="stage2/conv", definition="luo2016-squared", dead=1)
    ax = plot_map(result)
    assert ax.get_title() == "stage2/conv, unit (12, 18)"
    assert labels(ax) == [
        "2σ region, above 4.55 % of the peak",
        "2σ ring of the Gaussian fit",
        "theoretical field",
        "centre of the field",
    ]
    size = np.sqrt(np.count_nonzero(FRACTION * BELL.max() < BELL))
    share = 100 * size / np.sqrt(19 * 22)
    assert caption(ax) == (
        "definition luo2016-squared, 3 samples (33 % dead)\n"
        f"ERF {size:.1f} px, {share:.0f} % of the theoretical 19 × 22 px; "
        "Gaussian fit R² = 1.00"
    )


@pytest.mark.parametrize("samples", [SAMPLES, [LINE] * 2])
def test_a_linear_unit_is_called_so_and_has_no_error(samples):
    result = make_result(samples, dead=0)
    assert "linear" not in caption(plot_map(result))
    ax = plot_map(dataclasses.replace(result, linear=True))
    count = len(samples)
    assert caption(ax).startswith(f"definition luo2016, {count} samples of a linear unit\n")
    assert "±" not in caption(ax) + "".join(labels(ax))


def test_a_picture_of_a_part_shows_it_in_its_place():
    whole = make_result(SAMPLES, BOX)
    slices = (slice(None), *(slice(*pair) for pair in BOX))
    sums = np.zeros_like(whole.block_sums)
    sums[slices] = whole.block_sums[slices]
    parts = (
        dataclasses.replace(whole, block_sums=sums),
        dataclasses.replace(whole, block_sums=sums[slices], part=BOX),
    )
    one, other = (plot_map(part, margin=None) for part in parts)
    np.testing.assert_array_equal(one.images[0].get_array(), other.images[0].get_array())
    outlines = [child(ax.collections, LineCollection).get_segments() for ax in (one, other)]
    np.testing.assert_array_equal(*outlines)
    assert caption(one) == caption(other)


def test_region_by_mass_gives_its_size():
    result = make_result(SAMPLES, BOX)
    values = np.sort(BELL.ravel())[::-1]
    count = 1 + np.searchsorted(np.cumsum(values) / values.sum(), 1 - FRACTION)
    label = f"2σ region, 95.45 % of the mass: {np.sqrt(count):.1f} px"
    assert label in labels(plot_map(result, region="mass", marginals=False))


def test_one_sample_has_no_error():
    ax = plot_map(make_result([BELL], BOX), marginals=False)
    assert "definition luo2016, 1 sample\n" in caption(ax)
    assert "±" not in caption(ax)


# What is shown


@pytest.mark.parametrize(
    ("box", "margin", "columns", "rows"),
    [
        (((90, 110), (40, 70)), 0.5, (24.5, 84.5), (124.5, 74.5)),
        (((90, 110), (40, 70)), 0, (39.5, 69.5), (109.5, 89.5)),
        (((-10, 20), (40, 70)), 0.5, (24.5, 84.5), (34.5, -0.5)),
        (((90, 110), (40, 70)), None, (-0.5, 159.5), (199.5, -0.5)),
        # Nearly as large as the input: all of it. Long and thin: one axis is worth it.
        (((30, 170), (20, 140)), 0.1, (-0.5, 159.5), (199.5, -0.5)),
        (((50, 54), (0, 160)), 0.1, (-0.5, 159.5), (69.5, 33.5)),
    ],
)
def test_a_small_field_is_shown_large(box, margin, columns, rows):
    center = tuple((start + stop - 1) / 2 for start, stop in box)
    values = gaussian((200, 160), center, np.eye(2) / 9)
    ax = plot_map(make_result([values], box), margin=margin, marginals=False)
    assert (ax.get_xlim(), ax.get_ylim()) == (columns, rows)
    # The full map is there all the same.
    assert ax.images[0].get_array().shape == (200, 160)


def test_slim_images_are_stretched():
    ax = plot_map(make_result([LINE[None]]))
    draw(ax)
    extent = ax.get_window_extent()
    assert extent.width / extent.height == pytest.approx(6)


@pytest.mark.parametrize(
    ("maps", "layer", "scale"),
    [
        ([LINE] * 2, LONG, "linear"),
        ([LINE] * 2, 75 * "x", "log"),
        (SAMPLES, LONG, "log"),
        (SAMPLES, 75 * "x", "linear"),
        ([BELL.T], LONG, "sqrt"),
        ([VOLUME] * 2, LONG, "linear"),
        ([LINE[None]], LONG, "linear"),
        ([LINE[:, None]], 75 * "x", "linear"),
    ],
)
def test_everything_fits_and_nothing_overlaps(maps, layer, scale):
    check_room(plot_map(make_result(maps, layer=layer), scale=scale))


@pytest.mark.parametrize(
    ("maps", "layout"),
    [
        ([LINE] * 2, "constrained"),
        (SAMPLES, "constrained"),
        (SAMPLES, "tight"),
        ([LINE[:, None]], "constrained"),
    ],
)
def test_everything_fits_on_given_axes(maps, layout):
    _, ax = plt.subplots(figsize=(6.4, 6.4), layout=layout)
    check_room(plot_map(make_result(maps, layer=LONG), ax=ax))
    assert ax.get_title().count("\n") <= 1


def check_room(ax: Axes) -> None:
    """Nothing is cut off by the figure's edge; texts and axes keep off each other."""
    figure = draw(ax)
    bounds, size = figure.get_tightbbox(), figure.get_size_inches()
    assert (bounds.min >= -0.01).all()
    assert (bounds.max <= size + 0.01).all()
    assert (size < 7.2).all()
    extents = {
        "image": ax.get_window_extent(),
        "title": ax.title.get_window_extent(),
        "label": ax.xaxis.label.get_window_extent(),
        "legend": ax.get_legend().get_window_extent(),
        "caption": ax.texts[0].get_window_extent(),
        **{f"inset {k}": one.get_window_extent() for k, one in enumerate(ax.child_axes)},
    }
    for (first, one), (second, other) in combinations(extents.items(), 2):
        apart = max(one.x0 - other.x1, other.x0 - one.x1, one.y0 - other.y1, other.y0 - one.y1)
        assert apart > -0.5, f"{first} overlaps {second}"


# One and three axes


def test_a_sequence_is_a_curve():
    samples = np.stack([0.8 * LINE, LINE, 1.2 * LINE])
    result = make_result(samples, ((12, 35),))
    ax = plot_map(result)
    values, edges, _ = steps(ax, "map")
    np.testing.assert_allclose(values, LINE, rtol=1e-12)
    np.testing.assert_array_equal(edges, np.arange(41) - 0.5)
    # The standard error of a mean of three.
    error = samples.std(axis=0, ddof=1) / np.sqrt(3)
    high, _, low = steps(ax, "± standard error")
    np.testing.assert_allclose(high, LINE + error, rtol=1e-9)
    np.testing.assert_allclose(low, LINE - error, rtol=1e-9)
    inside, *_ = steps(ax, "2σ region, above 4.55 % of the peak")
    np.testing.assert_array_equal(np.isfinite(inside), FRACTION * LINE.max() < LINE)
    np.testing.assert_allclose(line(ax, "level of the region")[1], FRACTION * LINE.max())
    at, height = line(ax, "Gaussian fit")
    np.testing.assert_allclose(height, LINE, atol=1e-5)
    np.testing.assert_array_equal(at, np.arange(40))
    assert set(line(ax, "centre of the field")[0]) == {23}
    (span,) = [one for one in ax.patches if one.get_label() == "theoretical field"]
    assert (span.get_x(), span.get_width()) == (11.5, 23)
    assert ax.get_xlabel() == "input position (px)"
    assert "theoretical 23 px" in caption(ax)


@pytest.mark.parametrize("count", [1, 5])
def test_equal_samples_have_no_band_and_no_error(count):
    ax = plot_map(make_result([LINE] * count))
    assert "± standard error" not in labels(ax)
    assert "±" not in caption(ax)


@pytest.mark.parametrize(("scale", "name"), [("sqrt", "function"), ("log", "log")])
def test_a_sequence_has_scales(scale, name):
    ax = plot_map(make_result([LINE] * 2), scale=scale)
    assert ax.get_yscale() == name
    assert ax.get_ylim()[0] == pytest.approx(1e-4 * LINE.max() if scale == "log" else 0)
    draw(ax)


def test_a_volume_is_summed_over_its_first_axis():
    box = ((2, 7), (3, 12), (4, 14))
    result = make_result([VOLUME], box)
    ax = plot_map(result, margin=None)
    np.testing.assert_allclose(ax.images[0].get_array(), VOLUME.sum(axis=0), rtol=1e-12)
    rectangle = child(ax.patches, Rectangle)
    assert rectangle.get_xy() == (3.5, 2.5)
    assert (rectangle.get_width(), rectangle.get_height()) == (10, 9)
    column, row = line(ax, "centre of the field")
    assert (row[0], column[0]) == (7, 8.5)
    columns, rows = profiles(ax)
    for one, kept in ((columns, 2), (rows, 1)):
        others = tuple(axis for axis in range(3) if axis != kept)
        values, *_ = child(one.patches, StepPatch).get_data()
        np.testing.assert_allclose(values, VOLUME.sum(axis=others), rtol=1e-12)
    segments = np.array(child(ax.collections, LineCollection).get_segments())
    shadow = np.argwhere((FRACTION * VOLUME.max() < VOLUME).any(axis=0))
    np.testing.assert_array_equal(segments.min(axis=(0, 1))[::-1], shadow.min(axis=0) - 0.5)
    np.testing.assert_array_equal(segments.max(axis=(0, 1))[::-1], shadow.max(axis=0) + 0.5)
    assert "map summed over the input's first axis" in caption(ax)
    assert "5 × 9 × 10 px" in caption(ax)

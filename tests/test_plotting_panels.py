"""The pictures of panels: drawn from frames alone, with all that was measured in them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from keras_erf.errors import InvalidInputError
from keras_erf.experiments import Panel
from keras_erf.plotting import plot_panel


def make_maps(conditions: list[dict], side: int = 5) -> pd.DataFrame:
    rows, columns = np.indices((side, side))
    parts = []
    for number, about in enumerate(conditions):
        values = np.full((side, side), 0.1 * (number + 1))
        values[side // 2, side // 2] = 1
        grid = {"row": rows.ravel(), "column": columns.ravel(), "value": values.ravel()}
        parts.append(pd.DataFrame({**about, **grid}))
    return pd.concat(parts, ignore_index=True)


def make_panel(conditions: list[dict], trf: list[int] | None = None) -> Panel:
    frame = pd.DataFrame(
        [
            {
                **about,
                "definition": "luo2016",
                "samples": 7,
                "trf_size": float(size),
                "erf_size": 3.0 + number,
                "erf_size_error": 0.25,
            }
            for number, (about, size) in enumerate(
                zip(conditions, trf or [5] * len(conditions), strict=True)
            )
        ]
    )
    return Panel("toy", "A toy", frame, make_maps(conditions), "nothing")


def maps_in(figure: Figure):
    return [ax for ax in figure.axes if ax.images]


def test_two_conditions_make_rows_and_columns():
    conditions = [
        {"depth": depth, "weights": kind} for depth in (5, 10) for kind in ("Uniform", "ReLU")
    ]
    figure = plot_panel(make_panel(conditions))
    titles = [ax.get_title() for ax in maps_in(figure)]
    assert titles[0] == "5 layers · Uniform\n3.0 ± 0.2 of 5 px"
    assert titles[3] == "10 layers · ReLU\n6.0 ± 0.2 of 5 px"
    boxes = [ax.get_subplotspec() for ax in maps_in(figure)]
    assert [(one.rowspan.start, one.colspan.start) for one in boxes] == [
        (0, 0), (0, 1), (1, 0), (1, 1),
    ]  # fmt: skip
    # Each has its own map, by its condition.
    corners = [float(ax.images[0].get_array()[0, 0]) for ax in maps_in(figure)]
    np.testing.assert_allclose(corners, [0.1, 0.2, 0.3, 0.4])


def test_maps_of_a_row_have_one_scale_of_pixels():
    conditions = [{"structure": name} for name in ("small", "large")]
    panel = make_panel(conditions, trf=[5, 9])
    maps = pd.concat([make_maps(conditions[:1], 5), make_maps(conditions[1:], 9)])
    panel = Panel("toy", "A toy", panel.frame, maps, "")
    figure = plot_panel(panel)
    first, second = maps_in(figure)
    assert first.get_xlim() == second.get_xlim()
    assert first.images[0].get_extent() == [-2.5, 2.5, 2.5, -2.5]
    assert second.images[0].get_extent() == [-4.5, 4.5, 4.5, -4.5]
    assert "7 runs, luo2016" in figure.get_suptitle()


def laws() -> Panel:
    depths = [5, 10, 20, 40]
    rows, fits = [], []
    for measure, factor in (("|g|", 2.0), ("g²", 1.5)):
        for depth in depths:
            size = factor * depth**0.5
            rows.append(
                {
                    "measure": measure,
                    "depth": depth,
                    "definition": "luo2016",
                    "samples": 20,
                    "trf_size": 2 * depth + 1.0,
                    "erf_size": size,
                    "erf_size_error": 0.1,
                    "ratio": size / (2 * depth + 1),
                    "ratio_error": 0.01,
                    "predicted_size": 1.1 * size,
                    "predicted_ratio": 0.4,
                }
            )
        for quantity, slope, poster in (("growth", 0.5, 0.56), ("shrinkage", -0.5, -0.43)):
            fits.append(
                {
                    "measure": measure, "quantity": quantity, "exponent": slope, "low": slope - 0.1,
                    "high": slope + 0.1, "prefactor": factor, "predicted": 0.48, "poster": poster,
                }
            )  # fmt: skip
    conditions = [{"measure": "|g|", "depth": 40}, {"measure": "g²", "depth": 40}]
    return Panel(
        "growth", "Growth", pd.DataFrame(rows), make_maps(conditions), "", pd.DataFrame(fits)
    )


def test_laws_are_lines_on_logarithmic_axes():
    panel = laws()
    growth, shrinkage = plot_panel(panel).axes
    for ax, quantity in ((growth, "growth"), (shrinkage, "shrinkage")):
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        texts = [one.get_text() for one in ax.get_legend().get_texts()]
        slope = "0.500 (0.40 to 0.60)" if quantity == "growth" else "-0.500 (-0.60 to -0.40)"
        assert texts[0] == f"|g|: slope {slope}"
        assert texts[1] == "   theory: 0.480"
        assert texts[-1] == f"poster's slope: {'0.56' if quantity == 'growth' else '-0.43'}"
    drawn = np.asarray(growth.containers[0].lines[0].get_ydata(), float)
    np.testing.assert_allclose(drawn, 2.0 * np.sqrt([5, 10, 20, 40]))
    line = next(one for one in growth.lines if "slope 0.500" in str(one.get_label()))
    np.testing.assert_allclose(line.get_ydata(), drawn)
    poster = next(one for one in growth.lines if "poster" in str(one.get_label()))
    at, values = (np.asarray(one, float) for one in poster.get_data())
    log = np.polyfit(np.log(at), np.log(values), 1)
    assert log[0] == pytest.approx(0.56)


def test_everything_is_inside_the_figure():
    conditions = [{"name": f"a definition {number}"} for number in range(6)]
    for panel in (laws(), make_panel(conditions)):
        figure = plot_panel(panel)
        figure.canvas.draw()
        bounds = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        assert bounds.x0 >= -0.02
        assert bounds.y0 >= -0.02
        assert bounds.x1 <= width + 0.02
        assert bounds.y1 <= height + 0.02
        # Six maps stand in two rows.
        if panel.fits is None:
            assert len({ax.get_subplotspec().rowspan.start for ax in maps_in(figure)}) == 2


def test_a_panel_draws_itself():
    assert isinstance(laws().plot(), Figure)


def test_an_empty_panel_is_reported():
    empty = Panel("toy", "A toy", pd.DataFrame(), pd.DataFrame(), "")
    with pytest.raises(InvalidInputError, match="`panel` must hold measurements"):
        plot_panel(empty)

"""Notes of a result: when there are any, and that every surface shows them."""

from __future__ import annotations

import dataclasses
import io
import json

import keras
import numpy as np
import pytest
from keras import layers
from matplotlib import pyplot as plt
from matplotlib.text import Text

import keras_erf
from keras_erf import analysis, plotting
from keras_erf.commands import tables
from keras_erf.errors import InvalidInputError
from keras_erf.measuring.profiling import Profile
from keras_erf.results.effective import EffectiveReceptiveField
from keras_erf.results.notes import SIZE_RULES, UNSEEN, size_rules_disagree

SIDE = 61
AT = np.arange(SIDE) - SIDE // 2
SQUARES = AT[:, None] ** 2 + AT**2
MAPS = {
    # A bell with all its mass near, and a map whose tail holds most of it.
    "bell": np.exp(-SQUARES / (2 * 4.0**2)),
    "cauchy": (1 + SQUARES) ** -1.5,
}
OWN = "weights never trained"
SURFACES = {
    "repr": repr,
    "card": lambda one: one._repr_html_(),
    "summary": lambda one: json.dumps(one.summary()),
    "frame": lambda one: str(one.to_frame()["notes"].iloc[0]),
    "profile": lambda one: repr(profile_of(one)),
    "profile card": lambda one: profile_of(one)._repr_html_(),
    "profile frame": lambda one: profile_of(one).frame["notes"].iloc[0],
    "map": lambda one: texts(lambda: plotting.plot_map(one)),
    "depths": lambda one: texts(lambda: plotting.plot_profile(profile_of(one))),
    "grid": lambda one: texts(lambda: plotting.plot_grid([one])),
    "pair": lambda one: texts(lambda: plotting.plot_pair(one, one)),
    "overlay": lambda one: texts(lambda: plotting.plot_overlay(one, np.ones((SIDE, SIDE)))),
    "radial": lambda one: texts(lambda: plotting.plot_radial(one)),
    "ladder": lambda one: texts(lambda: plotting.plot_ladder(profile_of(one))),
}


@pytest.fixture(scope="module")
def field():
    x = keras.Input((SIDE, SIDE, 1))
    y = layers.Conv2D(1, SIDE, padding="same", name="wide")(x)
    return keras_erf.receptive_field(keras.Model(x, y, name="network"))


def result_of(values: np.ndarray, field, **provenance) -> EffectiveReceptiveField:
    """A result of two samples that both have this map."""
    about = {
        "model": "network",
        "weights": "w",
        "training": False,
        "runs": [{"inputs": "normal noise", "seed": 0, "samples": 2, "skipped": []}],
        "versions": {"keras_erf": "0"},
        **provenance,
    }
    sums = np.stack([values, values])
    definition = keras_erf.DEFINITIONS["luo2016"]
    return EffectiveReceptiveField(sums, np.array([1, 1]), 0, field, definition, about)


def profile_of(result: EffectiveReceptiveField) -> Profile:
    return Profile(results=(result, result), depths=(1, 2))


def texts(draw) -> str:
    """All that a picture says, lines joined."""
    plt.close("all")
    draw()
    said = " ".join(one.get_text() for one in plt.gcf().findobj(Text))
    plt.close("all")
    return said.replace("\n", " ")


def printed(capsys, show) -> str:
    capsys.readouterr()
    show()
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("size", "mass_size", "disagree"),
    [
        (24.0, 204.0, True),
        (204.0, 24.0, True),
        (24.0, 36.0, False),
        (24.0, 36.1, True),
        # One pixel, and the ring of eight around it.
        (1.0, 3.0, False),
        (4.0, 6.1, True),
        (10.0, 10.0, False),
    ],
)
def test_sizes_disagree_beyond_a_factor_and_a_ring_of_pixels(size, mass_size, disagree):
    assert size_rules_disagree(size, mass_size) is disagree


def test_notes_follow_the_map_and_the_provenance(field):
    bell, cauchy = (result_of(MAPS[name], field) for name in ("bell", "cauchy"))
    # On a Gaussian both rules are one; of the other map 61 px hold the tail.
    assert bell.notes == ()
    assert analysis.mass_region(cauchy.map).size > 1.5 * analysis.erf_size(cauchy.map) + 2
    assert cauchy.notes == (SIZE_RULES,)
    assert len(SIZE_RULES.split()) == 3
    noted = result_of(MAPS["bell"], field, notes=[OWN, OWN], unseen=["peaks", "sign"])
    assert noted.notes == (OWN, f"{UNSEEN}: peaks, sign")
    many = result_of(MAPS["bell"], field, unseen=list("abcde"))
    assert many.notes == (f"{UNSEEN}: a, b, c, 2 more",)


@pytest.mark.parametrize("surface", SURFACES)
def test_every_surface_shows_the_notes_and_only_where_there_are_any(surface, field):
    show = SURFACES[surface]
    both = result_of(MAPS["cauchy"], field, notes=[OWN])
    assert SIZE_RULES in show(both)
    assert OWN in show(both)
    without = show(result_of(MAPS["bell"], field))
    assert SIZE_RULES not in without
    assert OWN not in without


def test_the_radial_legend_leaves_notes_of_all_to_the_title_and_stays_inside(field):
    long = "a_layer_of_a_name_that_is_long"
    pair = {
        f"{long}_{name}": result_of(MAPS[name], field, notes=[OWN, "batch norms uncalibrated"])
        for name in ("bell", "cauchy")
    }
    axes = plotting.plot_radial(pair)
    axes.figure.canvas.draw()
    legend = axes.get_legend()
    labels = [" ".join(one.get_text().split()) for one in legend.get_texts()]
    assert axes.get_title() == f"{OWN}, batch norms uncalibrated"
    assert not any(OWN in label for label in labels)
    assert [SIZE_RULES in label for label in labels] == [False, True, False]
    frame, inside = legend.get_window_extent(), axes.get_window_extent()
    assert inside.x0 <= frame.x0
    assert frame.x1 <= inside.x1
    plt.close("all")


def test_tables_of_the_commands_mark_the_size_and_print_the_notes(field, capsys, tmp_path):
    noted = result_of(MAPS["cauchy"], field, notes=[OWN])
    file = tmp_path / "file"
    one = printed(
        capsys,
        lambda: tables.print_results(
            "network", [(noted, file, file)], guessed=False, centered=True
        ),
    )
    assert f"{noted.size:.1f} *" in one
    assert f"* {SIZE_RULES} * {OWN}" in one
    every = printed(
        capsys, lambda: tables.print_profile("network", profile_of(noted), (file, file))
    )
    assert f"* {SIZE_RULES} (2 of 2 layers)" in every
    plain = result_of(MAPS["bell"], field)
    bare = printed(
        capsys,
        lambda: tables.print_results(
            "network", [(plain, file, file)], guessed=False, centered=True
        ),
    )
    assert "*" not in bare


def test_the_report_shows_the_notes_in_head_table_and_data(field, tmp_path):
    noted = dataclasses.replace(profile_of(result_of(MAPS["cauchy"], field, notes=[OWN])))
    page = keras_erf.report(noted, tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"<span>{SIZE_RULES} (2 of 2 layers)</span>" in page
    assert page.count(f'<abbr title="{SIZE_RULES}; {OWN}">*</abbr>') == 2
    assert page.count(f'"notes":["{SIZE_RULES}","{OWN}"]') == 2


def test_a_file_keeps_the_notes_of_the_measurement(field, tmp_path):
    noted = result_of(MAPS["bell"], field, notes=[OWN], unseen=["sign"])
    noted.save(tmp_path / "noted.npz")
    assert keras_erf.load(tmp_path / "noted.npz").notes == noted.notes


@pytest.mark.parametrize("key", ["notes", "unseen"])
@pytest.mark.parametrize("words", ["text", [1], {"a": "b"}, None])
def test_a_file_whose_notes_are_no_texts_is_refused(field, tmp_path, key, words):
    path = tmp_path / "wrong.npz"
    result_of(MAPS["bell"], field, notes=[OWN], unseen=["sign"]).save(path)
    with np.load(path) as file:
        parts = dict(file)
    about = json.loads(str(parts["about"]))
    about["provenance"][key] = words
    buffer = io.BytesIO()
    np.savez(buffer, **{**parts, "about": np.array(json.dumps(about))})
    path.write_bytes(buffer.getvalue())
    with pytest.raises(InvalidInputError, match="provenance"):
        keras_erf.load(path)

"""The report: what its page holds, that it escapes, matches, and says what it cannot do."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

import keras_erf
from keras_erf import Profile, growth, profile, report
from keras_erf.errors import InvalidInputError
from keras_erf.files.writing import check_file
from keras_erf.reporting.lanes import lanes_of
from keras_erf.reporting.matching import matched
from keras_erf.reporting.packing import LEVELS, MapPanel, packed, steps_of
from keras_erf.reporting.sentences import change
from keras_erf.wording import with_error
from tests.commands import run
from tests.pages import HOSTILE, SCRIPT, Page, flat, hostile, line, unpacked, volume


@pytest.fixture(scope="module")
def found():
    return flat()


@pytest.fixture(scope="module")
def page(found, tmp_path_factory):
    return Page(report(found, tmp_path_factory.mktemp("page") / "page.html"))


# -- what the page holds --


def test_figures_are_the_results_own(found, page):
    (model,) = page.data["models"]
    assert model["model"] == "flat"
    for shown, result, depth in zip(model["layers"], found.results, found.depths, strict=True):
        # Of what is not a number JSON has none.
        summary = json.loads(json.dumps(result.summary()), parse_constant=lambda _: None)
        assert {name: shown[name] for name in summary} == summary
        assert shown["depth"] == depth
        assert shown["box"] == [list(pair) for pair in result.receptive_field.box()]
        assert shown["output_size"] == list(result.receptive_field.output_size)
        about = model["provenances"][shown["provenance"]]
        assert about == json.loads(json.dumps(result.provenance))


@pytest.mark.parametrize(("make", "pairs"), [
    (flat, [(0, 1)]), (line, [(0,)]), (volume, [(0, 1), (0, 2), (1, 2)]),
])  # fmt: skip
def test_maps_are_the_results_own_but_for_rounding(make, pairs, tmp_path):
    made = make()
    data = Page(report(made, tmp_path / "page.html")).data
    for shown, result in zip(data["models"][0]["layers"], made.results, strict=True):
        assert [tuple(one["axes"]) for one in shown["panels"]] == pairs
        for panel in shown["panels"]:
            values, mask = unpacked(panel, data["levels"])
            hidden = tuple(set(range(result.map.ndim)) - set(panel["axes"]))
            whole, region = result.map.sum(axis=hidden), result.region().mask.any(axis=hidden)
            cut = tuple(
                slice(start, start + size)
                for start, size in zip(panel["start"], panel["pixels"], strict=True)
            )
            # Half a level of the root: d(v) = 2 sqrt(v) / 2 / LEVELS, of a peak of 1.
            bound = np.sqrt(whole[cut] / whole.max()) / LEVELS + LEVELS**-2.0
            assert (abs(values - whole[cut]) <= whole.max() * bound).all()
            assert (mask == region[cut]).all()
            # Nothing is left out.
            assert whole[cut].sum() == pytest.approx(whole.sum(), rel=1e-12)
            assert region[cut].sum() == region.sum()


def test_the_network_is_that_of_the_graph(found, page):
    (model,) = page.data["models"]
    assert model["edges"] == [list(edge) for edge in found.edges]
    names = [one.layer for one in found.results]
    assert names == ["stem", "branch", "add", "pool", "end"]
    # The branch steps aside while the stem waits for the sum.
    assert [one["lane"] for one in model["layers"]] == [0, 1, 0, 0, 0]


def test_no_edge_passes_through_another_layer():
    rng = np.random.default_rng(0)
    for _ in range(50):
        count = int(rng.integers(2, 12))
        edges = [(a, b) for b in range(count) for a in range(b) if rng.random() < 0.3]
        lanes = lanes_of(count, edges)
        for start, stop in edges:
            assert all(lanes[place] != lanes[start] for place in range(start + 1, stop))
    assert lanes_of(4, [(0, 1), (1, 2), (2, 3)]) == [0, 0, 0, 0]


def test_it_says_in_words_what_came_out(found, page):
    first, last = found.results[0], found.results[-1]
    text = " ".join(page.texts["p"])
    assert f"The unit of end can see 10 × 10 px; in effect it uses {last.size:.1f} ±" in text
    assert f"from {100 * first.ratio:.0f} % at stem to {100 * last.ratio:.0f} %." in text
    assert page.texts["title"] == ["Receptive fields of flat"]
    assert "20 samples: normal noise" in page.texts["span"]


def test_the_table_needs_no_script(found, page):
    cells = [text.strip() for name in ("td", "button") for text in page.texts[name]]
    for result in found.results:
        assert result.layer in cells
        error = None if result.constant else result.size_error
        assert with_error(result.size, error) in cells


def test_an_expected_profile_has_its_page(tmp_path):
    grown = growth(keras_erf.zoo.build("plain", depth=3, input_shape=(16, 16)))
    made = Page(report(grown, tmp_path / "page.html"))
    assert "expected of random weights" in made.texts["span"]
    assert [one["expected"] for one in made.data["models"][0]["layers"]] == ["random"] * 3


def test_layers_that_were_left_out_are_reported(found, tmp_path):
    less = replace(found, skipped=(("gone", "no <i>gradient</i>"),))
    made = Page(report(less, tmp_path / "page.html"))
    assert "1 layer left out" in made.texts["summary"]
    assert not [tag for tag, _ in made.elements if tag == "i" and tag in made.texts.get("li", [])]
    assert "&lt;i&gt;gradient" in made.text


def test_changes():
    assert [change(one) for one in (1.12, 0.96, 1.0, 1.001)] == ["+12 %", "−4 %", "0 %", "0 %"]


# -- nothing of the model becomes a part of the page --


def test_names_and_titles_are_escaped(tmp_path):
    made = hostile()
    page = Page(report(made, tmp_path / "page.html", compare=made, title=HOSTILE))
    tags = [tag for tag, _ in page.elements]
    # Data and script; a name that broke out would make more of them.
    assert tags.count("script") == 2
    assert "img" not in tags
    assert not [tag for tag, given in page.elements if "onerror" in given or "onload" in given]
    assert "".join(page.texts["title"]) == HOSTILE
    assert page.data["models"][0]["layers"][0]["layer"] == SCRIPT
    (data,) = re.findall(r'id="data">(.*?)</script>', page.text, re.S)
    assert not set("<>&") & set(data)
    assert "<img src" not in page.text
    assert "<script>alert" not in page.text


def test_the_page_allows_its_own_script_alone(page):
    (policy,) = [
        given["content"] for tag, given in page.elements
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy"
    ]  # fmt: skip
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for kind in ("script", "style"):
        assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", rules[f"{kind}-src"])
    # Nothing is named that could be fetched, nor run from an attribute.
    for tag, given in page.elements:
        assert not {"src", "href", "style", "action"} & set(given), tag
        assert not [name for name in given if name.startswith("on")], tag


# -- how maps are kept --


def panel(*shape: int) -> MapPanel:
    values = np.random.default_rng(0).random(shape)
    return MapPanel(tuple(range(len(shape))), (0,) * len(shape), values, values > 0.5)


def test_large_maps_become_coarser_small_ones_do_not(monkeypatch):
    panels = [panel(100, 100), panel(10, 10), panel(60, 90)]
    assert steps_of(panels) == [1, 1, 1]
    monkeypatch.setattr("keras_erf.reporting.packing.CELLS", 5000)
    steps = steps_of(panels)
    assert steps[1] == 1 < steps[0]
    cells = [packed(one, step)["shape"] for one, step in zip(panels, steps, strict=True)]
    assert 2000 < sum(a * b for a, b in cells) <= 5000


def test_cells_are_means_over_blocks():
    one = panel(7, 4)
    cells = packed(one, 3)
    assert cells["shape"] == (3, 2)
    assert cells["pixels"] == (7, 4)
    values, _ = unpacked(cells, LEVELS)
    expected = [
        [one.values[a : a + 3, b : b + 3].mean() for b in (0, 3)] for a in (0, 3, 6)
    ]  # by hand
    np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_a_page_of_large_maps_stays_small(found, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_erf.reporting.packing.CELLS", 100)
    small = report(found, tmp_path / "small.html")
    shapes = [one["panels"][0]["shape"] for one in Page(small).data["models"][0]["layers"]]
    assert sum(a * b for a, b in shapes) <= 100
    assert "means over blocks of up to" in small.read_text(encoding="utf-8")


# -- comparison --


def renamed(made: Profile, *names: str) -> Profile:
    results = [
        replace(one, receptive_field=replace(one.receptive_field, layer=name))
        for one, name in zip(made.results, names, strict=False)
    ]
    return Profile(tuple(results), made.depths[: len(results)])


def test_the_same_network_is_matched_layer_by_layer(found, tmp_path):
    page = Page(report(found, tmp_path / "page.html", compare=flat(1)))
    assert page.data["pairs"] == [0, 1, 2, 3, 4]
    assert not [text for text in page.texts["p"] if "counterpart" in text or "order" in text]
    assert "px in B" in " ".join(page.texts["p"])


def test_names_that_keras_numbered_anew_are_matched_by_order(found):
    # By name `branch` would meet what is not its counterpart.
    other = renamed(found, "branch", "branch_1", "add_1", "pool", "end")
    pairs, notes = matched(found, other)
    assert pairs == [0, 1, 2, 3, 4]
    assert notes == ["Layers are matched by their order: the names of 3 of 5 differ."]


def test_other_networks_are_matched_by_name(found):
    other = renamed(Profile(found.results[1:], found.depths[1:]), "branch", "new", "pool", "end")
    pairs, notes = matched(found, other)
    assert pairs == [None, 0, None, 2, 3]
    assert notes == [
        "2 layers of the first profile have no counterpart in the second.",
        "1 layer of the second profile has none in the first.",
    ]


def test_without_a_common_name_order_goes_as_far_as_it_can(found, tmp_path):
    other = renamed(found, "a", "b", "c")
    pairs, notes = matched(found, other)
    assert pairs == [0, 1, 2, None, None]
    assert "the names of 3 of 5 differ" in notes[0]
    page = Page(report(found, tmp_path / "page.html", compare=other))
    assert notes[0] in page.texts["p"]


# -- mistakes --


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda one, at: report(one.results[0], at), "`profile` must be a `Profile`"),
        (lambda one, at: report(Profile((), ()), at), "`profile` must hold at least one layer"),
        (lambda one, at: report(one, at, compare=3), "`compare` must be a `Profile`"),
        (lambda one, at: report(one, at, title=3), "`title` must be a text. Received: title=3"),
        (lambda one, at: report(one, ""), "`path` must be the path of a file"),
        (lambda one, at: report(one, at.parent), "`path` must be a file, not a folder"),
        (lambda one, at: report(one, at.parent / "no" / "a.html"), "a folder that exists: make"),
    ],
)
def test_mistakes_are_reported_in_one_line(call, says, found, tmp_path):
    with pytest.raises(InvalidInputError, match=re.escape(says)) as error:
        call(found, tmp_path / "page.html")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_reported(tmp_path, monkeypatch):
    def closed(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", closed)
    with pytest.raises(InvalidInputError, match=r"can be written: Permission denied\. Received"):
        check_file(tmp_path / "page.html")


def test_a_page_that_fails_leaves_the_one_before(found, tmp_path, monkeypatch):
    at = tmp_path / "page.html"
    report(found, at)
    before = at.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(InvalidInputError, match="disk full"):
        report(found, at, title="another")
    assert at.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


# -- the command --

SMALL = ["plain", "-o", "depth=3", "-o", "activation=relu", "-o", "input_shape=(16,16)"]


def test_the_command_writes_a_page(tmp_path):
    out = tmp_path / "page.html"
    result = run("report", *SMALL, "--samples", 3, "--out", out, "--title", "A & B")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Report: {out}\n"
    page = Page(out)
    assert page.texts["title"] == ["A & B"]
    shown = page.data["models"][0]["layers"]
    model = keras_erf.zoo.build("plain", depth=3, activation="relu", input_shape=(16, 16))
    assert [one["layer"] for one in shown] == ["conv1", "act1", "conv2", "act2", "conv3"]
    assert shown[-1]["erf_size"] == pytest.approx(keras_erf.probe(model, "conv3", samples=3).size)


def test_the_command_compares(tmp_path):
    out = tmp_path / "page.html"
    asked = ["-l", "stage1_block2_out", "-l", "stage2_block2_out", "--samples", 2]
    result = run(
        "report", "cifar_resnet14", "--weights", "initial", "--compare", "cifar_resnet14",
        *asked, "--out", out, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["report"] == str(out)
    data = Page(out).data
    before, after = ({one["weights"] for one in m["provenances"]} for m in data["models"])
    assert before
    assert not before & after
    assert data["pairs"] == [0, 1]
    assert [one["erf_size"] for one in document["layers"]] == [
        one["erf_size"] for one in data["models"][0]["layers"]
    ]


def test_a_title_names_the_two_models(tmp_path):
    out = tmp_path / "page.html"
    asked = ["--weights", "initial", "--compare", "cifar_resnet14", "-l", "stem_conv"]
    result = run("report", "cifar_resnet14", *asked, "--samples", 1, "--out", out, "--json")
    assert Page(out).texts["title"] == ["A: cifar_resnet14 (initial) and B: cifar_resnet14"]
    document = json.loads(result.stdout)
    assert (document["skipped"], document["compare"]["skipped"]) == ([], [])
    assert [one["layer"] for one in document["compare"]["layers"]] == ["stem_conv"]


def test_a_mistake_about_the_second_model_costs_no_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "keras_erf.measuring.profiling.profiled", lambda *a, **k: pytest.fail("late")
    )
    for options, says in (
        (["-l", "stem_conv"], "`--layer` must be a layer"),
        (["--compare-weights", "best"], "`--compare-weights` of 'plain' must be 'none'"),
    ):
        call = ["cifar_resnet14", "--compare", "plain", *options, "--out", tmp_path / "a.html"]
        result = run("report", *call)
        assert result.exit_code == 2
        assert says in result.stderr
        assert result.stderr.count("\n") == 1


def test_options_of_the_first_model_are_not_given_to_another(tmp_path):
    x = keras.Input((16, 16, 3))
    keras.Model(x, layers.Conv2D(1, 3, name="only")(x)).save(tmp_path / "m.keras")
    out = tmp_path / "page.html"
    result = run("report", *SMALL, "--compare", tmp_path / "m.keras", "--samples", 1, "--out", out)
    assert result.exit_code == 0, result.output
    assert [one["layer"] for one in Page(out).data["models"][1]["layers"]] == ["only"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--out", "no-folder/page.html"], "`--out` must lie in a folder that exists"),
        (["--out", "."], "`--out` must be a file"),
        (["--compare-weights", "none"], "`--compare-weights` is for a second model"),
        (["--tolerance", "2"], "`--tolerance` must be a share"),
        (["--scale", "2"], "--images"),
    ],
)
def test_mistakes_are_found_before_a_model_is_loaded(options, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "keras_erf.named_models.load_model", lambda *a, **k: pytest.fail("too late")
    )
    result = run("report", "plain", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_profile_of_some_layers_is_enough(tmp_path):
    some = profile(keras_erf.zoo.build("plain", depth=2, input_shape=(9, 9)), ["conv2"], samples=1)
    page = Page(report(some, tmp_path / "page.html"))
    assert page.data["models"][0]["edges"] == []
    assert "Over its" not in " ".join(page.texts["p"])

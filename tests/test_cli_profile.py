"""The command `keras-erf profile`, and the options it shares with `analyze`."""

from __future__ import annotations

import csv
import json
import re

import keras
import numpy as np
import pytest

import keras_erf
from keras_erf.definitions import DEFINITIONS
from keras_erf.graph.unrolling import Builder
from keras_erf.measuring import profiling
from keras_erf.measuring.settings import Settings
from tests.commands import PNG, run

# Convolutions with a ReLU behind each but the last.
LAYERS = ["conv1", "act1", "conv2", "act2", "conv3", "act3", "conv4"]
SMALL = ["plain", "-o", "depth=4", "-o", "activation=relu", "-o", "input_shape=(16,16)"]


def test_it_writes_picture_table_and_results(tmp_path):
    out = tmp_path / "out"
    result = run("profile", *SMALL, "--samples", 6, "--out", out)
    assert result.exit_code == 0, result.output
    assert (out / "profile.png").read_bytes().startswith(PNG)
    with (out / "profile.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == LAYERS
    # 1 + 2 n for n layers of 3x3.
    assert [float(row["trf_size"]) for row in rows] == [3, 3, 5, 5, 7, 7, 9]
    expected = keras_erf.probe(
        keras_erf.zoo.build("plain", depth=4, activation="relu", input_shape=(16, 16)),
        "conv3",
        samples=6,
    )
    assert float(rows[LAYERS.index("conv3")]["erf_size"]) == pytest.approx(expected.size)
    kept = {keras_erf.load(one).layer for one in out.glob("*.npz")}
    assert kept == set(LAYERS)
    assert all(name in result.output for name in kept)
    assert f"Table:   {out / 'profile.csv'}" in result.output


def test_json_is_the_only_output(tmp_path):
    result = run(
        "profile", *SMALL, "-l", "conv3", "-l", "conv2", "--samples", 3, "--out", tmp_path, "--json"
    )
    document = json.loads(result.stdout)
    assert [(row["layer"], row["depth"], row["trf_size"]) for row in document["layers"]] == [
        ("conv2", 3, [5, 5]), ("conv3", 5, [7, 7]),
    ]  # fmt: skip
    assert {row["stopped_by"] for row in document["layers"]} == {"samples"}
    assert (document["model"], document["skipped"]) == ("plain", [])
    assert document["results"] == str(tmp_path)


def test_an_interrupted_profile_resumes(tmp_path, monkeypatch):
    measured = []
    measure = profiling.measure

    def interrupted(plan, *args, **options):
        if measured:
            raise KeyboardInterrupt
        measured.extend(target.receptive_field.layer for target in plan.targets)
        return measure(plan, *args, **options)

    monkeypatch.setattr("keras_erf.measuring.grouping.LARGEST", 2)
    monkeypatch.setattr(profiling, "measure", interrupted)
    call = ["profile", *SMALL, "--samples", 3, "--out", tmp_path / "out"]
    first = run(*call)
    assert first.exit_code == 130
    assert first.stderr == (
        "Interrupted. What was measured is kept; the same call resumes from there.\n"
    )
    assert first.stdout == ""
    before = set(measured)
    assert {keras_erf.load(one).layer for one in (tmp_path / "out").glob("*.npz")} == before

    def counted(plan, *args, **options):
        measured.extend(target.receptive_field.layer for target in plan.targets)
        return measure(plan, *args, **options)

    measured.clear()
    monkeypatch.setattr(profiling, "measure", counted)
    assert run(*call).exit_code == 0
    assert set(measured) == set(LAYERS) - before
    assert before


def test_a_folder_of_something_else_is_not_mixed_in(tmp_path):
    assert run("profile", *SMALL, "--samples", 3, "--out", tmp_path).exit_code == 0
    for other, says in (
        (["profile", *SMALL, "--samples", 4], "samples"),
        (["profile", *SMALL[:-2], "--samples", 3, "-o", "activation=tanh"], "model"),
    ):
        result = run(*other, "--out", tmp_path)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"Error: `--out` holds a profile with other {says}")
        assert result.stderr.count("\n") == 1


MISTAKES = {
    "no such layer": (["-l", "convv"], "Nearest names: conv"),
    "unit outside": (["-l", "conv3", "--unit", "99,0"], "`--unit`"),
    "unit outside of all": (["--unit", "99,0"], "No layer of the model can be measured, conv1"),
    "tolerance": (["--tolerance", "2"], "`--tolerance` must be a share"),
    "tolerance no number": (["--tolerance", "a"], "--tolerance"),
    "samples": (["--samples", "0"], "--samples"),
    "input": (["--input", "nowhere"], "`--input`"),
    "images": (["--images", "no-folder"], "`--images`"),
    "scale of noise": (["--scale", "2"], "--images"),
    "grid": (["--grid", "2x2"], "`--grid` is for layers of tokens"),
    "size": (["--size", "a"], "`--size`"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line_and_status_2(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options, says = MISTAKES[name]
    result = run("profile", "plain", "-o", "depth=3", *options)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", [["--tolerance", "0"], ["--size", "a"], ["--scale", "2"]])
@pytest.mark.parametrize("command", ["analyze", "profile"])
def test_mistakes_are_found_before_the_model_is_loaded(command, option, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "keras_erf.named_models.load_model", lambda *a, **k: pytest.fail("too late")
    )
    assert run(command, "plain", *option, "--out", tmp_path / "out").exit_code == 2


def test_without_a_folder_each_model_has_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("profile", *SMALL, "--samples", 1, "-l", "conv1").exit_code == 0
    assert (tmp_path / "keras-erf-output" / "plain-profile" / "profile.csv").exists()


def test_images_are_profiled(tmp_path, images):
    call = ["profile", "cifar_resnet14", "-l", "stage1_block1_out", "--images", images]
    result = run(*call, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["layers"]
    assert (row["samples"], row["stopped_by"]) == (4, "inputs")
    expected = keras_erf.probe(
        keras_erf.zoo.load("cifar_resnet14"),
        "stage1_block1_out",
        inputs=keras_erf.ImageFolder(images, keras_erf.zoo.preprocess_input("cifar_resnet14")),
    )
    assert row["erf_size"] == pytest.approx(expected.size)


# -- what is shown --


@pytest.mark.parametrize("width", [60, 80])
def test_the_table_fits(width, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    layers = ["stage3_block2_out", "stage2_block1_out", "stem_conv"]
    asked = [part for layer in layers for part in ("-l", layer)]
    result = run("profile", "cifar_resnet14", *asked, "--samples", 3, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    files = ("Picture", "Table", "Results")
    table = [line for line in result.output.splitlines() if not line.startswith(files)]
    assert max(map(len, table)) <= width
    assert len([line for line in table if re.search(r"\d+\.\d ± \d\.\d +\d+ % +", line)]) == 2
    assert all(any(layer in line for line in table) for layer in layers)
    assert "The gradient of 1 layer does not depend on the input" in result.output


def test_layers_left_out_are_named(tmp_path):
    x = keras.Input((12, 12, 1))
    y = keras.layers.Conv2D(4, 3, activation="relu", name="good")(x)
    dead = keras.layers.Conv2D(4, 1, kernel_initializer="zeros", name="dead")(y)
    keras.Model(x, [y, dead]).save(tmp_path / "m.keras")
    result = run("profile", tmp_path / "m.keras", "--samples", 2, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "1 layer was left out: dead: " in result.output


# -- what stopped it --

STOPS = {
    "reached": (
        ["--tolerance", "0.5", "--batch-size", "32"],
        "tolerance",
        "Its size is known to 50 % after 32 samples.",
    ),
    "not reached": (
        ["--tolerance", "1e-9", "--samples", "20"],
        "samples",
        "Its size is not known to 1e-07 % with all of 20 samples.",
    ),
    "not asked for": (["--samples", "20"], "samples", None),
}


@pytest.mark.parametrize("case", STOPS)
def test_the_reason_why_a_measurement_stopped_is_shown(case, tmp_path):
    options, stopped_by, says = STOPS[case]
    wide = ["plain", "-o", "depth=6", "-o", "activation=relu", "-l", "conv6"]
    result = run("analyze", *wide, *options, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    assert (says is None) == ("Its size is" not in words)
    assert says is None or says in words
    document = json.loads(run("analyze", *wide, *options, "--out", tmp_path, "--json").stdout)
    assert document["layers"][0]["stopped_by"] == stopped_by
    both = run("profile", *wide, "-l", "conv5", *options, "--out", tmp_path / "out")
    assert both.exit_code == 0, both.output
    assert ("did not reach the tolerance" in both.output) == (case == "not reached")


def test_samples_have_a_column_where_they_differ(tmp_path):
    call = ["profile", *SMALL, "--samples", 5, "--out", tmp_path]
    assert run(*call, "-l", "conv1").exit_code == 0
    # Measured by itself the first layer took one sample: it is linear.
    mixed = run(*call, "-l", "conv1", "-l", "conv4").output
    assert "1 to 5 samples of normal noise" in mixed
    # A narrow terminal leaves out the sigmas.
    assert re.search(r"conv1 .* 1 +(\d+\.\d, \d+\.\d +)?exact", mixed), mixed
    assert re.search(r"conv4 .* 5 +(\d+\.\d, \d+\.\d +)?exact", mixed), mixed
    assert "The gradient of 1 layer does not depend on the input" in mixed
    alike = run(*call, "-l", "conv3", "-l", "conv4").output
    assert "5 samples of normal noise" in alike
    header = alike.splitlines()[2]
    assert " layer " in header
    assert "samples" not in header
    linear = ["profile", "plain", "-o", "depth=2", "-o", "input_shape=(16,16)", "--samples", 5]
    output = run(*linear, "--out", tmp_path / "linear").output
    assert "1 sample of normal noise" in output
    assert "The gradients of 2 layers do not depend on the input" in output


@pytest.mark.parametrize("command", ["analyze", "profile"])
def test_the_whole_input_gives_the_same_as_the_cone(command, tmp_path):
    maps = []
    for more in ([], ["--no-cone"]):
        out = tmp_path / f"out{len(more)}"
        call = [command, *SMALL, "-l", "conv3", "--samples", 4, *more, "--out", out]
        assert run(*call).exit_code == 0
        (file,) = out.glob("*.npz")
        maps.append(keras_erf.load(file).map)
    np.testing.assert_allclose(*maps, rtol=0, atol=1e-6 * maps[0].max())


def test_the_options_reach_the_measurement(monkeypatch, tmp_path):
    seen = []

    def record(units, settings, *args, **options):
        seen.append((units, settings))
        raise KeyboardInterrupt

    monkeypatch.setattr(profiling, "profiled", record)
    monkeypatch.setattr("keras_erf.measuring.probing.probed", record)
    options = [
        "--unit", "5,5", "--samples", 7, "--tolerance", ".1", "--seed", 3, "--batch-size", 2,
        "--no-cone", "--definition", "openerf", "--noise", "uniform",
    ]  # fmt: skip
    for command in ("analyze", "profile"):
        assert run(command, *SMALL, *options, "--out", tmp_path).exit_code == 130
    for units, settings in seen:
        assert {target.receptive_field.unit for target in units.targets} == {(5, 5)}
        assert settings == Settings(
            samples=7, tolerance=0.1, seed=3, batch_size=2, cone=False,
            definition=DEFINITIONS["openerf"], inputs="uniform",
        )  # fmt: skip
    assert len(seen) == 2


@pytest.mark.parametrize(
    "command", [["analyze", "-l", "conv2", "-l", "conv3"], ["profile"], ["report"]]
)
def test_a_command_builds_the_graph_once(monkeypatch, tmp_path, command):
    built = []
    initialise = Builder.__init__
    monkeypatch.setattr(Builder, "__init__", lambda self: built.append(1) or initialise(self))
    name, *layers = command
    out = tmp_path / ("page.html" if name == "report" else "out")
    assert run(name, *SMALL, *layers, "--samples", 1, "--out", out).exit_code == 0
    assert len(built) == 1

"""The command line, run as users run it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import keras_erf
from keras_erf.cli import app
from tests.commands import PNG, run, words
from tests.hanging import HANGING


def test_analyze_writes_picture_and_result(tmp_path):
    curved = ["plain", "-o", "depth=5", "-o", "activation=relu"]
    result = run("analyze", *curved, "--samples", 4, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    picture, file = (
        tmp_path / "out" / f"plain-depth_5-activation_relu-conv5-samples4{suffix}"
        for suffix in (".png", ".npz")
    )
    assert picture.read_bytes().startswith(PNG)
    loaded = keras_erf.load(file)
    assert loaded.receptive_field.size == (11, 11)
    assert loaded.count == 4
    assert str(picture) in result.output
    assert "11x11" in result.output
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [file.name, picture.name]


def test_analyze_json_is_the_only_output(tmp_path):
    result = run(
        *words("analyze plain -o depth=3 -o activation=relu -l conv2 -l conv3 --samples 2 --out"),
        tmp_path,
        "--json",
    )
    document = json.loads(result.stdout)
    assert (document["model"], document["skipped"]) == ("plain", [])
    rows = document["layers"]
    assert [row["layer"] for row in rows] == ["conv2", "conv3"]
    assert [row["trf_size"] for row in rows] == [[5, 5], [7, 7]]
    assert rows[0]["samples"] == 2
    assert (rows[0]["inputs"], rows[0]["seed"]) == ("normal noise", 0)
    assert rows[0]["input_size"] == [64, 64]


def test_json_has_null_where_there_is_no_number(tmp_path):
    curved = ["plain", "-o", "depth=3", "-o", "activation=relu"]
    result = run("analyze", *curved, "--samples", 1, "--out", tmp_path, "--json")
    assert json.loads(result.stdout)["layers"][0]["erf_size_error"] is None


def test_analyze_takes_images_with_the_options_arithmetic(tmp_path, images, monkeypatch):
    seen = []

    def record(unit, settings, report):
        seen.append(settings.inputs.preprocess(np.array([[[[10.0, 20.0, 30.0]]]])))
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_erf.measuring.probing.probed", record)
    result = run(
        *words("analyze plain -o channels=3 --images"),
        images,
        *words("--scale 1/10 --mean 1,2,3 --std .5 --bgr --out"),
        tmp_path / "out",
    )
    assert result.exit_code == 130
    # Blue, green, red: (3 - 1) / .5, (2 - 2) / .5, (1 - 3) / .5.
    np.testing.assert_allclose(seen[0], [[[[4.0, 0.0, -4.0]]]])


def test_analyze_with_the_familys_own_preprocessing(tmp_path, images):
    result = run(
        *words("analyze cifar_resnet14 -l stage1_block1_out --images"),
        images,
        "--out",
        tmp_path / "out",
        "--json",
    )
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["layers"]
    assert row["samples"] == 4
    expected = keras_erf.probe(
        keras_erf.zoo.load("cifar_resnet14"),
        "stage1_block1_out",
        inputs=keras_erf.ImageFolder(images, keras_erf.zoo.preprocess_input("cifar_resnet14")),
    )
    assert row["erf_size"] == pytest.approx(expected.size)


def test_broken_image_is_named_and_left_out(tmp_path, images):
    (images / "broken.jpg").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"broken\.jpg"):
        result = run(
            *words("analyze plain -o channels=3 -o depth=3 -o activation=relu --images"),
            images,
            "--out",
            tmp_path / "out",
        )
    assert result.exit_code == 0, result.output
    assert "1 image could not be read and was left out: broken.jpg" in result.output


def test_trf_prints_every_layer():
    result = run("trf", "plain", "-o", "depth=4")
    assert result.exit_code == 0, result.output
    # 1 + 2 n for n layers of 3x3.
    for size in ("3x3", "5x5", "7x7", "9x9"):
        assert size in result.output


def test_trf_states_that_no_layer_has_a_map(tmp_path):
    path = tmp_path / "words.keras"
    keras.Sequential([keras.Input((40,)), keras.layers.Dense(3)]).save(path)
    result = run("trf", path)
    assert result.exit_code == 0, result.output
    assert "No layer has more than one position" in result.stdout


def test_trf_json_of_one_layer():
    result = run("trf", "ResNet50", "-l", "conv2_block3_out", "--json")
    (row,) = json.loads(result.stdout)["layers"]
    # Araujo, Norris and Sim, Distill 2019: resnet_v1_50/block1.
    assert row["size"] == [35, 35]
    assert row["stride"] == [4, 4]
    assert row["status"] == "exact"


def test_zoo_lists_all_models():
    result = run("zoo", "--json")
    assert tuple(json.loads(result.stdout)) == keras_erf.zoo.available()
    assert set(keras_erf.zoo.available()) < {
        line.split()[0] for line in run("zoo").output.splitlines() if line.strip()
    }


MISTAKES = {
    "no such model": (["trf", "Resnet5"], "Nearest: ResNet50"),
    "no such file": (["trf", "missing.keras"], "existing file"),
    "no such layer": (["trf", "plain", "-l", "convv3"], "Nearest names: conv3"),
    "unit outside": (["trf", "plain", "-l", "conv3", "--unit", "99,0"], "`--unit`"),
    "unit no number": (["trf", "plain", "-l", "conv3", "--unit", "a"], "`--unit`"),
    "unit of no layer": (["trf", "plain", "--unit", "3,3"], "--layer"),
    "size no number": (["trf", "plain", "--size", "big"], "`--size`"),
    "size of wrong rank": (["trf", "plain", "--size", "64x64x64"], "`--size`"),
    "input": (["analyze", "plain", "--input", "nowhere"], "`--input`"),
    "input of trf": (["trf", "plain", "--input", "nowhere"], "`--input`"),
    "layers, the last": (["analyze", "plain", "-l", "conv1", "-l", "convv"], "`--layer`"),
    "unit of the last layer": (["analyze", "plain", "--unit", "99,0"], "`--unit`"),
    "weights": (["trf", "plain", "--weights", "trained"], "`--weights` of 'plain' must be 'none'"),
    "zoo option": (["trf", "plain", "-o", "dept=3"], "dept"),
    "no option": (["trf", "plain", "-o", "depth"], "NAME=VALUE"),
    "no images": (["analyze", "plain", "--images", "no-folder"], "`--images`"),
    "mean of wrong length": (
        ["analyze", "plain", "--images", "no-folder", "--mean", "1,2,3"],
        "`--mean` must be one value or 1",
    ),
    "bgr of grey": (["analyze", "plain", "--images", "no-folder", "--bgr"], "`--bgr`"),
    "scale of noise": (["analyze", "plain", "--scale", "2"], "--images"),
    "scale no number": (["analyze", "plain", "--images", ".", "--scale", "1/0"], "`--scale`"),
    "std zero": (["analyze", "plain", "--images", ".", "--std", "1,0,1"], "`--std`"),
    "definition": (["analyze", "plain", "--definition", "luo"], "luo2016"),
    "samples": (["analyze", "plain", "--samples", "0"], "--samples"),
    "noise": (["analyze", "plain", "--noise", "x"], "--noise"),
    "no such option": (["analyze", "plain", "--sampels", "3"], "--sampels"),
    "no such command": (["analyse", "plain"], "analyse"),
    "no model": (["analyze"], "MODEL"),
}


PYTHON = ("input_shape", "inputs", "input", "unit", "layer", "definition", "weights", "options")


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line_and_status_2(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, expected = MISTAKES[name]
    result = run(*arguments)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    # In the words of the command line, not of Python.
    assert not [one for one in PYTHON if f"`{one}`" in result.stderr or f" {one}=" in result.stderr]
    assert not list(tmp_path.iterdir())


def test_without_arguments_the_help_is_shown():
    result = run()
    assert result.exit_code == 0
    assert "analyze" in result.stdout


LOADING, PROBING = "keras_erf.named_models.load_model", "keras_erf.measuring.probing.probed"


@pytest.mark.parametrize(
    ("before", "fails"),
    [
        (LOADING, ["--unit", "a"]),
        (LOADING, ["--size", "a"]),
        (PROBING, ["-l", "conv1", "-l", "convv"]),
        (PROBING, ["--images", ".", "--mean", "1,2"]),
    ],
)
def test_mistakes_are_found_before_the_work(monkeypatch, tmp_path, before, fails):
    monkeypatch.setattr(before, lambda *a, **k: pytest.fail("too late"))
    assert run("analyze", "plain", *fails, "--out", tmp_path / "out").exit_code == 2


DEFINED = "plain-depth_3-input_shape_12_14_-conv3"
NAMES = {
    "plain": ([], [DEFINED]),
    "unit": (["--unit", "3,4"], [f"{DEFINED}-unit3_4"]),
    "size": (["--size", "20x30"], [f"{DEFINED}-20x30"]),
    "definition": (["--definition", "openerf"], [f"{DEFINED}-openerf"]),
    "default": (["--definition", "luo2016"], [DEFINED]),
    "noise": (["--noise", "zeros"], [f"{DEFINED}-zeros"]),
    "weights": (["--weights", "none"], ["plain-depth_3-input_shape_12_14_-none-conv3"]),
    "samples": (["--samples", "5"], [f"{DEFINED}-samples5"]),
    "seed": (["--seed", "3"], [f"{DEFINED}-seed3"]),
    "tolerance": (["--tolerance", ".1"], [f"{DEFINED}-tolerance0.1"]),
    "calibrated": (["--calibrate"], [f"{DEFINED}-calibrated"]),
    "twice": (["-l", "conv3", "-l", "conv3"], [DEFINED, f"{DEFINED}-2"]),
}


@pytest.mark.parametrize("case", NAMES)
def test_files_are_named_after_what_was_asked(case, tmp_path):
    options, stems = NAMES[case]
    options = ["-o", "depth=3", "-o", "input_shape=(12,14)", *options]
    result = run("analyze", "plain", *options, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    expected = {f"{stem}{suffix}" for stem in stems for suffix in (".npz", ".png")}
    assert {one.name for one in (tmp_path / "out").iterdir()} == expected


def test_results_of_other_images_and_weights_stand_side_by_side(tmp_path, images):
    for weights in ("initial", "trained"):
        asked = ["-l", "stem_conv", "--weights", weights, "--samples", 1, "--images", images]
        assert run("analyze", "cifar_resnet14", *asked, "--out", tmp_path / "out").exit_code == 0
    assert {one.name for one in (tmp_path / "out").glob("*.npz")} == {
        "cifar_resnet14-initial-stem_conv-images-samples1.npz",
        "cifar_resnet14-trained-stem_conv-images-samples1.npz",
    }


def test_only_the_same_call_takes_the_place_of_a_result(tmp_path, images):
    curved = ["plain", "-o", "depth=3", "-o", "activation=relu", "-o", "channels=3"]
    other = tmp_path / "other" / "images"
    other.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(4):
        keras.utils.save_img(other / f"{number}.png", rng.integers(0, 255, (32, 32, 3)))
    calls = (
        [], ["--seed", 1], ["--samples", 5], ["--images", images], ["--images", other],
        ["--images", images, "--scale", "1/255"], ["--images", images, "--std", "2,3,4"],
    )  # fmt: skip
    found: dict[str, np.ndarray] = {}
    for _ in range(2):
        for options in calls:
            result = run("analyze", *curved, *options, "--out", tmp_path / "out", "--json")
            assert result.exit_code == 0, result.output
            (row,) = json.loads(result.stdout)["layers"]
            loaded = keras_erf.load(row["result"])
            np.testing.assert_array_equal(found.setdefault(row["result"], loaded.map), loaded.map)
    assert len(found) == len(calls) == len(list((tmp_path / "out").glob("*.npz")))


def test_a_file_of_something_else_is_left_alone(tmp_path):
    result = run("analyze", "plain", "-o", "depth=5", "-l", "conv5", "--out", tmp_path, "--json")
    (row,) = json.loads(result.stdout)["layers"]
    (tmp_path / row["result"]).write_text("mine")
    run("analyze", "plain", "-o", "depth=5", "-l", "conv5", "--out", tmp_path)
    assert (tmp_path / row["result"]).read_text() == "mine"


def advice(*options: object) -> str:
    """What is said of a unit of three 3x3 convolutions, whose field is 7x7."""
    result = run("analyze", "plain", "-o", "depth=3", *options, "--out", "out")
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    return said[said.index("The field reaches") :] if "over the input's edge" in said else ""


@pytest.mark.parametrize(
    ("asked", "remedy", "followed"),
    [
        # A corner stays a corner, whatever the size.
        (["--size", 32, "--unit", "1,1"], "--unit center, or", ["--size", 32]),
        (["--size", 32, "--unit", "1,1"], "further inside", ["--size", 32, "--unit", "9,9"]),
        (["--size", 512, "--unit", "2,9"], "--unit center, or", ["--size", 512]),
        (["--size", 5], "a larger --size", ["--size", 9]),
        (["--size", 5, "--unit", "4,4"], "a larger --size", ["--size", 9, "--unit", "4,4"]),
        (["--size", 32, "--unit", "31,8"], "a larger --size", ["--size", 64, "--unit", "31,8"]),
        (["--size", 5, "--unit", "1,4"], "--unit center with a larger --size", ["--size", 9]),
        (["--size", 32], "", ["--size", 64]),
    ],
)
def test_advice_about_the_edge_helps(asked, remedy, followed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = advice(*asked)
    assert remedy in said
    assert bool(said) == bool(remedy)
    assert ("--size" in said) == ("--size" in remedy)
    assert advice(*followed) == ""


def test_an_untrained_network_is_reported_with_the_remedy(tmp_path):
    asked = ["cifar_resnet14", "--weights", "none", "-l", "stage1_block2_out", "--samples", 4]
    result = run("analyze", *asked, "--out", tmp_path)
    assert "Note: Batch normalisations hold their initial statistics" in result.stdout
    assert "pass --calibrate" in result.stdout
    followed = run("analyze", *asked, "--calibrate", "--out", tmp_path, "--json")
    (row,) = json.loads(followed.stdout)["layers"]
    assert (row["calibrated"], row["notes"]) == (True, [])
    model = keras_erf.calibrate_batch_norm(keras_erf.zoo.build("cifar_resnet14"))
    wanted = keras_erf.probe(model, "stage1_block2_out", samples=4)
    assert row["erf_size"] == pytest.approx(wanted.size, rel=1e-6)
    trained = run("analyze", "cifar_resnet14", *asked[3:], "--out", tmp_path)
    assert "Note" not in trained.stdout


def test_layers_whose_names_clash_as_files_do_not_overwrite(tmp_path):
    inner = keras.Sequential(
        [keras.Input((12, 12, 1)), keras.layers.Conv2D(1, 3, name="b")], name="a"
    )
    x = keras.Input((12, 12, 1))
    model = keras.Model(x, keras.layers.Conv2D(1, 3, name="A_b")(inner(x)))
    model.save(tmp_path / "m.keras")
    options = ["-l", "a/b", "-l", "A_b", "--samples", 1, "--out", tmp_path / "out"]
    assert run("analyze", tmp_path / "m.keras", *options).exit_code == 0
    layers = {keras_erf.load(one).layer for one in (tmp_path / "out").glob("*.npz")}
    assert layers == {"a/b", "A_b"}
    assert (tmp_path / "out" / "m-A_b-samples1-2.npz").exists()


@pytest.fixture
def pair(tmp_path):
    """A model of two inputs, with names that would be markup."""
    a, b = keras.Input((12, 12, 1), name="a"), keras.Input((14, 14, 1), name="b")
    left = keras.layers.Conv2D(1, 3, name="[bold]x")(a)
    right = keras.layers.Conv2D(1, 5, name=":car:")(b)
    keras.Model([a, b], keras.layers.Add(name="[red]")([left, right])).save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


@pytest.mark.parametrize(("options", "size"), [([], "3x3"), (["--input", "b"], "5x5")])
def test_the_input_can_be_chosen(pair, tmp_path, options, size):
    result = run("trf", pair, "-l", "[red]", *options)
    assert result.exit_code == 0, result.output
    assert size in result.output


def test_names_are_no_markup(pair):
    for options, names in (([], ("[bold]x", "[red]")), (["--input", "b"], (":car:", "[red]"))):
        result = run("trf", pair, *options)
        assert result.exit_code == 0, result.output
        assert all(name in result.output for name in names)


@pytest.mark.parametrize(
    ("options", "takes"), [([], "a"), (["--input", "b", "--noise", "zeros"], "b")]
)
def test_images_go_to_the_input_that_is_looked_at(tmp_path, images, options, takes):
    a, b = keras.Input((12, 12, 1), name="a"), keras.Input((12, 12, 1), name="b")
    both = keras.layers.ReLU()(keras.layers.Add(name="sum")([a, b]))
    keras.Model([a, b], both).save(tmp_path / "m.keras")
    result = run("analyze", tmp_path / "m.keras", "--images", images, *options, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    kinds = {
        name: "4 images of folder 'images'" if name == takes else
        f"{'zeros' if options else 'normal'} noise" for name in "ab"
    }  # fmt: skip
    assert f"4 samples of a: {kinds['a']}; b: {kinds['b']}" in result.output


# -- what is shown --

NUMBERS = {"trf": r"\d+x\d+ +\d+x\d+ +\d+x\d+", "analyze": r"\d+\.\d ± \d\.\d +\d+ % +"}


@pytest.mark.parametrize("command", NUMBERS)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_numbers_are_whole_at_any_width(command, width, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    more = ["--samples", 3, "--out", tmp_path] if command == "analyze" else []
    layers = ["stage3_block2_out", "stage2_block1_out"]
    asked = [part for layer in layers for part in ("-l", layer)]
    result = run(command, "cifar_resnet14", *asked, *more)
    assert result.exit_code == 0, result.output
    table = [line for line in result.output.splitlines() if not line.startswith(("Pict", "Resu"))]
    assert max(map(len, table)) <= width
    assert len([line for line in table if re.search(NUMBERS[command], line)]) == 2
    assert all(any(layer in line for line in table) for layer in layers)
    # A column that a narrow terminal leaves out is in the wide table.
    assert any("centre (px)" in line for line in table) == (
        width >= {"trf": 80, "analyze": 120}[command]
    )


def test_long_names_are_folded_and_not_cut(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    name = "a_layer_of_a_name_so_long_that_no_terminal_has_room_for_it_and_its_numbers"
    x = keras.Input((12, 12, 1))
    keras.Model(x, keras.layers.Conv2D(1, 3, name=name)(x)).save(tmp_path / "m.keras")
    lines = run("trf", tmp_path / "m.keras").output.splitlines()
    assert max(map(len, lines[1:])) <= 70
    assert name in "".join(line.split(" ")[1] for line in lines[3:] if len(line) > 1)
    assert any(re.search(r" 10x10 +3x3 +1x1 +", line) for line in lines)


def test_what_is_piped_on_is_not_folded(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert "centre (px)" in run("trf", "ResNet50", "-l", "conv2_block3_out").output


WORDS = {
    "linear": (
        ["-o", "depth=3"],
        "gradient does not depend on the input: one sample is enough",
        True,
    ),
    "zeros": (
        ["-o", "depth=3", "-o", "activation=tanh", "--noise", "zeros"],
        "samples were the same, zeros",
        True,
    ),
    "curved": (["-o", "depth=3", "-o", "activation=tanh"], "", False),
    "one": (
        ["-o", "depth=3", "-o", "activation=tanh", "--samples", "1"],
        "1 sample of normal noise",
        True,
    ),
}


@pytest.mark.parametrize("case", WORDS)
def test_no_error_is_shown_where_there_is_none(case, tmp_path):
    options, says, exact = WORDS[case]
    result = run("analyze", "plain", "--samples", 6, *options, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert ("±" not in result.output) == exact
    assert says in " ".join(result.output.split())
    assert ("All samples" in result.output) == (case == "zeros")


def test_a_field_that_is_not_exact_is_described_in_words(tmp_path):
    x = keras.Input((12, 12, 1))
    y = keras.layers.Conv2D(1, 3)(x)
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(y)
    keras.Model(x, keras.layers.Multiply(name="gated")([y, gate])).save(tmp_path / "m.keras")
    result = run("analyze", tmp_path / "m.keras", "--samples", 1, "--out", tmp_path)
    assert "The theoretical field is the whole input." in result.output


def test_an_error_has_no_blank_line_before_it(tmp_path):
    x = keras.Input((12, 12, 1))
    keras.Model(x, keras.layers.Conv2D(1, 3, kernel_initializer="zeros")(x)).save(
        tmp_path / "m.keras"
    )
    result = run("analyze", tmp_path / "m.keras", "--samples", 1, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_written_is_found_out_first(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(
        "keras_erf.named_models.load_model", lambda *a, **k: pytest.fail("too late")
    )
    result = run("analyze", "plain", "--out", tmp_path / "file" / "out")
    assert result.exit_code == 2
    assert "`--out` must be a folder that can be written" in result.stderr


def test_interruption_leaves_no_half_written_file(tmp_path):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "keras_erf.cli",
        "analyze",
        "plain",
        "-o",
        "activation=relu",
        "--samples",
        "100000000",
        "--out",
        str(out),
    ]
    # With its bar, which tells when it is at work.
    environment = {**os.environ, "FORCE_COLOR": "1"}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Whoever runs the tests in the background may have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    seen = b""
    while b"Probing" not in seen:
        seen += (more := os.read(process.stderr.fileno(), 4096))
        assert more, seen
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=HANGING)
    assert process.returncode == 130, stderr
    assert b"Interrupted" in stderr
    assert stdout == b""
    assert not out.exists()


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_other_backends_get_one_clear_line(tmp_path, backend):
    command = [sys.executable, "-m", "keras_erf.cli", "analyze", "plain", "--out", str(tmp_path)]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1
    assert "KERAS_BACKEND=tensorflow" in lines[0]
    assert "Traceback" not in result.stderr


def unpacked(archive, folder, inside, count):
    """Extracts the first `count` images below `inside`."""
    with tarfile.open(archive) as tar:
        members = [one for one in tar if one.name.startswith(inside) and one.isfile()][:count]
        for member in members:
            (folder / os.path.basename(member.name)).write_bytes(tar.extractfile(member).read())
    assert len(members) == count


REAL = {
    "resnet20_cifar10.keras": (
        ["--scale", "1/255", "--mean", ".485,.456,.406", "--std", ".229,.224,.225"],
        "cifar10_images.tar",
        "test/",
        "32x32",
    ),
    "resnet8_cifar10.h5": ([], "cifar10_images.tar", "test/", "32x32"),
    "espnet_camvid.keras": (
        # Mean and deviation of the training images, each channel in BGR order, times 255.
        ["--bgr", "--mean", "100,106,107", "--std", "19000"],
        "camvid_480x360.tar",
        "CamVid/test/",
        "360x480",
    ),
    "efficientnet_lite0_imagenet.keras": (
        ["--mean", "127", "--std", "128"],
        "camvid_480x360.tar",
        "CamVid/test/",
        "224x224",
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_analyze_works_on_real_models_and_images(name, tmp_path, shared_models, shared_data):
    options, archive, inside, size = REAL[name]
    folder = tmp_path / "images"
    folder.mkdir()
    unpacked(shared_data / archive, folder, inside, 3)
    result = run(
        "analyze", shared_models / name, "--images", folder, *options, "--out", tmp_path / "out"
    )
    assert result.exit_code == 0, result.output
    assert f"input {size} px, 3 samples" in result.output
    (file,) = (tmp_path / "out").glob("*.npz")
    loaded = keras_erf.load(file)
    assert 0 < loaded.size <= max(loaded.receptive_field.input_size)
    assert len(list((tmp_path / "out").glob("*.png"))) == 1


def test_analyze_an_application_without_weights(tmp_path):
    result = run(
        *words("analyze ResNet50 --weights none -l conv2_block3_out --samples 2 --out"), tmp_path
    )
    assert result.exit_code == 0, result.output
    assert "35x35" in result.output


# --- Completion ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("keras-erf an", ["analyze"]),
        ("keras-erf train c", ["cifar10", "camvid"]),
        ("keras-erf analyze cifar_resnet", ["cifar_resnet14", "cifar_resnet36"]),
        ("keras-erf trf networks/", ["networks/a.keras", "networks/b.h5", "networks/deep/"]),
        ("keras-erf reproduce s", ["structures", "skip"]),
    ],
)
def test_the_shell_completes(words, wanted, tmp_path, monkeypatch):
    (tmp_path / "networks" / "deep").mkdir(parents=True)
    for name in ("a.keras", "b.h5", "c.txt"):
        (tmp_path / "networks" / name).touch()
    monkeypatch.chdir(tmp_path)
    asked = {"_KERAS_ERF_COMPLETE": "complete_bash", "COMP_WORDS": words}
    asked["COMP_CWORD"] = str(len(words.split()) - 1)
    result = CliRunner().invoke(app, [], prog_name="keras-erf", env=asked)
    assert result.stdout.split() == wanted


def test_choices_are_those_of_the_library():
    """The command line spells them out, so that its help loads no TensorFlow."""
    from keras_erf.commands import option_types, study, train
    from keras_erf.inputs.sources import NOISE
    from keras_erf.studies.engines import ENGINES
    from keras_erf.training import TASKS

    choices = {option_types.Noise: NOISE, study.Engine: ENGINES, train.TaskName: TASKS}
    for enum, known in choices.items():
        assert [one.value for one in enum] == list(known)


def test_every_remedy_of_the_command_line_is_for_a_text_of_the_library():
    from keras_erf.commands.parsing import REMEDIES

    package = Path(keras_erf.__file__).parent
    texts = "".join(
        re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8"))
        for path in package.rglob("*.py")
        if path.name != "parsing.py"
    )
    assert [one for one in REMEDIES if one not in texts] == []


def test_signs_that_a_terminal_lacks_lose_nothing(tmp_path):
    command = [sys.executable, "-m", "keras_erf.cli", "analyze", "plain", "--option", "depth=3"]
    run = subprocess.run(
        [*command, "--samples", "2", "--out", str(tmp_path)],
        capture_output=True, timeout=HANGING, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert b"?" in run.stdout
    assert list(tmp_path.glob("*.npz"))


def test_what_cannot_be_measured_costs_the_others_nothing(tmp_path):
    keras.utils.set_random_seed(0)
    x = keras.Input((16, 16, 1))
    y = keras.layers.Conv2D(3, 3, name="logits")(x)
    y = keras.layers.Softmax(name="shares")(y)
    keras.Model(x, keras.layers.Conv2D(2, 3, name="end")(y)).save(tmp_path / "m.keras")
    call = ["analyze", tmp_path / "m.keras", "--samples", 2, "--out", tmp_path]
    layers = ["-l", "logits", "-l", "shares", "-l", "end"]
    document = json.loads(run(*call, *layers, "--json").stdout)
    assert [row["layer"] for row in document["layers"]] == ["logits", "end"]
    ((skipped),) = document["skipped"]
    assert skipped["layer"] == "shares"
    assert "sum to a constant" in skipped["reason"]
    shown = run(*call, *layers).stdout
    assert "1 layer was left out: shares: The gradient of" in shown
    alone = run(*call, "-l", "shares")
    assert alone.exit_code == 2
    assert "Choose the layer before it, 'logits'" in alone.stderr


def test_images_that_are_not_there_are_not_taken_for_noise(tmp_path, images):
    for more, says in (
        (["--images", "normal"], "`--images` must be an existing folder of images; noise is"),
        (["--images", images, "--noise", "zeros"], "`--noise` must be left out with --images"),
    ):
        result = run("analyze", "plain", "-o", "channels=3", *more, "--out", tmp_path / "out")
        assert result.exit_code == 2
        assert says in result.stderr


def test_json_is_alone_on_standard_output(tmp_path, monkeypatch):
    """Whatever prints meanwhile: Keras reports downloads on standard output."""
    real = keras_erf.zoo.build

    def noisy(name, **options):
        print("Downloading data from nowhere")
        keras.utils.Progbar(2).update(2)
        return real(name, **options)

    monkeypatch.setattr("keras_erf.zoo.build", noisy)
    layer = ["-l", "conv2", "-o", "depth=3"]
    for command, options in (
        ("analyze", [*layer, "--out", tmp_path / "a"]),
        ("profile", [*layer, "--out", tmp_path / "p"]),
        ("report", [*layer, "--out", tmp_path / "r.html"]),
        ("trf", layer),
    ):
        result = run(command, "plain", *options, "--json")
        assert result.exit_code == 0, result.output
        (row,) = json.loads(result.stdout)["layers"]
        assert row["input_size"] == [64, 64]
        assert "Downloading data" in result.stderr
        if command != "trf":
            assert (row["seed"], row["inputs"]) == (0, "normal noise")
        assert isinstance(row["input"], str)


def test_json_of_a_training_is_alone_on_standard_output(tmp_path, monkeypatch):
    class Verdict:
        verdict = "it grew"

    def train(task, *, path, report, **options):
        print("Downloading data from nowhere")
        keras.utils.Progbar(2).update(2)
        report(1, {"loss": 1.0})
        path.mkdir()
        (path / "result.json").write_text('{"test_accuracy": 0.5}')

    monkeypatch.setattr("keras_erf.training.train", train)
    monkeypatch.setattr("keras_erf.training.summarise", lambda folders: Verdict())
    monkeypatch.setattr("keras_erf.commands.train.save_training", lambda *a: None)
    result = run("train", "cifar10", "--out", tmp_path / "run", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["test_accuracy"] == 0.5
    assert "Downloading data" in result.stderr
    # A table may share standard output.
    plain = run("train", "cifar10", "--out", tmp_path / "again")
    assert "epoch 1: loss 1.000" in plain.stdout

"""Training: batches, resuming, options, judging, and both tasks from end to end on few images."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import keras_erf as erf
from keras_erf import cli
from keras_erf.errors import InvalidInputError
from keras_erf.training import TASKS, summarise, train
from keras_erf.training.batches import ExampleBatches, SceneBatches
from keras_erf.training.datasets import Examples, Scenes
from keras_erf.training.tasks import FIRST, SCENE_LAYER, STRIDE, mean_iou
from tests.hanging import HANGING
from tests.trainings import EXAMPLES, plainly, soft, trained

OWN = ("seed", "tolerance")


def test_batches_are_those_of_their_seed_and_epoch():
    def made(seed, epoch):
        batches = ExampleBatches(EXAMPLES, 8, seed=seed, epoch=epoch, preprocess=plainly)
        return [batches[number] for number in range(len(batches))]

    one, again, later, other = made(0, 1), made(0, 1), made(0, 2), made(1, 1)
    assert len(one) == 5
    for (x, y), (u, v) in zip(one, again, strict=True):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)
    assert not np.array_equal(one[0][0], later[0][0])
    assert not np.array_equal(one[0][0], other[0][0])
    labels = np.sort(np.concatenate([y for _, y in one]))
    np.testing.assert_array_equal(labels, np.sort(EXAMPLES.labels))


def test_an_image_is_moved_again_in_each_epoch():
    alike = Examples(np.repeat(EXAMPLES.images[:1], 8, axis=0), np.zeros(8, int))
    first, second = (
        ExampleBatches(alike, 8, seed=0, epoch=epoch, preprocess=plainly)[0][0] for epoch in (0, 1)
    )
    assert not np.array_equal(first, second)


def test_images_are_moved_and_mirrored_and_no_more():
    batches = ExampleBatches(EXAMPLES, 40, seed=3, epoch=0, preprocess=plainly)
    images, _ = batches[0]
    originals = plainly(EXAMPLES.images)[batches.order]
    seen = set()
    for image, original in zip(images, originals, strict=True):
        padded = np.pad(original, ((4, 4), (4, 4), (0, 0)))
        moves = [
            (down, right, flip)
            for down in range(9)
            for right in range(9)
            for flip in (1, -1)
            if np.array_equal(padded[down : down + 16, right : right + 16][:, ::flip], image)
        ]
        assert len(moves) == 1
        seen.add(moves[0][2])
    assert seen == {1, -1}


def test_scenes_are_cropped_with_the_labels_of_the_units_pixels():
    places = np.arange(40 * 60).reshape(1, 40, 60)
    images = np.stack([places % 251, places // 251, places * 0], axis=-1).astype(np.uint8)
    labels = (places % 12).astype(np.uint8)
    batches = SceneBatches(
        Scenes(images, labels),
        1,
        seed=0,
        epoch=0,
        preprocess=lambda x: x,
        crop=(32, 48),
        stride=16,
        first=7,
    )
    image, label, weight = batches[0]
    assert image.shape == (1, 32, 48, 3)
    assert label.shape == weight.shape == (1, 2, 3)
    # The picture tells which pixel is where.
    at = image[0, 7::16, 7::16, 0] + 251 * image[0, 7::16, 7::16, 1].astype(int)
    np.testing.assert_array_equal(weight[0], (at % 12 != 11).astype(float))
    np.testing.assert_array_equal(label[0], np.where(at % 12 == 11, 0, at % 12))


# --- Resuming ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing interrupted, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return trained(folder), folder


@pytest.mark.parametrize("kill", [(0, 1), (1, 0), (2, 4), (3, 2)])
def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path, kill, whole):
    whole, folder = whole
    with pytest.raises(Exception, match="Killed"):
        trained(tmp_path / "parts", kill=kill)
    parts = trained(tmp_path / "parts")
    assert whole.history == parts.history
    assert [one["epoch"] for one in whole.history] == [1, 2, 3, 4]
    for one, other in zip(whole.model.weights, parts.model.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    files = [path / "erf" / "erf.csv" for path in (folder, tmp_path / "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_finished_training_is_not_done_again(whole):
    first, folder = whole
    again = trained(folder)
    assert again.history == first.history
    np.testing.assert_array_equal(again.model.get_weights()[0], first.model.get_weights()[0])


def test_another_training_in_the_folder_is_refused(tmp_path):
    trained(tmp_path, epochs=1)
    with pytest.raises(InvalidInputError, match="`path` holds a training with other epochs, seed"):
        trained(tmp_path, epochs=2, seed=1)
    message = "other data: give another folder, or empty it. Received: path=.*, data='cats' instead"
    with pytest.raises(InvalidInputError, match=f"{message} of 'noise'"):
        trained(tmp_path, epochs=1, data="cats")


def test_a_call_that_is_refused_does_not_stand_in_the_way_of_the_next(tmp_path):
    def refuse():
        raise InvalidInputError("`softness` must be a number from 0 to 1. Received: softness=10")

    with pytest.raises(InvalidInputError, match="`softness`"):
        trained(tmp_path / "out", build=refuse, epochs=1, softness=10)
    assert not (tmp_path / "out").exists()
    assert len(trained(tmp_path / "out", epochs=1, softness=0.1).history) == 1


RESUMED = """
import sys
from pathlib import Path
from tests.trainings import trained
outcome = trained(Path(sys.argv[1]), epochs=1)
print(len(outcome.history), outcome.model.get_layer("last").kernel_initializer.softness)
"""


def test_another_process_reads_the_checkpoint_of_a_weaker_centre(tmp_path):
    trained(tmp_path, epochs=1, build=soft)
    run = subprocess.run(
        [sys.executable, "-c", RESUMED, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert run.stdout.split() == ["1", "0.25"], run.stderr


KILLABLE = """
import sys
from pathlib import Path
import tensorflow as tf
tf.config.experimental.enable_op_determinism()
from tests.trainings import trained
for folder in sys.argv[1:]:
    trained(Path(folder), epochs=6)
print("done")
"""


def test_a_killed_process_resumes(tmp_path):
    def start(*folders):
        return subprocess.Popen(
            [sys.executable, "-c", KILLABLE, *map(str, folders)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )

    process, history = start(tmp_path / "parts"), tmp_path / "parts" / "history.json"
    for _ in range(50 * HANGING):
        # After some epoch, at whatever moment of the next one it is seen.
        if history.exists() and len(json.loads(history.read_text())) >= 2:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert b"done" in start(tmp_path / "parts", tmp_path / "whole").communicate()[0]
    for name in ("history.json", "erf/erf.csv"):
        whole, parts = ((tmp_path / run / name).read_bytes() for run in ("whole", "parts"))
        assert whole == parts


# --- Tasks ---------------------------------------------------------------------------------------


class Constant:
    """A network that gives one class everywhere, or that of the red channel."""

    def __init__(self, answer) -> None:
        self.answer = answer

    def __call__(self, images):
        height, width = images.shape[1] // 16, images.shape[2] // 16
        classes = np.full((1, height, width), self.answer)
        return keras.ops.convert_to_tensor(np.eye(11, dtype="float32")[classes])


def test_mean_iou_counts_pixels_with_labels():
    labels = np.zeros((1, 32, 32), np.uint8)
    labels[0, :, 16:] = 2
    labels[0, :8] = 11
    data = Scenes(np.zeros((1, 32, 32, 3), np.uint8), labels)
    # Of class 0 half of the pixels that have labels are hit, and class 2 is never found.
    assert mean_iou(Constant(0), data, plainly) == pytest.approx((0.5 + 0) / 2)


@pytest.fixture
def images(tmp_path):
    random = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 12)):
        for name in ("a", "b"):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                values = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(values).save(folder / f"{number}.png")
    return tmp_path / "images"


def test_the_cifar10_task_from_end_to_end(images, tmp_path, monkeypatch):
    small = erf.zoo.build

    def build(name, **options):
        return small(name, **{**options, "blocks": 17 if name != "cifar_resnet36" else 2})

    monkeypatch.setattr("keras_erf.training.tasks.zoo.build", build)
    monkeypatch.setattr("keras_erf.training.tasks.EXAMPLE_LAYER", "block2_add")
    out = tmp_path / "out"
    epochs = []
    outcome = train(
        "cifar10",
        data=images,
        path=out,
        epochs=2,
        batch_size=16,
        width=4,
        learning_rate=0.01,
        report=lambda epoch, figures: epochs.append(epoch),
    )
    assert epochs == [1, 2]
    figures = json.loads((out / "result.json").read_text())
    assert 0 <= figures["test_accuracy"] <= 1
    assert figures["trf_size"] == 11
    for name in ("before", "before-calibrated", "after"):
        assert erf.load(out / f"{name}.npz").size == figures[f"erf_size_{name}"]
    assert list(outcome.logger.frame["epoch"]) == [0, 1, 2]
    assert {"loss", "accuracy", "val_accuracy", "erf_size", "epoch"} <= set(outcome.history[0])
    # One image more, in the same folder.
    shutil.copy(images / "test" / "a" / "0.png", images / "test" / "b" / "12.png")
    with pytest.raises(
        InvalidInputError, match=r"with other data: .* data='73 images, .* instead of '72 images, "
    ):
        train(
            "cifar10", data=images, path=out, epochs=2, batch_size=16, width=4, learning_rate=0.01
        )
    shutil.rmtree(out)


def test_labels_are_taken_where_the_units_are_centred():
    model = erf.zoo.build("camvid_resnet", widths=(1,) * 5, input_shape=(None, None))
    for layer in (SCENE_LAYER, "logits"):
        field = erf.receptive_field(model, layer)
        assert (field.stride, field.center((0, 0))) == ((STRIDE,) * 2, (FIRST,) * 2)


def test_the_camvid_task_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_erf.models.camvid_resnet.BLOCKS", (1,) * 5)
    monkeypatch.setattr("keras_erf.training.tasks.SCENE_LAYER", "stage5_block1_add")
    monkeypatch.setattr("keras_erf.training.tasks.CROP", (32, 48))
    random = np.random.default_rng(0)
    for part in ("train", "val", "test"):
        for folder, shape, most in ((part, (48, 64, 3), 256), (f"{part}annot", (48, 64), 12)):
            (tmp_path / "images" / folder).mkdir(parents=True)
            for number in range(4):
                values = random.integers(0, most, shape, dtype=np.uint8)
                Image.fromarray(values).save(tmp_path / "images" / folder / f"{number}.png")
    out = tmp_path / "out"
    outcome = train(
        "camvid", data=tmp_path / "images", path=out, epochs=1, batch_size=1, width=1, subset=3
    )
    # A step for each image that is used.
    assert outcome.logger.logbook.steps == [0, 3]
    assert [one["epoch"] for one in outcome.history] == [1]
    assert {"loss", "accuracy", "erf_size"} <= set(outcome.history[0])
    figures = json.loads((out / "result.json").read_text())
    assert 0 <= figures["test_mean_iou"] <= 1
    # The stem; two convolutions in each of five blocks; four between them of half the stride.
    strides = (1, 2, 4, 8, 16)
    assert figures["trf_size"] == 3 + 2 * 2 * sum(strides) + 2 * sum(strides[:4])
    for name in ("before", "before-calibrated", "after"):
        result = erf.load(out / f"{name}.npz")
        assert result.size == figures[f"erf_size_{name}"]
        assert result.layer == "stage5_block1_add"
    # Finished, it is not trained again, and its cost is that of then.
    options = {"epochs": 1, "batch_size": 1, "width": 1, "subset": 3}
    train("camvid", data=tmp_path / "images", path=out, **options)
    assert json.loads((out / "result.json").read_text()) == figures
    assert figures["probing_share_of_training"] > 0
    monkeypatch.setattr("keras_erf.training.tasks.CROP", (32, 72))
    with pytest.raises(InvalidInputError, match=r"at least 32 × 72 px.*Received: 48 × 64 px"):
        train("camvid", data=tmp_path / "images", path=tmp_path / "other", **options)
    summary = summarise({"camvid": out})
    assert summary.frame["test_mean_iou"].tolist() == [figures["test_mean_iou"]] * 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("imagenet", {}), "`task` must be one of cifar10, camvid"),
        (("camvid", {}), "`data` must be a folder of CamVid's images: get it from"),
        (("cifar10", {"depth": 3}), "`options` must be among: epochs"),
        (("cifar10", {"epochs": 0}), "`epochs` must be a whole number"),
        (("cifar10", {"learning_rate": -1}), "`learning_rate` must be a number"),
    ],
)
def test_mistakes_are_reported(arguments, text, tmp_path):
    task, options = arguments
    with pytest.raises(InvalidInputError, match=text):
        train(task, path=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_help_shows_the_tasks_own_options():
    assert list(TASKS) == ["cifar10", "camvid"]
    first, second = (task.options for task in TASKS.values())
    defaults = {
        name: f"{getattr(first, name)}; camvid {getattr(second, name)}"
        for name in ("epochs", "width", "batch_size", "learning_rate", "weight_decay")
    }
    parameters = typer.main.get_command(cli.app).commands["train"].params
    shown = {one.name: one.show_default for one in parameters if one.name in defaults}
    assert shown == defaults
    seed, tolerance = (next(p.default for p in parameters if p.name == n) for n in OWN)
    for task in TASKS.values():
        assert (task.options.seed, task.options.tolerance) == (seed, tolerance)


def test_the_command(images, tmp_path):
    arguments = ["train", "cifar10", "--data", str(images), "--epochs", "1", "--width", "4"]
    arguments += ["--batch-size", "16", "--subset", "32", "--out", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["trf_size"] == 71
    assert figures["verdict"] == (tmp_path / "out" / "training.txt").read_text().strip()
    assert figures["verdict"].startswith("cifar10: the field ")
    assert (tmp_path / "out" / "training.png").read_bytes()[:4] == b"\x89PNG"
    assert "test_accuracy" in figures


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["camvid"], "`--data` must be a folder of CamVid's images: get it from"),
        (["imagenet"], "'imagenet' is not one of 'cifar10', 'camvid'"),
        (["cifar10", "--data", "nowhere"], "Received: no train/ in 'nowhere'"),
        (["cifar10", "--epochs", "0"], "`--epochs` must be a whole number"),
    ],
)
def test_mistakes_of_the_command_are_reported_in_one_line(arguments, text, tmp_path):
    result = CliRunner().invoke(cli.app, ["train", *arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert text in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


# --- Summaries -----------------------------------------------------------------------------------


def finished(folder, depths) -> None:
    """A finished training's folder: fields of stacks of these depths, and a table of points."""
    folder.mkdir()
    for name, depth in depths.items():
        network = erf.zoo.build("plain", depth=depth, activation="relu", input_shape=(24, 24))
        erf.probe(network, samples=16).save(folder / f"{name}.npz")
    (folder / "erf").mkdir()
    sizes = (5, 4, 6) if depths["before"] < depths["after"] else (6, 5, 4)
    # One run takes as many steps in an epoch as its field is deep before training.
    pace = depths["before"]
    rows = "\n".join(f"{at * pace},{at},last,{size},0.1,0.5,0.01" for at, size in enumerate(sizes))
    head = "step,epoch,layer,erf_size,erf_size_error,ratio,ratio_error"
    (folder / "erf" / "erf.csv").write_text(f"{head}\n{rows}\n")
    (folder / "result.json").write_text(json.dumps({"test_accuracy": 0.5}))


def test_trainings_side_by_side(tmp_path):
    finished(tmp_path / "grown", {"before": 2, "before-calibrated": 3, "after": 6})
    finished(tmp_path / "shrunk", {"before": 6, "before-calibrated": 6, "after": 2})
    found = summarise({name: tmp_path / name for name in ("grown", "shrunk")})
    assert list(found.frame["when"])[:3] == ["before", "before, calibrated", "after"]
    assert (found.frame["test_accuracy"] == 0.5).all()
    first, second = found.verdict.splitlines()
    assert first.startswith("grown: the field grew from")
    assert first.endswith(" On the way it was smallest after epoch 1: 4.0 ± 0.1 px.")
    assert second.startswith("shrunk: the field shrank from")
    # The smallest was the last.
    assert "On the way" not in second
    assert len(found.history) == 6
    figure = found.plot()
    assert len([ax for part in figure.subfigs for ax in part.axes if ax.images]) == 6
    left, right = figure.subfigs[1].axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["grown", "shrunk"]
    assert "theoretical" in right.get_ylabel()
    assert left.get_xlabel() == "epochs"
    assert left.get_yscale() == "linear"
    # Sizes of networks of another scale.
    file = tmp_path / "grown" / "erf" / "erf.csv"
    file.write_text(file.read_text().replace("last,", "last,2"))
    far = summarise({name: tmp_path / name for name in ("grown", "shrunk")}).plot()
    assert [ax.get_yscale() for ax in far.subfigs[1].axes] == ["log", "linear"]


def test_a_training_that_is_not_finished_is_reported(tmp_path):
    with pytest.raises(InvalidInputError, match=r"`folders` must hold finished trainings"):
        summarise({"one": tmp_path})
    finished(tmp_path / "partly", {"before": 2, "after": 3})
    (tmp_path / "partly" / "erf" / "erf.csv").rename(tmp_path / "erf.csv")
    with pytest.raises(InvalidInputError, match=r"finished trainings.* no erf/erf.csv in "):
        summarise({"one": tmp_path / "partly"})
    (tmp_path / "erf.csv").rename(tmp_path / "partly" / "erf" / "erf.csv")
    for name in ("before", "after"):
        (tmp_path / "partly" / f"{name}.npz").unlink()
    with pytest.raises(InvalidInputError, match=r"`folders` must hold the fields before or after"):
        summarise({"one": tmp_path / "partly"})
    with pytest.raises(InvalidInputError, match="`folders` must name at least one"):
        summarise({})

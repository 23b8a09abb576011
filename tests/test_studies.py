"""Studies: what they ask for, that nothing of it is lost, done twice or different."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from filelock import FileLock, Timeout
from typer.testing import CliRunner

import keras_erf as erf
from keras_erf import cli, zoo
from keras_erf.errors import InvalidInputError
from keras_erf.measuring.accumulating import Accumulator
from keras_erf.studies import (
    ModelEntry,
    Study,
    StudyStore,
    devices,
    engines,
    measuring,
    read_study,
    run_study,
    running,
)
from keras_erf.studies.measuring import TaskOutcome, measure
from keras_erf.studies.plan import Task
from tests.hanging import HANGING

SMALL = ModelEntry("plain", options={"depth": 2}, input_shape=(9, 9))
STUDY = Study({"small": SMALL}, seeds=(0, 1), samples=4)


@pytest.fixture(scope="module")
def content() -> bytes:
    """A result's file."""
    outcome = measure(STUDY.tasks()[0])
    assert outcome.content is not None
    return outcome.content


# --- What is asked for ---------------------------------------------------------------------------


def test_a_study_is_everything_times_everything():
    models = {"a": replace(SMALL, layers=("conv1", "conv2")), "b": SMALL}
    study = Study(models, units=("center", (1, 2)), definitions=("luo2016", "replknet"), seeds=(5,))
    tasks = study.tasks()
    assert len(tasks) == (2 + 1) * 2 * 2
    assert len({task.key for task in tasks}) == len(tasks)
    assert {task.unit for task in tasks} == {"center", (1, 2)}


def test_a_task_is_known_by_what_its_result_depends_on(tmp_path):
    (task,) = Study({"a": SMALL}).tasks()
    (named,) = Study({"b": SMALL}).tasks()
    assert task.key == named.key
    for change in ({"seed": 1}, {"samples": 3}, {"layer": "conv1"}, {"definition": "replknet"}):
        assert replace(task, **change).key != task.key
    # A file is what it holds.
    network = zoo.build("plain", depth=1)
    for name in ("one.keras", "two.keras"):
        network.save(tmp_path / name)
    (tmp_path / "two.keras").write_bytes((tmp_path / "one.keras").read_bytes())
    one, two = (
        Study({"m": ModelEntry(str(tmp_path / name))}).tasks()[0].key
        for name in ("one.keras", "two.keras")
    )
    assert one == two
    with (tmp_path / "two.keras").open("ab") as file:
        file.write(b"x")
    assert Study({"m": ModelEntry(str(tmp_path / "two.keras"))}).tasks()[0].key != one


def study_with_files(folder):
    """A study of a network with a file of weights, over a folder of images."""
    (folder / "photos" / "cats").mkdir(parents=True)
    (folder / "photos" / "cats" / "a.png").write_bytes(b"picture")
    (folder / "w.weights.h5").write_bytes(b"weights")
    (folder / "study.toml").write_text(
        "inputs = 'photos'\n[models.a]\nsource = 'MobileNet'\nweights = 'w.weights.h5'\n"
    )
    return folder / "study.toml"


@pytest.mark.parametrize(
    ("name", "content", "same"),
    [
        ("w.weights.h5", b"WEIGHTS", False),
        ("photos/cats/a.png", b"another", True),  # Of the same size: recognised by names and sizes.
        ("photos/cats/a.png", b"larger picture", False),
        ("photos/b.JPG", b"picture", False),
        ("photos/notes.txt", b"no picture", True),
    ],
)
def test_weights_and_images_are_what_they_hold(name, content, same, tmp_path):
    study = study_with_files(tmp_path)
    (before,) = read_study(study).tasks()
    (tmp_path / name).write_bytes(content)
    (after,) = read_study(study).tasks()
    assert (after.key == before.key) is same


def test_a_study_has_its_keys_anywhere(tmp_path, monkeypatch):
    study = study_with_files(tmp_path / "one")
    other = study_with_files(tmp_path / "two")
    monkeypatch.chdir(tmp_path / "one")
    tasks = [read_study(one).tasks()[0] for one in (study, other, "study.toml")]
    assert len({task.key for task in tasks}) == 1
    assert {task.model.weights for task in tasks} == {
        str(tmp_path / name / "w.weights.h5") for name in ("one", "two")
    }


def test_names_come_before_files(tmp_path, monkeypatch):
    study = tmp_path / "study.toml"
    text = "inputs = 'normal'\n[models.a]\nsource = 'cifar_resnet14'\nweights = 'trained'\n"
    study.write_text(text)
    (task,) = read_study(study).tasks()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trained").write_text("no weights")
    (tmp_path / "normal").mkdir()
    assert read_study(study).tasks() == [task]
    assert measure(STUDY.tasks()[0]).reason is None
    # That folder is meant by its path.
    study.write_text(text.replace("'normal'", "'./normal'"))
    for path in (study, "study.toml"):
        (other,) = read_study(path).tasks()
        assert Path(other.inputs) == tmp_path / "normal"
        assert "`inputs` must be a folder that holds images" in str(measure(other).reason)


def test_numbers_of_numpy_are_plain_ones(tmp_path):
    numbers = np.arange(8)
    models = {"m": ModelEntry("plain", options={"depth": numbers[2], "sizes": numbers[:2]})}
    study = Study(models, units=((numbers[1], 2),), seeds=tuple(numbers[:2]), samples=numbers[4])
    plain = {"m": ModelEntry("plain", options={"depth": 2, "sizes": [0, 1]})}
    wanted = Study(plain, units=((1, 2),), seeds=(0, 1), samples=4)
    assert [task.key for task in study.tasks()] == [task.key for task in wanted.tasks()]
    assert ModelEntry("plain", input_shape=(numbers[7],)) == ModelEntry("plain", input_shape=(7,))
    folder = Study(plain, inputs=tmp_path)
    assert folder.tasks() == Study(plain, inputs=str(tmp_path)).tasks()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Study({"m": "plain"}), "`models` must name at least one model, each a"),
        (lambda: Study([SMALL]), "`models` must name at least one model, each a"),
        (lambda: Study({"m": SMALL}, units=(np.array([1.0, 2.0]),)), "`units` must be 'center' or"),
        (lambda: Study({"m": SMALL}, units=((),)), "`units` must be 'center' or"),
        (lambda: Study({"m": SMALL}, units=((True, 1),)), "`units` must be 'center' or"),
        (lambda: Study({"m": SMALL}, inputs=np.zeros(3)), "`inputs` must be one of normal"),
        (lambda: ModelEntry("plain", options={"depth": {2}}), "`options` of a model must be"),
    ],
)
def test_values_that_cannot_be_sent_are_refused(made, message):
    with pytest.raises(InvalidInputError, match=message) as error:
        made()
    assert "\n" not in str(error.value)


def test_a_study_of_a_file(tmp_path):
    zoo.build("plain", depth=1).save(tmp_path / "mine.keras")
    (tmp_path / "study.toml").write_text(
        """
        seeds = [0, 1]
        units = ["center", [2, 3]]
        samples = 4
        [models.small]
        source = "plain"
        options = {depth = 2}
        layers = ["conv1", "conv2"]
        input_shape = [9, 9]
        [models.mine]
        source = "mine.keras"
        """
    )
    study = read_study(tmp_path / "study.toml")
    assert study.models["small"] == replace(SMALL, layers=("conv1", "conv2"))
    assert study.models["mine"].source == str(tmp_path / "mine.keras")
    assert len(study.tasks()) == 3 * 2 * 2
    assert study.tasks()[-1].content


def test_keys_are_those_of_versions_that_could_not_calibrate():
    model = ModelEntry("plain", options={"depth": 3})
    task = Task("a", model, "", None, "center", "luo2016", 0, "normal", 4, None)
    # As version 0.1.0 computes it.
    assert task.key == "96bfca6bb3909b8a048bf1aaaeccd86e"
    assert replace(task, calibrate=True).key != task.key


def test_a_study_calibrates(tmp_path):
    x = keras.Input((9, 9, 3))
    y = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(x)))
    model = keras.Model(x, keras.layers.Conv2D(4, 3)(y))
    model.save(tmp_path / "mine.keras")
    text = "calibrate = true\nseeds = [0, 1]\nsamples = 4\nmodels.mine.source = 'mine.keras'"
    (tmp_path / "study.toml").write_text(text)
    study = read_study(tmp_path / "study.toml")
    store = run_study(study, tmp_path / "results")
    copy = erf.calibrate_batch_norm(model)
    for task in study.tasks():
        wanted = erf.probe(copy, samples=4, seed=task.seed)
        np.testing.assert_array_equal(store.load(task.key).map, wanted.map)
    # Seeds are samples of one network.
    assert store.merged([task.key for task in study.tasks()]).count == 8
    assert store.to_frame()["calibrate"].tolist() == [True, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("calibrate = 1\n[models.a]\nsource = 'plain'", "`calibrate` must be True or False"),
        (None, "`path` must be a study in TOML: No such file"),
        ("seeds = [", "`path` must be a study in TOML: "),
        ("seeds = [0]", "`path` must have a table for each model"),
        ("seed = [0]\n[models.a]\nsource = 'plain'", "Did you mean 'seeds'"),
        ("[models.a]\nlayer = 'x'", "`layer` is no key of models.a"),
        ("[models.a]\nlayers = ['x']", "models.a: `source` of a model must be a model's file"),
        ("[models.a]\nsource = 3", "models.a: `source` of a model must be a model's file"),
        (
            "[models.a]\nsource = 'plain'\nlayers = 'x'",
            "`layers` of a model must be a list of names",
        ),
        (
            "[models.a]\nsource = 'plain'\nlayers = [3]",
            "`layers` of a model must be a list of names",
        ),
        ("[models.a]\nsource = 'plain'\noptions = 3", "`options` of a model must be a table"),
        (
            "[models.a]\nsource = 'plain'\noptions = {depth = 2024-01-01}",
            "`options` of a model must be a table of texts, numbers",
        ),
        ("[models.a]\nsource = 'plain'\nweights = 3", "`weights` of a model must be a text"),
        ("[models.a]\nsource = 'plain'\nunsafe = 3", "`unsafe` of a model must be true"),
        ("[models.a]\nsource = 'plain'\ninput_shape = [0]", "`input_shape` of a model must be"),
        ("samples = 0\n[models.a]\nsource = 'plain'", "`samples` must be a whole number"),
        ("seeds = 3\n[models.a]\nsource = 'plain'", "`seeds` must be a list of at least one"),
        ("[models]", "`models` must name at least one"),
        ("seeds = [-1]\n[models.a]\nsource = 'plain'", "`seed` must be a whole number"),
        (
            "inputs = 'ones'\n[models.a]\nsource = 'plain'",
            "`inputs` must be one of normal, uniform",
        ),
        ("tolerance = 3\n[models.a]\nsource = 'plain'", "`tolerance` must be a share"),
        ("definitions = ['luo']\n[models.a]\nsource = 'plain'", "`definition` must be"),
        ("units = ['top']\n[models.a]\nsource = 'plain'", "`units` must be 'center' or indices"),
        ("inputs = 'photos'\n[models.a]\nsource = 'plain'", "`inputs` must be one of normal"),
        ("inputs = 5\n[models.a]\nsource = 'plain'", "`inputs` must be one of normal"),
    ],
)
def test_mistakes_in_a_file_are_reported(text, message, tmp_path):
    if text is not None:
        (tmp_path / "study.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        read_study(tmp_path / "study.toml")


# --- The store -----------------------------------------------------------------------------------


def test_a_result_is_kept_as_it_was(tmp_path, content):
    store, (task, other) = StudyStore(tmp_path), STUDY.tasks()
    store.put(task, content)
    store.fail(other, "because")
    again = StudyStore(tmp_path)
    wanted = erf.probe(zoo.build("plain", depth=2), samples=4, input_shape=(9, 9))
    np.testing.assert_allclose(again.load(task.key).map, wanted.map, rtol=1e-6)
    assert again.counts() == {"done": 1, "failed": 1}
    ((failed, reason),) = again.failures()
    assert (failed["seed"], reason) == (1, "because")
    (row,) = again.to_frame().to_dict("records")
    assert row["erf_size"] == pytest.approx(wanted.size)
    assert (row["model"], row["seed"], row["layer"]) == ("small", 0, "conv2")
    assert (row["trf_size_0"], row["trf_size_1"]) == (5, 5)
    with pytest.raises(InvalidInputError, match="`key` must be that of a finished task"):
        again.load(other.key)


@pytest.mark.parametrize("harm", ["changed", "missing"])
def test_a_result_that_was_harmed_is_found_and_measured_again(harm, tmp_path, content):
    store, (task, _) = StudyStore(tmp_path), STUDY.tasks()
    store.put(task, content)
    assert store.check() == []
    file = store.file(task.key)
    if harm == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InvalidInputError, match="is not what was written"):
        store.load(task.key)
    assert store.check() == [task.key]
    assert store.check(repair=True) == [task.key]
    assert store.states() == {}


def test_what_is_no_result_is_not_kept(tmp_path, content):
    store, (task, _) = StudyStore(tmp_path), STUDY.tasks()
    with pytest.raises(InvalidInputError, match=r"`path` must be an \.npz file"):
        store.put(task, b"rubbish")
    assert store.states() == {}
    # Nor does it take the place of a result.
    store.put(task, content)
    with pytest.raises(InvalidInputError, match=r"`path` must be an \.npz file"):
        store.put(task, b"rubbish")
    assert store.file(task.key).read_bytes() == content
    assert store.check() == []


def test_folders_that_do_not_fit(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInputError, match="`path` must be a folder"):
        StudyStore(tmp_path / "file")
    (tmp_path / "index.sqlite").write_bytes(b"no database, but longer than a header of one" * 9)
    with pytest.raises(InvalidInputError, match="`path` must be a folder"):
        StudyStore(tmp_path)
    later = StudyStore(tmp_path / "later")
    with later._connected() as database:
        database.execute("UPDATE about SET value = '99'")
    with pytest.raises(InvalidInputError, match="holds results of format 99"):
        StudyStore(tmp_path / "later")


HOLD = """
import sys, time
from keras_erf.studies.store import StudyStore
with StudyStore(sys.argv[1]).claimed("a") as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def test_a_claim_ends_with_its_process(tmp_path):
    store = StudyStore(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"True"
        with store.claimed("a") as mine, store.claimed("b") as other:
            assert (mine, other) == (False, True)
        holder.kill()
    with store.claimed("a") as mine:
        assert mine
    assert not list((tmp_path / "claims").glob("b*"))


def test_the_table_in_files(tmp_path, content):
    store = StudyStore(tmp_path / "store")
    for task in STUDY.tasks():
        store.put(task, content)
    assert store.export(tmp_path / "t.csv") == 2
    read = pd.read_csv(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(read, store.to_frame(), check_dtype=False)
    with pytest.raises(InvalidInputError, match=r"`path` must end in \.csv or \.parquet"):
        store.export(tmp_path / "t.xlsx")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    assert store.export(tmp_path / "t.parquet") == 2
    again = pd.read_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(again, store.to_frame(), check_dtype=False)


def test_seeds_are_shards_of_one_probe(tmp_path):
    curved = replace(SMALL, options={"depth": 2, "activation": "relu"})
    study = Study({"curved": curved}, seeds=(0, 1, 2), samples=4)
    keys = [task.key for task in study.tasks()]
    store = run_study(study, tmp_path)
    whole = store.merged(keys)
    network = zoo.build("plain", depth=2, activation="relu")
    parts = [erf.probe(network, samples=4, seed=seed, input_shape=(9, 9)) for seed in range(3)]
    # Means over equal numbers of samples.
    np.testing.assert_allclose(whole.map, np.mean([part.map for part in parts], 0), rtol=1e-6)
    assert whole.count == 12
    np.testing.assert_allclose(store.merged(keys[::-1]).map, whole.map, rtol=1e-12)
    with pytest.raises(InvalidInputError, match="samples of its own"):
        store.merged([keys[0], keys[0]])
    with pytest.raises(InvalidInputError, match="`keys` must name at least one"):
        store.merged([])


def test_a_model_that_changed_since_is_not_measured(tmp_path):
    file = tmp_path / "network.keras"
    zoo.build("plain", depth=1).save(file)
    (task,) = Study({"network": ModelEntry(str(file))}).tasks()
    file.write_bytes(file.read_bytes() + b"more")
    outcome = measure(task)
    assert outcome.content is None
    assert "`source` must be the file that the study was planned with" in str(outcome.reason)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("w.weights.h5", "`weights` must be the file that the study was planned with"),
        ("photos/b.png", "`inputs` must be the folder that the study was planned with"),
    ],
)
def test_weights_and_images_that_changed_since_are_not_measured(name, message, tmp_path):
    (task,) = read_study(study_with_files(tmp_path)).tasks()
    (tmp_path / name).write_bytes(b"something else")
    outcome = measure(task)
    assert outcome.content is None
    assert message in str(outcome.reason)


def test_an_image_that_cannot_be_read_fails_alone(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes(b"no picture")
    store = run_study(Study({"small": SMALL}, inputs=str(images)), tmp_path / "out")
    assert store.counts() == {"failed": 1}
    ((_, reason),) = store.failures()
    assert "a.png" in reason


# --- Running -------------------------------------------------------------------------------------


def test_results_are_those_of_a_probe_and_failures_do_not_stop_it(tmp_path):
    (tmp_path / "broken.keras").write_bytes(b"PK rubbish")
    models = {
        "broken": ModelEntry(str(tmp_path / "broken.keras")),
        "small": replace(SMALL, layers=("conv1", "conv11")),
        "unknown": ModelEntry("Resnet5000"),
    }
    counts = []
    study = Study(models, samples=4, seeds=(3,))
    store = run_study(study, tmp_path / "out", progress=lambda *pair: counts.append(pair))
    assert store.counts() == {"done": 1, "failed": 3}
    assert counts[0] == (0, 4)
    assert counts[-1] == (4, 4)
    network = zoo.build("plain", depth=2)
    wanted = erf.probe(network, "conv1", samples=4, seed=3, input_shape=(9, 9))
    (done,) = (key for key, state in store.states().items() if state == "done")
    np.testing.assert_allclose(store.load(done).map, wanted.map, rtol=1e-6)
    reasons = {task["name"]: reason for task, reason in store.failures()}
    assert "`MODEL` must be a model of Keras" in reasons["broken"]
    assert "Nearest names" in reasons["small"]
    assert "`MODEL` must be a model file" in reasons["unknown"]


@pytest.fixture
def counted(monkeypatch, content):
    """Tasks as they are measured, each a copy of one result; tasks of `failing` fail."""

    class Counted(list):
        def __init__(self) -> None:
            super().__init__()
            self.failing: set[int] = set()

    calls = Counted()

    def measured(task):
        calls.append(task.seed)
        if task.seed in calls.failing:
            return TaskOutcome(task.key, reason="asked to")
        return TaskOutcome(task.key, content)

    monkeypatch.setattr(running, "measure", measured)
    return calls


def test_only_what_is_missing_is_measured(tmp_path, counted):
    study = Study({"small": SMALL}, seeds=(0, 1, 2))
    run_study(replace(study, seeds=(0, 2)), tmp_path)
    assert counted == [0, 2]
    run_study(study, tmp_path)
    assert counted == [0, 2, 1]


def test_failures_are_repeated_when_asked(tmp_path, counted):
    study = Study({"small": SMALL}, seeds=(0, 1, 2))
    counted.failing = {1}
    assert run_study(study, tmp_path).counts() == {"done": 2, "failed": 1}
    run_study(study, tmp_path)
    assert counted == [0, 1, 2]
    counted.failing = set()
    assert run_study(study, tmp_path, retry_failed=True).counts() == {"done": 3}
    assert counted == [0, 1, 2, 1]


def test_an_interruption_keeps_what_is_there(tmp_path, counted, monkeypatch, content):
    def interrupted(task):
        if task.seed == 2:
            raise KeyboardInterrupt
        return TaskOutcome(task.key, content)

    study = Study({"small": SMALL}, seeds=(0, 1, 2, 3))
    with monkeypatch.context() as patched:
        patched.setattr(running, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_study(study, tmp_path)
    assert StudyStore(tmp_path).counts() == {"done": 2}
    run_study(study, tmp_path)
    assert counted == [2, 3]


def test_what_another_process_works_on_is_waited_for(tmp_path, counted, content, monkeypatch):
    study = Study({"small": SMALL}, seeds=(0, 1))
    first, _ = study.tasks()
    store, slept = StudyStore(tmp_path), []
    claim = store.claimed(first.key)
    claim.__enter__()

    def other_finishes(seconds):
        slept.append(seconds)
        store.put(first, content)
        claim.__exit__(None, None, None)

    monkeypatch.setattr(time, "sleep", other_finishes)
    run_study(study, tmp_path)
    assert counted == [1]
    assert len(slept) == 1


@pytest.mark.parametrize("again", [False, True])
def test_what_another_process_settles_meanwhile_is_settled(again, tmp_path, counted, monkeypatch):
    study = Study({"small": SMALL}, seeds=(0, 1))
    first, second = study.tasks()
    look, other = StudyStore.states, StudyStore(tmp_path)
    other.fail(second, "broken")

    def states(self, keys=None):
        found = look(self, keys)
        if keys is None:
            # After the look at what is missing, before any of it is claimed.
            other.fail(first, "broken")
        return found

    monkeypatch.setattr(StudyStore, "states", states)
    store = run_study(study, tmp_path, retry_failed=again)
    assert counted == ([0, 1] if again else [])
    assert store.counts() == ({"done": 2} if again else {"failed": 2})


CLAIMING = """
import contextlib, resource, sys
from keras_erf.studies import ModelEntry, Study, StudyStore, running

resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
store = StudyStore(sys.argv[1])
tasks = Study({"m": ModelEntry("plain")}, seeds=range(600)).tasks()
for workers in (1, 100):
    with contextlib.ExitStack() as claims:
        claimed = running._claim(store, tasks, running._window(workers), claims)
        print(len(claimed), len(store.states()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are Unix's")
def test_claims_leave_files_to_open(tmp_path):
    """As on macOS, where a process may have 256 files open."""
    call = [sys.executable, "-c", CLAIMING, tmp_path]
    ran = subprocess.run(call, capture_output=True, text=True, check=False)
    assert ran.stdout.split("\n")[:2] == ["8 0", "128 0"], ran.stderr


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"engine": "spark"}, "`engine` must be one of local, dask, ray"),
        ({"workers": 0}, "`workers` must be a whole number of at least 1"),
    ],
)
def test_mistakes_are_reported(options, text, tmp_path):
    with pytest.raises(InvalidInputError, match=text):
        run_study(STUDY, tmp_path, **options)


@pytest.mark.parametrize(
    "error", [tf.errors.ResourceExhaustedError(None, None, "OOM"), MemoryError("out of memory")]
)
@pytest.mark.parametrize("most", [2, 0])
def test_memory_that_runs_out_is_tried_again_with_less(most, error, monkeypatch, tmp_path):
    """A step of a probe runs out of memory with more than `most` samples."""
    begin, sizes = Accumulator.__init__, []

    def hungry(self, *arguments, **options):
        begin(self, *arguments, **options)
        add = self.add

        def limited(batch, *others):
            sizes.append(len(next(iter(batch.values()))))
            if sizes[-1] > most:
                raise error
            return add(batch, *others)

        self.add = limited

    curved = replace(SMALL, options={"depth": 2, "activation": "relu"})
    (task,) = Study({"curved": curved}, samples=4).tasks()
    with monkeypatch.context() as patched:
        patched.setattr(Accumulator, "__init__", hungry)
        outcome = measure(task)
    if most:
        assert sizes == [4, 2, 2]
        (tmp_path / "result.npz").write_bytes(outcome.content)
        network = zoo.build("plain", depth=2, activation="relu")
        wanted = erf.probe(network, samples=4, input_shape=(9, 9))
        np.testing.assert_allclose(erf.load(tmp_path / "result.npz").map, wanted.map, rtol=1e-6)
    else:
        assert sizes == [4, 2]
        assert str(outcome.reason).startswith("out of memory, even with 2 samples at a time: ")


def test_a_task_is_marked_before_tensorflow_starts(monkeypatch, tmp_path):
    """Where a worker dies with TensorFlow's first import, the mark shows what it did."""
    marked = []

    def broken(cores):
        marked.extend(one.name for one in tmp_path.iterdir())
        raise ImportError("not for this processor")

    monkeypatch.setattr(measuring, "take_share", broken)
    (task, _) = STUDY.tasks()
    outcome = measure(task, 1, str(tmp_path))
    assert marked == [task.key]
    assert outcome.reason == "ImportError: not for this processor"
    assert not [*tmp_path.iterdir()]


def test_workers_that_die_before_they_begin_are_given_up(monkeypatch, tmp_path):
    class TerminatedWorkerError(Exception):
        """As joblib's."""

    rounds = []

    def dead(tasks, *others):
        if tasks:
            rounds.append(len(tasks))
            assert len(rounds) < 50
            raise TerminatedWorkerError
        yield from ()

    monkeypatch.setattr(running, "parallel", dead)
    store = run_study(Study({"small": SMALL}, seeds=(0, 1, 2)), tmp_path, workers=2)
    assert store.counts() == {"failed": 3}
    # Twice together, then each alone, until each has had its five.
    assert rounds == [3, 3, *[1] * 9]


FULL = """
import resource, sys
from keras_erf.errors import InvalidInputError
from keras_erf.studies import ModelEntry, Study, StudyStore, run_study, running
models = {
    name: ModelEntry("plain", options={"depth": depth}, input_shape=(101, 101))
    for name, depth in (("large", 40), ("small", 1))
}
study = Study(models, samples=2)
outcomes = {task.key: running.measure(task) for task in study.tasks()}
print([len(outcome.content) for outcome in outcomes.values()])
running.measure = lambda task: outcomes[task.key]
for out, most in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    try:
        store = run_study(study, out)
    except InvalidInputError as error:
        print(error)
    else:
        print(dict(store.counts()), store.failures())
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(dict(run_study(study, out, retry_failed=True).counts()))
"""
# Bytes that a file may have, and what is said then.
DISKS = {
    # Enough for the index and a small result, and then for nothing.
    28_000: r"{'done': 1, 'failed': 1} \[.*`path` cannot be written: File too large",
    0: r"`path` must be a folder for a study's results that can be read and written: .*/0'",
}


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are Unix's")
def test_a_full_disk_loses_nothing(tmp_path):
    limits = [part for most in DISKS for part in (tmp_path / str(most), str(most))]
    ran = subprocess.run(
        [sys.executable, "-c", FULL, *limits], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    sizes, *lines = ran.stdout.strip().split("\n")
    for most, found, again in zip(DISKS, lines[::2], lines[1::2], strict=True):
        assert re.search(DISKS[most], found), (sizes, found)
        assert again == "{'done': 2}"
        # Nothing half written is left.
        assert len([*(tmp_path / str(most)).rglob("*.npz")]) == 2


RUN = """
import sys
import textwrap
from pathlib import Path
from keras_erf.studies import read_study, run_study
run_study(read_study(sys.argv[1]), sys.argv[2], workers=2)
"""


def working(parent: int) -> list[int]:
    """Processes that measure for another one."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    found = {int(one): Path(f"/proc/{one}/cmdline").read_bytes() for one in children}
    return [one for one, call in found.items() if b"loky" in call and b"tracker" not in call]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find a worker")
def test_a_killed_worker_costs_nothing(tmp_path):
    """Several processes, one of which is killed at work, end where one process does."""
    seeds = list(range(12))
    (tmp_path / "study.toml").write_text(
        f"seeds = {seeds}\nsamples = 4\n[models.small]\nsource = 'plain'\n"
        "options = {depth = 2}\ninput_shape = [9, 9]\n"
    )
    command = [sys.executable, "-c", RUN, str(tmp_path / "study.toml"), str(tmp_path / "out")]
    killed = False
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=dict(os.environ)) as process:
        while process.poll() is None:
            done = StudyStore(tmp_path / "out").counts()["done"]
            if not killed and done >= 2:
                os.kill(working(process.pid)[0], signal.SIGKILL)
                killed = True
            time.sleep(0.02)
        stderr = process.communicate()[1]
    assert process.returncode == 0, stderr[-2000:]
    assert killed
    found = StudyStore(tmp_path / "out")
    assert found.counts() == {"done": 12}
    whole = run_study(read_study(tmp_path / "study.toml"), tmp_path / "whole")
    for key in whole.states():
        np.testing.assert_allclose(found.load(key).map, whole.load(key).map, rtol=1e-6)


SHARING = """
import sys
from keras_erf.studies import read_study, run_study, running

def announced(task, plain=running.measure):
    print(task.key, flush=True)
    return plain(task)

running.measure = announced
run_study(read_study(sys.argv[1]), sys.argv[2])
"""


def small_study(folder, seeds):
    """A study's file, of tasks that take no time."""
    (folder / "study.toml").write_text(
        f"seeds = {list(range(seeds))}\nsamples = 4\n[models.small]\nsource = 'plain'\n"
        "options = {depth = 2, activation = 'relu'}\ninput_shape = [9, 9]\n"
    )
    return folder / "study.toml"


def test_two_processes_share_a_folder(tmp_path):
    """Each task is measured by one of them, and both end when all is done."""
    command = [sys.executable, "-c", SHARING, str(small_study(tmp_path, 20)), str(tmp_path / "out")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    keys = [process.communicate(timeout=HANGING)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len({*keys[0], *keys[1]}) == len(keys[0]) + len(keys[1]) == 20
    store = StudyStore(tmp_path / "out")
    assert store.counts() == {"done": 20}
    assert store.check() == []


def alive(group):
    """Whether any process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="signals are Unix's")
def test_an_interrupted_command_ends_with_its_workers_and_resumes(tmp_path):
    study, out = small_study(tmp_path, 200), tmp_path / "out"
    script = "import sys; from keras_erf.cli import main; main()"
    command = [sys.executable, "-c", script, "study", "run", str(study), "--out", str(out)]
    call = [*command, "--workers", "2"]
    with subprocess.Popen(
        call, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # A shell that starts the tests in the background has them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as one:  # fmt: skip
        while StudyStore(out).counts()["done"] < 3:
            assert one.poll() is None
            time.sleep(0.05)
        # As a terminal does: to the process and its workers; again if it went unheard, as it does
        # where Python ignores errors (a finalizer, say).
        for _ in range(HANGING // 20):
            os.killpg(one.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                error = one.communicate(timeout=20)[1]
                break
    assert one.returncode == 130, error
    assert error.strip().splitlines()[-1] == (
        "Interrupted. What was measured is kept; the same call resumes from there."
    )
    # What looks after shared memory ends a moment later.
    deadline = time.monotonic() + HANGING
    while alive(one.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(one.pid)
    kept = StudyStore(out).counts()["done"]
    assert 3 <= kept < 200
    assert StudyStore(out).check() == []
    small_study(tmp_path, kept + 2)
    assert invoke("run", study, "--out", out).exit_code == 0
    states = StudyStore(out).states([task.key for task in read_study(study).tasks()])
    assert list(states.values()) == ["done"] * (kept + 2)


# --- The commands --------------------------------------------------------------------------------


DEADLY = """
import os, signal, sys
from keras_erf.studies import engines, measuring, read_study, run_study

def deadly(task, *share):
    if task.seed == 3:
        measuring.take_share = lambda cores: os.kill(os.getpid(), signal.SIGKILL)
    return measuring.measure(task, *share)

if __name__ == "__main__":
    engines.measure = deadly
    run_study(read_study(sys.argv[1]), sys.argv[2], workers=2)
"""


def test_a_task_that_kills_its_process_is_given_up_alone(tmp_path):
    (tmp_path / "study.toml").write_text(
        "seeds = [1, 2, 3, 4]\nsamples = 4\n[models.small]\nsource = 'plain'\n"
        "options = {depth = 2}\ninput_shape = [9, 9]\n"
    )
    (tmp_path / "script.py").write_text(DEADLY)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, tmp_path / "script.py", tmp_path / "study.toml", tmp_path / "out"]
    run = subprocess.run(command, env=environment, capture_output=True, timeout=HANGING)
    assert run.returncode == 0, run.stderr[-3000:]
    store = StudyStore(tmp_path / "out")
    assert store.counts() == {"done": 3, "failed": 1}
    ((task, reason),) = store.failures()
    assert task["seed"] == 3
    assert reason == "the process that measured it died 5 times: out of memory?"


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["study", *map(str, arguments)])


def test_the_commands(tmp_path, counted):
    counted.failing = {1}
    text = "seeds = [0, 1]\n[models.small]\nsource = 'plain'\n"
    (tmp_path / "study.toml").write_text(text)
    out = tmp_path / "out"
    for _ in range(2):  # What failed before is not done by not being tried again.
        result = invoke("run", tmp_path / "study.toml", "--out", out)
        assert result.exit_code == 1, result.output
        assert "1 done, 1 failed" in result.stdout
        assert result.stderr == ""
    assert "1 task of small: asked to" in result.stdout
    status = json.loads(invoke("status", "--out", out, "--json").stdout)
    assert (status["done"], status["failed"]) == (1, 1)
    assert status["failures"][0]["reason"] == "asked to"
    exported = invoke("export", tmp_path / "table.csv", "--out", out)
    assert exported.stdout.startswith("1 row written to ")
    exported = invoke("export", tmp_path / "table.csv", "--out", out, "--json")
    assert json.loads(exported.stdout) == {"rows": 1, "file": str(tmp_path / "table.csv")}
    assert len(pd.read_csv(tmp_path / "table.csv")) == 1
    counted.failing = set()
    again = invoke("run", tmp_path / "study.toml", "--out", out, "--retry-failed")
    assert "2 done, 0 failed" in again.stdout
    assert again.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["status"], "`--out` must be a folder of `keras-erf study run`"),
        (["export", "t.csv"], "`--out` must be a folder of `keras-erf study run`"),
        (["export", "t.xls"], "`FILE` must end in .csv or .parquet"),
        (["run", "nowhere.toml"], "`FILE` must be a study in TOML: No such file"),
        (
            ["run", "study.toml", "--workers", "0"],
            "`--workers` must be a whole number of at least 1",
        ),
    ],
)
def test_mistakes_of_the_commands_are_reported_in_one_line(arguments, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text("[models.small]\nsource = 'plain'\n")
    result = invoke(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert text in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inputs = 'photos'", "Error: `inputs` must be one of normal, uniform, zeros, or a folder"),
        ("seeds = [-1]", "Error: `seed` must be a whole number of at least 0. Received: seed=-1"),
        ("models.a.weights = 3", "Error: models.a: `weights` of a model must be a text"),
        ("seed = [0]", "Error: `seed` is no key of the study"),
        ("seeds = [", "Error: `FILE` must be a study in TOML"),
    ],
)
def test_errors_name_keys_of_a_study_and_no_options(text, message, tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(f"models.a.source = 'plain'\n{text}\n")
    result = invoke("run", study, "--out", tmp_path / "out")
    assert result.stderr.startswith(message)
    assert len(result.stderr.strip().splitlines()) == 1


def test_commands_name_the_file_that_cannot_be_written(tmp_path, counted):
    study = small_study(tmp_path, 1)
    assert invoke("run", study, "--out", tmp_path / "out").exit_code == 0
    # A file stands where the table's folder should.
    error = invoke("export", study / "t.csv", "--out", tmp_path / "out").stderr
    assert error.startswith("Error: `FILE` must lie in a folder that can be written: ")
    error = invoke("run", study, "--out", study).stderr
    assert error.startswith("Error: `--out` must be a folder")


# --- Machines of several accelerators ------------------------------------------------------------


# Of the files that tell who has which accelerator.
USER = "" if sys.platform == "win32" else f"{os.getuid()}-"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of three accelerators, and what is chosen of them."""
    chosen: list = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(devices, "_held", [])
    config = tf.config
    monkeypatch.setattr(config.threading, "set_intra_op_parallelism_threads", chosen.append)
    monkeypatch.setattr(config.threading, "set_inter_op_parallelism_threads", lambda number: None)
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: ["a", "b", "c"])
    monkeypatch.setattr(config, "set_visible_devices", lambda found, kind: chosen.extend(found))
    yield chosen
    for lock in devices._held:
        lock.release()


def test_each_worker_takes_an_accelerator_of_its_own(machine, tmp_path):
    with FileLock(tmp_path / f"keras-erf-{USER}gpu-0.lock"):
        devices.take_share(4)
        assert machine == [4, "b"]
        # It keeps what it has.
        devices.take_share(4)
        assert machine == [4, "b"]
        with pytest.raises(Timeout):
            FileLock(tmp_path / f"keras-erf-{USER}gpu-1.lock", timeout=0).acquire()


def test_more_workers_than_accelerators_share_them(machine, tmp_path):
    with contextlib.ExitStack() as taken:
        for place in range(3):
            taken.enter_context(FileLock(tmp_path / f"keras-erf-{USER}gpu-{place}.lock"))
        devices.take_share(1)
    assert machine == [1, "abc"[os.getpid() % 3]]


def test_files_that_cannot_be_opened_are_left_alone(machine, tmp_path):
    # A folder cannot be locked, by root neither.
    (tmp_path / f"keras-erf-{USER}gpu-0.lock").mkdir()
    devices.take_share(1)
    assert machine == [1, "b"]


@pytest.mark.skipif(sys.platform == "win32", reason="there users have folders of their own")
def test_users_do_not_share_files(machine, tmp_path, monkeypatch):
    for user in (7, 8):
        monkeypatch.setattr(os, "getuid", lambda user=user: user)
        assert devices._free(3) == 0
    assert len([*tmp_path.iterdir()]) == 2


@pytest.fixture
def shares(monkeypatch):
    """Cores that tasks would be handed out with, which none is."""
    given: list[int] = []

    def pool(calls):
        given.extend(arguments[1] for _, arguments, _ in calls)
        return iter(())

    monkeypatch.setattr("joblib.Parallel", lambda **options: pool)
    return given


@pytest.mark.parametrize(("workers", "share"), [(1, 8), (3, 2), (9, 1)])
def test_workers_share_the_cores(workers, share, shares, monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    list(engines.parallel(STUDY.tasks(), "local", workers, ""))
    assert shares == [share, share]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ties processes to cores")
def test_cores_that_others_have_are_not_shared(shares):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        list(engines.parallel(STUDY.tasks(), "local", 1, ""))
    finally:
        os.sched_setaffinity(0, before)
    assert shares == [1, 1]


def test_a_process_by_itself_has_all_of_the_machine(machine):
    devices.take_share(None)
    assert machine == []


# --- Clusters ------------------------------------------------------------------------------------


CLUSTERS = {
    "dask": """
import dask
from distributed import Client, LocalCluster
with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
    with Client(cluster):
        measure("dask", "client")
    with dask.config.set({"scheduler-address": cluster.scheduler_address}):
        measure("dask", "address")
""",
    "ray": """
import ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
measure("ray", "client")
ray.shutdown()
""",
}


@pytest.mark.parametrize(
    ("cluster", "package", "ways"),
    [("dask", "distributed", ["client", "address"]), ("ray", "ray", ["client"])],
)
def test_a_cluster_gives_the_same_results(cluster, package, ways, tmp_path):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    (tmp_path / "study.toml").write_text(
        "seeds = [0, 1, 2]\nsamples = 4\n[models.small]\nsource = 'plain'\n"
        "options = {depth = 2}\ninput_shape = [9, 9]\n"
    )
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom keras_erf.studies import read_study, run_study\n"
        "def measure(engine, way):\n"
        "    study = read_study(sys.argv[1])\n"
        "    run_study(study, f'{sys.argv[2]}/{way}', engine=engine, workers=2)\n"
        "if __name__ == '__main__':\n" + textwrap.indent(CLUSTERS[cluster], "    ")
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, script, tmp_path / "study.toml", tmp_path / "out"]
    run = subprocess.run(command, env=environment, capture_output=True, timeout=HANGING)
    assert run.returncode == 0, run.stderr[-3000:]
    wanted = run_study(read_study(tmp_path / "study.toml"), tmp_path / "here")
    for way in ways:
        found = StudyStore(tmp_path / "out" / way)
        assert found.counts() == wanted.counts() == {"done": 3}
        for key in wanted.states():
            np.testing.assert_allclose(found.load(key).map, wanted.load(key).map, rtol=1e-6)


@pytest.mark.parametrize(
    ("there", "asked"),
    [({"CPU": 8.0, "GPU": 2.0}, {"ray_remote_args": {"num_gpus": 1}}), ({"CPU": 8.0}, {})],
)
def test_workers_of_ray_ask_for_an_accelerator_where_there_are_any(there, asked, monkeypatch):
    ray = SimpleNamespace(is_initialized=lambda: True, cluster_resources=lambda: there)
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert engines._wanted("ray") == asked
    assert engines._wanted("dask") == {}


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_cluster_that_is_not_there_is_reported(engine, tmp_path, monkeypatch):
    # As if the package were missing.
    for name in ("distributed", "dask", "ray", "ray.util.joblib"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidInputError, match=f"`engine` '{engine}' needs the extra"):
        run_study(STUDY, tmp_path, engine=engine)
    assert StudyStore(tmp_path).states() == {}


def test_options_of_a_model_may_be_lists(tmp_path):
    entry = ModelEntry("subsample", options={"depth": 4, "positions": [2]}, input_shape=(24, 24))
    (task,) = Study({"combs": entry}, samples=2).tasks()
    outcome = measure(task)
    assert outcome.reason is None
    (tmp_path / "result.npz").write_bytes(outcome.content)
    # Two layers see 5 px; the two behind the stride add two steps of 2 px each.
    assert erf.load(tmp_path / "result.npz").receptive_field.size == (13, 13)

"""The one store: what is kept survives a kill at any step, damage, and a change of version."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import threading
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from typer.testing import CliRunner

import keras_erf as erf
from keras_erf import cli, experiments
from keras_erf.errors import InvalidInputError
from keras_erf.files.naming import file_name
from keras_erf.result_folders import Store, check_sum, intact, locked, read_json
from keras_erf.results.effective import EffectiveReceptiveField, load
from keras_erf.studies import ModelEntry, Study, StudyStore, run_study
from keras_erf.training.logbook import Logbook, Phase

# A task's, as version 0.1.0 computes it.
KEY = "f542cb770acdfe3b12ea5903cdaefb7d"
DEFINITION = {
    "name": "luo2016", "seed": "sum", "measure": "abs", "channels": "mean", "after": "none",
    "normalized": False, "display": "linear",
    "source": "Luo, Li, Urtasun and Zemel 2016, arXiv 1701.04128",
}  # fmt: skip


def write_former(file: Path, layer: str, value: float, weights: str = "w") -> None:
    """Writes the result of unit (2, 2) of a convolution of 3 x 3, as version 0.1.0 did.

    Args:
        file: Its path.
        layer: Name of the layer.
        value: What each pixel of the field has: no measurement gives it by itself.
        weights: Fingerprint of the network's.
    """
    about = {
        "format": "keras-erf effective receptive field 2",
        "dead_count": 0,
        "definition": DEFINITION,
        "provenance": {
            "model": "network",
            "weights": weights,
            "training": False,
            "runs": [{"inputs": "normal noise", "seed": 0, "samples": 1,
                      "stopped_by": "samples", "skipped": []}],
            "versions": {"keras_erf": "0.1.0", "keras": "3.15.1", "tensorflow": "2.21.0"},
        },
        "part": [[1, 4], [1, 4]],
        "linear": True,
        "receptive_field": {
            "layer": layer, "input": "image", "status": "exact", "unit": [2, 2],
            "input_size": [5, 5], "output_size": [5, 5], "size": [3, 3], "padding": [1, 1],
            "stride": ["1", "1"], "box": [[1, 4], [1, 4]], "visible": [[1, 4], [1, 4]],
        },
    }  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    sums = np.zeros((16, 3, 3))
    sums[0] = value
    np.savez_compressed(
        file,
        about=np.array(json.dumps(about)),
        block_sums=sums,
        block_counts=np.eye(1, 16, dtype=int)[0],
    )


def of_value(folder: Path, value: float) -> EffectiveReceptiveField:
    write_former(folder / "any.npz", "conv", value)
    return load(folder / "any.npz")


def value_of(result: EffectiveReceptiveField | None) -> float | None:
    return None if result is None else float(result.map[2, 2])


# --- Folders of version 0.1.0 --------------------------------------------------------------------


def network() -> keras.Model:
    x = keras.Input((5, 5, 1), name="image")
    y = layers.Conv2D(1, 3, padding="same", name="kept", kernel_initializer="ones")(x)
    y = layers.Conv2D(1, 3, padding="same", name="missing", kernel_initializer="ones")(y)
    y = layers.Dense(2, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(y))
    model = keras.Model(x, y, name="network")
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_a_profile_of_0_1_0_resumes(tmp_path):
    model = network()
    # Digests of a model depend on the release of Keras.
    erf.profile(model, ["missing"], samples=1, path=tmp_path / "new")
    new = json.loads((tmp_path / "new" / "profile.json").read_text())
    old = tmp_path / "old"
    file = "kept-a11e2e-unit-2-2-of-5x5.npz"
    assert file.startswith(file_name("kept", "image", "(5, 5)"))
    write_former(old / file, "kept", 7.0, new["weights"])
    text = f"""{{
 "model": "{new["model"]}",
 "weights": "{new["weights"]}",
 "inputs": "normal",
 "samples": 1,
 "tolerance": null,
 "seed": 0,
 "definition": {json.dumps(DEFINITION)},
 "training": false
}}"""
    (old / "profile.json").write_text(text)
    before = (old / file).read_bytes()
    for _ in range(2):
        profile = erf.profile(model, ["kept", "missing"], samples=1, path=old)
        assert value_of(profile["kept"]) == 7.0
        assert profile["missing"].receptive_field.size == (5, 5)
    assert (old / file).read_bytes() == before
    manifest = json.loads((old / "profile.json").read_text())
    (name,) = manifest["check_sums"]
    assert name.startswith("missing-")
    assert manifest["calibrate"] is False
    with pytest.raises(InvalidInputError, match=r"other seed: give .*, seed=1 instead of 0$"):
        erf.profile(model, ["kept"], samples=1, path=old, seed=1)
    with pytest.raises(InvalidInputError, match="`path` holds a profile with other calibrate"):
        erf.profile(model, ["kept"], samples=1, path=old, calibrate=True)


def test_a_history_of_0_1_0_is_read_and_continued(tmp_path):
    model = network()
    x, y = np.ones((4, 5, 5, 1), "float32"), np.array([0, 1, 0, 1])
    options = {"inputs": x, "samples": 2, "path": tmp_path}
    mark = erf.probe(model, "kept", samples=1).provenance["weights"]
    file = "kept-896161-step-0000000.npz"
    assert file.startswith(file_name("kept"))
    write_former(tmp_path / file, "kept", 7.0, mark)
    (tmp_path / "erf.csv").write_text(
        "step,epoch,layer,erf_size,erf_size_error,ratio,ratio_error,sigma,sigma_error,r_squared,"
        "dead,samples,trf_size,weights\r\n"
        f"0,0,kept,3.0,0.0,1.0,0.0,nan,nan,0.25,0.0,1,3.0,{mark}\r\n"
    )
    logger = erf.ERFLogger("kept", **options)
    model.fit(x, y, batch_size=4, epochs=1, verbose=0, callbacks=[logger])
    assert logger.frame[["step", "phase", "samples"]].to_numpy().tolist() == [[0, 0, 1], [1, 0, 1]]
    assert logger.frame["definition"].tolist() == ["", "luo2016"]
    assert value_of(logger.results[0, "kept"]) == 7.0
    # The first row of the table is as it was, with what is new behind it.
    assert (
        b"\r\n0,0,kept,3.0,0.0,1.0,0.0,nan,nan,0.25,0.0,1,3.0,%b,0,0,\r\n" % mark.encode()
        in (tmp_path / "erf.csv").read_bytes()
    )
    assert list(json.loads((tmp_path / "erf.json").read_text())["check_sums"]) == [
        "kept-896161-step-0000001.npz"
    ]


def test_a_study_of_0_1_0_is_read_and_continued(tmp_path):
    study = Study({"a": ModelEntry("plain", options={"depth": 2})}, seeds=(0, 1), samples=1)
    first, second = study.tasks()
    assert first.key == KEY
    file = tmp_path / "results" / KEY[:2] / f"{KEY}.npz"
    write_former(file, "conv2", 7.0)
    task = {
        "name": "a",
        "model": {"source": "plain", "weights": None, "options": {"depth": 2}, "layers": [],
                  "input_shape": None, "unsafe": False},
        "content": "", "layer": None, "unit": "center", "definition": "luo2016", "seed": 0,
        "inputs": "normal", "samples": 1, "tolerance": None, "weights_content": "",
        "inputs_content": "",
    }  # fmt: skip
    figures = {"layer": "conv2", "unit": [2, 2], "trf_size": [3, 3], "erf_size": 3.0}
    with sqlite3.connect(tmp_path / "index.sqlite") as index:
        index.executescript(
            "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
            "CREATE TABLE results (key TEXT PRIMARY KEY, state TEXT NOT NULL, task TEXT NOT NULL, "
            "figures TEXT, digest TEXT, reason TEXT) WITHOUT ROWID;"
            "CREATE INDEX by_state ON results (state);"
            "INSERT INTO about VALUES ('format', '1');"
        )
        line = (KEY, "done", json.dumps(task), json.dumps(figures), check_sum(file.read_bytes()))
        index.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?, NULL)", line)
    index.close()
    store = StudyStore(tmp_path)
    assert store.states() == {KEY: "done"}
    assert value_of(store.load(KEY)) == 7.0
    assert store.to_frame()[["model", "calibrate", "erf_size"]].to_numpy().tolist() == [
        ["a", False, 3.0]
    ]
    run_study(study, tmp_path)
    assert store.states() == {KEY: "done", second.key: "done"}
    assert value_of(store.load(KEY)) == 7.0


@pytest.fixture
def measured(monkeypatch):
    """Names of panels as they are measured, which takes no time."""
    names = []
    panel = experiments.run("dropout", runs=2, depth=2)

    def run(name, **options):
        names.append(name)
        return panel

    monkeypatch.setattr(experiments, "run", run)
    return names


def reproduce(out: Path, *options: str):
    return CliRunner().invoke(
        cli.app, ["reproduce", "dropout", "--runs", "2", "--out", str(out), "--json", *options]
    )


def test_panels_are_kept_until_their_files_are_damaged(measured, tmp_path):
    names = {"picture": "dropout.png", "verdict": "dropout.txt", "table": "dropout.csv"}
    for name in names.values():
        (tmp_path / name).write_text("as it was")
    # A folder of version 0.1.0, which noted no check sums.
    about = {"panel": "dropout", "runs": 2, "seed": 0, "keras_erf": erf.__version__}
    texts = {"title": "Dropout", "verdict": "v"}
    (tmp_path / "dropout.json").write_text(json.dumps({**about, **texts, "files": names}))
    (report,) = json.loads(reproduce(tmp_path).stdout)
    assert report == {
        **about,
        **texts,
        "files": {kind: str(tmp_path / name) for kind, name in names.items()},
        "kept": True,
    }
    assert not measured
    for kept in (False, True):
        options = [] if kept else ["--again"]
        (report,) = json.loads(reproduce(tmp_path, *options).stdout)
        assert report["kept"] is kept
        assert "check_sums" not in report
    (tmp_path / "dropout.csv").write_text("damaged")
    assert json.loads(reproduce(tmp_path).stdout)[0]["kept"] is False
    assert measured == ["dropout"] * 2


# --- Kills ---------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process."""


def killed_at_each_step(monkeypatch, before: Path, work, check) -> int:
    """Does some work in copies of a folder, killed at its first change, at its second and so on.

    Args:
        monkeypatch: The fixture.
        before: The folder.
        work: What is done in a copy.
        check: Called with each copy after the kill.

    Returns:
        At how many moments it was killed: before and after each change.
    """
    rename, delete = os.replace, Path.unlink
    for moment in itertools.count():
        folder, left = before.with_name(f"moment-{moment}"), itertools.count(-moment)
        shutil.copytree(before, folder)

        def pass_moment(left=left):
            if next(left) == 0:
                raise Killed

        def renaming(*arguments, wait=pass_moment):
            wait()
            rename(*arguments)
            wait()

        def deleting(path, missing_ok=False, wait=pass_moment):
            # A killed process leaves its temporary files, which nothing reads.
            if path.name.startswith("."):
                return
            wait()
            delete(path, missing_ok=missing_ok)
            wait()

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", renaming)
            patched.setattr(Path, "unlink", deleting)
            try:
                work(folder)
                return moment
            except Killed:
                pass
        check(folder)
    raise AssertionError("never done")


@pytest.mark.parametrize("about", [{}, {"seed": 0, "inputs": "normal"}], ids=["none", "some"])
def test_a_kill_at_any_step_of_saving_loses_only_what_was_saved(tmp_path, monkeypatch, about):
    old, new = of_value(tmp_path, 1.0), of_value(tmp_path, 2.0)

    def store_in(folder):
        return Store(folder, "about.json", "a profile", about)

    store_in(tmp_path / "before").save({"other.npz": old, "again.npz": old})

    def work(folder):
        store_in(folder).save({"again.npz": new, "first.npz": new})

    def check(folder):
        assert value_of(store_in(folder).load("other.npz")) == 1.0
        assert value_of(store_in(folder).load("again.npz")) in (1.0, 2.0)
        assert value_of(store_in(folder).load("first.npz")) in (None, 2.0)
        # The same call makes up for what was lost.
        work(folder)
        results = {
            name: value_of(store_in(folder).load(name)) for name in ("again.npz", "first.npz")
        }
        assert results == {"again.npz": 2.0, "first.npz": 2.0}
        sums = json.loads((folder / "about.json").read_text())["check_sums"]
        assert sorted(sums) == ["again.npz", "first.npz", "other.npz"]
        assert all(intact(folder / name, value) for name, value in sums.items())

    # Two results, and the manifest before and after them.
    assert killed_at_each_step(monkeypatch, tmp_path / "before", work, check) == 2 * 4


def test_a_kill_at_any_step_of_a_history_loses_only_the_point(tmp_path, monkeypatch):
    values = {0: 3.0, 1: 4.0, 2: 5.0}
    results = {value: of_value(tmp_path, value) for value in (*values.values(), 6.0)}

    def read(folder):
        book = Logbook(folder)
        book.read()
        return book

    def add(book, step, value):
        fields = [results[value].receptive_field]
        book.add(Phase(), step, step, fields, [results[value]], f"w{value}", "luo2016")

    book = Logbook(tmp_path / "before")
    for step, value in values.items():
        add(book, step, value)

    def work(folder):
        again = read(folder)
        # Training returned to the first step, and the second is measured with other weights.
        again.return_to(Phase(), 0)
        add(again, 1, 6.0)

    def check(folder):
        for _ in range(2):
            again = read(folder)
            listed = {step: value_of(one) for (step, _), one in again.results.items()}
            # What the table lists is there, and is what its row says.
            assert listed == {one.step: float(one.weights[1:]) for one in again.points}
            aside = [value_of(load(one)) for one in (folder / "superseded").glob("[!.]*.npz")]
            assert listed[0] == 3.0
            assert {4.0, 5.0} <= {*listed.values(), *aside}
            # The same training makes up for what was lost.
            work(folder)
        assert [one.weights for one in read(folder).points] == ["w3.0", "w6.0"]

    # Two results and a table for what is set aside, the table without them, their two files; then
    # a result, the manifest before and after it, and the table.
    assert killed_at_each_step(monkeypatch, tmp_path / "before", work, check) == 2 * (6 + 4)


def test_a_kill_at_any_step_of_a_study_loses_only_its_task(tmp_path, monkeypatch):
    study = Study({"a": ModelEntry("plain", options={"depth": 2})}, seeds=(0, 1), samples=1)
    first, second = study.tasks()
    contents = []
    for value in (1.0, 2.0):
        write_former(tmp_path / "any.npz", "conv2", value)
        contents.append((tmp_path / "any.npz").read_bytes())
    StudyStore(tmp_path / "before").put(first, contents[0])

    def work(folder):
        StudyStore(folder).put(second, contents[1])

    def check(folder):
        store = StudyStore(folder)
        assert value_of(store.load(first.key)) == 1.0
        assert store.check() == []
        assert second.key not in store.states()
        work(folder)
        assert value_of(store.load(second.key)) == 2.0

    # SQLite looks after the index.
    assert killed_at_each_step(monkeypatch, tmp_path / "before", work, check) == 2 * 1


# --- Damage, other folders, other processes ------------------------------------------------------


def refusal(call) -> str:
    with pytest.raises(InvalidInputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_file_that_changed_is_refused_and_the_remedy_works(tmp_path, place):
    store = Store(tmp_path / "s", "about.json", "a profile")
    store.save({"a.npz": of_value(tmp_path, 1.0)})
    content = bytearray((tmp_path / "s" / "a.npz").read_bytes())
    content[place] ^= 1
    (tmp_path / "s" / "a.npz").write_bytes(content)
    assert refusal(lambda: store.load("a.npz")) == (
        "`path` holds a file that is not what was written: delete it and call again. "
        f"Received: {str(tmp_path / 's' / 'a.npz')!r}"
    )
    (tmp_path / "s" / "a.npz").unlink()
    assert store.load("a.npz") is None
    store.save({"a.npz": of_value(tmp_path, 2.0)})
    assert value_of(store.load("a.npz")) == 2.0


@pytest.mark.parametrize(
    "content",
    [b"{", b"[1]", b'{"check_sums": 3}', b"\xff", b"[" * 100_000],
    ids=["cut", "list", "number", "bytes", "deep"],
)
def test_a_manifest_that_is_damaged_is_reported_in_one_line(tmp_path, content):
    (tmp_path / "about.json").write_bytes(content)
    message = refusal(lambda: Store(tmp_path, "about.json", "a profile"))
    assert message.startswith("`path` must be the folder of a profile: about.json cannot be read (")
    assert message.endswith(f"Received: path={str(tmp_path)!r}")


@pytest.mark.parametrize(
    ("empty", "content", "reason"),
    [([], "{}", "it is no list"), ({}, "[1]", "it is no dict"), ([], "[1", "Expecting")],
)
def test_files_of_another_type_are_reported_in_one_line(tmp_path, empty, content, reason):
    file = tmp_path / "history.json"
    assert read_json(file, "a training", empty) == empty
    file.write_text(content)
    message = refusal(lambda: read_json(file, "a training", empty))
    assert f"must be the folder of a training: history.json cannot be read ({reason}" in message


def test_a_folder_that_depends_on_something_else_is_refused(tmp_path):
    about = {"seed": 0, "samples": None, "inputs": "normal " * 30}
    Store(tmp_path, "about.json", "a profile", about).save({})
    # What an older version could not state is none or false.
    Store(tmp_path, "about.json", "a profile", {**about, "later": False})
    before = (tmp_path / "about.json").read_bytes()
    for changed, words in (
        ({"seed": 1}, "seed=1 instead of 0"),
        ({"samples": 4}, "samples=4 instead of None"),
        ({"later": True}, "later=True instead of None"),
    ):
        other = {**about, **changed}
        message = refusal(partial(Store, tmp_path, "about.json", "a profile", other))
        assert f"`path` holds a profile with other {next(iter(changed))}: give another" in message
        assert message.endswith(f"Received: path={str(tmp_path)!r}, {words}")
    long = refusal(lambda: Store(tmp_path, "about.json", "a profile", {**about, "inputs": "x"}))
    assert len(long) < 300 + len(str(tmp_path))
    assert (tmp_path / "about.json").read_bytes() == before
    (tmp_path / "file").write_text("")
    assert "`path` must be a folder" in refusal(lambda: Store(tmp_path / "file", "a.json", "x"))


def test_results_of_unknown_origin_are_not_taken(tmp_path):
    write_former(tmp_path / "a.npz", "conv", 1.0)
    assert Store(tmp_path, "about.json", "a profile", {"seed": 0}).load("a.npz") is None


def test_what_several_write_at_once_is_all_listed(tmp_path):
    result = of_value(tmp_path, 1.0)
    folder = tmp_path / "s"

    def write(name):
        for number in range(8):
            Store(folder, "about.json", "a profile").save({f"{name}{number}.npz": result})

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sums = json.loads((folder / "about.json").read_text())["check_sums"]
    assert len(sums) == 24
    assert all(intact(folder / name, value) for name, value in sums.items())
    assert {one.name for one in folder.iterdir()} == {*sums, "about.json"}


def test_a_result_is_kept_where_there_are_no_locks(tmp_path, monkeypatch):
    def none(*arguments, **options):
        raise NotImplementedError("no locks here")

    monkeypatch.setattr("filelock.FileLock.acquire", none)
    store = Store(tmp_path / "s", "about.json", "a profile")
    store.save({"a.npz": of_value(tmp_path, 1.0)})
    assert value_of(store.load("a.npz")) == 1.0
    assert "can be written and locked: no locks here" in refusal(
        lambda: locked(tmp_path / "l.lock").__enter__()
    )

"""The callback: what it logs, that it changes nothing, and that runs resume where they were."""

from __future__ import annotations

import math

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers

import keras_erf as erf
from keras_erf.errors import InvalidInputError, UnknownLayerError

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((48, 12, 12, 2)).astype("float32")
Y = RANDOM.integers(0, 3, 48)
STEPS = 48 // 16


def build() -> keras.Model:
    keras.utils.set_random_seed(7)
    x = keras.Input((12, 12, 2))
    y = layers.Conv2D(4, 3, padding="same", name="first")(x)
    y = layers.BatchNormalization()(y)
    y = layers.Dropout(0.3)(layers.ReLU()(y))
    y = layers.Conv2D(4, 3, padding="same", name="last")(y)
    y = layers.GlobalAveragePooling2D()(y)
    model = keras.Model(x, layers.Dense(3)(y))
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def fit(model: keras.Model, *callbacks, epochs: int = 3) -> keras.callbacks.History:
    return model.fit(
        X, Y, batch_size=16, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks)
    )


def logger(*layers_, **options) -> erf.ERFLogger:
    return erf.ERFLogger(list(layers_) or "last", **{"inputs": X[:16], **options})


def test_training_is_the_same_with_it_bit_for_bit():
    alone, watched = build(), build()
    plain = fit(alone)
    seen = fit(watched, logger("first", "last"), logger("last", per="batch"))
    assert plain.history["loss"] == seen.history["loss"]
    for one, other in zip(alone.weights, watched.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    for one, other in zip(alone.layers, watched.layers, strict=True):
        assert len(one._inbound_nodes) == len(other._inbound_nodes)


def test_points_are_those_of_a_probe():
    model, log = build(), logger("first", "last", samples=16, seed=3)
    before = erf.probe(model, "last", inputs=X[:16], samples=16, seed=3)
    fit(model, log)
    after = erf.probe(model, "last", inputs=X[:16], samples=16, seed=3)
    frame = log.frame
    assert list(frame["step"]) == [0, 0, 3, 3, 6, 6, 9, 9]
    assert list(frame["epoch"]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert list(frame["layer"])[:2] == ["first", "last"]
    last = frame[frame["layer"] == "last"]
    for row, wanted in ((last.iloc[0], before), (last.iloc[-1], after)):
        assert row["erf_size"] == pytest.approx(wanted.size, rel=1e-6)
        assert row["erf_size_error"] == pytest.approx(wanted.size_error, rel=1e-4)
        assert row["ratio"] == pytest.approx(wanted.ratio, rel=1e-6)
        assert row["r_squared"] == pytest.approx(wanted.compare().r_squared, rel=1e-4)
        assert row["sigma"] == pytest.approx(math.sqrt(np.prod(wanted.sigma)), rel=1e-4)
        assert row["trf_size"] == 5
    np.testing.assert_allclose(log.results[9, "last"].map, after.map, rtol=1e-5, atol=1e-9)
    # Weights did change in between.
    assert not np.allclose(before.map, after.map, rtol=1e-3)


def test_figures_are_in_logs_and_files(tmp_path):
    model = build()
    table = keras.callbacks.CSVLogger(tmp_path / "fit.csv")
    history = fit(model, logger(), table).history
    assert len(history["erf_size"]) == 3
    assert pd.read_csv(tmp_path / "fit.csv")["erf_size"].tolist() == pytest.approx(
        history["erf_size"]
    )
    both = fit(build(), logger("first", "last")).history
    assert {"first/erf_size", "last/erf_ratio", "last/erf_dead"} < set(both)


def test_an_epoch_without_a_point_logs_nan(tmp_path):
    log, table = logger(every=2), keras.callbacks.CSVLogger(tmp_path / "fit.csv")
    history = fit(build(), log, table, epochs=4).history
    sigmas = {row["epoch"]: row["sigma"] for _, row in log.frame.iterrows()}
    wanted = [math.nan, sigmas[2], math.nan, sigmas[4]]
    np.testing.assert_array_equal(history["erf_sigma"], wanted)
    # Keras' logger takes its columns from the first epoch.
    read = pd.read_csv(tmp_path / "fit.csv")
    assert read["erf_sigma"].tolist() == pytest.approx(wanted, nan_ok=True)
    both = fit(build(), logger("first", "last", every=2), epochs=2).history
    assert [math.isnan(one) for one in both["last/erf_dead"]] == [True, False]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"every": 2}, [0, 6, 9]),
        ({"every": 2, "per": "batch"}, [0, 2, 3, 4, 6, 8, 9]),
        ({"every": 100, "per": "batch"}, [0, 3, 6, 9]),
        ({"every": 9}, [0, 9]),
    ],
)
def test_how_often(options, steps):
    log = logger(**options)
    fit(build(), log)
    assert log.logbook.steps == steps


def test_it_is_compiled_once_for_a_model():
    model, log = build(), logger()
    fit(model, log)
    first = log._measurements[0]
    fit(model, log, epochs=2)
    assert log._measurements[0] is first
    assert first._accumulator.add.experimental_get_tracing_count() == 1
    assert log.logbook.steps == [0, 3, 6, 9, 12, 15]


class Killed(Exception):
    """Stands for the end of the process."""


class Killer(keras.callbacks.Callback):
    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self.step:
            raise Killed


@pytest.mark.parametrize("first", ["log", "backup"])
@pytest.mark.parametrize("step", [1, 3, 4, 8])
def test_a_resumed_run_has_the_points_of_one_that_was_not_interrupted(tmp_path, step, first):
    def callbacks(folder):
        log = logger(path=folder / "erf", samples=16)
        backup = keras.callbacks.BackupAndRestore(folder / "backup")
        return [log, backup] if first == "log" else [backup, log]

    def model() -> keras.Model:
        made = build()
        # Dropout draws other numbers after an interruption: without it both runs are the same.
        made.layers[4].rate = 0.0
        return made

    fit(model(), *callbacks(tmp_path / "whole"))
    with pytest.raises(Killed):
        fit(model(), *callbacks(tmp_path / "parts"), Killer(step))
    fit(model(), *callbacks(tmp_path / "parts"))
    whole, parts = (pd.read_csv(tmp_path / name / "erf" / "erf.csv") for name in ("whole", "parts"))
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-5)
    files = [
        sorted(path.name for path in (tmp_path / name / "erf").glob("*.npz"))
        for name in ("whole", "parts")
    ]
    assert files[0] == files[1]


def kept(folder) -> dict[str, bytes]:
    """All results of a folder, those set aside too, by their maps."""
    return {
        str(path.relative_to(folder)): erf.load(path).block_sums.tobytes()
        for path in folder.rglob("*.npz")
    }


def test_points_ahead_of_where_a_run_resumes_are_set_aside(tmp_path):
    first = logger(path=tmp_path)
    fit(build(), first, epochs=3)
    before, frame = kept(tmp_path), first.frame
    # Nothing was saved of the model: training starts at step 0 once more.
    log = logger(path=tmp_path)
    fit(build(), log, epochs=1)
    assert pd.read_csv(tmp_path / "erf.csv")["step"].tolist() == [0, 3]
    files = sorted(path.name for path in tmp_path.glob("*.npz"))
    assert [name.partition("-step-")[2] for name in files] == ["0000000.npz", "0000003.npz"]
    assert set(before.values()) <= set(kept(tmp_path).values())
    gone = log.superseded
    assert gone["step"].astype(int).tolist() == [3, 6, 9]
    # To the last digit what was measured, and the result that it names.
    assert gone["sigma"].astype(float).tolist() == frame["sigma"].tolist()[1:]
    for _, row in gone.iterrows():
        result = erf.load(tmp_path / "superseded" / row["file"])
        assert result.provenance["weights"] == row["weights"]
    fit(build(), logger(path=tmp_path), epochs=1)
    names = [path.name for path in (tmp_path / "superseded").glob("*-step-0000003*.npz")]
    assert len(names) == 2


def test_points_in_memory_are_set_aside_too():
    log, model = logger(samples=16), build()
    fit(model, log, epochs=1)
    wanted = log.frame["sigma"].tolist()
    fit(other(), log, epochs=1)
    assert log.superseded["sigma"].tolist() == wanted
    assert log.frame["step"].tolist() == [0, 3]


# --- Phases --------------------------------------------------------------------------------------


def compile_(model: keras.Model) -> None:
    model.compile(
        keras.optimizers.SGD(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )


def freeze(model: keras.Model, frozen: bool) -> None:
    """Freezes all but the head, or nothing, and compiles."""
    for layer in model.layers[:-1]:
        layer.trainable = not frozen
    compile_(model)


@pytest.mark.parametrize(("path", "same"), [(True, True), (True, False), (False, True)])
def test_fine_tuning_has_one_history(tmp_path, path, same):
    options = {"samples": 16, "path": tmp_path if path else None}
    model, log = build(), logger(**options)
    sigmas, files = [], {}
    for number, frozen in enumerate((True, False, False)):
        freeze(model, frozen)
        sigmas.append(sigma_of(model))
        log = log if same else logger(**options)
        fit(model, log, epochs=2)
        assert files.items() <= kept(tmp_path).items()
        files = kept(tmp_path)
        assert len(log.frame) == 1 + 2 * (number + 1)
    frame = log.frame
    assert frame["step"].tolist() == [0, 3, 6, 9, 12, 15, 18]
    assert frame["epoch"].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert frame["phase"].tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert frame["iterations"].tolist() == [0, 3, 6, 3, 6, 3, 6]
    # Each phase starts from the weights that the one before left.
    assert frame["sigma"].tolist()[::2] == pytest.approx([*sigmas, sigma_of(model)], rel=1e-6)
    assert log.superseded.empty
    assert [step for step, _ in log.results] == frame["step"].tolist()
    assert len(files) == (7 if path else 0)
    assert log.plot().lines[0].get_xdata().tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_a_phase_may_begin_with_other_weights(tmp_path):
    model, log = build(), logger(samples=16, path=tmp_path)
    fit(model, log, epochs=1)
    end = sigma_of(model)
    model.set_weights(other().get_weights())
    compile_(model)
    start = sigma_of(model)
    fit(model, log, epochs=1)
    frame = log.frame
    assert frame["step"].tolist() == [0, 3, 3, 6]
    assert frame["phase"].tolist() == [0, 0, 1, 1]
    assert frame["sigma"].tolist()[1:3] == pytest.approx([end, start], rel=1e-6)
    assert len(list(tmp_path.glob("*.npz"))) == 4
    assert log.superseded.empty


def test_a_new_logger_continues_from_the_best_weights(tmp_path):
    model = build()
    log = logger(samples=16, path=tmp_path)
    best = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: epoch or log.best.append(model.get_weights())
    )
    log.best = []
    fit(model, log, best, epochs=3)
    model.set_weights(log.best[0])
    compile_(model)
    again = logger(samples=16, path=tmp_path)
    fit(model, again, epochs=1)
    assert again.frame["step"].tolist() == [0, 3, 6, 9, 9, 12]
    assert again.frame["phase"].tolist() == [0, 0, 0, 0, 1, 1]


def test_a_phase_that_was_interrupted_resumes(tmp_path):
    """The second phase is killed, and called again from the model that the first one left."""

    def run(folder, *more) -> None:
        log = logger(samples=16, path=folder / "erf")
        if not (folder / "first.keras").exists():
            model = build()
            model.layers[4].rate = 0.0
            fit(model, log, epochs=1)
            model.save(folder / "first.keras")
        model = keras.models.load_model(folder / "first.keras")
        compile_(model)
        backup = keras.callbacks.BackupAndRestore(folder / "backup")
        fit(model, logger(samples=16, path=folder / "erf"), backup, *more, epochs=2)

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "parts", Killer(4))
    run(tmp_path / "parts")
    whole, parts = (pd.read_csv(tmp_path / name / "erf" / "erf.csv") for name in ("whole", "parts"))
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-5)
    assert parts["step"].tolist() == [0, 3, 6, 9]
    assert parts["phase"].tolist() == [0, 0, 1, 1]


def test_a_phase_that_is_called_again_sets_the_first_try_aside(tmp_path):
    model = build()
    fit(model, logger(samples=16, path=tmp_path), epochs=1)
    start = model.get_weights()
    for _ in range(2):
        model.set_weights(start)
        compile_(model)
        log = logger(samples=16, path=tmp_path)
        fit(model, log, epochs=2)
        assert log.frame["step"].tolist() == [0, 3, 6, 9]
        assert log.frame["phase"].tolist() == [0, 0, 1, 1]
    assert log.superseded["step"].astype(int).tolist() == [6, 9]


def test_steps_continue_with_an_optimizer_that_has_counted_before():
    model, log = build(), logger(samples=16)
    first = model.optimizer
    fit(model, log, epochs=1)
    compile_(model)
    fit(model, log, epochs=1)
    model.compile(first, model.loss)
    fit(model, log, epochs=1)
    assert log.frame["step"].tolist() == [0, 3, 6, 9]
    assert log.frame["iterations"].tolist() == [0, 3, 3, 6]
    assert log.frame["phase"].tolist() == [0, 0, 1, 2]


def test_epochs_continue_where_fit_counts_from_0_and_where_it_does_not():
    model, log = build(), logger(samples=16)
    fit(model, log, epochs=2)
    fit(model, log, epochs=1)
    options = {"batch_size": 16, "verbose": 0, "callbacks": [log]}
    model.fit(X, Y, initial_epoch=3, epochs=4, **options)
    assert log.frame["epoch"].tolist() == [0, 1, 2, 3, 4]


def test_a_table_without_phases_is_read_and_continued(tmp_path):
    model = build()
    fit(model, logger(samples=16, path=tmp_path), epochs=1)
    new = ["phase", "iterations", "definition"]
    table = pd.read_csv(tmp_path / "erf.csv").drop(columns=new)
    table.to_csv(tmp_path / "erf.csv", index=False)
    log = logger(samples=16, path=tmp_path)
    fit(model, log, epochs=1)
    compile_(model)
    fit(model, log, epochs=1)
    assert log.frame["step"].tolist() == [0, 3, 6, 9]
    assert log.frame["phase"].tolist() == [0, 0, 0, 1]
    assert log.frame["definition"].tolist() == ["", "", "luo2016", "luo2016"]


def test_points_of_another_definition_are_refused(tmp_path):
    model = build()
    fit(model, logger(samples=16, path=tmp_path), epochs=1)
    with pytest.raises(InvalidInputError, match="of definition luo2016 in place of replknet: give"):
        fit(model, logger(samples=16, path=tmp_path, definition="replknet"), epochs=1)


def named(*names: str) -> keras.Model:
    """A stack of convolutions of these names; `a/b` is layer `b` of a model `a`."""
    y = x = keras.Input((12, 12, 2))
    for size, name in enumerate(names, start=2):
        outer, _, inner = name.rpartition("/")
        layer = layers.Conv2D(2, size, padding="same", name=inner)
        if outer:
            layer = keras.Sequential([keras.Input((12, 12, 2)), layer], name=outer)
        y = layer(y)
    model = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(y)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize("names", [("a/c", "a_c"), ("Conv", "conv")])
def test_each_layer_has_a_file_of_its_own(tmp_path, names):
    log = logger(*names, samples=16, path=tmp_path)
    fit(named(*names), log, epochs=1)
    files = [path.name.casefold() for path in tmp_path.glob("*.npz")]
    assert len(set(files)) == 4
    again = logger(*names, path=tmp_path)
    again.logbook.read()
    assert {key: one.layer for key, one in again.results.items()} == {
        (step, name): name for step in (0, 3) for name in names
    }


def sigma_of(model: keras.Model) -> float:
    """What a probe by itself finds; the size, which is a count, is the same for most weights."""
    return math.sqrt(np.prod(erf.probe(model, "last", inputs=X[:16], samples=16).sigma))


def other() -> keras.Model:
    """The same architecture with other weights."""
    model = build()
    for variable in model.trainable_weights:
        variable.assign(variable + 0.1 * RANDOM.standard_normal(variable.shape))
    return model


def test_points_of_another_network_are_refused_and_kept(tmp_path):
    fit(build(), logger(path=tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for model, log, text in (
        (other(), logger(path=tmp_path), "of other weights at step 0"),
        (build(), logger("first", path=tmp_path), "of last in place of first"),
        (build(), logger("first", "last", path=tmp_path), "of last in place of first, last"),
    ):
        message = (
            f"`path` holds another run's points, {text}: give another folder, or empty it. Rec"
        )
        # The second call is refused like the first.
        for _ in range(2):
            with pytest.raises(InvalidInputError, match=message):
                fit(model, log)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_points_of_other_weights_at_the_step_a_run_starts_from_are_refused(tmp_path):
    model = build()
    fit(model, logger(path=tmp_path))
    model.save(tmp_path / "model.keras")
    strange = keras.models.load_model(tmp_path / "model.keras")
    strange.layers[1].bias.assign_add(np.ones(4))
    with pytest.raises(InvalidInputError, match="of other weights at step 9"):
        fit(strange, logger(path=tmp_path))
    goes_on, log = keras.models.load_model(tmp_path / "model.keras"), logger(path=tmp_path)
    fit(goes_on, log, epochs=1)
    assert log.logbook.steps == [0, 3, 6, 9, 12]


def test_a_logger_starts_again_with_another_model(tmp_path):
    log = logger(samples=16)
    for model in (build(), other()):
        wanted = sigma_of(model)
        fit(model, log, epochs=1)
        assert log.logbook.steps == [0, 3]
        sigmas = log.frame["sigma"].tolist()
        assert sigmas == pytest.approx([wanted, sigma_of(model)], rel=1e-6)
    assert len(log.results) == 2


def test_weights_given_between_two_trainings_are_measured(tmp_path):
    model, log = build(), logger(samples=16, path=tmp_path)
    fit(model, log, epochs=1)
    model.set_weights(other().get_weights())
    wanted = sigma_of(model)
    fit(model, log, epochs=1)
    frame = log.frame.set_index("step")
    assert list(frame.index) == [0, 3, 6]
    assert frame["sigma"][3] == pytest.approx(wanted, rel=1e-6)
    assert math.sqrt(np.prod(log.results[3, "last"].sigma)) == pytest.approx(wanted, rel=1e-6)


class Restored(keras.callbacks.Callback):
    """Gives the model its first weights back at the end, as `EarlyStopping` may."""

    def on_train_begin(self, logs=None):
        self.first = self.model.get_weights()

    def on_train_end(self, logs=None):
        self.model.set_weights(self.first)


def test_the_last_point_is_of_the_weights_that_are_left():
    model, log = build(), logger(samples=16)
    wanted = sigma_of(model)
    fit(model, Restored(), log, epochs=2)
    sigmas = log.frame["sigma"].tolist()
    assert len(sigmas) == 3
    assert [sigmas[0], sigmas[2]] == pytest.approx([wanted, wanted], rel=1e-6)
    assert sigmas[1] != pytest.approx(wanted, rel=1e-6)


def test_rows_name_their_weights():
    log = logger("first", "last", samples=16)
    fit(build(), log, epochs=1)
    for _, row in log.frame.iterrows():
        assert row["weights"] == log.results[row["step"], row["layer"]].provenance["weights"]
    assert log.frame["weights"].nunique() == 2


class Own(keras.Model):
    """Trained by an optimizer that `compile` knows nothing of, as adversarial networks are."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            logits = self(x, training=True)
            loss = keras.ops.mean(
                keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)
            )
        weights = self.trainable_variables
        self.own.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


def own(**options) -> keras.Model:
    model = build()
    model = Own(model.inputs, model.outputs)
    model.own = keras.optimizers.SGD(0.5)
    model.compile(**options)
    return model


@pytest.mark.parametrize("options", [{}, {"optimizer": None}])
def test_batches_count_where_the_models_optimizer_is_left_alone(options):
    model, log = own(**options), logger(samples=16)
    sigmas = [sigma_of(model)]
    for _ in range(2):
        fit(model, log, epochs=1)
        sigmas.append(sigma_of(model))
    assert log.frame["step"].tolist() == [0, 3, 6]
    assert log.frame["sigma"].tolist() == pytest.approx(sigmas, rel=1e-6)
    assert len({round(one, 6) for one in sigmas}) == 3
    often = logger(samples=16, per="batch", every=2)
    fit(own(**options), often, epochs=2)
    assert often.logbook.steps == [0, 2, 3, 4, 6]


def test_steps_are_the_optimizers_where_it_gathers_gradients():
    model, log = build(), logger(samples=16, per="batch")
    model.compile(keras.optimizers.SGD(0.05, gradient_accumulation_steps=4), loss=model.loss)
    fit(model, log)
    # Nine batches.
    assert log.logbook.steps == [0, 1, 2]
    assert int(model.optimizer.iterations) == 2


def test_no_epoch_leaves_no_point(tmp_path):
    log = logger(path=tmp_path)
    build().fit(X, Y, epochs=1, initial_epoch=1, verbose=0, callbacks=[log])
    assert log.frame.empty


class Gained(layers.Layer):
    """A convolution, and a gain that is computed of its weight at each call."""

    def build(self, shape):
        self.inner = layers.Conv2D(4, 3, padding="same")
        self.inner.build(shape)
        self.gain = self.add_weight(shape=(), initializer="ones")

    def call(self, x):
        return self.inner(x) * keras.ops.square(self.gain)

    def compute_output_shape(self, shape):
        return (*shape[:-1], 4)


def test_weights_inside_a_layer_of_ones_own_are_those_of_now():
    x = keras.Input((12, 12, 2))
    y = layers.GlobalAveragePooling2D()(Gained(name="last")(Gained()(x)))
    model = keras.Model(x, layers.Dense(3)(y))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    log = logger(samples=16)
    fit(model, log, epochs=1)
    for layer in model.layers[1:3]:
        layer.gain.assign(3.0)
    fit(model, log, epochs=1)
    wanted = erf.probe(model, "last", inputs=X[:16], samples=16)
    np.testing.assert_allclose(log.results[6, "last"].map, wanted.map, rtol=1e-5, atol=1e-9)


def test_a_later_run_reads_what_is_there(tmp_path):
    log = logger(path=tmp_path)
    fit(build(), log)
    again = logger(path=tmp_path)
    again.logbook.read()
    pd.testing.assert_frame_equal(again.frame, log.frame)
    np.testing.assert_array_equal(again.results[9, "last"].map, log.results[9, "last"].map)


def test_no_gradient_is_reported_and_training_continues():
    x = keras.Input((9, 9, 2))
    y = layers.Conv2D(2, 3, bias_initializer=keras.initializers.Constant(-50.0))(x)
    y = layers.ReLU(name="dead")(y)
    model = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(y)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    log = erf.ERFLogger("dead", inputs=X[:16, :9, :9])
    with pytest.warns(UserWarning, match="ERFLogger: The gradient of unit .* is zero"):
        model.fit(X[:, :9, :9], Y, epochs=1, verbose=0, callbacks=[log])
    assert log.frame["erf_size"].isna().all()
    assert list(log.frame["dead"]) == [1.0, 1.0]
    assert not log.results


def test_the_cost_is_reported(capsys):
    log = logger(verbose=True)
    fit(build(), log)
    assert "ERFLogger: 4 points" in capsys.readouterr().out
    assert log.share > 0
    assert math.isnan(logger().share)


def test_it_draws_its_history():
    log = logger("first", "last")
    fit(build(), log)
    ax = log.plot()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["first", "last"]
    assert ax.get_xlabel() == "epochs"
    np.testing.assert_allclose(ax.lines[1].get_xdata(), [0, 1, 2, 3])
    sizes = log.frame[log.frame["layer"] == "last"]["erf_size"]
    np.testing.assert_allclose(ax.lines[1].get_ydata(), sizes)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"every": 0}, "`every` must be a whole number of at least 1"),
        ({"per": "step"}, "`per` must be 'epoch' or 'batch'"),
        ({"layers": []}, "`layers` must name at least one layer"),
        ({"samples": -1}, "`samples`"),
        ({"tolerance": 2}, "`tolerance`"),
        ({"definition": "luo"}, "`definition`"),
    ],
)
def test_mistakes_are_reported_before_training(options, text):
    with pytest.raises(InvalidInputError, match=text):
        erf.ERFLogger(**options)


def test_folders_and_layers_that_do_not_fit(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInputError, match="`path` must be a folder"):
        erf.ERFLogger(path=tmp_path / "file")
    with pytest.raises(UnknownLayerError, match="lasd"):
        fit(build(), logger("lasd"))
    (tmp_path / "erf.csv").write_text("step,epoch\nx,y\n")
    with pytest.raises(InvalidInputError, match=r"erf\.csv cannot be read"):
        fit(build(), logger(path=tmp_path))


def test_tensorboard_has_every_point_and_picture(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    log = logger(samples=16, tensorboard=tmp_path)
    fit(build(), log)
    (file,) = tmp_path.iterdir()
    scalars, pictures = {}, {}
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            held = tf.make_ndarray(value.tensor)
            kind = scalars if held.ndim == 0 else pictures
            kind[event.step, value.tag] = held
    for _, row in log.frame.iterrows():
        for name in ("erf_size", "ratio", "sigma", "r_squared", "dead"):
            tag = f"erf_{name.removeprefix('erf_')}/last"
            assert scalars[row["step"], tag] == pytest.approx(row[name], rel=1e-6)
    assert len(scalars) == 4 * 5
    assert [step for step, _ in pictures] == [0, 3, 6, 9]
    # Width, height, and the picture itself.
    shown = tf.io.decode_png(pictures[9, "erf/last"][2]).numpy()[..., 0]
    values = np.abs(log.results[9, "last"].map)
    np.testing.assert_allclose(shown, 255 * values / values.max(), atol=1)


def test_tensorboard_that_is_not_there_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidInputError, match="pip install tensorboard"):
        logger(tensorboard=tmp_path)

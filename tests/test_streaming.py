"""Batches ahead of their use: the same as without, errors as they are, and nothing left behind."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from keras_erf.errors import InvalidInputError
from keras_erf.inputs.sampling import make_source
from keras_erf.inputs.sources import InputSpec, Source
from keras_erf.inputs.streaming import AHEAD, streamed
from tests.hanging import HANGING

IMAGE = InputSpec("image", (6, 8, 3), "float32", 2, ((1, 4), (0, 8), (0, 3)))
GREY = InputSpec("grey", (4, 4, 1), "float64", 2)
PAIR = (IMAGE, GREY)
RNG = np.random.default_rng(3)
ARRAYS = [RNG.normal(size=(7, 6, 8, 3)), RNG.normal(size=(7, 4, 4, 1))]


class Counted:
    """A source of `count` batches of one sample that keeps an eye on itself."""

    def __init__(self, count: int, error: BaseException | None = None, wait: float = 0) -> None:
        self.made, self.closed, self.threads = 0, False, set()
        self.count, self.error, self.wait = count, error, wait
        self.source = Source("counted", None, self.batches, [])

    def batches(self, size):
        # Held, so that it does not close by being forgotten.
        self.held = self.generate()
        return self.held

    def generate(self):
        try:
            for number in range(self.count):
                self.threads.add(threading.current_thread())
                self.made += 1
                self.source.skipped.append(str(number))
                time.sleep(self.wait if number else 0)
                yield [np.full((1, 4, 4, 1), number, "float64")]
            if self.error:
                raise self.error
        finally:
            self.closed = True

    def over(self) -> bool:
        """Whether the generator is closed and its thread gone."""
        return self.closed and not any(thread.is_alive() for thread in self.threads)


@pytest.fixture(autouse=True)
def silent(capfd):
    """No test leaves a thread, or a word on the standard error stream."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("size", [1, 3, 7, 9])
@pytest.mark.parametrize("kind", ["arrays", "dataset", "noise"])
def test_batches_are_those_of_the_source(kind, size):
    inputs = {
        "arrays": ARRAYS,
        "dataset": tf.data.Dataset.from_tensor_slices(tuple(ARRAYS)),
        "noise": "normal",
    }[kind]
    source = make_source(inputs, PAIR, seed=0)
    samples = 7 if kind == "noise" else None
    found = list(streamed(source, PAIR, size, samples=samples))
    assert len(found) == -(-7 // size)
    for tensors, arrays in zip(found, source.batches(size), strict=False):
        assert len(tensors) == 2
        for tensor, array, spec in zip(tensors, arrays, PAIR, strict=True):
            assert isinstance(tensor, tf.Tensor)
            assert tensor.dtype.name == spec.dtype
            np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "uint8"])
def test_dtypes(dtype):
    values = RNG.integers(0, 100, (3, 4, 4, 1))
    spec = dataclasses.replace(GREY, dtype=dtype)
    ((tensor,),) = streamed(make_source(values, [spec], seed=0), [spec], 3)
    assert tensor.dtype == tf.as_dtype(dtype)
    np.testing.assert_array_equal(tensor.numpy().astype(int), values)


@pytest.mark.parametrize(
    "error", [InvalidInputError("`inputs` ..."), KeyboardInterrupt(), ValueError("x"), SystemExit()]
)
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_errors_come_as_they_are_after_the_batches_before_them(error, count):
    counted = Counted(count, error)
    found = []
    with pytest.raises(type(error)) as caught:
        found.extend(int(tensor[0, 0, 0, 0]) for (tensor,) in streamed(counted.source, [GREY], 1))
    assert caught.value is error
    assert found == list(range(count))
    assert counted.over()


def test_errors_of_the_data():
    array = ARRAYS[1].copy()
    array[5, 0, 0, 0] = np.nan
    batches = streamed(make_source(array, [GREY], seed=0), [GREY], 2)
    next(batches), next(batches)
    with pytest.raises(InvalidInputError, match="NaN or inf"):
        next(batches)


def test_a_break_ends_it():
    counted = Counted(1000)
    for _ in streamed(counted.source, [GREY], 1):
        break
    assert counted.over()
    assert counted.made <= 1 + AHEAD


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_of_the_consumer_ends_it(error):
    def consume(source):
        for _ in streamed(source, [GREY], 1):
            raise error

    counted = Counted(1000)
    with pytest.raises(error):
        consume(counted.source)
    assert counted.over()
    assert counted.made <= 1 + AHEAD


def test_what_is_not_yet_begun_is_not_read_any_more():
    counted = Counted(1000, wait=0.2)
    batches = streamed(counted.source, [GREY], 1)
    next(batches)
    batches.close()
    assert counted.over()
    assert counted.made <= 2


def test_nothing_is_read_before_it_is_asked_for():
    counted = Counted(3)
    batches = streamed(counted.source, [GREY], 1)
    time.sleep(0.02)
    assert counted.made == 0
    batches.close()


def test_no_more_than_a_few_batches_are_ready():
    counted = Counted(20)
    for taken, _ in enumerate(streamed(counted.source, [GREY], 1), 1):
        time.sleep(0.005)
        assert counted.made <= taken + AHEAD
    assert taken == counted.made == 20


def test_reading_overlaps_with_computing():
    started = [threading.Event() for _ in range(4)]

    def batches(size):
        for event in started:
            event.set()
            yield [np.zeros((1, 4, 4, 1))]

    # Each batch is begun while the one before is still in hand.
    for number, _ in enumerate(streamed(Source("", None, batches, []), [GREY], 1), 1):
        assert number == 4 or started[number].wait(timeout=HANGING)


@pytest.mark.parametrize(("samples", "batches"), [(1, 1), (4, 1), (5, 2), (7, 2), (100, 2)])
def test_no_batch_is_read_that_is_not_wanted(samples, batches):
    read = []

    source = make_source(ARRAYS[1], [GREY], seed=0)
    counted = dataclasses.replace(
        source, batches=lambda size: (read.append(one) or one for one in source.batches(size))
    )
    assert len(list(streamed(counted, [GREY], 4, samples=samples))) == batches
    assert len(read) == batches


def test_what_was_skipped_is_as_of_the_last_batch_used():
    counted = Counted(9)
    batches = streamed(counted.source, [GREY], 1)
    next(batches), next(batches)
    deadline = time.monotonic() + HANGING
    while counted.made < 2 + AHEAD and time.monotonic() < deadline:
        time.sleep(0.001)
    assert counted.made == 2 + AHEAD
    batches.close()
    assert counted.source.skipped == ["0", "1"]
    counted = Counted(4)
    assert len(list(streamed(counted.source, [GREY], 1))) == 4
    assert counted.source.skipped == ["0", "1", "2", "3"]

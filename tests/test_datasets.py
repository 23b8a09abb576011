"""Loaders: what they read, and that what is missing or broken is named."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from PIL import Image

from keras_erf.errors import InvalidInputError
from keras_erf.training.datasets import Examples, Scenes, cifar10, content, scenes


@pytest.fixture
def tree(tmp_path):
    """Two classes of images, whose grey value tells class and number."""
    for part, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                value = 100 * label + 10 * number
                image = Image.new("RGB", (32, 32), (value, value, value))
                image.save(tmp_path / part / name / f"{number}.png")
    return tmp_path


@pytest.fixture
def street(tmp_path):
    """Three parts of two scenes each, whose labels are their number."""
    for part in ("train", "val", "test"):
        (tmp_path / part).mkdir()
        (tmp_path / f"{part}annot").mkdir()
        for number in range(2):
            Image.new("RGB", (24, 16), (number, 0, 0)).save(tmp_path / part / f"{number}.png")
            Image.new("L", (24, 16), number).save(tmp_path / f"{part}annot" / f"{number}.png")
    return tmp_path


def test_a_tree_of_classes_is_read(tree):
    train, test = cifar10(tree)
    assert train.images.shape == (6, 32, 32, 3)
    assert train.images.dtype == np.uint8
    np.testing.assert_array_equal(train.labels, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(train.images[:, 0, 0, 0], [0, 10, 20, 100, 110, 120])
    np.testing.assert_array_equal(test.labels, [0, 0, 1, 1])


def test_a_part_of_them_is_drawn_once_and_for_all(tree):
    train, _ = cifar10(tree)
    few = train.first(4, seed=1)
    np.testing.assert_array_equal(few.images, train.first(4, seed=1).images)
    assert len(few.labels) == 4
    assert train.first(None) is train
    assert train.first(99) is train


def test_a_part_of_scenes_keeps_their_labels(street):
    one = scenes(street)["train"].first(1)
    assert isinstance(one, Scenes)
    assert (one.images[..., 0] == one.labels).all()
    assert len(one.images) == len(one.labels) == 1


def test_data_are_known_by_their_content():
    images, labels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3), np.array([0, 1])
    train, test = Examples(images, labels), Examples(images[:1], labels[:1])
    description = content(train, test)
    assert description.startswith("3 images, ")
    assert description == content(Examples(images.copy(), labels.copy()), test)
    changed = images.copy()
    changed[1, 1, 1, 2] += 1
    others = [
        content(Examples(changed, labels), test),
        content(Examples(images, labels[::-1]), test),
        content(train, Examples(images[1:], labels[:1])),
    ]
    assert len({description, *others}) == 4


def test_keras_own_data_set(monkeypatch):
    images = np.zeros((2, 32, 32, 3), np.uint8)
    labels = np.array([[3], [4]], np.uint8)
    monkeypatch.setattr(
        keras.datasets.cifar10, "load_data", lambda: ((images, labels), (images, labels))
    )
    train, _ = cifar10()
    assert isinstance(train, Examples)
    np.testing.assert_array_equal(train.labels, [3, 4])


def test_without_a_network_it_says_how_to_get_it(monkeypatch):
    def fail():
        raise OSError("URL fetch failure: no route")

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", fail)
    with pytest.raises(InvalidInputError, match=r"`data` must be given .* train/CLASS/\*\.png"):
        cifar10()


def test_missing_and_broken_images_are_named(tree, tmp_path):
    with pytest.raises(InvalidInputError, match="no train/ in"):
        cifar10(tmp_path / "nowhere")
    (tree / "train" / "dog" / "1.png").write_bytes(b"no picture")
    with pytest.raises(InvalidInputError, match=r"dog/1\.png"):
        cifar10(tree)


def test_classes_that_differ_are_refused(tree):
    # Labels are places in the order of names: `dog` would be 1 here and 2 there.
    (tree / "train" / "cow").mkdir()
    with pytest.raises(InvalidInputError, match=r"same classes in .* 'cow' in train/ only, of "):
        cifar10(tree)
    (tree / "train" / "cow").rename(tree / "test" / "ant")
    with pytest.raises(InvalidInputError, match=r"Received: 'ant' in test/ only, of "):
        cifar10(tree)
    # Keras' reader takes no hidden folder for a class.
    (tree / "test" / "ant").rename(tree / "test" / ".cache")
    assert len(cifar10(tree)[1].images) == 4


def test_files_that_are_no_images_are_left_alone(street, tree):
    for folder in ("train", "train/dog"):
        (tree / folder / ".DS_Store").write_bytes(b"of a file manager")
        (tree / folder / "Thumbs.db").write_bytes(b"of another")
    assert len(scenes(street)["train"].images) == 2
    assert len(cifar10(tree)[0].images) == 6
    (tree / "train" / "dog" / "1.png").write_bytes(b"no picture")
    with pytest.raises(InvalidInputError, match=r"Received: '[^']*dog/1\.png'"):
        cifar10(tree)


def test_scenes_are_read(street):
    parts = scenes(street)
    assert set(parts) == {"train", "val", "test"}
    assert parts["val"].images.shape == (2, 16, 24, 3)
    np.testing.assert_array_equal(parts["val"].labels[1], 1)


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (lambda at: (at / "valannot").rename(at / "other"), "no valannot/ in"),
        (lambda at: (at / "testannot" / "1.png").unlink(), r"no .*testannot/1\.png"),
        (lambda at: (at / "train" / "0.png").write_bytes(b"?"), r"train/0\.png"),
        (
            lambda at: Image.new("L", (24, 16), 12).save(at / "trainannot" / "1.png"),
            r"labels from 0 to 11 .*trainannot/1\.png.* values to 12",
        ),
        (
            lambda at: Image.new("L", (8, 8), 1).save(at / "trainannot" / "1.png"),
            r"of their image's size",
        ),
        (lambda at: [one.unlink() for one in (at / "val").iterdir()], "none in"),
    ],
)
def test_what_is_wrong_with_scenes_is_named(street, harm, text):
    harm(street)
    with pytest.raises(InvalidInputError, match=text):
        scenes(street)

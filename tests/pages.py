"""Profiles of small networks, and the data of the pages that are made of them."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_erf import Profile, profile

HOSTILE = '</script><script>alert(1)</script><b title="&amp;\'">'
SCRIPT = "<script>alert(1)<!--script>"


def flat(seed: int = 0, prefix: str = "") -> Profile:
    """Of a network of two dimensions with a branch and a pool."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((32, 32, 3))
    y = layers.Conv2D(8, 3, padding="same", activation="relu", name=f"{prefix}stem")(x)
    z = layers.Conv2D(8, 3, padding="same", name=f"{prefix}branch")(y)
    y = layers.Add(name=f"{prefix}add")([y, z])
    y = layers.MaxPooling2D(name=f"{prefix}pool")(y)
    y = layers.Conv2D(8, 3, padding="same", activation="tanh", name=f"{prefix}end")(y)
    return profile(keras.Model(x, y, name="flat"), samples=20)


def line() -> Profile:
    """Of a network over a sequence."""
    keras.utils.set_random_seed(0)
    x = y = keras.Input((60, 2))
    for number in range(3):
        y = layers.Conv1D(4, 5, padding="same", activation="relu", name=f"conv{number}")(y)
    return profile(keras.Model(x, y, name="line"), samples=8)


def volume() -> Profile:
    """Of a network over a volume."""
    keras.utils.set_random_seed(0)
    x = y = keras.Input((9, 11, 13, 1))
    for number in range(2):
        y = layers.Conv3D(3, 3, padding="same", activation="relu", name=f"conv{number}")(y)
    return profile(keras.Model(x, y, name="volume"), samples=8)


class Pair(layers.Layer):
    """Two convolutions."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.parts = [layers.Conv2D(3, 3, padding="same", name=f"part{n}") for n in range(2)]

    def call(self, x: Any) -> Any:
        """One after the other."""
        return self.parts[1](self.parts[0](x))


def nested() -> Profile:
    """Of a network of composite layers, with the layers inside of them."""
    keras.utils.set_random_seed(0)
    x = y = keras.Input((16, 16, 3))
    for number in range(2):
        y = Pair(name=f"pair{number}")(y)
    return profile(keras.Model(x, y, name="nested"), samples=2, inside=True)


def hostile() -> Profile:
    """Of a network whose names would break out of a careless page."""
    x = keras.Input((16, 16, 1))
    y = layers.Conv2D(3, 3, name=SCRIPT)(x)
    y = layers.Conv2D(3, 3, name="a&amp;\"b', ü${1}`")(y)
    return profile(keras.Model(x, y, name="<img src=x onerror=alert(1)>"), samples=2)


class Page(HTMLParser):
    """The elements of a page as a browser's parser meets them, and its data."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.within = ""
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps an element."""
        self.elements.append((tag, dict(attrs)))
        self.within = tag

    def handle_endtag(self, tag: str) -> None:
        """What follows is outside of it."""
        self.within = ""

    def handle_data(self, data: str) -> None:
        """Keeps a text by the element it begins in."""
        self.texts.setdefault(self.within, []).append(data)

    @property
    def data(self) -> Any:
        """What the page's script reads."""
        (found,) = (text for text in self.texts["script"] if text.startswith("{"))
        return json.loads(found)


def unpacked(panel: dict[str, Any], levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Map and region of a panel, read as its documentation says."""
    raw = np.frombuffer(base64.b64decode(panel["data"]), "<u2").reshape(panel["shape"])
    bits = np.unpackbits(np.frombuffer(base64.b64decode(panel["mask"]), np.uint8), count=raw.size)
    return (raw / levels) ** 2 * panel["peak"], bits.reshape(panel["shape"]).astype(bool)

"""The page: data, template, style and script in one file that makes no requests."""

from __future__ import annotations

import base64
import hashlib
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from keras_erf.errors import InvalidInputError
from keras_erf.files.writing import check_file, write_text
from keras_erf.measuring.profiling import Profile
from keras_erf.reporting.content import contents_of
from keras_erf.reporting.matching import matched
from keras_erf.reporting.packing import LEVELS
from keras_erf.reporting.sentences import change, compared, facts, summary
from keras_erf.wording import with_error

__all__ = ["report"]


def report(
    profile: Profile,
    path: str | os.PathLike[str],
    *,
    compare: Profile | None = None,
    title: str | None = None,
) -> Path:
    """Writes a profile as one interactive HTML file: network, maps, metrics, tables.

    The file is self-contained and works offline. Metrics are exact; maps are stored in 16 bits,
    and averaged over blocks of pixels if all of them together would be too large, as the page
    states for each map. A map of three or more axes is shown as its sums onto each pair of axes.

    Example:

    >>> options = {"layers": ["stage1_block2_out", "stage2_block2_out"], "samples": 8}
    >>> before = keras_erf.profile(keras_erf.zoo.load("cifar_resnet14", "initial"), **options)
    >>> after = keras_erf.profile(keras_erf.zoo.load("cifar_resnet14"), **options)
    >>> keras_erf.report(before, "report.html", compare=after).name
    'report.html'

    Args:
        profile: Of `profile` or `growth`, with at least one layer.
        path: The file, in a folder that exists. An existing file is replaced once the new one is
            complete.
        compare: A second profile to compare. Layers are matched by name, or by order if both
            profiles have the same fields or share no names.
        title: Title of the page; `None` names the models.

    Returns:
        The path.

    Raises:
        InvalidInputError: An argument is invalid, or the file cannot be written.
    """
    target = check_file(path)
    _check_profile("profile", profile)
    profiles = [profile]
    if compare is not None:
        _check_profile("compare", compare)
        profiles.append(compare)
    if title is not None and not isinstance(title, str):
        raise InvalidInputError(
            argument="title", expected="must be a text", received=f"title={title!r}"
        )
    page = _rendered(profiles, title)
    write_text(target, page)
    return target


def _check_profile(name: str, profile: Any) -> None:
    if not isinstance(profile, Profile):
        raise InvalidInputError(
            argument=name,
            expected="must be a `Profile`, of `keras_erf.profile` or `keras_erf.growth`",
            received=f"{name} of type {type(profile).__name__}",
        )
    if not profile.results:
        raise InvalidInputError(
            argument=name,
            expected="must hold at least one layer",
            remedy="its `skipped` states why there is none",
            received=repr(profile),
        )


def _rendered(profiles: list[Profile], title: str | None) -> str:
    contents = contents_of(profiles)
    pairs: list[int | None] | None = None
    notes: list[str] = []
    sentences = [summary(profiles[0])]
    if len(profiles) > 1:
        first, second = profiles
        pairs, notes = matched(first, second)
        sentences = [summary(first, " in A"), compared(first, second, pairs)]
    models = list(dict.fromkeys(content["model"] for content in contents))
    style, script = _asset("report.css"), _asset("report.js")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters.update(with_error=with_error, change=change)
    rows = []
    for place, layer in enumerate(contents[0]["layers"]):
        other = None if pairs is None else pairs[place]
        rows.append((layer, None if other is None else contents[1]["layers"][other]))
    return environment.from_string(_asset("report.html.j2")).render(
        title=title or f"Receptive fields of {' and '.join(models)}",
        sentences=sentences,
        facts=[facts(profile) for profile in profiles],
        notes=notes,
        rows=rows,
        skipped=[content["skipped"] for content in contents],
        steps=max(
            p["step"]
            for content in contents
            for layer in content["layers"]
            for p in layer["panels"]
        ),
        data={"models": contents, "pairs": pairs, "levels": LEVELS, "colors": _colors()},
        style=style,
        script=script,
        # Only this script runs, and the page can request nothing from anywhere.
        policy=(
            "default-src 'none'; "
            f"script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
            "base-uri 'none'; form-action 'none'"
        ),
    )


def _asset(name: str) -> str:
    return (files("keras_erf.reporting") / "assets" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _colors() -> str:
    """The colours of the library's maps, light to dark: 256 triples of bytes, in base64."""
    from keras_erf.plotting.style import default_cmap

    table = default_cmap()(np.linspace(0, 1, 256))[:, :3]
    return base64.b64encode(np.rint(255 * table).astype(np.uint8).tobytes()).decode("ascii")

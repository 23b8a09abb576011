"""Results in files: plain arrays and text, nothing that could be executed."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

from keras_erf.algebra.geometry import Box, ReceptiveField, as_index, index_within
from keras_erf.definitions import Definition
from keras_erf.errors import InvalidInputError
from keras_erf.files.archives import check_arrays, checked_members, plain_json
from keras_erf.files.writing import written_whole
from keras_erf.results.framing import box_shape, clipped_box, whole_box

__all__ = ["plain", "read_result", "write_result"]

FORMAT = "keras-erf effective receptive field 2"
MEMBERS = {"about.npy", "block_sums.npy", "block_counts.npy"}
# What a result may take in memory, at most.
MOST_BYTES = 4 << 30
# Errors square larger ones beyond what a number can be.
MOST_IMPACT = 1e150
# Beyond, what leaving out one block changes is lost in rounding.
MOST_SAMPLES = 1 << 40
# The largest whole number that float64 holds exactly.
MOST_PIXELS = 1 << 53
FIELD_TEXTS = ("layer", "input", "status")
FIELD_INTEGERS = ("unit", "input_size", "output_size", "size")


def write_result(
    path: str | os.PathLike[str],
    *,
    block_sums: np.ndarray,
    block_counts: np.ndarray,
    dead_count: int,
    receptive_field: ReceptiveField,
    definition: Definition,
    provenance: Mapping[str, Any],
    part: Box | None,
    linear: bool,
) -> None:
    """Writes the fields of an `EffectiveReceptiveField` to an `.npz` file, whole or not at all.

    Raises:
        InvalidInputError: The file cannot be written.
    """
    about = {
        "format": FORMAT,
        "dead_count": dead_count,
        "definition": asdict(definition),
        "provenance": provenance,
        "part": part,
        "linear": linear,
        "receptive_field": {
            **{name: getattr(receptive_field, name) for name in FIELD_TEXTS + FIELD_INTEGERS},
            "padding": receptive_field.padding,
            "stride": [
                stride if stride is None else str(stride) for stride in receptive_field.stride
            ],
            "size_range": receptive_field.size_range,
            "size_median": receptive_field.size_median,
            "box": receptive_field.box(),
            "visible": receptive_field.visible(),
        },
    }
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file,
            about=np.array(json.dumps(about, default=plain)),
            block_sums=block_sums,
            block_counts=block_counts,
        )


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads what `write_result` wrote, and checks that it makes a result.

    Raises:
        InvalidInputError: The file is missing, or no such result.
    """
    try:
        with open(path, "rb") as raw:
            _check_archive(raw)
            with np.load(raw, allow_pickle=False) as file:
                about = plain_json(str(file["about"]))
                sums, counts = file["block_sums"], file["block_counts"]
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {about['format']!r}")
        field = _stored_field(about["receptive_field"])
        part = _stored_part(about["part"], field.input_size)
        shape = box_shape(whole_box(field.input_size) if part is None else part)
        if sums.dtype != np.float64 or sums.shape != (len(counts), *shape):
            raise ValueError(f"its map has shape {sums.shape} and dtype {sums.dtype}")
        if not (sums.any() and np.abs(sums).max() < MOST_IMPACT):
            raise ValueError("its map is zero, not finite or too large to be squared")
        if counts.ndim != 1 or counts.dtype.kind != "i" or counts.min() < 0 or not counts.any():
            raise ValueError("its counts are no counts")
        if counts.max() > MOST_SAMPLES:
            raise ValueError(f"a block of it has more than {MOST_SAMPLES} samples")
        if not isinstance(about["linear"], bool):
            raise ValueError("whether it is linear is neither true nor false")
        dead = _integer(about["dead_count"])
        if not 0 <= dead <= counts.sum():
            raise ValueError(f"it has {dead} dead samples")
        if not _states_origin(about["provenance"]):
            raise ValueError("its provenance does not state model, versions and runs")
        return {
            "block_sums": sums,
            "block_counts": counts,
            "dead_count": dead,
            "receptive_field": field,
            "definition": Definition(**about["definition"]),
            "provenance": about["provenance"],
            "part": part,
            "linear": about["linear"],
        }
    except Exception as error:  # A broken or hostile file may fail anywhere.
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        if "pickle" in reason:  # NumPy's message explains how to run what is in it.
            reason = "it is no archive of plain arrays"
        reason = " ".join(reason.split())[:200]
        raise InvalidInputError(
            argument="path",
            expected=f"must be an .npz file written by `EffectiveReceptiveField.save`: {reason}",
            received=f"{str(path)!r}",
        ) from error


def _check_archive(raw: BinaryIO) -> None:
    """Raises unless a file is an archive of the arrays of a result, as large as they say."""
    with zipfile.ZipFile(raw) as archive:
        members = checked_members(archive)
        if set(members) != MEMBERS:
            raise ValueError(f"it does not hold {', '.join(sorted(MEMBERS))}, and nothing else")
        if sum(member.file_size for member in members.values()) > MOST_BYTES:
            raise ValueError(f"it would take more than {MOST_BYTES >> 30} GiB")
        check_arrays(archive)
    raw.seek(0)


def plain(value: Any) -> Any:
    """NumPy numbers and fractions as Python's."""
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    return value.item() if isinstance(value, np.generic) else value


def _stored_part(stored: Any, input_size: tuple[int, ...]) -> Box | None:
    """The part a file's sums are over; `None` for the whole input."""
    if stored is None:
        return None
    part = _box(stored)
    # An axis too few or too many fails here, one by one.
    if clipped_box(part, input_size) != part or min(box_shape(part)) < 1:
        raise ValueError(f"its part {part} does not lie in the input")
    return part


@dataclass(frozen=True)
class _KnownUnit:
    """Answers for the one unit of a file; see `geometry.Tracer`."""

    unit: tuple[int, ...]
    known_box: Box
    known_visible: Box

    def box(self, unit: tuple[int, ...]) -> Box:
        self._check(unit)
        return self.known_box

    def visible(self, unit: tuple[int, ...]) -> Box:
        self._check(unit)
        return self.known_visible

    def support(self, unit: tuple[int, ...]) -> np.ndarray:
        raise InvalidInputError(
            expected="A result read from a file has no support mask",
            remedy="call keras_erf.receptive_field on the model",
            received=f"unit={unit}",
        )

    def _check(self, unit: tuple[int, ...]) -> None:
        if as_index(unit) != self.unit:
            raise InvalidInputError(
                argument="unit",
                expected=f"must be {self.unit}, the only one a result read from a file knows",
                remedy="call keras_erf.receptive_field on the model",
                received=f"unit={unit}",
            )


def _stored_field(stored: Mapping[str, Any]) -> ReceptiveField:
    """The theoretical field in a file, for its one unit."""
    box, visible = _box(stored["box"]), _box(stored["visible"])
    strides = [None if text is None else _stride(text) for text in stored["stride"]]
    padding = tuple(None if n is None else _integer(n) for n in stored["padding"])
    integers = {name: tuple(_integer(n) for n in stored[name]) for name in FIELD_INTEGERS}
    # Files written before have no range.
    ranges = _box(stored.get("size_range", [(size, size) for size in integers["size"]]))
    medians = tuple(map(_median, stored.get("size_median", integers["size"])))
    ranks = {len(integers["input_size"]), len(integers["size"]), len(padding)}
    ranks |= {len(box), len(visible), len(strides), len(ranges), len(medians)}
    unit, outputs = integers["unit"], integers["output_size"]
    if len(ranks) > 1 or len(unit) != len(outputs):
        raise ValueError("its axes do not agree")
    if min(*integers["input_size"], *integers["size"]) < 1:
        raise ValueError("an axis of it is empty")
    if index_within(unit, outputs) is None:
        raise ValueError(f"its unit {unit} is none of {outputs}")
    return ReceptiveField(
        **{name: _text(stored[name]) for name in FIELD_TEXTS},  # type: ignore[arg-type]
        **integers,  # type: ignore[arg-type]
        padding=padding,
        stride=tuple(int(s) if s is not None and s.denominator == 1 else s for s in strides),
        tracer=_KnownUnit(integers["unit"], box, visible),
        size_range=ranges,
        size_median=medians,
    )


def _states_origin(stored: Any) -> bool:
    """Whether a provenance has what pictures and pages show of it."""
    if not isinstance(stored, dict) or not isinstance(stored.get("model"), str):
        return False
    versions, runs, expected = (stored.get(name) for name in ("versions", "runs", "expected"))
    words = [stored.get("notes", []), stored.get("unseen", [])]
    return (
        isinstance(versions, dict)
        and "keras_erf" in versions
        and isinstance(runs, list)
        and bool(runs)
        and all(isinstance(run, dict) and "inputs" in run for run in runs)
        and (expected is None or (isinstance(expected, dict) and "weights" in expected))
        and all(
            isinstance(texts, list) and all(isinstance(s, str) for s in texts) for texts in words
        )
    )


def _box(stored: Any) -> Box:
    box = tuple((_integer(start), _integer(stop)) for start, stop in stored)
    if any(start > stop for start, stop in box):
        raise ValueError(f"its box {box} ends before it starts")
    return box


def _integer(stored: Any) -> int:
    if type(stored) is not int or abs(stored) > MOST_PIXELS:
        raise ValueError(f"it has {str(stored)[:40]!r} where a count of pixels should be")
    return stored


def _median(stored: Any) -> float:
    # Of whole numbers, two of which may be as near the middle.
    if type(stored) not in (int, float) or not abs(stored) <= MOST_PIXELS:
        raise ValueError(f"it has {str(stored)[:40]!r} where a median of sizes should be")
    return float(stored)


def _text(stored: Any) -> str:
    if not isinstance(stored, str):
        raise ValueError(f"it has {str(stored)[:40]!r} where a text should be")
    return stored


def _stride(stored: Any) -> Fraction:
    # Python would work out 1e999999999 to the last digit.
    if not re.fullmatch(r"-?\d{1,300}(/\d{1,300})?", _text(stored)):
        raise ValueError(f"it has {stored[:40]!r} where a stride should be")
    return Fraction(stored)

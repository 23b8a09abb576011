"""Protocol buffers, read without a description of their messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["fields"]


def fields(message: Any) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer: numbers, and bytes for all that has a length."""
    if not isinstance(message, bytes):
        raise ValueError("its protocol buffer is damaged")
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        form = key & 7
        if form == 0:
            value: Any
            value, place = _varint(message, place)
        elif form in (1, 5):
            width = 8 if form == 1 else 4
            value, place = None, place + width
        elif form == 2:
            length, place = _varint(message, place)
            value, place = message[place : place + length], place + length
        else:
            raise ValueError("its protocol buffer is damaged")
        if place > len(message):
            raise ValueError("its protocol buffer is cut off")
        yield key >> 3, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for step in range(10):
        if place >= len(message):
            raise ValueError("its protocol buffer is cut off")
        byte = message[place]
        place += 1
        value |= (byte & 127) << (7 * step)
        if byte < 128:
            return value, place
    raise ValueError("its protocol buffer is damaged")

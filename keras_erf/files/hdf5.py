"""HDF5 files made by others, checked before Keras reads them.

Such a file can name other files to read from, and claim numbers that it does not hold. Keras writes
groups with attributes, and arrays in one piece; others pack them in chunks. Anything else is
refused.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_erf.files.archives import FREE_BYTES, MOST_TIMES

if TYPE_CHECKING:
    import h5py

__all__ = ["count_stored"]


# Where texts of any length are kept, and where names are; version and zeros follow the signature.
TEXTS, NAMES = b"GCOL\x01\x00\x00\x00", b"HEAP\x00\x00\x00\x00"
# "No more free places", of names.
NONE_FREE = 1
# Deflate, shuffle and check sums; other filters are loaded from wherever the system says.
FILTERS = {1, 2, 3}


def count_stored(file: h5py.File, content: bytes | mmap.mmap) -> int:
    """The number of numbers that a file holds.

    Args:
        file: The file.
        content: Its bytes.

    Raises:
        ValueError: It refers to other files or to itself, or claims what it does not hold.
    """
    import h5py

    properties = file.id.get_create_plist()
    if properties.get_sizes() != (8, 8) or properties.get_userblock():
        raise ValueError("its places are not counted in eight bytes from its beginning")
    _check_texts(content)
    _check_names(content)
    size = len(content)
    waiting = [file["/"]]
    addresses, held, numbers, unpacked = {waiting[0].id}, 0, 0, 0
    while waiting:
        group = waiting.pop()
        _check_attributes(group, size)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"its {name[:80]!r} is a link to another place or file")
            item = group[name]
            if item.id in addresses:
                raise ValueError(f"its {name[:80]!r} is there under another name")
            addresses.add(item.id)
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                _check_attributes(item, size)
                stored, number = _stored(item)
                held, numbers = held + stored, numbers + number
                unpacked += number * item.dtype.itemsize
            else:
                raise ValueError(f"its {name[:80]!r} is neither a group nor an array")
            if held > size:
                raise ValueError("its arrays together are larger than the file")
            if unpacked > max(FREE_BYTES, MOST_TIMES * size):
                raise ValueError(f"it would unfold from {size} to {unpacked} bytes")
    return numbers


def _check_texts(content: bytes | mmap.mmap) -> None:
    """Raises unless the texts in a file end where the next begins.

    HDF5 would read one of no length again and again without end.
    """
    for start in _places(content, TEXTS):
        place, end = start + 16, start + _number(content, start + 8)
        while place + 16 <= end <= len(content):
            length = _number(content, place + 8)
            # What is free counts its own head.
            free = content[place : place + 2] == b"\0\0"
            if free and length < 16:
                raise ValueError("it has texts of no length")
            place += length if free else 16 + (length + 7) // 8 * 8
        if not start + 16 <= place <= end <= len(content):
            raise ValueError("its texts are cut off")


def _check_names(content: bytes | mmap.mmap) -> None:
    """Raises unless the free places among the names in a file come to an end.

    HDF5 follows them from one to the next, in a circle too.
    """
    for start in _places(content, NAMES):
        size, free, names = (_number(content, start + offset) for offset in (8, 16, 24))
        steps = 0
        while free != NONE_FREE:
            steps += 1
            if free + 16 > size or names + size > len(content) or 16 * steps > size:
                raise ValueError("its names have free places that do not end")
            free = _number(content, names + free)


def _places(content: bytes | mmap.mmap, signature: bytes) -> Iterator[int]:
    place = content.find(signature)
    while place >= 0:
        yield place
        place = content.find(signature, place + len(signature))


def _number(content: bytes | mmap.mmap, place: int) -> int:
    return int.from_bytes(content[place : place + 8], "little")


def _stored(dataset: h5py.Dataset) -> tuple[int, int]:
    """Bytes and numbers of an array that is wholly in the file."""
    import h5py

    name, properties = dataset.name[-80:], dataset.id.get_create_plist()
    packed = properties.get_layout() == h5py.h5d.CHUNKED
    if not packed and properties.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
        raise ValueError(f"its array {name!r} is put together of other arrays")
    for place in range(properties.get_nfilters()):
        if properties.get_filter(place)[0] not in FILTERS:
            raise ValueError(f"its array {name!r} is packed in an unusual way")
    if properties.get_external_count():
        raise ValueError(f"its array {name!r} is in another file")
    if dataset.dtype.hasobject:
        raise ValueError(f"its array {name!r} is none of plain numbers")
    # Python's numbers have no end: nothing overflows here.
    number = 0 if dataset.shape is None else math.prod(map(int, dataset.shape))
    stored = int(dataset.id.get_storage_size())
    if number * dataset.dtype.itemsize > stored and not packed:
        raise ValueError(f"its array {name!r} has fewer numbers than its shape says")
    return stored, number


def _check_attributes(item: h5py.Group | h5py.Dataset, size: int) -> None:
    for name in item.attrs:
        claimed = item.attrs.get_id(name)
        shape = claimed.shape or (1,)
        if math.prod(map(int, shape)) * claimed.dtype.itemsize > size:
            raise ValueError(f"its attribute {name[:80]!r} is larger than the file")

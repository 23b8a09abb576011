"""HDF5 files made by others, looked at before Keras reads them.

Such a file can name other files to read from, and claim numbers that it does not hold. Keras writes
groups with attributes, and arrays in one piece: anything else is refused.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h5py

__all__ = ["count_stored"]


def count_stored(file: h5py.File, size: int) -> int:
    """The number of numbers that a file holds.

    Args:
        file: The file.
        size: Its size in bytes.

    Raises:
        ValueError: It refers to other files or to itself, or claims what it does not hold.
    """
    import h5py

    waiting = [file["/"]]
    seen, held, numbers = {waiting[0].id}, 0, 0
    while waiting:
        group = waiting.pop()
        _check_attributes(group, size)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"its {name[:80]!r} is a link to another place or file")
            one = group[name]
            if one.id in seen:
                raise ValueError(f"its {name[:80]!r} is there under another name")
            seen.add(one.id)
            if isinstance(one, h5py.Group):
                waiting.append(one)
            elif isinstance(one, h5py.Dataset):
                _check_attributes(one, size)
                stored, number = _stored(one)
                held, numbers = held + stored, numbers + number
            else:
                raise ValueError(f"its {name[:80]!r} is neither a group nor an array")
            if held > size:
                raise ValueError("its arrays together are larger than the file")
    return numbers


def _stored(dataset: h5py.Dataset) -> tuple[int, int]:
    """Bytes and numbers of an array that is wholly in the file."""
    import h5py

    name, how = dataset.name[-80:], dataset.id.get_create_plist()
    if how.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
        raise ValueError(f"its array {name!r} is compressed, or put together of pieces")
    if how.get_external_count():
        raise ValueError(f"its array {name!r} is in another file")
    if dataset.dtype.hasobject:
        raise ValueError(f"its array {name!r} is none of plain numbers")
    # Python's numbers have no end: nothing overflows here.
    number = 0 if dataset.shape is None else math.prod(map(int, dataset.shape))
    stored = int(dataset.id.get_storage_size())
    if number * dataset.dtype.itemsize > stored:
        raise ValueError(f"its array {name!r} has fewer numbers than its shape says")
    return stored, number


def _check_attributes(one: h5py.Group | h5py.Dataset, size: int) -> None:
    for name in one.attrs:
        claimed = one.attrs.get_id(name)
        shape = claimed.shape or (1,)
        if math.prod(map(int, shape)) * claimed.dtype.itemsize > size:
            raise ValueError(f"its attribute {name[:80]!r} is larger than the file")

"""Archives made by others, checked before anything in them is used.

A few bytes can claim any size: a member that unfolds to gigabytes, an array of more numbers than
there are atoms. What is claimed is compared here with what is there.
"""

from __future__ import annotations

import json
import math
import os
import re
import zipfile
from typing import Any

import numpy as np

__all__ = ["check_arrays", "checked_members", "plain_json"]

# The other methods unfold any number of bytes in one go.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Beyond `FREE_BYTES`, all members together may be at most `MOST_TIMES` larger than packed.
FREE_BYTES, MOST_TIMES = 256 << 20, 500
# Names nest to about 40 in models of models.
MOST_DEPTH = 200


def checked_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members of an archive by name.

    Raises:
        ValueError: A name is there twice or leaves the folder, or a size is not what it can be.
    """
    listed = archive.infolist()
    members = {member.filename: member for member in listed}
    if len(members) != len(listed):
        raise ValueError("it has two members of one name")
    for name, member in members.items():
        if re.search(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)", name):
            raise ValueError(f"its member {name[:80]!r} leaves the folder")
        if member.compress_type not in METHODS or member.flag_bits & 1:
            raise ValueError(f"its member {name[:80]!r} is packed in an unusual way")
        if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
            raise ValueError(f"its member {name[:80]!r} has two sizes")
    packed = sum(member.compress_size for member in listed)
    unpacked = sum(member.file_size for member in listed)
    if packed > _size(archive.fp):
        raise ValueError("its members overlap")
    if unpacked > max(FREE_BYTES, MOST_TIMES * packed):
        raise ValueError(f"it would unfold from {packed} to {unpacked} bytes")
    return members


def _size(file: Any) -> int:
    place = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(place)
    return int(size)


def check_arrays(archive: zipfile.ZipFile) -> None:
    """Raises unless every member is an array of plain numbers or text, as large as it says.

    NumPy allocates what the header claims.

    Raises:
        ValueError: A member is none.
    """
    for member in archive.infolist():
        with archive.open(member) as file:
            shape, dtype = _claimed(file)
            # Python's numbers have no end: nothing overflows here.
            if (
                dtype.hasobject
                or math.prod(shape) * dtype.itemsize != member.file_size - file.tell()
            ):
                raise ValueError(f"{member.filename} is no array of plain numbers of its size")


def _claimed(file: Any) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def plain_json(text: str | bytes) -> Any:
    """What a JSON text says, if it is no deeper than names ever nest.

    Raises:
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    raise ValueError("its JSON is nested too deeply")

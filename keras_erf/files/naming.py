"""Names of files after layers, whose names may hold anything."""

from __future__ import annotations

import hashlib
import re

__all__ = ["file_name", "plain_name"]


def plain_name(name: str) -> str:
    """A name without characters that a file system may refuse."""
    return re.sub(r"[^\w.-]+", "_", name)


def file_name(name: str, *more: str) -> str:
    """A plain name with a tag: names that differ, even in case alone, get files that differ.

    Args:
        name: What the file is named after.
        more: What else distinguishes it from others, without being part of the name.
    """
    tag = hashlib.blake2b("\0".join([name, *more]).encode(), digest_size=3).hexdigest()
    return f"{plain_name(name)}-{tag}"

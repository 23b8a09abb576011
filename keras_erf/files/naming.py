"""Names of files after layers, whose names may hold anything."""

from __future__ import annotations

import hashlib
import re

__all__ = ["file_name", "plain_name"]


def plain_name(name: str) -> str:
    """A name with nothing in it that a file system may take amiss."""
    return re.sub(r"[^\w.-]+", "_", name)


def file_name(name: str, *more: str) -> str:
    """A plain name with a tag: names that differ, be it in letters' case, get files that differ.

    Args:
        name: What the file is named after.
        more: What else tells it from others, without being read in the name.
    """
    tag = hashlib.blake2b("\0".join([name, *more]).encode(), digest_size=3).hexdigest()
    return f"{plain_name(name)}-{tag}"

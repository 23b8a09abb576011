"""The share of a machine that a worker uses: some of the cores, one accelerator of several."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

__all__ = ["take_share"]

# The lock of this process's accelerator: held until the process ends, for whatever reason.
_held: list[FileLock] = []


def take_share(cores: int | None) -> None:
    """Limits TensorFlow in this process, if it has not started yet; later calls change nothing.

    Args:
        cores: Threads of an operation; `None` lets the process use the whole machine.
    """
    if cores is None or _held:
        return
    import tensorflow as tf

    # Once TensorFlow has started, its threads and devices cannot change.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(cores)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        devices = tf.config.list_physical_devices("GPU")
        if len(devices) > 1:
            tf.config.set_visible_devices([devices[_free(len(devices))]], "GPU")


def _free(number: int) -> int:
    """An accelerator that no other worker of this user holds, or any one if all are taken."""
    # Files of other users cannot be opened; on Windows, each user has a separate folder.
    user = "" if sys.platform == "win32" else f"{os.getuid()}-"
    folder = Path(tempfile.gettempdir())
    for place in range(number):
        lock = FileLock(folder / f"keras-erf-{user}gpu-{place}.lock", timeout=0)
        try:
            lock.acquire()
        except OSError:  # Taken, or the folder is not writable.
            continue
        _held.append(lock)
        return place
    return os.getpid() % number

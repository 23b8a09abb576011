"""Where a study's results are kept: one file each, and an index that is safe against crashes."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_erf.errors import InvalidInputError
from keras_erf.files.writing import write_table, written_whole
from keras_erf.results.effective import EffectiveReceptiveField, load
from keras_erf.storage import PATIENCE, check_sum, intact, locked
from keras_erf.studies.plan import Task

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["StudyStore"]

INDEX, FORMAT = "index.sqlite", "1"
DONE, FAILED = "done", "failed"
SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS results (
    key TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    task TEXT NOT NULL,
    figures TEXT,
    digest TEXT,
    reason TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_state ON results (state);
"""


class StudyStore:
    """The results of a study in a folder.

    Each result is an `.npz` file, written whole or not at all; then its line goes into the index,
    an SQLite database, with its figures and the file's check sum. So a line that is there has
    its file, and what was cut off by a crash is measured again.

    Args:
        folder: Made if it is not there.

    Raises:
        InvalidInputError: The folder holds something else, or cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        with self._connected() as database:
            database.executescript(SCHEMA)
            database.execute("INSERT OR IGNORE INTO about VALUES ('format', ?)", (FORMAT,))
        ((found,),) = self._lines("SELECT value FROM about WHERE name = 'format'")
        if found != FORMAT:
            raise InvalidInputError(
                f"`path` holds results of format {found}, and this version reads {FORMAT}. "
                f"Received: {str(folder)!r}"
            )

    @staticmethod
    def exists(folder: str | os.PathLike[str]) -> bool:
        """Whether a folder holds results of a study."""
        return (Path(folder) / INDEX).is_file()

    # --- Writing ---------------------------------------------------------------------------------

    def put(self, task: Task, content: bytes) -> None:
        """Keeps a result's file, and its line in the index after it.

        Raises:
            InvalidInputError: It is no result, or cannot be written.
        """
        file = self.file(task.key)
        with written_whole(file) as temporary:
            temporary.write_bytes(content)
            # Read as any file would be, before it takes the place of an earlier result.
            figures = load(temporary).summary()
        self._write(task, DONE, json.dumps(figures, default=_listed), check_sum(content), None)

    def fail(self, task: Task, reason: str) -> None:
        """Notes that a task failed, and why.

        Raises:
            InvalidInputError: It cannot be written.
        """
        self._write(task, FAILED, None, None, reason)

    def _write(self, task: Task, state: str, *more: str | None) -> None:
        """Writes a task's line: what was measured, the check sum and the reason are the last."""
        line = (task.key, state, json.dumps(asdict(task), default=list), *more)
        with self._connected() as database:
            database.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?)", line)

    def claimed(self, key: str) -> AbstractContextManager[bool]:
        """Whether this process may work on a task: another one's claim ends with its process."""
        return locked(self.folder / "claims" / f"{key}.lock")

    # --- Reading ---------------------------------------------------------------------------------

    def file(self, key: str) -> Path:
        """Where a task's result is, or will be; a folder has the 256th part of them."""
        return self.folder / "results" / key[:2] / f"{key}.npz"

    def states(self, keys: Sequence[str] | None = None) -> dict[str, str]:
        """Of each key that is there, and asked for, whether it is done or failed."""
        query, asked = "SELECT key, state FROM results", () if keys is None else tuple(keys)
        if keys is not None:
            query += f" WHERE key IN ({', '.join('?' * len(asked))})"
        return dict(self._lines(query, *asked))

    def counts(self) -> Counter[str]:
        """How many are done, and how many failed."""
        return Counter(dict(self._lines("SELECT state, COUNT(*) FROM results GROUP BY state")))

    def failures(self) -> list[tuple[dict[str, Any], str]]:
        """The tasks that failed, with their reasons."""
        query = "SELECT task, reason FROM results WHERE state = ? ORDER BY key"
        return [(json.loads(task), reason) for task, reason in self._lines(query, FAILED)]

    def load(self, key: str) -> EffectiveReceptiveField:
        """A result.

        Raises:
            InvalidInputError: It is not there, or its file is not what was written.
        """
        query, file = "SELECT digest FROM results WHERE key = ? AND state = ?", self.file(key)
        lines = self._lines(query, key, DONE)
        if not lines:
            raise InvalidInputError(f"`key` must be that of a finished task. Received: {key!r}")
        if not intact(file, lines[0][0]):
            raise InvalidInputError(
                f"The result of {key} is not what was written: call `check` with "
                f"`repair=True`, and run the study again. Received: {str(file)!r}"
            )
        return load(file)

    def merged(self, keys: Sequence[str]) -> EffectiveReceptiveField:
        """One result of several, as if one probe had taken the samples of all.

        So a long probe is cut into tasks by their seeds, measured anywhere, and put together.

        Args:
            keys: Of finished tasks that differ in their seeds alone.

        Raises:
            InvalidInputError: There are none, or they are of different things.
        """
        if not keys:
            raise InvalidInputError("`keys` must name at least one finished task. Received: none")
        return reduce(lambda whole, key: whole.merge(self.load(key)), keys[1:], self.load(keys[0]))

    def check(self, *, repair: bool = False) -> list[str]:
        """Keys whose files are missing or changed.

        Args:
            repair: Whether to drop their lines, so that the next run measures them again.
        """
        lines = self._lines("SELECT key, digest FROM results WHERE state = ?", DONE)
        broken = [key for key, digest in lines if not intact(self.file(key), digest)]
        if repair:
            with self._connected() as database:
                database.executemany(
                    "DELETE FROM results WHERE key = ?", [(key,) for key in broken]
                )
        return broken

    def to_frame(self, keys: Sequence[str] | None = None) -> pd.DataFrame:
        """A `pandas.DataFrame` with a row for each finished task; lengths in input pixels.

        Args:
            keys: Of these tasks only; `None` is all.
        """
        import pandas as pd

        wanted = None if keys is None else set(keys)
        with self._connected() as database:
            lines = database.execute(
                "SELECT key, task, figures FROM results WHERE state = ? ORDER BY key", (DONE,)
            )
            rows = [
                _row(json.loads(task), json.loads(figures), key)
                for key, task, figures in lines
                if wanted is None or key in wanted
            ]
        return pd.DataFrame(rows)

    def export(self, path: str | os.PathLike[str]) -> int:
        """Writes the frame to a `.csv` or `.parquet` file; returns its number of rows.

        Raises:
            InvalidInputError: The file has another suffix, or pyarrow is not there for Parquet.
        """
        if Path(path).suffix.lower() not in (".csv", ".parquet"):
            raise InvalidInputError(f"`path` must end in .csv or .parquet. Received: {str(path)!r}")
        frame = self.to_frame()
        try:
            write_table(path, frame)
        except ImportError as error:
            raise InvalidInputError(
                "`path` in Parquet needs the extra of that name: pip install 'keras-erf[parquet]'. "
                f"Received: {' '.join(str(error).split())[:120]}"
            ) from error
        return len(frame)

    def _lines(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with self._connected() as database:
            return database.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """The index; what is written inside is there as a whole, or not at all."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.folder / INDEX, timeout=PATIENCE)
            try:
                # An index from elsewhere may bring triggers and views of its own.
                database.execute("PRAGMA trusted_schema = OFF")
                with database:
                    yield database
            finally:
                database.close()
        except (sqlite3.Error, OSError) as error:
            raise InvalidInputError(
                "`path` must be a folder for a study's results that can be read and written: "
                f"{getattr(error, 'strerror', None) or error}. Received: {str(self.folder)!r}"
            ) from error


def _row(task: Mapping[str, Any], figures: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A line of the table: the task, then what was measured, a column for each axis."""
    row: dict[str, Any] = {
        "model": task["name"],
        "source": task["model"]["source"],
        "layer": figures["layer"],
        "seed": task["seed"],
        "inputs": task["inputs"],
        # Older versions could not calibrate.
        "calibrate": task.get("calibrate", False),
    }
    for name, value in figures.items():
        if name == "trf_size_range":
            for end, sizes in zip(("smallest", "largest"), zip(*value, strict=True), strict=True):
                row.update({f"trf_size_{end}_{axis}": one for axis, one in enumerate(sizes)})
        elif isinstance(value, list):
            row.update({f"{name}_{axis}": one for axis, one in enumerate(value)})
        elif name not in row:
            row[name] = value
    return {**row, "key": key}


def _listed(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)

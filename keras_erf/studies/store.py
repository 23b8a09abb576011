"""The store of a study's results: a file for each, and an index that is safe against crashes."""

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
from keras_erf.result_folders import PATIENCE, check_sum, intact, locked
from keras_erf.results.effective import EffectiveReceptiveField, load
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

    Each result is an `.npz` file, written completely or not at all. Its row in the index, an
    SQLite database, is written after it, with its metrics and the file's checksum. So each row
    has its file, and a result that a crash interrupted is measured again.

    Args:
        folder: Created if it does not exist.

    Raises:
        InvalidInputError: The folder has other contents, or cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        with self._connected() as database:
            database.executescript(SCHEMA)
            database.execute("INSERT OR IGNORE INTO about VALUES ('format', ?)", (FORMAT,))
        ((found,),) = self._lines("SELECT value FROM about WHERE name = 'format'")
        if found != FORMAT:
            raise InvalidInputError(
                argument="path",
                expected=f"holds results of format {found}, and this version reads {FORMAT}",
                received=repr(str(folder)),
            )

    @staticmethod
    def exists(folder: str | os.PathLike[str]) -> bool:
        """Whether a folder holds results of a study."""
        return (Path(folder) / INDEX).is_file()

    # --- Writing ---------------------------------------------------------------------------------

    def put(self, task: Task, content: bytes) -> None:
        """Saves a result's file, then its row in the index.

        Raises:
            InvalidInputError: The content is not a result, or cannot be written.
        """
        file = self.file(task.key)
        with written_whole(file) as temporary:
            temporary.write_bytes(content)
            # Read like any other file, before it replaces an earlier result.
            metrics = load(temporary).summary()
        self._write(task, DONE, json.dumps(metrics, default=_listed), check_sum(content), None)

    def fail(self, task: Task, reason: str) -> None:
        """Records that a task failed, and why.

        Raises:
            InvalidInputError: It cannot be written.
        """
        self._write(task, FAILED, None, None, reason)

    def _write(self, task: Task, state: str, *more: str | None) -> None:
        """Writes a task's row; `more` is the metrics, the checksum and the reason."""
        line = (task.key, state, json.dumps(asdict(task), default=list), *more)
        with self._connected() as database:
            database.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?)", line)

    def claimed(self, key: str) -> AbstractContextManager[bool]:
        """Yields whether this process may run a task; a claim ends with its process."""
        return locked(self.folder / "claims" / f"{key}.lock")

    # --- Reading ---------------------------------------------------------------------------------

    def file(self, key: str) -> Path:
        """The path of a task's result, in one of 256 folders."""
        return self.folder / "results" / key[:2] / f"{key}.npz"

    def states(self, keys: Sequence[str] | None = None) -> dict[str, str]:
        """The state, done or failed, of the requested keys that have one."""
        query, asked = "SELECT key, state FROM results", () if keys is None else tuple(keys)
        if keys is not None:
            query += f" WHERE key IN ({', '.join('?' * len(asked))})"
        return dict(self._lines(query, *asked))

    def counts(self) -> Counter[str]:
        """Numbers of done and failed tasks."""
        return Counter(dict(self._lines("SELECT state, COUNT(*) FROM results GROUP BY state")))

    def failures(self) -> list[tuple[dict[str, Any], str]]:
        """The failed tasks, with their reasons."""
        query = "SELECT task, reason FROM results WHERE state = ? ORDER BY key"
        return [(json.loads(task), reason) for task, reason in self._lines(query, FAILED)]

    def load(self, key: str) -> EffectiveReceptiveField:
        """A result.

        Raises:
            InvalidInputError: There is no such result, or its file has changed.
        """
        query, file = "SELECT digest FROM results WHERE key = ? AND state = ?", self.file(key)
        lines = self._lines(query, key, DONE)
        if not lines:
            raise InvalidInputError(
                argument="key", expected="must be that of a finished task", received=repr(key)
            )
        if not intact(file, lines[0][0]):
            raise InvalidInputError(
                expected=f"The result of {key} is not what was written: call `check` with "
                "`repair=True`, and run the study again",
                received=f"{str(file)!r}",
            )
        return load(file)

    def merged(self, keys: Sequence[str]) -> EffectiveReceptiveField:
        """Merges results, as if one probe had taken all of their samples.

        So a long probe can be split into tasks by seed, measured anywhere, and merged.

        Args:
            keys: Keys of finished tasks that differ only in their seeds.

        Raises:
            InvalidInputError: There are no keys, or the results cannot be merged.
        """
        if not keys:
            raise InvalidInputError(
                argument="keys", expected="must name at least one finished task", received="none"
            )
        return reduce(lambda whole, key: whole.merge(self.load(key)), keys[1:], self.load(keys[0]))

    def check(self, *, repair: bool = False) -> list[str]:
        """Returns keys whose files are missing or have changed.

        Args:
            repair: Whether to remove their rows, so that the next run measures them again.
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
            keys: Keys of the tasks to include; `None` is all.
        """
        import pandas as pd

        wanted = None if keys is None else set(keys)
        with self._connected() as database:
            lines = database.execute(
                "SELECT key, task, figures FROM results WHERE state = ? ORDER BY key", (DONE,)
            )
            rows = [
                _row(json.loads(task), json.loads(metrics), key)
                for key, task, metrics in lines
                if wanted is None or key in wanted
            ]
        return pd.DataFrame(rows)

    def export(self, path: str | os.PathLike[str]) -> int:
        """Writes the frame to a `.csv` or `.parquet` file; returns its number of rows.

        Raises:
            InvalidInputError: The file has another suffix, or pyarrow is not installed for Parquet.
        """
        if Path(path).suffix.lower() not in (".csv", ".parquet"):
            raise InvalidInputError(
                argument="path", expected="must end in .csv or .parquet", received=repr(str(path))
            )
        frame = self.to_frame()
        try:
            write_table(path, frame)
        except ImportError as error:
            raise InvalidInputError(
                argument="path",
                expected="in Parquet needs the extra of that name: "
                "pip install 'keras-erf[parquet]'",
                received=f"{' '.join(str(error).split())[:120]}",
            ) from error
        return len(frame)

    def _lines(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with self._connected() as database:
            return database.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Opens the index; writes inside are committed completely, or not at all."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.folder / INDEX, timeout=PATIENCE)
            try:
                # An index from elsewhere may have triggers and views.
                database.execute("PRAGMA trusted_schema = OFF")
                with database:
                    yield database
            finally:
                database.close()
        except (sqlite3.Error, OSError) as error:
            raise InvalidInputError(
                argument="path",
                expected="must be a folder for a study's results that can be read and "
                f"written: {getattr(error, 'strerror', None) or error}",
                received=repr(str(self.folder)),
            ) from error


def _row(task: Mapping[str, Any], metrics: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A row of the table: the task, then its metrics, with a column for each axis."""
    row: dict[str, Any] = {
        "model": task["name"],
        "source": task["model"]["source"],
        "layer": metrics["layer"],
        "seed": task["seed"],
        "inputs": task["inputs"],
        # Older versions could not calibrate.
        "calibrate": task.get("calibrate", False),
    }
    for name, value in metrics.items():
        if name == "trf_size_range":
            for end, sizes in zip(("smallest", "largest"), zip(*value, strict=True), strict=True):
                row.update({f"trf_size_{end}_{axis}": size for axis, size in enumerate(sizes)})
        elif isinstance(value, list):
            row.update({f"{name}_{axis}": entry for axis, entry in enumerate(value)})
        elif name not in row:
            row[name] = value
    return {**row, "key": key}


def _listed(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)

"""How long a store of many results takes to be asked and written out, and in how much memory.

    python benchmarks/study_store.py [--results 100000]

Results are small and synthetic: one file's bytes under many keys. Goals: `status` under 2 s,
`export` under 30 s, each as a command of its own, in less than 1 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from recording import parse, record

from keras_erf.studies import ModelEntry, Study, StudyStore
from keras_erf.studies.measuring import measure

GOALS = {"status": 2.0, "export": 30.0}
MOST = 1e9
# The process's own peak: that of a child by `getrusage` begins with its parent's.
COMMAND = """
import atexit, sys
from pathlib import Path
peak = lambda: Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
atexit.register(lambda: print(peak(), file=sys.stderr))
from keras_erf.cli import main
main()
"""


def main() -> int:
    """Prints seconds and memory of each command; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=int, default=100_000)
    options = parse(parser)
    number, metrics = options.results, {}
    with tempfile.TemporaryDirectory() as folder:
        store = filled(Path(folder) / "store", number)
        missed = False
        calls = {
            "status": ["status"],
            "export": ["export", f"{folder}/table.csv"],
        }
        for name, call in calls.items():
            command = [sys.executable, "-c", COMMAND, "study", *call, "--out", str(store.folder)]
            begin = time.perf_counter()
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds = time.perf_counter() - begin
            memory = 1024 * int(run.stderr.split()[-1])
            print(f"{name}: {seconds:.2f} s, {memory / 1e6:.0f} MB: {run.stdout.splitlines()[0]}")
            missed |= seconds > GOALS[name] or memory > MOST
            metrics[name] = {"seconds": seconds, "bytes": memory}
    return record(options, not missed, **metrics)


def filled(folder: Path, number: int) -> StudyStore:
    """A store of `number` lines, each with its file."""
    store = StudyStore(folder)
    (task,) = Study({"m": ModelEntry("plain", options={"depth": 2}, input_shape=(9, 9))}).tasks()
    content = measure(task).content
    assert content is not None
    store.put(task, content)
    with store._connected() as database:
        (line,) = database.execute("SELECT * FROM results").fetchall()
        lines = []
        for seed in range(1, number):
            seeded = replace(task, seed=seed)
            file = store.file(seeded.key)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            lines.append((seeded.key, line[1], json.dumps(asdict(seeded), default=list), *line[3:]))
        database.executemany("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?)", lines)
    return store


if __name__ == "__main__":
    sys.exit(main())

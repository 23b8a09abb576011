"""Whether a study survives its workers: 200 probes, and a worker killed at 20 random moments.

    python benchmarks/study_faults.py [--kills 20] [--seed 0]

Ten small models times twenty seeds, once undisturbed and once while workers are killed with
SIGKILL. Any result that is lost, done twice or different makes the exit status 1, as does a study
that ended before all kills were done.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from recording import parse, record

from keras_erf.studies import ModelEntry, Study, StudyStore, run_study

MODELS = {
    f"depth {depth}, {activation}": ModelEntry(
        "plain", options={"depth": depth, "activation": activation}, input_shape=(21, 21)
    )
    for depth in range(2, 7)
    for activation in ("relu", "tanh")
}
STUDY = Study(MODELS, seeds=tuple(range(20)), samples=6144)


def main() -> int:
    """Prints what became of the results; 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parse(parser)
    with tempfile.TemporaryDirectory() as folder:
        calm, _ = _run(Path(folder) / "calm")
        shaken, kills = _run(Path(folder) / "shaken", options.kills, random.Random(options.seed))
        wanted, kept = calm.states(), shaken.states()
        lost = [key for key in wanted if kept.get(key) != "done"]
        more = [key for key in kept if key not in wanted]
        differ = [
            key
            for key in wanted
            if key in kept and not np.array_equal(calm.load(key).map, shaken.load(key).map)
        ]
        files = len(list((Path(folder) / "shaken" / "results").rglob("*.npz")))
    print(f"{len(kept)} results in {files} files: {len(lost)} lost, {len(more)} too many, ", end="")
    print(f"{len(differ)} different")
    wrong = lost or more or differ or files != len(wanted) or kills < options.kills
    counts = {"lost": len(lost), "more": len(more), "different": len(differ), "files": files}
    return record(options, not wrong, results=len(kept), kills=kills, **counts)


def _run(
    folder: Path, kills: int = 0, moments: random.Random | None = None
) -> tuple[StudyStore, int]:
    """Runs the study in a process of its own, and kills its workers so often at most."""
    begin, done = time.perf_counter(), 0
    process = multiprocessing.get_context("spawn").Process(target=_measure, args=(folder,))
    process.start()
    while process.is_alive():
        time.sleep(0.5 if moments is None else moments.uniform(2, 8))
        workers = _workers(process.pid) if done < kills else []
        if workers and moments is not None:
            os.kill(moments.choice(workers), signal.SIGKILL)
            done += 1
    process.join()
    seconds = time.perf_counter() - begin
    print(
        f"{folder.name}: {done} kills, {seconds:.0f} s, exit status {process.exitcode}", flush=True
    )
    return StudyStore(folder), done


def _measure(folder: Path) -> None:
    run_study(STUDY, folder, workers=2)


def _workers(parent: int | None) -> list[int]:
    """Processes that measure for another one."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        calls = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    except OSError:
        return []
    return [child for child, call in calls.items() if b"loky" in call and b"tracker" not in call]


if __name__ == "__main__":
    sys.exit(main())

"""Whether engines give the same numbers, and how many probes a minute each measures.

    pip install ".[dask,ray]"
    python benchmarks/study_engines.py [--seeds 10] [--samples 64]

Two layers of the shipped ResNet-14 times some seeds: in one process, in two of this machine, and on
a Dask cluster and a Ray session of two workers each, made for it. The time of an engine is that of
`run_study`, in which each worker starts TensorFlow; the cluster stands before. Any difference of a
map of more than rounding makes the exit status 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from recording import parse, record

from keras_erf.studies import ModelEntry, Study, StudyStore, run_study

LAYERS = ("stage2_block2_out", "stage3_block2_out")
WORKERS = 2
# float32 on another number of threads.
ROUNDING = 1e-5
ENGINES = {
    "one process": ("local", 1),
    "two processes": ("local", WORKERS),
    "Dask": ("dask", WORKERS),
    "Ray": ("ray", WORKERS),
}


def main() -> int:
    """Prints a line for each engine; 1 if any of them gives other numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--samples", type=int, default=64)
    options = parse(parser)
    entry = ModelEntry("cifar_resnet14", layers=LAYERS, input_shape=(64, 64))
    study = Study({"resnet": entry}, seeds=tuple(range(options.seeds)), samples=options.samples)
    worst, first, rates = 0.0, 0.0, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (engine, workers) in ENGINES.items():
            out = Path(folder) / name
            context = multiprocessing.get_context("spawn")
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_measure, args=(study, out, engine, workers, sender))
            process.start()
            sender.close()
            seconds = receiver.recv()
            process.join()
            first = first or seconds
            away = _difference(StudyStore(Path(folder) / "one process"), StudyStore(out), study)
            worst = max(worst, away)
            rate = rates[name] = 60 * len(study.tasks()) / seconds
            print(
                f"{name:14} {seconds:6.1f} s {rate:6.1f} probes a minute, "
                f"{first / seconds:.2f} times one process, largest difference {away:.1e}",
                flush=True,
            )
    return record(options, worst <= ROUNDING, probes_a_minute=rates, largest_difference=worst)


def _measure(study: Study, out: Path, engine: str, workers: int, sender: object) -> None:
    with _cluster(engine):
        begin = time.perf_counter()
        run_study(study, out, engine=engine, workers=workers)
        sender.send(time.perf_counter() - begin)  # type: ignore[attr-defined]


@contextmanager
def _cluster(engine: str) -> Iterator[None]:
    """What the engine runs on, with two workers."""
    if engine == "dask":
        from distributed import Client, LocalCluster

        with (
            LocalCluster(
                n_workers=WORKERS, threads_per_worker=1, dashboard_address=None
            ) as cluster,
            Client(cluster),
        ):
            yield
    elif engine == "ray":
        import ray

        ray.init(num_cpus=WORKERS, include_dashboard=False, logging_level="ERROR")
        try:
            yield
        finally:
            ray.shutdown()
    else:
        yield


def _difference(wanted: StudyStore, store: StudyStore, study: Study) -> float:
    """The largest difference of two maps, as a share of the peak; infinite if one is missing."""
    keys = [task.key for task in study.tasks()]
    if set(store.states()) != set(keys) or store.counts() != {"done": len(keys)}:
        return np.inf
    pairs = ((wanted.load(key).map, store.load(key).map) for key in keys)
    return max(float(np.abs(map - other).max() / map.max()) for map, other in pairs)


if __name__ == "__main__":
    sys.exit(main())

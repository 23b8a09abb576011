"""Keeps what a benchmark measured: `--json FILE` adds a line of JSON to FILE.

`benchmarks/results/` has a file for each benchmark, with a line for each run: its history.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> Any:
    """Parses the options of a benchmark and `--json`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="add a line with the results")
    return parser.parse_args(arguments)


def record(options: argparse.Namespace, passed: bool, **metrics: Any) -> int:
    """Adds the metrics to the file of `--json`, if there is one; returns the exit status.

    Args:
        options: What `parse` returned.
        passed: Whether all goals are met.
        metrics: What was measured, as JSON; numbers may be NumPy's.
    """
    if options.json is not None:
        entry = {
            "benchmark": Path(sys.argv[0]).stem,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": machine(),
            "versions": {name: version(name) for name in ("keras", "numpy", "tensorflow")}
            | {"python": platform.python_version()},
            "options": {name: value for name, value in vars(options).items() if name != "json"},
            "passed": bool(passed),
            "metrics": metrics,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        with options.json.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, default=plain) + "\n")
    return int(not passed)


def commit() -> str | None:
    """The commit that is checked out, with a mark if files were changed; None without git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """The processor, its cores, and how busy they are: times on a busy machine say little."""
    lines = []
    if (path := Path("/proc/cpuinfo")).exists():
        lines = path.read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def plain(value: Any) -> Any:
    """A number of NumPy, a path or a set as JSON has it."""
    if hasattr(value, "item"):
        return value.item()
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)

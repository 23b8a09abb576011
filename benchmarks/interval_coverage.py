"""How often intervals of 95 % cover, by network: many small probes against all their samples.

    python benchmarks/interval_coverage.py [--probes 200]

Networks of 3x3 convolutions of several depths, widths and activations, with random weights; each
probe has 64 samples. Prints a line for each network, then what share of the networks covers in 92
to 98 % of their probes.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path

import numpy as np
from recording import parse, record

# The tests' networks; as a script it finds its own folder only.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.test_coverage import MAPS, PROBES, SAMPLES, Probes, stopped

DEPTHS, FILTERS, ACTIVATIONS, SEEDS = (4, 6, 8, 10), (4, 8, 16), ("relu", "tanh"), (0, 1)
FIGURES = ("size", "sigma", "mass_size", "mass_radii", "fwhm", "effective_pixels", "gini")
LEAST, MOST = 0.92, 0.98
# Tolerances, and samples that are enough for each.
TOLERANCES = ((0.1, 64), (0.05, 256), (0.03, 512), (0.02, 1280))


def main() -> int:
    """Prints the table and what it says; 1 if a network covers too seldom."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--probes", type=int, default=200, help="of each network")
    options = parse(parser)
    shares: dict[tuple[str, str], list[float]] = {key: [] for key in product(MAPS, FIGURES)}
    print(f"{'depth':>5} {'filters':>7} {'activation':>10} {'seed':>4}", end="")
    print("".join(f"{f'{figure}, {name}':>24}" for name, figure in shares))
    for depth, filters, activation, seed in product(DEPTHS, FILTERS, ACTIVATIONS, SEEDS):
        probes = Probes(depth, seed, options.probes, filters, activation)
        print(f"{depth:>5} {filters:>7} {activation:>10} {seed:>4}", end="")
        for (name, figure), covered in shares.items():
            covered.append(float(np.mean(probes.covered(name, figure))))
            print(f"{covered[-1]:>24.1%}", end="")
        print(flush=True)
    networks = len(next(iter(shares.values())))
    print(f"\n{networks} networks, {options.probes} probes of {SAMPLES} samples each")
    for (name, figure), covered in shares.items():
        within = np.mean([LEAST <= share <= MOST for share in covered])
        enough = np.mean([share >= LEAST for share in covered])
        print(
            f"{figure}, {name}: {np.mean(covered):.1%} on average, {min(covered):.1%} at least; "
            f"{within:.0%} of networks from {LEAST:.0%} to {MOST:.0%}, "
            f"{enough:.0%} reach {LEAST:.0%}"
        )
    print("\nruns that stop at a tolerance, of a network of 10 layers of 8 channels with ReLUs")
    network = Probes(10, 0, PROBES)
    for tolerance, most in TOLERANCES:
        counts, covered, near = stopped(network, tolerance, most)
        print(
            f"{tolerance:.0%}: {len(counts)} runs of {min(counts)} to {max(counts)} samples; "
            f"{np.mean(covered):.0%} hold the size, {np.mean(near):.0%} are within the tolerance"
        )
    return record(
        options,
        min(map(min, shares.values())) >= LEAST,
        networks=networks,
        covered={
            f"{metric}, {name}": {"mean": np.mean(covered), "least": min(covered)}
            for (name, metric), covered in shares.items()
        },
    )


if __name__ == "__main__":
    sys.exit(main())

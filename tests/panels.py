"""Settings of the panels."""

from __future__ import annotations

# Each panel at a setting small enough to be measured here, large enough for its statement.
SMALL = {
    "gaussian-shape": {"runs": 8, "depths": (5, 10)},
    "nonlinearities": {"runs": 8, "depth": 8},
    "structures": {"runs": 16},
    "growth": {"runs": 20, "depths": (5, 10, 15, 20)},
    "dropout": {"runs": 16, "depth": 8},
    "skip": {"runs": 16, "blocks": 4},
    "initialisation": {"runs": 16, "depth": 8},
    "definitions": {"runs": 8, "depth": 8},
}

# Smaller still: for what is written of them, whatever they show.
TINY = {
    "gaussian-shape": {"depths": (2, 4)},
    "nonlinearities": {"depth": 3},
    "structures": {},
    "growth": {"depths": (2, 4, 6)},
    "dropout": {"depth": 3},
    "skip": {"blocks": 2},
    "initialisation": {"depth": 3},
    "definitions": {"depth": 3},
}

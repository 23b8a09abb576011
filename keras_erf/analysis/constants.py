"""The two numbers behind the paper's effective receptive field."""

__all__ = ["MASS", "THRESHOLD"]

MASS = 0.9545
"""Mass of a normal variable within two standard deviations of its mean."""

THRESHOLD = 1 - MASS
"""Share of the reference value a pixel must exceed (Luo et al. 2016, experiments)."""

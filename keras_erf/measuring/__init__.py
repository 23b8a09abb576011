"""Effective receptive fields, measured: one unit, many layers, or many networks."""

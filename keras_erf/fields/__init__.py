"""Theoretical receptive fields: which input a unit can see, and what is asked of that."""

"""Exact integer algebra of receptive fields: windows, views and what they make of each other."""

"""The result of a measurement, its metrics with their errors, and its file."""

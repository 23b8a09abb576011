"""The result of a measurement, its figures with their errors, and its file."""

"""Weights of old files, given to the layers of a translated model."""

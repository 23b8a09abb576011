"""Layers of Keras 3 made of translated configurations, with those that Keras 3 lacks."""

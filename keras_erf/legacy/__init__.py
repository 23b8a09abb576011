"""Models of Keras 1 and 2, translated to Keras 3."""

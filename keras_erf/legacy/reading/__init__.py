"""Model files of every kind, read: the configuration of the model, and its weights."""

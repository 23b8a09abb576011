"""How strong signals are in a random network, as examples, over space, and by its weights."""

"""How many samples run at once, so that their activations fit into memory."""

from __future__ import annotations

import tensorflow as tf

from keras_erf.algebra.boxes import elements, entire
from keras_erf.cone import Cone
from keras_erf.fields.theoretical import Target
from keras_erf.results.effective import BLOCKS

__all__ = ["chosen_batch_size"]

# Activations of a batch, forward and backward, are kept below about this many bytes.
MEMORY = 2**30
# Larger batches pay only where activations are so small that calls cost more than sums.
BATCH, LARGE_BATCH, SMALL_MEMORY = BLOCKS, 64, 2**26


def chosen_batch_size(target: Target, cone: Cone, wanted: int) -> int:
    """Samples per batch that keep the activations within the memory allowed."""
    tensors = target.graph.tensors
    sample = 0
    for step in cone.steps:
        for number in step.node.outputs:
            # Inside an opened layer tensors are parts of their own.
            part = cone.parts.get(number) or entire([size or 1 for size in tensors[number].shape])
            dtype = tensors[number].dtype if number < len(tensors) else "float32"
            sample += 2 * elements(part) * tf.as_dtype(dtype).size
    sample = max(sample, 1)
    fitting = max(min(BATCH, MEMORY // sample), min(LARGE_BATCH, SMALL_MEMORY // sample))
    return max(1, min(fitting, wanted))

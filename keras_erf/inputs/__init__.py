"""Inputs for measurements: noise, arrays, `tf.data` and image folders."""

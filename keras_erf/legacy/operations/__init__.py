"""Operations of TensorFlow in old graphs, as operations of `keras.ops`.

A module for each family has a table `FUNCTIONS`: TensorFlow's name, and a function that takes the
arguments of TensorFlow's, by their names there.
"""

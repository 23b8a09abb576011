"""Operations of TensorFlow, as operations of `keras.ops`: in old files, and in calls of layers.

A module for each family has a table `FUNCTIONS`: TensorFlow's name, and a function that takes the
arguments of TensorFlow's, by their names there.
"""

"""Models of Keras 1, Keras 2 and tf.keras, translated to Keras 3.

`reading` reads files, `translation` turns configurations into those of Keras 3, `building` makes
the model with the help of `layers` and of `tensorflow_operations`, and `weights` gives it the
weights of its file. `in_memory` does the same for models of `tf_keras`. The modules `keras3_*` are
about files of Keras 3 that need help.
"""

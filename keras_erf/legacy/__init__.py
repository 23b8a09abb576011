"""Models of Keras 1 and 2 and of tf.keras, built in Keras 3 from what their files say."""

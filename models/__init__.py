"""Model families of the keras-erf zoo, one file each; `keras_erf.zoo` is their index."""

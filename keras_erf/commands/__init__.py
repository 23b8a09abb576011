"""The commands of `keras-erf`, and what they share."""

"""The layers and operations of Keras: a module for each family, an entry for each kind of layer."""

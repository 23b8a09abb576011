"""Which inputs an output of a layer depends on: calls, views of operands, and layers measured."""

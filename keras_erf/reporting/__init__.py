"""A profile as one file of HTML to look around in, without a network.

What is shown is gathered as plain data (`content`, `packing`, `lanes`, `matching`,
`words`) and written into a page (`page`) whose own script draws it.
"""

from keras_erf.reporting.page import report

__all__ = ["report"]

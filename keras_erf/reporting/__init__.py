"""A profile as one interactive HTML file that works offline.

`content`, `packing`, `lanes`, `matching` and `words` collect plain data; `page`
writes it into a page, whose own script draws it.
"""

from keras_erf.reporting.page import report

__all__ = ["report"]

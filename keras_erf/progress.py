"""How far a long computation is: a bar, or a function of the caller's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

__all__ = ["Progress", "shown"]

# Called with the number of items done and their total number.
Progress = Callable[[int, int], None]


@contextmanager
def shown(progress: bool | Progress | None, what: str) -> Iterator[Progress]:
    """The function to call; `True` shows a bar next to `what`, which is removed in the end.

    In a terminal it is on standard error, in a notebook under the cell.
    """
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    elif _in_notebook():
        with _notebook_bar(what) as report:
            yield report
    else:
        from rich.console import Console
        from rich.markup import escape as plain
        from rich.progress import Progress as Bar

        with Bar(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(plain(what), total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this; IPython in a terminal has none."""
    if "IPython" not in sys.modules:
        return False
    shell: Any = sys.modules["IPython"].get_ipython()
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def _notebook_bar(what: str) -> Iterator[Progress]:
    """A bar of plain HTML: rich's own would need the package ipywidgets."""
    from IPython.display import HTML, display

    handle = display(HTML(""), display_id=True)

    def report(done: int, total: int) -> None:
        bar = f'<progress value="{done}" max="{total}"></progress>'
        handle.update(HTML(f"{escape(what)} {bar} {done} of {total}"))

    try:
        yield report
    finally:
        handle.update(HTML(""))

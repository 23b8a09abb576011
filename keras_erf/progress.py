"""How far a long computation is: a bar, or a function of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "shown"]

# Told how many are done, and how many there will be.
Progress = Callable[[int, int], None]


@contextmanager
def shown(progress: bool | Progress | None, what: str) -> Iterator[Progress]:
    """The function to tell; `True` shows a bar on standard error, with `what` beside it."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import Progress as Bar

        with Bar(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(escape(what), total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

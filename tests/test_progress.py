"""Progress: reported to a function, shown in a terminal, shown in a notebook, or not at all."""

from __future__ import annotations

import sys
import types

import pytest

from keras_erf.progress import shown


class Kernel:
    """Stands for a Jupyter kernel's display: keeps what is shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.kernel = object()

    def update(self, text: str) -> None:
        self.shown.append(text)

    def display(self, text: str, display_id: bool) -> Kernel:
        assert display_id
        self.update(text)
        return self


@pytest.fixture
def kernel(monkeypatch):
    made = Kernel()
    shell, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    shell.get_ipython = lambda: made
    display.HTML, display.display = str, made.display
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return made


def test_a_function_is_called():
    counts = []
    with shown(lambda done, total: counts.append((done, total)), "Probing") as report:
        report(1, 2)
        report(2, 2)
    assert counts == [(1, 2), (2, 2)]


@pytest.mark.parametrize("quiet", [None, False])
def test_nothing_is_shown_unasked(quiet, capfd, kernel):
    with shown(quiet, "Probing") as report:
        report(1, 2)
    assert capfd.readouterr() == ("", "")
    assert not kernel.shown


def test_a_terminal_shows_a_bar_on_standard_error(capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with shown(True, "Probing [b]conv[/b]") as report:
        report(1, 4)
        report(4, 4)
    out, err = capfd.readouterr()
    assert not out
    # Names are no markup.
    assert "Probing [b]conv[/b]" in err


def test_a_notebook_shows_a_bar_and_takes_it_away(kernel):
    with shown(True, "Probing <conv>") as report:
        report(1, 4)
    assert kernel.shown == [
        "",
        'Probing &lt;conv&gt; <progress value="1" max="4"></progress> 1 of 4',
        "",
    ]


def test_a_bar_goes_when_work_is_interrupted(kernel):
    def interrupted() -> None:
        with shown(True, "Probing") as report:
            report(1, 4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert kernel.shown[-1] == ""


def test_ipython_in_a_terminal_is_no_notebook(kernel, capfd):
    del kernel.kernel
    with shown(True, "Probing") as report:
        report(1, 4)
    assert not kernel.shown

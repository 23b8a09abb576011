"""The command line, run in this process."""

from __future__ import annotations

from typer.testing import CliRunner

from keras_erf.cli import app

PNG = b"\x89PNG\r\n\x1a\n"


# Of a call whose words hold no blanks.
words = str.split


def run(*arguments: object):
    return CliRunner().invoke(app, [str(one) for one in arguments])

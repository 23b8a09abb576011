"""A hook of mkdocs: puts the help of every command into the page that asks for it."""

import re
import subprocess
import sys

MARK = "<!-- the help of every command -->"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Fills in what Typer writes of the commands, where a page has the mark."""
    if MARK not in markdown:
        return markdown
    command = [sys.executable, "-m", "typer", "keras_erf.cli", "utils", "docs"]
    done = subprocess.run(
        [*command, "--name", "keras-erf"], check=True, capture_output=True, text=True
    )
    # The page has its own title; commands come one level below it, as they are.
    text = done.stdout.partition("\n")[2]
    # Rich's markup is for terminals, and examples are code.
    text = re.sub(r"\[(/?)bold\]", "**", text)
    text = re.sub(r"^(keras-erf .+)$", r"    \1", text, flags=re.MULTILINE)
    text = re.sub(r"(^    keras-erf .+\n)\n(?=    keras-erf)", r"\1", text, flags=re.MULTILINE)
    # Lists of commands have half of each sentence; the commands follow in full.
    text = re.sub(r"\*\*Commands\*\*:\n\n(?:\* .+\n)+", "", text)
    return markdown.replace(MARK, text)

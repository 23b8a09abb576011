"""Lists phrases that plain English avoids, with their places and what to write.

    python scripts/plain_english.py [FILE ...]

Reads code, pages and notebooks of the checkout, or the files that are named. The exit status is 1
if any phrase is found. It needs nothing but Python.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# What is searched for, in any case, and what to write. A space also matches the end of a line.
PHRASES = {
    r"told": "states, returns, reports",
    r"tell(s|ing)? of": "states, returns, reports",
    r"says? how": "states, shows",
    r"look(s|ed|ing)? into": "trace, open",
    r"nobody": "unknown, no one; or name who",
    r"so many": "N",
    r"as many as there are": "all of them",
    r"beside": "with, next to",
    r"at hand": "available",
    r"in force": "current, applied",
    r"anew": "again",
    r"likewise": "also",
    r"its kin": "similar layers",
    r"for want of": "without",
    r"goes? on": "resume, continue",
    r"mend(s|ed|ing)?": "fix",
    r"as (they|it) stands?": "unchanged",
    r"not to suffer": "what the code does, and why",
    r"(?<!-)nets?": "network",
    r"houses?": "package",
    r"rooms?": "module, package; memory",
}
SPACE = r"\s+(?:#\s+)?"
PATTERNS = {
    phrase: re.compile(rf"(?<![\w/.])(?:{phrase.replace(' ', SPACE)})(?![\w/])", re.I)
    for phrase in PHRASES
}
FOLDERS = (".ci", ".github", "benchmarks", "docs", "keras_erf", "models", "notebooks", "scripts",
           "tests")  # fmt: skip
SUFFIXES = {".cff", ".css", ".html", ".in", ".ipynb", ".js", ".md", ".py", ".toml", ".yml"}
# Titles of papers; the list itself, and its test.
LEFT_OUT = {"docs/bibliography.md", "scripts/plain_english.py", "tests/test_plain_english.py"}


def files() -> Iterator[Path]:
    """Yields the text files of the checkout."""
    paths = [*ROOT.glob("*"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*"))]
    for path in sorted(paths):
        named = path.suffix in SUFFIXES or path.name in ("Makefile", "run")
        if path.is_file() and named and path.relative_to(ROOT).as_posix() not in LEFT_OUT:
            yield path


def text_of(path: Path) -> str:
    """Returns the text of a file; of a notebook, what its cells hold without their output."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text


def hits(text: str) -> list[tuple[int, str, str]]:
    """Finds the phrases of a text: (line, what is there, phrase), by line."""
    return sorted(
        (text.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), phrase)
        for phrase, pattern in PATTERNS.items()
        for match in pattern.finditer(text)
    )


def main(arguments: list[str]) -> int:
    """Prints a line for each hit and a count of each phrase; returns the exit status."""
    counts: Counter[str] = Counter()
    for path in map(Path, arguments) if arguments else files():
        for line, words, phrase in hits(text_of(path)):
            name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            print(f"{name}:{line}: {words!r}: {PHRASES[phrase]}")
            counts[phrase] += 1
    for phrase, count in counts.most_common():
        print(f"{count:5} {phrase}", file=sys.stderr)
    return int(bool(counts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

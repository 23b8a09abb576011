"""The Python of README.md and of the pages under docs/ runs, and prints what they show.

The blocks of a page run one after another in one namespace, in an empty folder. What a block
prints stands in the plain fence right behind it. A block that cannot run here has a comment
before it: `<!-- doctest: skip (the reason) -->`.
"""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import typer

from keras_erf import cli, zoo
from keras_erf.studies import read_study

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "```py" in path.read_text(encoding="utf-8")
]
FENCE = re.compile(
    r"^(?P<mark>`{3,})(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=mark)$", re.M | re.S
)
SKIP = re.compile(r"<!-- doctest: skip \((?P<reason>[^)\n]+)\) -->\n+\Z")
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Block:
    """A block of Python: where it stands, and what is said to come of it."""

    text: str
    line: int
    skipped: bool
    shown: str


def blocks_of(text: str) -> list[Block]:
    """The blocks of Python on a page."""
    found = []
    for fence, behind in pairwise([*FENCE.finditer(text), None]):
        if fence["language"] != "python":
            continue
        follows = behind is not None and not text[fence.end() : behind.start()].strip()
        shown = behind["text"] if follows and not behind["language"] else ""
        skipped = bool(SKIP.search(text[: fence.start()]))
        line = text[: fence.start("text")].count("\n")
        found.append(Block(fence["text"], line, skipped, shown))
    return found


def same(shown: str, printed: str) -> bool:
    """Whether texts agree but for the last digits of numbers, which depend on the machine."""
    texts = [NUMBER.sub("0", one).split() for one in (shown, printed)]
    numbers = [NUMBER.findall(one) for one in (shown, printed)]
    return texts[0] == texts[1] and all(
        float(there) == pytest.approx(float(here), rel=0.01, abs=last(here))
        for here, there in zip(*numbers, strict=True)
    )


def last(number: str) -> float:
    """One unit of a number's last digit, nothing if it is whole."""
    _, _, digits = number.partition(".")
    return 10.0 ** -len(digits) if digits else 0.0


def run(blocks: list[Block], name: str) -> list[str]:
    """Runs the blocks of a page in one namespace; gives what each of them printed."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    printed = []
    for block in blocks:
        out = io.StringIO()
        if not block.skipped:
            code = compile("\n" * block.line + block.text, name, "exec")
            with contextlib.redirect_stdout(out):
                exec(code, namespace)
        printed.append(out.getvalue())
    return printed


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_python_of_a_page_runs_and_prints_what_it_shows(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    blocks = blocks_of(text)
    assert len(blocks) == len(re.findall(r"```\s*(?:python|py|pycon)\b", text))
    assert text.count("doctest: skip") == sum(block.skipped for block in blocks), "without reason"
    for block, printed in zip(blocks, run(blocks, path.name), strict=True):
        if not block.skipped:
            assert same(block.shown, printed), f"line {block.line} prints:\n{printed}"


def test_what_is_shown_is_compared():
    page = "```python\nprint('12.3 px of', n)\n```\n\n```\n12.2 px of 40\n```\n"
    (block,) = blocks_of("```python\nn = 40\n```\n" + page)[1:]
    assert (block.line, block.shown) == (4, "12.2 px of 40\n")
    assert same(block.shown, "12.3 px of 40\n")
    for other in ("12.5 px of 40\n", "12.2 px of 41\n", "12.2 px for 40\n", "12.2 px of 40 41\n"):
        assert not same(block.shown, other)
    assert blocks_of("<!-- doctest: skip (a download) -->\n" + page)[0].skipped
    assert not blocks_of("<!-- doctest: skip -->\n" + page)[0].skipped


def calls_of(text: str) -> list[list[str]]:
    """The calls of `keras-erf` on a page or in a help text, as words."""
    lines = re.findall(r"^ *(?:\$ )?(?:\w+=\S+ )?keras-erf (.+)$", text, re.M)
    return [shlex.split(line, comments=True) for line in lines]


def check_call(words: list[str]) -> None:
    """Raises if the command line does not understand it; nothing is run."""
    command, context = typer.main.get_command(cli.app), None
    while hasattr(command, "resolve_command"):
        context = command.make_context(command.name, words, parent=context)
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        _, command, words = command.resolve_command(context, rest)
    command.make_context(command.name, list(words), parent=context)


def test_calls_on_pages_and_in_help_are_understood():
    texts = {
        path.relative_to(ROOT): "\n".join(one["text"] for one in FENCE.finditer(text))
        for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/**/*.md"))
        for text in [path.read_text(encoding="utf-8")]
    }
    for name in ("analyze", "profile", "report", "reproduce", "train", "trf"):
        texts[name] = typer.main.get_command(cli.app).commands[name].help
    calls = {place: calls_of(text) for place, text in texts.items()}
    assert min(len(calls[place]) for place in ("analyze", Path("README.md"), "train")) >= 2
    for words in (one for found in calls.values() for one in found):
        check_call(words)
    for wrong in ("analyze", "trf a --json --no-such-option", "study run", "no-such-command"):
        with pytest.raises(Exception, match=r"[Mm]issing|[Nn]o such"):
            check_call(wrong.split())


def test_studies_on_pages_are_read(tmp_path):
    pages = [ROOT / "README.md", ROOT / "docs/how-to/studies.md"]
    found = [one for page in pages for one in FENCE.finditer(page.read_text(encoding="utf-8"))]
    studies = [one["text"] for one in found if one["language"] == "toml"]
    assert len(studies) >= 2
    zoo.build("plain", depth=2).save(tmp_path / "mine.keras")
    for text in studies:
        (tmp_path / "study.toml").write_text(text, encoding="utf-8")
        assert read_study(tmp_path / "study.toml").tasks()


def test_pictures_of_the_readme_are_those_its_script_draws():
    script = runpy.run_path(str(ROOT / "scripts/draw_readme_figures.py"))
    shown = re.findall(r"\]\(docs/images/(\w+)\.png\)", PAGES[0].read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(script["PICTURES"])
    assert all((script["IMAGES"] / f"{name}.png").is_file() for name in shown)


def test_the_reference_has_every_public_name():
    import keras_erf

    pages = (ROOT / "docs/reference").glob("*.md")
    named = set(re.findall(r"^::: (\S+)$", "\n".join(p.read_text() for p in pages), re.M))
    public = {f"keras_erf.{name}" for name in keras_erf.__all__ if name != "__version__"}
    for module in (
        "analysis", "theory", "zoo", "experiments", "plotting", "training", "studies", "rules",
    ):  # fmt: skip
        public.remove(f"keras_erf.{module}")
        names = getattr(keras_erf, module).__all__
        public |= {f"keras_erf.{module}.{name}" for name in names}
    assert public <= named

"""A hook of mkdocs: fails where a page would load something from another host."""

import re
from pathlib import Path
from typing import Any

# Links are followed by readers; these are loaded by the page itself.
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=["']?((?:https?:)?//[^"'\s>]+)
    |<link\b[^>]*?\bhref=["']?((?:https?:)?//[^"'\s>]+)
    |(?:\burl\(|@import\s)\s*["']?((?:https?:)?//[^"'\s)]+)""",
    re.VERBOSE,
)


def loaded(text: str) -> list[str]:
    """Returns the addresses on other hosts that a page or a style sheet loads."""
    return [next(filter(None, match.groups())) for match in LOADED.finditer(text)]


def on_post_build(config: Any, **_: object) -> None:
    """Looks through all pages and style sheets that were built."""
    from mkdocs.exceptions import PluginError

    site = Path(config.site_dir)
    for path in sorted((*site.rglob("*.html"), *site.rglob("*.css"))):
        if links := loaded(path.read_text(encoding="utf-8")):
            name = path.relative_to(site)
            raise PluginError(f"{name} must load nothing from other hosts. Received: {links[0]}")

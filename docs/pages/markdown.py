"""The little Markdown that the reference needs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 120
#: What every generated page begins with.
GENERATED = "<!-- Generated from the code by `make docs`; do not edit. -->\n"

_CODE = re.compile(r"(`[^`]*`)")
_SPECIAL = re.compile(r"([<*\[\]])")


def text(plain: str) -> str:
    """Return plain text as Markdown that reads the same; what is between backquotes stays code."""
    return "".join(part if part.startswith("`") else _SPECIAL.sub(r"\\\1", part) for part in _CODE.split(plain))


def paragraph(plain: str) -> str:
    """Return plain text as a paragraph of Markdown in lines of at most 120 characters."""
    return textwrap.fill(text(plain), WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def bullets(items: Iterable[tuple[str, str]]) -> str:
    """Return a list of terms, which are Markdown, and what there is to say of each, which is too."""
    lines = (
        textwrap.fill(
            f"- {term}: {said}" if said else f"- {term}",
            WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for term, said in items
    )
    return "\n".join(lines) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)

"""Pages of HTML that need nothing but themselves: no script, no other file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --paper: #fff; --faint: #6b7580; --line: #d7dde3;
  --count: #2563a8; --expected: #c77700; --label: #e8d6f2; --good: #1a7f4b; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --paper: #14181c; --faint: #98a2ad; --line: #343c45;
  --count: #6aa9ea; --expected: #f0a93b; --label: #46305a; --good: #5fc98f; --bad: #ff8a80; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; vertical-align: bottom; }
td.good { color: var(--good); } td.bad { color: var(--bad); }
p, li { max-width: 46rem; } .faint { color: var(--faint); }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--faint); font: 11px system-ui, sans-serif; }
.grid { stroke: var(--line); } .count { stroke: var(--count); fill: none; } .label { fill: var(--label); }
.expected { stroke: var(--expected); fill: none; stroke-width: 1.5; } .true { fill: var(--good); }
.false { fill: var(--bad); }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page; `parts` is HTML."""
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"{body}\n</body>\n</html>\n"
    )


def table(heading: Sequence[str], rows: Iterable[Sequence[str]], marks: Sequence[Sequence[str]] | None = None) -> str:
    """Return a table of texts; `marks` are classes of its cells, row by row, such as `good`."""
    lines = ["<tr>" + "".join(f'<th scope="col">{escape(each)}</th>' for each in heading) + "</tr>"]
    for place, row in enumerate(rows):
        classes = marks[place] if marks is not None else [""] * len(row)
        cells = (
            f'<td class="{mark}">{escape(text)}</td>' if mark else f"<td>{escape(text)}</td>"
            for text, mark in zip(row, classes, strict=True)
        )
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return f'<div class="wide"><table>\n{chr(10).join(lines)}\n</table></div>'


def number(value: float | None, unit: str = "") -> str:
    """Return a figure as people read it: three digits, a dash where there is none, the sign where it is infinite."""
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "∞"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text} {unit}" if unit else text

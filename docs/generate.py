"""Write docs/reference and schemas/ anew from the code.

`make docs` runs it. With `--check` it writes nothing, prints the names of the files that differ from what the code
says, and exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from docs.pages import cli, metrics, settings, topics
from streams import schemas
from streams.web import openapi

ROOT = Path(__file__).parents[1]
#: Folders that hold nothing but what is generated.
FOLDERS = ("docs/reference", "schemas")


def documents() -> dict[str, str]:
    """Return the text of every generated file by its path in the repository."""
    example = (ROOT / "tocsin.example.toml").read_text(encoding="utf-8")
    pages = {
        "docs/reference/cli.md": cli.page(),
        "docs/reference/metrics.md": metrics.page(),
        "docs/reference/settings.md": settings.page(example),
        "docs/reference/topics.md": topics.page(),
    }
    files = {**schemas.documents(), openapi.FILE: openapi.text()}
    return pages | {f"schemas/{name}": text for name, text in files.items()}


def stale(expected: dict[str, str]) -> list[str]:
    """Return the paths of the files that are missing, differ from what is expected, or should not be there."""
    present = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    return sorted(path for path in expected.keys() | present.keys() if expected.get(path) != present.get(path))


def main(arguments: Sequence[str]) -> int:
    """Bring the generated files up to date, or say which are not; return the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/reference and schemas/ anew from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    check = parser.parse_args(arguments).check
    expected = documents()
    for name in (outdated := stale(expected)):
        path = ROOT / name
        print(name)
        if check:
            continue
        if name not in expected:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(expected[name], encoding="utf-8")
    return int(check and bool(outdated))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

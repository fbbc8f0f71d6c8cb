"""The rights that the documentation lists are those of the code, and so are the commands that give them."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.acls import PURPOSES, Role, rights
from streams.cli import app
from streams.security import Operation, Resource, Right
from streams.settings import Settings
from streams.topics import layout

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "secure-the-connection.md"
ALL = [topic.name.removeprefix("tocsin.") for topic in layout(Settings())]


def names(role: Role, *operations: Operation) -> str:
    """Return the topics of which a role needs one of these operations, as the page names them."""
    needed = rights(role, Settings())
    found = {right.name.removeprefix("tocsin.") for right in needed if right.operation in operations}
    ordered = [name for name in ALL if name in found]
    return "all" if ordered == ALL else ", ".join(ordered)


@pytest.mark.parametrize("role", list(Role))
def test_the_page_has_the_row_of_a_role(role: Role) -> None:
    [row] = re.findall(rf"^\| `{role}` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    what, *cells = [cell.strip() for cell in row.split("|")]
    assert what.replace("`", "") == PURPOSES[role]
    assert cells == [
        names(role, Operation.READ),
        names(role, Operation.WRITE),
        names(role, Operation.CREATE),
        names(role, Operation.DESCRIBE_CONFIGS),
    ]


@pytest.mark.parametrize("role", list(Role))
def test_the_commands_give_exactly_these_rights(role: Role) -> None:
    printed = CliRunner().invoke(app, ["topics", "acls", role, "--principal", "User:CN=any one"]).output.splitlines()
    assert printed[0] == f"# {role}: {PURPOSES[role]}"
    given = []
    for line in printed[1:]:
        words = shlex.split(line)
        assert words[words.index("--allow-principal") + 1] == "User:CN=any one"
        options = list(itertools.pairwise(words))
        operations = [Operation(value) for option, value in options if option == "--operation"]
        for resource in Resource:
            for name in (value for option, value in options if option == f"--{resource}"):
                given += [Right(operation, resource, name) for operation in operations]
    assert sorted(given) == sorted(rights(role, Settings()))

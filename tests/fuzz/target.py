"""What a target is, and the targets by name."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from typing import Protocol, cast

#: Separates the records of an input that stands for several.
SEPARATOR = b"\x1e\x00"

#: The targets, and how many of a hundred inputs are for each.
SHARES = {
    "reports": 25,
    "counts": 15,
    "snapshots": 12,
    "incidents": 15,
    "commits": 20,
    "tables": 6,
    "reportlogs": 4,
    "settings": 3,
}


class Target(Protocol):
    """Something that reads bytes from outside.

    Attributes
    ----------
    seeds
        Real inputs, to begin with.
    tokens
        What inputs are made of: put into them here and there.
    together
        How many inputs are judged at a time, `SEPARATOR` between them; each of them alone means the same.
    """

    seeds: Sequence[bytes]
    tokens: Sequence[bytes]
    together: int

    def judge(self, data: bytes) -> None:
        """Read `data`; raise whatever must not be raised, and an AssertionError if the outcome is not right."""


def target(name: str) -> Target:
    """Return a target by the name of its module here, or one of one's own as `module:class`."""
    module, _, attribute = name.partition(":")
    found = importlib.import_module(module if attribute else f"tests.fuzz.targets.{name}")
    return cast("Target", getattr(found, attribute or "Target")())


def parts(data: bytes) -> list[bytes]:
    """Return the records of an input that stands for several."""
    return data.split(SEPARATOR)


def require(says: str, error: Exception) -> None:
    """Raise an AssertionError unless an error says something; `says` must be part of it."""
    if not str(error) or says not in str(error):
        raise AssertionError(f"{str(error)!r} does not say {says!r}") from error


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for files that are written anew for each input."""
    return tempfile.TemporaryDirectory(prefix="fuzz-")

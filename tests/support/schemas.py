"""The committed schemas, and validators that read them as the standard says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators

FOLDER = Path(__file__).parents[2] / "schemas"

_formats = FormatChecker(())


@_formats.checks("date-time", raises=ValueError)
def _is_a_day_of_the_calendar(value: object) -> bool:
    """Check what no pattern can; the form is the pattern's."""
    day = re.match(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", str(value))
    return not isinstance(value, str) or (day is not None and bool(date(*map(int, day.groups()))))


def _pattern(_: Any, pattern: str, value: object, __: Any) -> Iterator[ValidationError]:
    # the standard's `$` is the end of the text; Python's would also match before a newline
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError(f"{value!r} does not match {pattern}")


# jsonschema does not type it
_Validator: Any = validators.extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


def schema(name: str) -> dict[str, Any]:
    """Return a committed schema."""
    read: dict[str, Any] = json.loads((FOLDER / name).read_text())
    return read


def validator(name: str) -> Any:
    """Return a validator for a committed schema."""
    return _Validator(schema(name), format_checker=_formats)

"""Which columns of a table are which fields of a report."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from streams.decode import ReportError, read_report
from streams.importers.rows import ImportedReport, ImporterError, Refusal, Row, Table, imported
from streams.importers.slugs import slug
from streams.importers.timeformat import ISO, TimeFormat

#: The fields of a report.
FIELDS = ("service", "region", "kind", "reporter", "time")
FieldName = Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(FIELDS)})$")]
#: The most characters of those that can be made slugs.
_LONGEST = {"service": 64, "region": 32, "kind": 32}
_NEEDED = ("service", "region", "time")


class _Times(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    format: str = ISO
    timezone: str | None = None


class MappingFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What a mapping file (TOML) may hold; options of the command line are laid over it."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    delimiter: Annotated[str, msgspec.Meta(min_length=1, max_length=1)] = ","
    slugs: bool = False
    columns: dict[FieldName, str] = {}
    constants: dict[FieldName, str] = {}
    time: _Times = _Times()
    values: dict[FieldName, dict[str, str]] = {}


class Mapping:
    """Turns rows into reports.

    Parameters
    ----------
    file
        What is mapped to what.

    Raises
    ------
    ImporterError
        If a field that every report has is missing or told twice, or a constant is none that a report may carry.
    """

    def __init__(self, file: MappingFile) -> None:
        self.delimiter = file.delimiter
        self._file = file
        told_twice = sorted(file.columns.keys() & file.constants.keys())
        if told_twice:
            raise ImporterError(f"{told_twice[0]}: both a column and a constant; take one")
        if "time" in file.constants:
            raise ImporterError("time: a constant, but each report has its own time: name the column")
        missing = [field for field in _NEEDED if field not in file.columns and field not in file.constants]
        if missing:
            hint = "" if missing == ["time"] else f", or a constant (--constant {missing[0]}=...)"
            raise ImporterError(f"{missing[0]}: name the column that it is in (--{missing[0]}){hint}")
        try:
            read_report(msgspec.json.encode({"service": "x", "region": "x", **file.constants}))
        except ReportError as error:
            raise ImporterError(f"{error.reason}: a constant that no report may carry: {error.detail}") from None
        try:
            self._time = TimeFormat(file.time.format, file.time.timezone)
        except ValueError as error:
            raise ImporterError(f"time: {error}") from None

    def reports(self, table: Table) -> Iterator[ImportedReport | Refusal]:
        """Yield what each row amounts to.

        Raises
        ------
        ImporterError
            If the table lacks a column.
        """
        places = {field: table.column(column) for field, column in self._file.columns.items()}
        return (Refusal(row, row.damage) if row.damage else self._report(row, places) for row in table)

    def _report(self, row: Row, places: dict[str, int]) -> ImportedReport | Refusal:
        texts = {field: row.fields[place].strip() for field, place in places.items()}
        try:
            time_ms = self._time.read(texts.pop("time"))
        except ValueError as error:
            return Refusal(row, f"column {self._file.columns['time']!r}: time: {error}")
        fields: dict[str, str] = {**self._file.constants}
        for field, text in texts.items():
            known = self._file.values.get(field, {}).get(text)
            if known is not None:
                fields[field] = known
            elif text and self._file.slugs and field in _LONGEST:
                try:
                    fields[field] = slug(text, _LONGEST[field])
                except ValueError as error:
                    return Refusal(row, f"column {self._file.columns[field]!r}: {field}: {text!r} {error}")
            elif text or field in _NEEDED:
                fields[field] = text
        return imported(row, time_ms, fields, self._file.columns)


def mapping(path: Path | None, given: dict[str, Any]) -> Mapping:
    """Return the mapping of a file with what is given on the command line laid over it.

    Parameters
    ----------
    path
        The mapping file, if there is one.
    given
        Keys of such a file; a column given replaces a constant of the file, and the other way round.

    Raises
    ------
    ImporterError
        If the file cannot be read, or the two do not make a mapping.
    """
    told: dict[str, Any] = {}
    if path is not None:
        try:
            told = tomllib.loads(path.read_text())
            msgspec.convert(told, MappingFile)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
            raise ImporterError(f"{path}: not a mapping: {error}") from None
        except RecursionError:
            raise ImporterError(f"{path}: not a mapping: nested too deeply") from None
    for name, other in (("columns", "constants"), ("constants", "columns")):
        kept = {field: text for field, text in told.get(other, {}).items() if field not in given.get(name, {})}
        told[other] = kept
    merged = {key: {**told.get(key, {}), **value} if isinstance(value, dict) else value for key, value in given.items()}
    try:
        return Mapping(msgspec.convert({**told, **merged}, MappingFile))
    except msgspec.ValidationError as error:
        raise ImporterError(f"not a mapping: {error}") from None
    except ImporterError as error:
        raise ImporterError(f"{path}: {error}" if path is not None else str(error)) from None

"""A table (CSV) row by row, and what becomes of a row: a report, or a reason why it is none."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

import msgspec

from streams.decode import ReportError, read_report
from streams.reporttime import format_time


class ImporterError(Exception):
    """A file cannot be imported as it is told to; the message names the file, the line where there is one."""


class Row(NamedTuple):
    """One row of a table and the line of the file that it begins at; `damage` says why it cannot be read, if so."""

    line: int
    fields: Sequence[str]
    damage: str = ""


class ImportedReport(NamedTuple):
    """A row that is a report: its line, its event time, the key of its record and the report's bytes."""

    line: int
    time_ms: int
    key: bytes | None
    value: bytes


class Refusal(NamedTuple):
    """A row that is no report, and why; the reason never quotes the reporter."""

    row: Row
    reason: str


class Table:
    """The rows of a CSV file whose first row names the columns.

    Parameters
    ----------
    file
        Opened with `newline=""`, undecodable bytes as surrogates (`errors="surrogateescape"`).
    name
        What messages call it.
    delimiter
        One character.

    Raises
    ------
    ImporterError
        If there is no first row, a column has no name of its own, or the file is compressed and cut short.
    """

    def __init__(self, file: TextIO, name: str, delimiter: str = ",") -> None:
        self.name = name
        self._reader = csv.reader(file, delimiter=delimiter)
        first = next(self._rows(), None)
        if first is None or first.damage:
            raise ImporterError(f"{name}:1: no row with the names of the columns")
        self.header = [column.strip() for column in first.fields]
        twice = {column for column in self.header if self.header.count(column) > 1}
        if twice:
            raise ImporterError(
                f"{name}:{first.line}: several columns are called {', '.join(map(repr, sorted(twice)))}"
            )

    def column(self, column: str) -> int:
        """Return the place of a column in a row.

        Raises
        ------
        ImporterError
            If there is no such column; the message lists those that are there.
        """
        try:
            return self.header.index(column)
        except ValueError:
            columns = ", ".join(map(repr, self.header))
            raise ImporterError(f"{self.name}:1: there is no column {column!r}; there are {columns}") from None

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows():
            if not row.damage and len(row.fields) != len(self.header):
                damage = f"has {len(row.fields)} fields, the first row has {len(self.header)}"
                yield Row(row.line, row.fields, damage)
            else:
                yield row

    def _rows(self) -> Iterator[Row]:
        reader = self._reader
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(line, (), f"no row of a table: {error}")
                continue
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ImporterError(f"{self.name}: not a complete gzip file, readable up to line {line - 1}") from error
            if fields:  # an empty line is no row
                yield Row(line, fields)


def imported(row: Row, time_ms: int, fields: Mapping[str, str], columns: Mapping[Any, str]) -> ImportedReport | Refusal:
    """Return the report that a row amounts to, or why Tocsin would not take it.

    Parameters
    ----------
    row
        Where it comes from.
    time_ms
        Event time in milliseconds since the Unix epoch.
    fields
        The other fields of the report.
    columns
        Which column each field of a report comes from, for the reason.
    """
    try:
        value = msgspec.json.encode({**fields, "time": format_time(time_ms)})
        read_report(value)
    except UnicodeEncodeError:
        return Refusal(row, "not UTF-8")
    except ReportError as error:
        where = f"column {columns[error.reason]!r}: " if error.reason in columns else ""
        return Refusal(row, f"{where}{error}")
    reporter = fields.get("reporter")
    return ImportedReport(row.line, time_ms, reporter.encode() if reporter else None, value)

"""Electricity outages of Pacific Gas and Electric, one a row, as reports.

The table has the columns `id`, `region` (a town), `start` (when the power went, as the company said), `first_seen`
(the first public snapshot that listed the outage) and `cause`; times are Unix seconds, others columns do not matter.
Each outage is one report of its town, made when it was first seen.
"""

from __future__ import annotations

from collections.abc import Iterator

from streams.importers.rows import ImportedReport, Refusal, Row, Table, imported
from streams.importers.slugs import slug
from streams.importers.timeformat import UNIX_S, TimeFormat
from streams.reporttime import format_time

SERVICE = "pge"
#: A part of each cause, and the kind that it becomes.
KINDS = {
    "to protect public safety": "public-safety-power-shutoff",
    "assessing the cause": "unknown",
    "investigating the cause": "under-investigation",
    "scheduled maintenance": "scheduled-maintenance",
    "equipment issue": "equipment",
    "emergency issue": "emergency",
    "car that hit a pole": "vehicle",
    "clearing vegetation": "vegetation",
}
OTHER = "other"
_COLUMNS = ("id", "region", "start", "first_seen", "cause")
_UNIX = TimeFormat(UNIX_S)


class Outages:
    """Makes reports of outages.

    Parameters
    ----------
    table
        The outages.
    region
        A region for all of them; without it each town is one.

    Raises
    ------
    ImporterError
        If the table lacks a column.

    Attributes
    ----------
    towns : dict of str to set of str
        The towns that have become each region so far.
    """

    def __init__(self, table: Table, region: str | None = None) -> None:
        self._table = table
        self._region = region
        self._places = [table.column(column) for column in _COLUMNS]
        self.towns: dict[str, set[str]] = {}

    def __iter__(self) -> Iterator[ImportedReport | Refusal]:
        for row in self._table:
            yield Refusal(row, row.damage) if row.damage else self._report(row)

    def _report(self, row: Row) -> ImportedReport | Refusal:
        outage, town, start, first_seen, cause = (row.fields[place].strip() for place in self._places)
        column = "region"
        try:
            region = slug(town) if self._region is None else self._region
            column = "start"
            start_ms = _UNIX.read(start)
            column = "first_seen"
            time_ms = _UNIX.read(first_seen)
        except ValueError as error:
            return Refusal(row, f"column {column!r}: {error}")
        self.towns.setdefault(region, set()).add(town)
        # Tocsin ignores `start`: it is for whoever asks how late reports are
        fields = {"service": SERVICE, "region": region, "kind": kind(cause), "reporter": outage}
        return imported(row, time_ms, fields | {"start": format_time(start_ms)}, {"region": "region", "reporter": "id"})


def kind(cause: str) -> str:
    """Return the kind of report that a cause, as the company words it, stands for."""
    return next((kind for part, kind in KINDS.items() if part in cause.lower()), OTHER)

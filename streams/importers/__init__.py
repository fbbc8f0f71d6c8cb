"""Tables of others as report logs: rows to reports, a reason for each row that is none, ticks in between."""

from streams.importers.appendorder import report_log
from streams.importers.mapping import FIELDS, Mapping, mapping
from streams.importers.rows import ImportedReport, ImporterError, Refusal, Row, Table

__all__ = [
    "FIELDS",
    "ImportedReport",
    "ImporterError",
    "Mapping",
    "Refusal",
    "Row",
    "Table",
    "mapping",
    "report_log",
]

"""Tables (CSV) that are imported."""

from __future__ import annotations

import io

from streams.decode import read_report
from streams.importers.mapping import Mapping, MappingFile
from streams.importers.pge import Outages
from streams.importers.rows import ImportedReport, ImporterError, Table
from tests.fuzz.target import SEPARATOR, require

PGE = b"""id,region,start,first_seen,cause
1,Mi-Wuk Village,1506193440,1508038941,Our preliminary determination is that it was caused by an equipment issue.
2,"San Jos\xc3\xa9",1506193440,1508038941,
"""
CSV = b'''when,what,where,who
2025-05-24T12:00:00Z,x,United States,a
2025-05-24 14:00:00+02:00,"x ""app""",Espa\xc3\xb1a,
'''


class Target:
    """Any bytes: an error that names the table, or for each row a report that counts, or why it is none."""

    together = 1
    tokens = (
        SEPARATOR,
        *(
            b"id,region,start,first_seen,cause\n",
            b"when,what,where,who\n",
            b'""',
            b',"',
            b'",',
            b"\r",
            b"1e999",
            b"1508038941",
        ),
        *(b"2025-05-24T12:00:00Z", b"2025-03-30T02:30:00", b"0001-01-01T00:00:00+23:59", b"a" * 300, "東京".encode()),
    )
    seeds = (PGE, CSV, SEPARATOR + b"id,region,start,first_seen,cause\n1,,1,1,\n")

    def __init__(self) -> None:
        columns = {"time": "when", "service": "what", "region": "where", "reporter": "who"}
        self._mapping = Mapping(MappingFile(columns=columns, slugs=True))

    def judge(self, data: bytes) -> None:
        """Import `data` in both ways."""
        for kind in ("pge", "csv"):
            text = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")
            try:
                table = Table(text, "table.csv")
                for imported in Outages(table) if kind == "pge" else self._mapping.reports(table):
                    if isinstance(imported, ImportedReport):
                        assert read_report(imported.value).time_ms == imported.time_ms
                    else:
                        assert imported.reason
            except ImporterError as error:
                require("table.csv", error)

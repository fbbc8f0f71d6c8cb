"""Report logs: files of records or of bare reports, plain or compressed."""

from __future__ import annotations

from pathlib import Path

from streams.events import TICK_KEY
from streams.reportlog import LogRecord, ReportLogError, read, write
from tests.fuzz.target import require, scratch

PARTITIONS = 4
#: An input whose first byte is this is compressed data, as it is.
COMPRESSED = b"\x1f"

RECORDS = [
    LogRecord(1_748_088_000_000, 0, TICK_KEY, None),
    LogRecord(1_748_088_000_001, 3, b"c0ffee", b'{"service":"x","region":"US","reporter":"c0ffee"}'),
    LogRecord(1_748_088_000_002, 1, b"\xff", b"down!\n"),
    LogRecord(1_748_088_000_003, 2, None, b""),
]
BARE = b"""{"service":"x","region":"US","reporter":"a","time":"2025-05-24T12:00:00Z"}
not a report
{"service":"x","region":"GB","time":"2025-05-24T12:00:09Z"}
"""


class Target:
    """Any bytes: an error that names the file, or records that are read back as they were written."""

    together = 1
    tokens = (
        *(
            b'"timestamp_ms":',
            b'{"timestamp_ms":',
            b'"partition":',
            b'"key":',
            b'"key_base64":',
            b'"value":',
            b'"/w=="',
        ),
        *(b'"value_base64":', b'"time":', b'"reporter":', b"tocsin.tick", b"\n", b"\r\n", COMPRESSED + b"\x8b"),
    )

    def __init__(self) -> None:
        self._folder = scratch()
        self._path = Path(self._folder.name, "log.jsonl")
        self._compressed = self._path.with_suffix(".jsonl.gz")
        for path in (self._path, self._compressed):
            write(path, RECORDS)
        self.seeds = [self._path.read_bytes(), self._compressed.read_bytes(), BARE]

    def judge(self, data: bytes) -> None:
        """Read `data` as a file."""
        path = self._compressed if data[:1] == COMPRESSED else self._path
        path.write_bytes(data)
        records: list[LogRecord] = []
        try:
            for record in read(path, PARTITIONS):
                records.append(record)
                if len(records) == 100:
                    break  # the ticks of a long pause
        except ReportLogError as error:
            require(path.name, error)
        assert all(0 <= record.partition < PARTITIONS for record in records)
        if records:
            write(self._path, records)
            assert list(read(self._path, PARTITIONS)) == records, "not read back as they were written"

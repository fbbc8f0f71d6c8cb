"""Report logs as files: JSON Lines in append order, gzip-compressed where the name ends in `.gz`.

A file is of one of two shapes, and its first line says which:

- a *log*, as it stood in Kafka: `{"timestamp_ms": ..., "partition": ..., "key": ..., "value": {...}}`. A tick has
  the key `tocsin.tick` and the value null. Bytes that JSON cannot hold unchanged go into `key_base64` or
  `value_base64` in place of `key` or `value`;
- *bare* reports, one a line, without ticks. Append time is the report's own time, its partition that of its reporter.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import msgspec

from streams.events import DAY_MS, MINUTE_MS, TICK_KEY
from streams.partitions import partition_for
from streams.versions import UNREADABLE

IDLE_MS = 5_000
#: Window, allowed lateness and two bins of the default settings: after that much silence every window is empty.
CLOSING_MS = 15 * MINUTE_MS + 30_000 + 2 * MINUTE_MS


class ReportLogError(Exception):
    """A file is not a report log; the message names the file and the line."""


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """One record of the reports topic: append time, source partition, and the raw bytes of key and value."""

    timestamp_ms: int
    partition: int
    key: bytes | None
    value: bytes | None


class _Line(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    timestamp_ms: int
    partition: Annotated[int, msgspec.Meta(ge=0)]
    key: str | msgspec.UnsetType | None = msgspec.UNSET
    key_base64: str | msgspec.UnsetType = msgspec.UNSET
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    value_base64: str | msgspec.UnsetType = msgspec.UNSET


class _Bare(msgspec.Struct):
    reporter: str | None = None
    time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


_encoder = msgspec.json.Encoder()
_line_decoder = msgspec.json.Decoder(_Line)
_bare_decoder = msgspec.json.Decoder(_Bare)
_raw_decoder = msgspec.json.Decoder(msgspec.Raw)
_NULL = msgspec.Raw(b"null")
_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)


def read(path: Path, partitions: int = 4, closing_ms: int = CLOSING_MS) -> Iterator[LogRecord]:
    """Yield the records of a report log; to a file of bare reports, ticks are added (`with_ticks`).

    No line of a bare file is lost: one that cannot be read is a record with its bytes, partition 0 and the append
    time of the line before it (at the top of the file: of the first line that has a time), for downstream to refuse.

    Parameters
    ----------
    path
        The file.
    partitions
        Number of partitions of the reports topic.
    closing_ms
        How long to go on ticking after the last bare report.

    Raises
    ------
    ReportLogError
        If a line of a log is broken or names a partition that does not exist, the file is cut short, or no line of
        a bare file has a time.
    OSError
        If the file cannot be read.
    """
    with closing(_open(path, "rb")) as file:
        lines = _numbered_lines(path, file)
        first = next(lines, None)
        if first is None:
            return
        lines = chain([first], lines)
        if _is_log_line(first[1]):
            yield from _log_records(path, lines, partitions)
        else:
            yield from with_ticks(_bare_records(path, lines, partitions), partitions, closing_ms=closing_ms)


def partitions_of(path: Path) -> int | None:
    """Return how many partitions a log is of, going by the highest that it names; None for bare reports.

    Raises
    ------
    ReportLogError
        If a line of a log is broken, or the file is cut short.
    OSError
        If the file cannot be read.
    """
    with closing(_open(path, "rb")) as file:
        lines = _numbered_lines(path, file)
        first = next(lines, None)
        if first is None or not _is_log_line(first[1]):
            return None
        return 1 + max(record.partition for record in _log_records(path, chain([first], lines), sys.maxsize))


def write(path: Path, records: Iterable[LogRecord]) -> int:
    """Write `records` to a file as a log and return how many there were; `read` gives the same records back."""
    written = 0
    with closing(_open(path, "wb")) as file:
        for line in encoded(records):
            file.write(line)
            written += 1
    return written


def encoded(records: Iterable[LogRecord]) -> Iterator[bytes]:
    """Yield the lines of a log, each with its end: what `write` writes."""
    for record in records:
        yield _encoder.encode(_line(record)) + b"\n"


def with_ticks(
    records: Iterable[LogRecord],
    partitions: int,
    idle_ms: int = IDLE_MS,
    closing_ms: int = CLOSING_MS,
    longest_gap_ms: int = DAY_MS,
) -> Iterator[LogRecord]:
    """Yield `records` with the ticks that count would have written into a quiet topic.

    A partition gets a tick whenever it has had no record for `idle_ms` of append time.

    Parameters
    ----------
    records
        Records in append order.
    partitions
        Number of partitions of the reports topic; all of them are kept ticking from the first record on.
    idle_ms
        Longest stretch of append time without a record in a partition.
    closing_ms
        How long every partition goes on ticking after the last record, so that the last bins complete.
    longest_gap_ms
        A longer stretch without any record is left without ticks: nobody was listening, and those bins are
        unobserved, not empty.
    """
    last_ms: list[int] = []
    now_ms = due_ms = 0
    for record in records:
        timestamp_ms = record.timestamp_ms
        if not last_ms:
            last_ms = [timestamp_ms] * partitions
            now_ms, due_ms = timestamp_ms, timestamp_ms + idle_ms
        # Records only put a tick off, so a due time that is looked at again when it has come is soon enough.
        if timestamp_ms >= due_ms:
            if timestamp_ms - now_ms > longest_gap_ms:
                last_ms = [timestamp_ms] * partitions
            else:
                yield from _ticks(last_ms, timestamp_ms, idle_ms)
            due_ms = min(last_ms) + idle_ms
        now_ms = max(now_ms, timestamp_ms)
        yield record
        last_ms[record.partition] = now_ms
    if last_ms:
        yield from _ticks(last_ms, now_ms + closing_ms, idle_ms)
        for partition, reached_ms in enumerate(last_ms):
            if reached_ms < now_ms + closing_ms:
                yield LogRecord(now_ms + closing_ms, partition, TICK_KEY, None)


def _ticks(last_ms: list[int], until_ms: int, idle_ms: int) -> Iterator[LogRecord]:
    while (due_ms := min(last_ms) + idle_ms) <= until_ms:
        partition = last_ms.index(due_ms - idle_ms)
        last_ms[partition] = due_ms
        yield LogRecord(due_ms, partition, TICK_KEY, None)


def _open(path: Path, mode: str) -> BinaryIO:
    if path.suffix == ".gz":
        # No time of writing in the header: the same records give the same file.
        return cast("BinaryIO", gzip.GzipFile(path, mode, compresslevel=6, mtime=0))
    return cast("BinaryIO", path.open(mode))


def _numbered_lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        for number, ended in enumerate(file, 1):
            if line := ended.rstrip(b"\r\n"):
                yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ReportLogError(f"{path}: not a complete gzip file, readable up to line {number}: {error}") from error


def _is_log_line(line: bytes) -> bool:
    # By its opening, not by decoding it: a log whose first line is broken is a broken log, not a bare report.
    return line.replace(b" ", b"").startswith(b'{"timestamp_ms":')


def _log_records(path: Path, lines: Iterable[tuple[int, bytes]], partitions: int) -> Iterator[LogRecord]:
    for number, line in lines:
        try:
            record = _record(_line_decoder.decode(line))
        except (*UNREADABLE, binascii.Error, ValueError) as error:
            raise ReportLogError(f"{path}, line {number}: not a record of a report log: {error}") from error
        if record.partition >= partitions:
            raise ReportLogError(
                f"{path}, line {number}: partition {record.partition}, but the reports topic has {partitions}"
            )
        yield record


def _record(line: _Line) -> LogRecord:
    if line.key_base64 is not msgspec.UNSET:
        key: bytes | None = base64.b64decode(line.key_base64, validate=True)
    else:
        key = line.key.encode() if isinstance(line.key, str) else None
    if line.value_base64 is not msgspec.UNSET:
        value: bytes | None = base64.b64decode(line.value_base64, validate=True)
    elif line.value is msgspec.UNSET:
        raise ValueError("neither `value` nor `value_base64`")
    else:
        value = None if line.value == _NULL else bytes(line.value)
    return LogRecord(line.timestamp_ms, line.partition, key, value)


def _line(record: LogRecord) -> _Line:
    line = _Line(timestamp_ms=record.timestamp_ms, partition=record.partition)
    if record.key is None:
        line.key = None
    else:
        try:
            line.key = record.key.decode()
        except UnicodeDecodeError:
            line.key_base64 = base64.b64encode(record.key).decode()
    if record.value is None:
        line.value = _NULL
    elif _fits_a_line(record.value):
        line.value = msgspec.Raw(record.value)
    else:
        line.value_base64 = base64.b64encode(record.value).decode()
    return line


def _fits_a_line(value: bytes) -> bool:
    # An object on one line without space around it, in UTF-8: the bytes that a reader gets back are the same.
    if not (value.startswith(b"{") and value.endswith(b"}")) or b"\n" in value or b"\r" in value:
        return False
    try:
        _raw_decoder.decode(value)
        value.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _bare_records(path: Path, lines: Iterable[tuple[int, bytes]], partitions: int) -> Iterator[LogRecord]:
    before_ms: int | None = None
    untimed: list[tuple[int, bytes | None, bytes]] = []
    for _, line in lines:
        key: bytes | None = None
        time_ms: int | None = None
        try:
            report = _bare_decoder.decode(line)
        except UNREADABLE:
            pass
        else:
            key = None if report.reporter is None else report.reporter.encode()
            time_ms = None if report.time is None else (report.time - _EPOCH) // _MILLISECOND
        partition = 0 if key is None else partition_for(key, partitions)
        if time_ms is not None:
            if before_ms is None:
                yield from (LogRecord(time_ms, *early) for early in untimed)
                untimed.clear()
            before_ms = time_ms
        if before_ms is None:
            untimed.append((partition, key, line))
        else:
            yield LogRecord(before_ms, partition, key, line)
    if untimed:
        raise ReportLogError(f"{path}: no line of {len(untimed)} is a report with a time")

"""Bytes of report records to columns: which report speaks of what, when, by whom, and which records are no reports.

`read_report` says what a good report is, one record at a time. `decode` gives the same for a whole chunk, several
times faster: msgspec parses each record in both, what follows is done on columns, and a string that names
something is checked once per chunk, not per record.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.events import Report
from streams.fields import KIND_PATTERN, REGION_PATTERN, SERVICE_PATTERN
from streams.reporterhash import MAX_REPORTER_BYTES, NO_REPORTER, hash_reporter, hash_reporters
from streams.reporttime import NO_TIME, parse_time, parse_times

#: Longest record that is parsed at all.
MAX_RECORD_BYTES = 64 * 1024
#: Deepest nesting of arrays and objects inside a report. msgspec goes as deep as the interpreter's stack has room,
#: which differs from call to call; what is a report may not.
MAX_DEPTH = 256
#: Kind of a report that names none.
DEFAULT_KIND = "other"


class Reason(StrEnum):
    """Why a record is no report."""

    NULL = "null"
    EMPTY = "empty"
    OVERSIZED = "oversized"
    MALFORMED = "malformed"
    TYPE = "type"
    SERVICE = "service"
    REGION = "region"
    KIND = "kind"
    REPORTER = "reporter"
    TIME = "time"
    #: Event time far from the append time, judged when counting.
    FUTURE = "future"
    ANCIENT = "ancient"


class ReportError(Exception):
    """A record is no report; `reason` is for counting, `detail` for the person who looks for the cause.

    The detail may quote service, region, kind and time, but never the reporter.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


#: What a report is counted under: service, region, kind.
Name = tuple[str, str, str]


class Reading(NamedTuple):
    """What one good report says; `time_ms` and `reporter` as in `Columns`."""

    name: Name
    time_ms: int
    reporter: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that is no report: its index in the chunk, and why."""

    row: int
    reason: Reason
    detail: str


@dataclass(slots=True)
class Columns:
    """The good reports of one chunk in log order, and the rejected records in log order.

    Attributes
    ----------
    rows : int64, shape (n,)
        Index of each report in the chunk.
    name : int32, shape (n,)
        Index of each report's name in `names`.
    names : list of Name
        Distinct names in the order in which the reports first use them.
    time_ms : int64, shape (n,)
        Event time in milliseconds since the Unix epoch; NO_TIME where the report carries none.
    reporter : uint64, shape (n,)
        Hash of service and reporter; NO_REPORTER where the report names none.
    rejected : list of Rejected
    """

    rows: NDArray[np.int64]
    name: NDArray[np.int32]
    names: list[Name]
    time_ms: NDArray[np.int64]
    reporter: NDArray[np.uint64]
    rejected: list[Rejected]


_decoder = msgspec.json.Decoder(Report)
_JSON_ERRORS = (msgspec.DecodeError, UnicodeDecodeError)
#: JSON that is no longer than this cannot nest deeper than MAX_DEPTH and still be whole.
_SHALLOW_BYTES = 2 * MAX_DEPTH
#: A string, closed or not: possessive and without a must at its end, so that it takes linear time on any bytes.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)

_SERVICE, _REGION, _KIND = map(re.compile, (SERVICE_PATTERN, REGION_PATTERN, KIND_PATTERN))
_PATTERNS = ((Reason.SERVICE, _SERVICE), (Reason.REGION, _REGION), (Reason.KIND, _KIND))


def read_report(value: bytes | None) -> Reading:
    """Return what the report in `value` says.

    Raises
    ------
    ReportError
        If `value` is no report.
    """
    report = _parse(value)
    name = (report.service, report.region, DEFAULT_KIND if report.kind is None else report.kind)
    for (reason, pattern), text in zip(_PATTERNS, name, strict=True):
        if not pattern.fullmatch(text):
            raise ReportError(reason, f"{_quote(text)} does not match {pattern.pattern}")
    reporter = NO_REPORTER
    if report.reporter:
        length = len(report.reporter.encode())
        if length > MAX_REPORTER_BYTES:  # not quoted: it names a person
            raise ReportError(Reason.REPORTER, f"{length} bytes are more than {MAX_REPORTER_BYTES}")
        reporter = hash_reporter(report.service, report.reporter)
    time_ms = NO_TIME
    if report.time is not None:
        try:
            time_ms = parse_time(report.time)
        except ValueError as error:
            raise ReportError(Reason.TIME, f"{_quote(report.time)}: {error}") from None
    return Reading(name, time_ms, reporter)


def _parse(value: bytes | None) -> Report:
    """Return the JSON of `value` as a report with unchecked strings; raises ReportError."""
    if value is None:
        raise ReportError(Reason.NULL, "the record has no value")
    if not value:
        raise ReportError(Reason.EMPTY, "the record's value is empty")
    if len(value) > MAX_RECORD_BYTES:
        raise ReportError(Reason.OVERSIZED, f"{len(value)} bytes are more than {MAX_RECORD_BYTES}")
    if _is_deep(value):
        raise ReportError(Reason.MALFORMED, f"nested deeper than {MAX_DEPTH} levels")
    try:
        return _decoder.decode(value)
    except msgspec.ValidationError as error:
        raise ReportError(Reason.TYPE, str(error)) from None
    except _JSON_ERRORS as error:
        raise ReportError(Reason.MALFORMED, str(error)) from None


def _is_deep(value: bytes) -> bool:
    """Return whether JSON nests deeper than MAX_DEPTH; of what is no JSON, whether it seems to."""
    if len(value) <= _SHALLOW_BYTES or value.count(b"{") + value.count(b"[") <= MAX_DEPTH:
        return False
    marks = np.frombuffer(_STRING.sub(b"", value), np.uint8)
    opened = (marks == ord("{")) | (marks == ord("["))
    closed = (marks == ord("}")) | (marks == ord("]"))
    return int(np.cumsum(opened.astype(np.int64) - closed).max(initial=0)) > MAX_DEPTH


def _quote(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:80] + "...")


def decode_slowly(values: Sequence[bytes | None]) -> Columns:
    """Return the columns of a chunk, read one record at a time: what `decode` must give."""
    rows: list[int] = []
    readings: list[Reading] = []
    rejected: list[Rejected] = []
    for row, value in enumerate(values):
        try:
            readings.append(read_report(value))
            rows.append(row)
        except ReportError as error:
            rejected.append(Rejected(row, error.reason, error.detail))
    names = list(dict.fromkeys(reading.name for reading in readings))
    code = {name: index for index, name in enumerate(names)}
    return Columns(
        rows=np.array(rows, np.int64),
        name=np.array([code[reading.name] for reading in readings], np.int32),
        names=names,
        time_ms=np.array([reading.time_ms for reading in readings], np.int64),
        reporter=np.array([reading.reporter for reading in readings], np.uint64),
        rejected=rejected,
    )


def decode(values: Sequence[bytes | None]) -> Columns:
    """Return the columns of a chunk.

    Parameters
    ----------
    values : sequence of bytes or None
        Values of the chunk's records in log order, without ticks.
    """
    rows, reports = _parse_all(values)
    codes = _Codes()
    name = np.array([codes[report.service, report.region, report.kind] for report in reports], np.int32)
    time_ms, time_valid = parse_times([report.time for report in reports])
    # The service of an illegal name (code -1) does not matter, but there must be one.
    services = [service for service, _, _ in codes.names] or [""]
    reporter, reporter_valid = hash_reporters(services, name, [report.reporter for report in reports])
    columns = Columns(rows, name, codes.names, time_ms, reporter, [])
    good = (name >= 0) & time_valid & reporter_valid
    if not good.all():
        columns = _select(columns, good)
    if len(columns.rows) < len(values):
        rejected = np.setdiff1d(np.arange(len(values)), columns.rows, assume_unique=True)
        columns.rejected = [_rejection(row, values[row]) for row in rejected.tolist()]
    return columns


class _Codes(dict[tuple[str, str, str | None], int]):
    """Codes of names as reports spell them, in the order in which they are asked for; -1 where one is not legal."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[Name] = []

    def __missing__(self, spelt: tuple[str, str, str | None]) -> int:
        service, region, kind = spelt
        if kind is None:
            code = self[service, region, DEFAULT_KIND]
        elif _SERVICE.fullmatch(service) and _REGION.fullmatch(region) and _KIND.fullmatch(kind):
            code = len(self.names)
            self.names.append((service, region, kind))
        else:
            code = -1
        self[spelt] = code
        return code


def _parse_all(values: Sequence[bytes | None]) -> tuple[NDArray[np.int64], list[Report]]:
    """Return the indices of the records that parse, and what they hold."""
    parsable = [value or b"" for value in values]
    if max(map(len, parsable), default=0) > _SHALLOW_BYTES:
        parsable = [value if len(value) <= MAX_RECORD_BYTES and not _is_deep(value) else b"" for value in parsable]
    reports: list[Report] = []
    unparsed: list[int] = []
    remaining = iter(parsable)
    while len(reports) + len(unparsed) < len(parsable):
        try:
            # What was read before an exception stays in the list, so its length says which record it was.
            reports.extend(map(_decoder.decode, remaining))
        except _JSON_ERRORS:
            unparsed.append(len(reports) + len(unparsed))
    return np.delete(np.arange(len(values)), unparsed), reports


def _select(columns: Columns, good: NDArray[np.bool_]) -> Columns:
    """Return the good rows, with the names that are left in order of first use."""
    used, first, name = np.unique(columns.name[good], return_index=True, return_inverse=True)
    order = np.argsort(first)
    return Columns(
        rows=columns.rows[good],
        name=np.argsort(order).astype(np.int32)[name],
        names=[columns.names[code] for code in used[order].tolist()],
        time_ms=columns.time_ms[good],
        reporter=columns.reporter[good],
        rejected=[],
    )


def _rejection(row: int, value: bytes | None) -> Rejected:
    try:
        read_report(value)
    except ReportError as error:
        return Rejected(row, error.reason, error.detail)
    # not quoted: it may name a person
    raise AssertionError(f"decode and read_report disagree on record {row} of a chunk, of {len(value or b'')} bytes")

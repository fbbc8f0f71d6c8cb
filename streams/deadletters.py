"""Dead letters: records of the reports topic that are no reports, to be looked at and sent back."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

import msgspec

from streams.counting import OLDEST_MS
from streams.decode import Reason, ReportError, read_report
from streams.intake import Intake, Returned
from streams.partitions import partition_for
from streams.reporterhash import pseudonym
from streams.reportlog import LogRecord
from streams.reporttime import NO_TIME, format_time
from streams.settings import Settings
from streams.topicrecords import Header, TopicRecord, append_times, held
from streams.topics import Topics

#: The header of a report that was a dead letter: its id.
REDRIVEN = "tocsin.redriven"
#: What is shown in place of a reporter that is no text.
MASK = "***"

_TOPIC, _PARTITION, _OFFSET = (f"__connect.errors.{name}" for name in ("topic", "partition", "offset"))
_STAGE, _REASON, _DETAIL = (
    f"__connect.errors.{name}" for name in ("stage", "exception.class.name", "exception.message")
)
_TIMESTAMP, _KEY, _NULL = (f"tocsin.original.{name}" for name in ("timestamp", "key", "null"))
_OWN = {_TOPIC, _PARTITION, _OFFSET, _STAGE, _REASON, _DETAIL, _TIMESTAMP, _KEY, _NULL}
_LENGTH_BYTES = 4
_AT_ONCE = 500


class DeadLetterError(Exception):
    """What was asked of the dead letters cannot be done; the message says which letter or filter it is about."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter: the record as it was, and why it is no report.

    `id` is topic, partition and offset of the record, and `at` partition and offset of the letter. `detail` never
    quotes a reporter. `headers` are those of the record's producer.
    """

    id: str
    at: tuple[int, int]
    partition: int
    appended_ms: int
    reason: str
    detail: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]


class Selection(NamedTuple):
    """Which dead letters are meant: of one of these reasons, with one of these ids, appended from then on."""

    reasons: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    since_ms: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Return whether a letter is meant; what is empty leaves all."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.ids or letter.id in self.ids)
            and (self.since_ms is None or letter.appended_ms >= self.since_ms)
        )


class Left(NamedTuple):
    """A dead letter that is not sent back, and why."""

    id: str
    reason: str


@dataclass(slots=True)
class Redrive:
    """What became of the dead letters that were to be sent back."""

    sent: int = 0
    late: int = 0
    left: list[Left] = field(default_factory=list)


def letter(record: TopicRecord) -> Letter:
    """Return the dead letter that a record of the dead-letter topic is."""
    own: dict[str, bytes] = {}
    others: list[Header] = []
    for name, value in reversed(record.headers):  # ours are the last ones: the producer's may have such names too
        if name in _OWN and name not in own:
            own[name] = value or b""
        else:
            others.append((name, value))
    return Letter(
        id=(record.key or b"").decode(errors="replace"),
        at=(record.partition, record.offset),
        partition=_number(own.get(_PARTITION), record.partition),
        appended_ms=_number(own.get(_TIMESTAMP), record.timestamp_ms),
        reason=own.get(_REASON, b"unknown").decode(errors="replace"),
        detail=own.get(_DETAIL, b"").decode(errors="replace"),
        key=own.get(_KEY),
        value=None if _NULL in own else record.value,
        headers=tuple(reversed(others)),
    )


def _number(text: bytes | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isdigit() else otherwise


async def letters(settings: Settings, selection: Selection) -> AsyncIterator[tuple[bytes, Letter | None]]:
    """Yield every record of the dead-letter topic that is meant: its key and the letter, None for one taken away.

    A later record of a key replaces the ones before: a restart may write letters again.

    Raises
    ------
    UnreachableError
        If Kafka does not answer.
    """
    async with aclosing(held(settings, Topics(settings.kafka.prefix).dead_letters)) as records:
        async for record in records:
            if record.key is None:
                continue
            if record.value is None:
                yield record.key, None
                continue
            found = letter(record)
            if selection.takes(found):
                yield record.key, found


async def summaries(settings: Settings, selection: Selection) -> list[Letter]:
    """Return the letters that are meant, without their values, in the order of their append times."""
    found: dict[bytes, Letter] = {}
    async for key, each in letters(settings, selection):
        found.pop(key, None)
        if each is not None:
            found[key] = msgspec.structs.replace(each, value=None, headers=())
    return sorted(found.values(), key=lambda each: (each.appended_ms, each.id))


async def one(settings: Settings, id_: str) -> Letter:
    """Return the letter with this id.

    Raises
    ------
    DeadLetterError
        If there is none.
    """
    found: Letter | None = None
    async for key, each in letters(settings, Selection(ids=frozenset([id_]))):
        if each is not None or key == id_.encode():
            found = each
    if found is None:
        raise DeadLetterError(
            f"there is no dead letter {id_!r} (topic/partition/offset, as `tocsin dlq list` shows it)"
        )
    return found


def stand_in(reporter: bytes, key: bytes) -> str:
    """Return what is shown in place of a reporter: the same for the same one under the same key of pseudonyms."""
    return f"reporter {pseudonym(reporter, key)}"


def masked(value: bytes, key: bytes) -> bytes | None:
    """Return the value of a letter with a pseudonym for its reporter.

    None where it is no JSON object, so nobody knows where the reporter is. `key` is that of the pseudonyms.
    """
    try:
        fields = msgspec.json.decode(value, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if "reporter" in fields:
        reporter = fields["reporter"]
        fields["reporter"] = stand_in(reporter.encode(), key) if isinstance(reporter, str) else MASK
    return msgspec.json.encode(fields)


async def redrive(settings: Settings, selection: Selection, through: str | None = None, *, dry_run: bool) -> Redrive:
    """Send dead letters back to the reports topic and take them out of the dead-letter topic.

    Each goes to its partition, if that still exists, with its key, its headers and one more that names the letter. A
    report that names no time gets its original append time. A letter is taken away only after the report is
    acknowledged: an interruption between the two leaves up to 500 that a second run sends again.

    Parameters
    ----------
    settings
        The deployment's settings.
    selection
        Which letters.
    through
        A command that gets the letters' values on its standard input, one a line, and gives one line for each; an
        empty one leaves the letter where it is. It is not run by a shell.
    dry_run
        Only say what would be done.

    Raises
    ------
    DeadLetterError
        If the command fails or gives another number of lines; nothing has been sent then.
    UnreachableError
        If Kafka does not answer.
    IntakeError
        If a report is not taken; those before it may have been.
    """
    done = Redrive()
    with tempfile.TemporaryFile() as spool:  # has no name: what personal data is in it goes with this process
        live = await _spool(settings, selection, spool)
        found = (each for each in _spooled(spool) if live.get(each.id.encode()) == each.at)
        values = ((each, each.value) for each in found) if through is None else _filtered(found, through, done)
        ready = _ready(settings, values, await _append_times(settings), done)
        if dry_run:
            done.sent = sum(1 for _ in ready)
            return done
        with Intake(settings) as intake:
            for batch in _batches(ready):
                intake.send_back(batch)
                done.sent += len(batch)
    return done


async def _spool(settings: Settings, selection: Selection, spool: IO[bytes]) -> dict[bytes, tuple[int, int]]:
    """Write the letters that are meant to a file; return where the last one of each key is, but those taken away."""
    live: dict[bytes, tuple[int, int]] = {}
    async for key, each in letters(settings, selection):
        if each is None:
            live.pop(key, None)
        else:
            live[each.id.encode()] = each.at
            packed = msgspec.msgpack.encode(each)
            spool.write(len(packed).to_bytes(_LENGTH_BYTES, "big") + packed)
    return live


def _spooled(spool: IO[bytes]) -> Iterator[Letter]:
    spool.seek(0)
    while length := spool.read(_LENGTH_BYTES):
        yield msgspec.msgpack.decode(spool.read(int.from_bytes(length, "big")), type=Letter)


def _filtered(found: Iterator[Letter], through: str, done: Redrive) -> Iterator[tuple[Letter, bytes | None]]:
    """Yield the letters with what a command makes of their values; it has ended before the first one is yielded."""
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as answered, tempfile.TemporaryFile() as kept:
        count = 0
        for each in found:
            line = _one_line(each.value)
            if line is None:
                done.left.append(Left(each.id, "holds no line that could go through a filter"))
                continue
            asked.write(line + b"\n")
            packed = msgspec.msgpack.encode(each)
            kept.write(len(packed).to_bytes(_LENGTH_BYTES, "big") + packed)
            count += 1
        asked.seek(0)
        code = subprocess.run(shlex.split(through), stdin=asked, stdout=answered, check=False).returncode
        answered.seek(0)
        lines = sum(1 for _ in answered)
        if code or lines != count:
            what = f"ended with {code}" if code else f"gave {lines} lines for {count} letters, not one for each"
            raise DeadLetterError(f"the filter {through!r} {what}; nothing was sent back")
        answered.seek(0)
        for each, line in zip(_spooled(kept), answered, strict=True):
            if value := line.rstrip(b"\r\n"):
                yield each, value
            else:
                done.left.append(Left(each.id, "the filter gave an empty line"))


def _one_line(value: bytes | None) -> bytes | None:
    if value and b"\n" in value:
        try:
            value = msgspec.json.format(value, indent=-1)
        except (msgspec.DecodeError, RecursionError):
            return None
    return value or None


async def _append_times(settings: Settings) -> list[int]:
    """Return the append time of each partition of the reports topic."""
    partitions = range(settings.kafka.reports_partitions)
    if settings.kafka.clock == "broker":
        return [int(time.time() * 1000) for _ in partitions]
    found = await append_times(settings, Topics(settings.kafka.prefix).reports)
    return [found.get(each, 0) for each in partitions]


def _ready(
    settings: Settings, values: Iterator[tuple[Letter, bytes | None]], appended_ms: Sequence[int], done: Redrive
) -> Iterator[Returned]:
    """Yield what is to be sent; note those that would be no reports again, and how many will be late."""
    for each, value in values:
        partition = _partition(each, settings)
        append_ms = max(appended_ms[partition], each.appended_ms)
        try:
            report, time_ms = _report(value, each.appended_ms)
            _require_near(time_ms, append_ms, settings)
        except ReportError as error:
            done.left.append(Left(each.id, str(error)))
            continue
        done.late += append_ms - time_ms > settings.count.lateness_ms
        yield Returned(
            LogRecord(append_ms, partition, each.key, report),
            (*each.headers, (REDRIVEN, each.id.encode())),
            letter=each.id.encode(),
            letter_partition=each.at[0],
        )


def _partition(each: Letter, settings: Settings) -> int:
    count = settings.kafka.reports_partitions
    if each.partition < count:
        return each.partition
    return each.partition % count if each.key is None else partition_for(each.key, count)


def _report(value: bytes | None, appended_ms: int) -> tuple[bytes, int]:
    """Return the report with a time, and that time; raises ReportError."""
    time_ms = read_report(value).time_ms
    assert value is not None
    if time_ms != NO_TIME:
        return value, time_ms
    # of two keys of one name the last one counts, so a `time` that is null does no harm
    timed = value.rstrip()[:-1] + b',"time":"' + format_time(appended_ms).encode() + b'"}'
    return timed, read_report(timed).time_ms


def _require_near(time_ms: int, append_ms: int, settings: Settings) -> None:
    if time_ms > append_ms + settings.count.bin_ms:
        raise ReportError(Reason.FUTURE, f"event time {(time_ms - append_ms) / 1000:.3f} s after the append time")
    if time_ms < append_ms - OLDEST_MS:
        raise ReportError(Reason.ANCIENT, f"event time {(append_ms - time_ms) / 1000:.3f} s before the append time")


def _batches(ready: Iterator[Returned]) -> Iterator[list[Returned]]:
    batch: list[Returned] = []
    for each in ready:
        batch.append(each)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch

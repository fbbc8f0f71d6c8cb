import base64
import gzip
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.events import DAY_MS, MINUTE_MS, TICK_KEY
from streams.partitions import partition_for
from streams.reportlog import CLOSING_MS, IDLE_MS, LogRecord, ReportLogError, read, with_ticks, write

T = 1_748_088_000_000  # 2025-05-24T12:00:00Z
VALUE = b'{"service": "x", "region": "US", "kind": "app", "reporter": "c0ffee", "time": "2025-05-24T12:00:07.120Z"}'
PARTITIONS = 4


def tick(timestamp_ms: int, partition: int) -> LogRecord:
    return LogRecord(timestamp_ms, partition, TICK_KEY, None)


def reports_of(records: list[LogRecord]) -> list[LogRecord]:
    return [record for record in records if record.value is not None]


def bare_file(folder: Path, *lines: bytes) -> Path:
    path = folder / "bare.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


# Logs


def test_a_log_is_json_lines_with_the_reports_own_bytes(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    assert write(path, [LogRecord(T, 2, b"c0ffee", VALUE), tick(T + 5000, 1), LogRecord(T, 0, None, VALUE)]) == 3

    assert path.read_bytes().splitlines() == [
        b'{"timestamp_ms":%d,"partition":2,"key":"c0ffee","value":%b}' % (T, VALUE),
        b'{"timestamp_ms":%d,"partition":1,"key":"tocsin.tick","value":null}' % (T + 5000),
        b'{"timestamp_ms":%d,"partition":0,"key":null,"value":%b}' % (T, VALUE),
    ]


json_like = st.sampled_from(
    [
        VALUE,
        b"",
        b"null",
        b"{}",
        b'{"a": 1}\n',
        b'{"a":\n1}',
        b'{"a":\r1}',
        b' {"a": 1}',
        b'{"a": "\xff"}',
        b'{"a": 1}}',
        b'{"a": NaN}',
        b'{"a": 1e999, "a": "\\ud800"}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ]
)
log_records = st.lists(
    st.builds(
        LogRecord,
        timestamp_ms=st.integers(0, 2**53),
        partition=st.integers(0, PARTITIONS - 1),
        key=st.none() | st.binary(max_size=12) | st.text(max_size=6).map(str.encode),
        value=st.none() | st.binary(max_size=12) | json_like,
    ),
    max_size=8,
)


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
@given(records=log_records)
def test_reading_a_log_gives_the_records_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, name: str, records: list[LogRecord]
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    write(path, records)
    assert list(read(path, PARTITIONS)) == records
    content = path.read_bytes()
    lines = (gzip.decompress(content) if name.endswith(".gz") else content).splitlines()
    assert [json.loads(line)["partition"] for line in lines] == [record.partition for record in records]


def test_the_same_records_give_the_same_compressed_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "log.gz", tmp_path / "b" / "log.gz"
    for path in (first, second):
        path.parent.mkdir()
        write(path, [LogRecord(T, 2, b"c0ffee", VALUE)])
    assert first.read_bytes()[10:] == second.read_bytes()[10:]
    assert first.read_bytes()[4:8] == bytes(4)


def test_base64_in_a_log_stands_for_bytes_that_json_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    row = {"timestamp_ms": T, "partition": 1, "key": "k", "value_base64": base64.b64encode(b"\xff\n").decode()}
    path.write_text(json.dumps(row))
    assert list(read(path)) == [LogRecord(T, 1, b"k", b"\xff\n")]


@pytest.mark.parametrize(
    "line",
    [
        '{"timestamp_ms": 1, "partition": 0, "key": null, "value": {"service"',
        '{"timestamp_ms": "1", "partition": 0, "key": null, "value": {}}',
        '{"timestamp_ms": 1, "partition": -1, "key": null, "value": {}}',
        '{"timestamp_ms": 1, "partition": 0, "key": 7, "value": {}}',
        '{"timestamp_ms": 1, "partition": 0, "key": null}',
        '{"timestamp_ms": 1, "partition": 0, "key": null, "value_base64": "?"}',
        '{"timestamp_ms": 1, "partition": 0, "key": null, "value": {}, "offset": 3}',
        '{"timestamp_ms": 1, "partition": 4, "key": null, "value": {}}',
        '{"timestamp_ms": 1, "partition": 0, "key": null, "value": ' + "[" * 100_000,
        VALUE.decode(),
    ],
)
def test_a_broken_line_of_a_log_is_an_error_that_names_file_and_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "log.jsonl"
    write(path, [tick(T, 0)])
    with path.open("a") as file:
        file.write(line)
    with pytest.raises(ReportLogError, match=r"log\.jsonl, line 2: "):
        list(read(path, PARTITIONS))


def test_a_log_whose_first_line_is_broken_is_not_taken_for_bare_reports(tmp_path: Path) -> None:
    path = bare_file(tmp_path, b'{ "timestamp_ms": 1, "partition": 0', VALUE)
    with pytest.raises(ReportLogError, match="line 1: "):
        list(read(path))


def test_a_compressed_file_that_was_cut_short_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    write(path, [LogRecord(T + number, 0, b"%d" % number, VALUE) for number in range(1000)])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ReportLogError, match=r"log\.jsonl\.gz: "):
        list(read(path))


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_holds_no_records(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    assert list(read(path)) == []


# Bare reports


def test_a_bare_report_is_appended_at_its_own_time_to_the_partition_of_its_reporter(tmp_path: Path) -> None:
    path = bare_file(tmp_path, VALUE, b"", VALUE.replace(b"c0ffee", b"abcdef").replace(b"07.120Z", b"08.5+00:00"))
    assert reports_of(list(read(path, PARTITIONS))) == [
        LogRecord(T + 7120, partition_for(b"c0ffee", PARTITIONS), b"c0ffee", VALUE),
        LogRecord(
            T + 8500,
            partition_for(b"abcdef", PARTITIONS),
            b"abcdef",
            VALUE.replace(b"c0ffee", b"abcdef").replace(b"07.120Z", b"08.5+00:00"),
        ),
    ]


def test_a_bare_report_without_a_reporter_goes_to_partition_0_and_without_a_time_follows_the_line_before(
    tmp_path: Path,
) -> None:
    path = bare_file(tmp_path, VALUE, b'{"service":"x","region":"US"}', b'{"service":"x","reporter":"abcdef"}')
    assert reports_of(list(read(path, PARTITIONS)))[1:] == [
        LogRecord(T + 7120, 0, None, b'{"service":"x","region":"US"}'),
        LogRecord(T + 7120, partition_for(b"abcdef", PARTITIONS), b"abcdef", b'{"service":"x","reporter":"abcdef"}'),
    ]


@given(garbage=st.lists(st.binary(min_size=1, max_size=40) | json_like, max_size=6), before=st.booleans())
def test_no_line_of_a_bare_file_is_lost(
    tmp_path_factory: pytest.TempPathFactory, garbage: list[bytes], before: bool
) -> None:
    lines = [line for text in garbage for line in text.replace(b"\r", b" ").split(b"\n") if line]
    lines = [*lines, VALUE] if before else [VALUE, *lines]
    path = bare_file(tmp_path_factory.getbasetemp(), *lines)
    assert [record.value for record in reports_of(list(read(path)))] == lines


def test_what_is_not_a_report_takes_the_append_time_of_the_line_before_and_at_the_top_of_the_first_time(
    tmp_path: Path,
) -> None:
    later = VALUE.replace(b"07.120Z", b"09.000Z")
    path = bare_file(tmp_path, b"not json", VALUE, b'{"time": "yesterday"}', b"[1]", b'{"time": "\xc3"}', later)
    assert [(record.timestamp_ms - T, record.value) for record in reports_of(list(read(path)))] == [
        (7120, b"not json"),
        (7120, VALUE),
        (7120, b'{"time": "yesterday"}'),
        (7120, b"[1]"),
        (7120, b'{"time": "\xc3"}'),
        (9000, later),
    ]


def test_a_bare_file_without_any_time_is_an_error(tmp_path: Path) -> None:
    path = bare_file(tmp_path, b'{"service": "x", "region": "US"}')
    with pytest.raises(ReportLogError, match=r"bare\.jsonl: no line"):
        list(read(path))


def test_bare_reports_are_given_ticks_until_their_windows_are_empty(tmp_path: Path) -> None:
    records = list(read(bare_file(tmp_path, VALUE), PARTITIONS))
    assert len(reports_of(records)) == 1
    for partition in range(PARTITIONS):
        assert [r.timestamp_ms for r in records if r.partition == partition][-1] == T + 7120 + CLOSING_MS
    assert CLOSING_MS >= 17 * MINUTE_MS


# Ticks


def test_a_partition_gets_a_tick_whenever_it_was_silent_for_five_seconds() -> None:
    records = [LogRecord(T + at, 0, None, VALUE) for at in (0, 4_000, 8_000, 12_000)]
    #   partition 0   R   R   R   R
    #   partition 1      5s   10s
    assert list(with_ticks(records, partitions=2, closing_ms=0)) == [
        records[0],
        records[1],
        tick(T + 5_000, 1),
        records[2],
        tick(T + 10_000, 1),
        records[3],
        tick(T + 12_000, 1),
    ]


def test_closing_ticks_reach_every_partition() -> None:
    ticks = list(with_ticks([LogRecord(T, 1, None, VALUE)], partitions=2, closing_ms=7_000))[1:]
    assert ticks == [tick(T + 5_000, 0), tick(T + 5_000, 1), tick(T + 7_000, 0), tick(T + 7_000, 1)]


def test_a_gap_of_more_than_a_day_is_left_unobserved() -> None:
    records = [LogRecord(T, 0, None, VALUE), LogRecord(T + 40 * 365 * DAY_MS, 0, None, VALUE)]
    assert list(with_ticks(records, partitions=1, closing_ms=0)) == records


def test_nothing_is_added_to_nothing() -> None:
    assert list(with_ticks([], partitions=4)) == []


@given(
    steps=st.lists(st.tuples(st.integers(-3_000, 40_000), st.integers(0, 2)), min_size=1, max_size=30),
    closing_ms=st.integers(0, 60_000),
)
def test_no_partition_is_silent_for_longer_than_five_seconds(steps: list[tuple[int, int]], closing_ms: int) -> None:
    records, now_ms = [], T
    for step_ms, partition in steps:
        now_ms += step_ms
        records.append(LogRecord(now_ms, partition, None, VALUE))
    ticked = list(with_ticks(records, partitions=3, closing_ms=closing_ms))

    assert [record for record in ticked if record.value is not None] == records
    reached_ms, highest_ms = [records[0].timestamp_ms] * 3, records[0].timestamp_ms
    for record in ticked:
        highest_ms = max(highest_ms, record.timestamp_ms)
        assert all(highest_ms - reached <= IDLE_MS for reached in reached_ms)
        reached_ms[record.partition] = highest_ms
    assert min(reached_ms) == max(record.timestamp_ms for record in records) + closing_ms
    ticks = [record.timestamp_ms for record in ticked if record.value is None]
    assert all(earlier <= later for earlier, later in pairwise(ticks))

"""Given these records, these columns and these dead letters."""

import json
from datetime import date

import numpy as np
import pytest

from streams.decode import Columns, Reason, ReportError, decode, decode_slowly, read_report
from streams.reporterhash import NO_REPORTER, hash_reporter, hash_text, hash_texts
from streams.reporttime import NO_TIME, parse_time, parse_times
from streams.textcolumn import text_column

DAY_MS = 86_400_000


def record(service: object = "x", region: object = "US", **fields: object) -> bytes:
    return json.dumps({"service": service, "region": region, **fields}).encode()


def reason(value: bytes | None) -> str:
    with pytest.raises(ReportError) as error:
        read_report(value)
    (rejected,) = decode([value]).rejected
    assert (rejected.row, rejected.reason, rejected.detail) == (0, error.value.reason, error.value.detail)
    return rejected.reason.value


def test_a_report_becomes_a_row() -> None:
    value = b'{"service": "x", "region": "US", "kind": "app", "reporter": "c0ffee", "time": "2025-05-24T12:51:07.120Z"}'
    columns = decode([value])
    assert columns.names == [("x", "US", "app")]
    assert columns.time_ms.tolist() == [1_748_091_067_120]
    assert columns.reporter.tolist() == [hash_reporter("x", "c0ffee")]
    assert columns.rejected == []


def test_names_are_numbered_in_the_order_of_the_good_reports() -> None:
    values = [
        record("z", time="yesterday"),
        record("b", "GB"),
        record("z", "US", reporter="r" * 257),
        record("a"),
        record("b", "GB", kind="other"),
        b"not a report",
        record("z", "US", kind="app"),
        None,
        record("z"),
    ]
    columns = decode(values)
    assert columns.names == [("b", "GB", "other"), ("a", "US", "other"), ("z", "US", "app"), ("z", "US", "other")]
    assert columns.rows.tolist() == [1, 3, 4, 6, 8]
    assert columns.name.tolist() == [0, 1, 0, 2, 3]
    assert [(rejected.row, rejected.reason) for rejected in columns.rejected] == [
        (0, Reason.TIME),
        (2, Reason.REPORTER),
        (5, Reason.MALFORMED),
        (7, Reason.NULL),
    ]


@pytest.mark.parametrize("values", [[], [None], [b"", b"{"]], ids=["no records", "a null", "no report"])
def test_a_chunk_without_a_good_report_has_empty_columns(values: list[bytes | None]) -> None:
    for columns in (decode(values), decode_slowly(values)):
        assert [rejected.row for rejected in columns.rejected] == list(range(len(values)))
        arrays = (columns.rows, columns.name, columns.time_ms, columns.reporter)
        assert [array.dtype.name for array in arrays] == ["int64", "int32", "int64", "uint64"]
        assert [array.shape for array in arrays] == [(0,)] * 4
        assert columns.names == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (b"", "empty"),
        (record(u="a" * 1_000_000), "oversized"),
        (b"  ", "malformed"),
        (b'{"service":"x","region":"US"', "malformed"),
        (record() + record(), "malformed"),
        (record() + b"\n" + record(), "malformed"),
        (b'{"service":"x","region":"US","u":NaN}', "malformed"),
        (b'{"service":"x","region":"US","reporter":"\xff"}', "malformed"),
        (b'{"service":"x","region":"US","reporter":"\\ud800"}', "malformed"),
        (b'{"service":"x","region":"US","u":' + b"[" * 256 + b"]" * 256 + b"}", "malformed"),
        (b'{"service":"x","region":"US","u":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "malformed"),
        (b"[]", "type"),
        (b"null", "type"),
        (b"{}", "type"),
        (record(service=5), "type"),
        (record(region=None), "type"),
        (record(kind=["app"]), "type"),
        (record(time=1748091067120), "type"),
        (record(service=""), "service"),
        (record(service="X"), "service"),
        (record(service="x\n"), "service"),
        (record(service="x.com"), "service"),
        (record(service="*"), "service"),
        (record(service="a" * 65), "service"),
        (record(region=""), "region"),
        (record(region="_all"), "region"),
        (record(region="*"), "region"),
        (record(region="R" * 33), "region"),
        (record(kind=""), "kind"),
        (record(kind="App"), "kind"),
        (record(kind="k" * 33), "kind"),
        (record(reporter="é" * 129), "reporter"),
        (record(time=""), "time"),
        (record(time="2025-02-29T00:00:00Z"), "time"),
    ],
)
def test_what_is_no_report_has_a_reason(value: bytes | None, expected: str) -> None:
    assert reason(value) == expected


def test_the_first_fault_is_the_reason() -> None:
    assert reason(record(service="X", region="_", kind="K", reporter="r" * 257, time="now")) == "service"
    assert reason(record(region="_", kind="K", reporter="r" * 257, time="now")) == "region"
    assert reason(record(kind="K", reporter="r" * 257, time="now")) == "kind"
    assert reason(record(reporter="r" * 257, time="now")) == "reporter"


def test_details_name_the_fault_and_stay_short() -> None:
    with pytest.raises(ReportError, match=r"time: '2025-02-29T00:00:00Z': day is out of range for month"):
        read_report(record(time="2025-02-29T00:00:00Z"))
    with pytest.raises(ReportError, match=r"type: Expected `str`, got `int` - at `\$.service`"):
        read_report(record(service=5))
    assert len(decode([record(service="S" * 60_000)]).rejected[0].detail) < 200


@pytest.mark.parametrize(
    "value",
    [
        record(kind=None, reporter=None, time=None),
        record(reporter=""),
        b' \r\n{"region":"US","serv\\u0069ce":"x"}\n',
        b'{"service":"y","region":"GB","kind":"app","service":"x","kind":null,"region":"US"}',
        b'{"service":"x","region":"US","u":1e999,"v":{"service":5,"region":[null]},"w":"\\ud83d\\ude00"}',
        b'{"service":"x","region":"US","u":' + b"[" * 255 + b"]" * 255 + b"}",
        b'{"service":"x","region":"US","u":"' + b"[{" * 1000 + b'\\""}',
        record().ljust(65_536),
    ],
)
def test_what_is_a_report_all_the_same(value: bytes) -> None:
    for columns in (decode([value]), decode_slowly([value])):
        assert columns.rejected == []
        assert columns.names == [("x", "US", "other")]
        assert columns.time_ms.tolist() == [NO_TIME]
        assert columns.reporter.tolist() == [NO_REPORTER]


def test_nesting_is_judged_alike_however_deep_the_stack_is() -> None:
    values: list[bytes | None] = [
        b'{"service":"x","region":"US","u":' + b"[" * depth + b"]" * depth + b"}" for depth in (255, 256, 900, 2000)
    ]

    def at_depth(frames: int) -> Columns:
        return decode(values) if frames == 0 else at_depth(frames - 1)

    assert at_depth(0).rows.tolist() == at_depth(300).rows.tolist() == [0]
    assert at_depth(0).rejected == at_depth(300).rejected


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.001999999Z", 1),
        ("1969-12-31T23:59:59.9Z", -100),
        ("2025-05-24T12:51:07.120Z", 1_748_091_067_120),
        ("2025-05-24t08:51:07.12-04:00", 1_748_091_067_120),
        ("2025-05-24T18:21:07.1200000+05:30", 1_748_091_067_120),
        ("2025-05-24T12:51:07z", 1_748_091_067_000),
        ("2025-05-24T12:51:07-00:00", 1_748_091_067_000),
        ("2100-02-28T23:59:59Z", 4_107_542_399_000),
        ("0001-01-01T00:00:00+23:59", -62_135_596_800_000 - DAY_MS + 60_000),
        ("9999-12-31T23:59:59.999-23:59", 253_402_300_799_999 + DAY_MS - 60_000),
    ],
)
def test_a_time_is_read_to_the_millisecond(text: str, time_ms: int) -> None:
    assert parse_time(text) == time_ms
    column, valid = parse_times([text, None, text])
    assert column.tolist() == [time_ms, NO_TIME, time_ms]
    assert valid.all()


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "1748091067120", "2025-05-24", "2025-05-24T12:51Z", "2025-05-24T12:51:07", "2025-05-24 12:51:07Z"),
        *(
            "2025-05-24T12:51:07.Z",
            "2025-05-24T12:51:07.1234567890Z",
            "2025-05-24T12:51:07,1Z",
            "2025-05-24T12:51:07Z\n",
        ),
        *(
            "2025-05-24T12:51:07+0100",
            "2025-05-24T12:51:07+24:00",
            "2025-05-24T12:51:07+01:60",
            "2025-05-24T12:51:07+01:0\x10",
        ),
        *("2025-05-24T12:51:07\x0b01:00", "\u0662025-05-24T12:51:07Z", "+025-05-24T12:51:07Z"),
        *("2025-05-24T12:51:60Z", "2025-05-24T12:60:00Z", "2025-05-24T24:00:00Z", "0000-05-24T12:51:07Z"),
        *("2025-00-24T12:51:07Z", "2025-13-24T12:51:07Z", "2025-05-00T12:51:07Z", "2025-02-29T12:51:07Z"),
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(text)
    column, valid = parse_times(["2025-05-24T12:51:07Z", text])
    assert column.tolist() == [1_748_091_067_000, NO_TIME]
    assert valid.tolist() == [True, False]


def test_every_day_of_the_calendar_and_none_beside_it() -> None:
    years = [1, 4, 100, 400, 1582, 1600, 1899, 1900, 1970, 2000, 2024, 2025, 2100, 9996, 9999]
    days = [(year, month, day) for year in years for month in range(14) for day in range(33)]
    time_ms, valid = parse_times([f"{year:04}-{month:02}-{day:02}T00:00:00Z" for year, month, day in days])
    for (year, month, day), ms, is_valid in zip(days, time_ms.tolist(), valid.tolist(), strict=True):
        try:
            expected = (date(year, month, day) - date(1970, 1, 1)).days * DAY_MS
        except ValueError:
            assert not is_valid
        else:
            assert (ms, is_valid) == (expected, True)


def test_hashes_are_those_of_every_other_machine() -> None:
    assert hash_text("") == 0
    assert hash_text("x") == 17_282_132_803_325_674_276
    assert hash_reporter("x", "c0ffee") == 15_907_761_316_083_031_821
    assert hash_reporter("x", "Zürich \U0001f600, a long one") == 14_651_428_119_916_818_610


def test_a_reporter_is_another_one_at_another_service() -> None:
    columns = decode([record("x", reporter="r"), record("y", reporter="r"), record("x", "GB", reporter="r")])
    first, second, third = columns.reporter.tolist()
    assert first == third != second


@pytest.mark.parametrize("spelling", ["{}", "{:016x}", "user-{:08d}@example.org"])
def test_reporters_that_are_much_alike_have_hashes_of_their_own(spelling: str) -> None:
    column = text_column([spelling.format(number) for number in range(200_000)])
    assert len(np.unique(hash_texts(column, np.zeros(200_000, np.uint64)))) == 200_000


def test_each_bit_of_a_reporter_moves_half_of_the_hash() -> None:
    text = "0123456789abcdefghij"
    flipped = [
        text[:at] + chr(ord(character) ^ 1 << bit) + text[at + 1 :]
        for at, character in enumerate(text)
        for bit in range(7)
    ]
    moved = [(hash_text(other) ^ hash_text(text)).bit_count() for other in flipped]
    assert min(moved) >= 12
    assert max(moved) <= 52
    assert 30.5 < sum(moved) / len(moved) < 33.5

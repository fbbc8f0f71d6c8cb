"""Whatever bytes arrive, the columns of a chunk are what reading its records one by one gives."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from streams.decode import MAX_DEPTH, MAX_RECORD_BYTES, Columns, decode, decode_slowly, read_report
from streams.reporterhash import hash_reporter, hash_text, hash_texts
from streams.reporttime import NO_TIME, parse_time, parse_times
from streams.textcolumn import text_column

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
KNOWN = ("service", "region", "kind", "reporter", "time")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

texts = st.text(max_size=24)
services = st.sampled_from("xy") | st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True) | st.just("a" * 64)
regions = st.from_regex(r"[A-Za-z0-9-][A-Za-z0-9_-]{0,31}", fullmatch=True) | st.sampled_from(
    ["US", "GB", "-", "R" * 32]
)
kinds = st.sampled_from(["app", "website", "other", "k" * 32])
reporters = texts | st.sampled_from(["c0ffee", "\n", "a\nb", "\0", "é" * 128, "r" * 256, "\U0001f600"])


@st.composite
def times(draw: st.DrawFn) -> str:
    """Draw a legal event time in any of its forms."""
    moment = draw(
        st.datetimes() | st.sampled_from([datetime(1970, 1, 1), datetime(2100, 2, 28), datetime(2000, 2, 29)])
    )
    fraction = draw(st.just("") | st.from_regex(r"\.[0-9]{1,9}", fullmatch=True))
    offset = st.from_regex(r"[+-]([01][0-9]|2[0-3]):[0-5][0-9]", fullmatch=True)
    text = moment.replace(microsecond=0).isoformat() + fraction + draw(st.sampled_from("Zz") | offset)
    return text.replace("T", draw(st.sampled_from("Tt")))


@st.composite
def mutated_times(draw: st.DrawFn) -> str:
    """Draw a time with some characters replaced, inserted or left out."""
    text = draw(times())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text) - 1))
        put = draw(
            st.sampled_from(["", "0", "3", "6", "9", "-", "+", ":", ".", "T", "Z", "Z0", " ", "é", "\n", "\u0663"])
        )
        text = text[:at] + put + text[at + draw(st.integers(0, 1)) :] or "Z"
    return text


any_times = st.one_of(
    times(),
    mutated_times(),
    texts,
    st.sampled_from(
        [
            *("2025-02-29T00:00:00Z", "2024-02-29T23:59:59.9999Z", "1900-02-29T00:00:00Z", "2025-06-31T00:00:00Z"),
            *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2016-12-31T23:59:60Z"),
            *("2025-05-24T24:00:00Z", "2025-13-01T00:00:00Z", "2025-05-24T12:51Z", "2025-05-24", "1748091067", "now"),
        ]
    ),
)


@st.composite
def good_reports(draw: st.DrawFn) -> dict[str, str | None]:
    report: dict[str, str | None] = {"service": draw(services), "region": draw(regions)}
    optional = {"kind": kinds, "reporter": reporters, "time": times()}
    for key, strategy in optional.items():
        if draw(st.booleans()):
            report[key] = draw(st.none() | strategy)
    return report


anything: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | st.sampled_from(KNOWN), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def spellings(draw: st.DrawFn, reports: st.SearchStrategy[dict[str, Json]]) -> bytes:
    """Draw a JSON text of a report: order of keys, white space, escapes and unknown fields vary."""
    report = draw(reports) | {"unknown " + key: draw(anything) for key in draw(st.lists(texts, max_size=2))}
    fields = draw(st.permutations(list(report.items())))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n\t", "\r\n:")]))
    text = json.dumps(dict(fields), ensure_ascii=draw(st.booleans()), separators=separators, allow_nan=True)
    padding = st.sampled_from(["", " ", "\n", "\r\n"])
    return (draw(padding) + text + draw(padding)).encode("utf-8", "surrogatepass")


good_records = spellings(good_reports().map(lambda report: dict[str, Json](report)))
odd_reports = st.fixed_dictionaries(
    {"service": services | texts | anything, "region": regions | texts | anything},
    optional={"kind": kinds | texts | anything, "reporter": reporters | anything, "time": any_times | anything},
)

FRAGMENTS = [
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1e-999", b"1" * 400, b"01", b"1.", b"-", b".5", b"+1"),
    *(b"tru", b"nul", b"True", b"null", b"{}", b"[]", b"[1,]", b'{"a":1,}', b'{"service":"y"}', b"/**/1", b"'a'"),
    *(b'"\\ud800"', b'"\\udc00"', b'"\\ud83d\\ude00"', b'"\\ud83dx"', b'"\\q"', b'"\\u12"', b'"\\u0000"', b'"a\\nb"'),
    *(
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\xc3"',
        b'"\xf4\x90\x80\x80"',
        b'"\x00"',
        b'"\x01"',
        b'"\x7f"',
        b'"\n"',
        b'"\xef\xbb\xbf"',
    ),
    *(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)),
    *(
        b"[" * 5000,
        b"[" * 5000 + b"]" * 5000,
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b'"' + b"[" * 600 + b'"',
        b'["\\"' * 300,
    ),
    *(
        b'"' + b"r" * 256 + b'"',
        b'"' + b"r" * 257 + b'"',
        '"{}"'.format("é" * 129).encode(),
        b'"' + b"r" * 70_000 + b'"',
    ),
]
WHOLES = [
    *(
        None,
        b"",
        b" ",
        b"\n",
        b"{}",
        b"[]",
        b"[{}]",
        b"null",
        b"5",
        b'"x"',
        b"{",
        b"}",
        b"{}{}",
        b"\xff",
        b"\x00",
        b"\xef\xbb\xbf{}",
    ),
    *(
        b'{"service":"x","region":"US"}{"service":"x","region":"US"}',
        b'{"service":"x","region":"US"}\n{"service":"y","region":"GB"}',
    ),
    *(
        b'{"service":"x","region":[{}',
        b'{}],"region":"US"}',
        b'{"service":"x","region":"US"},',
        b'{"service":"x","region":"_US"}',
    ),
    *(b'{"service":"x","region":"US","kind":"a","kind":null}', b'{"service":"y","region":"US","serv\\u0069ce":"x"}'),
    *(
        b'{"service":"x","service":5,"region":"US"}',
        b'{"service":5,"service":"x","region":"US"}',
        b'\xef\xbb\xbf{"service":"x","region":"US"}',
    ),
    *(b"a" * 1_000_000, b'{"service":"x","region":"US","u":"' + b"a" * 1_000_000 + b'"}'),
    b'{"service":"x","region":"US"}'.ljust(MAX_RECORD_BYTES),
    b'{"service":"x","region":"US"}'.ljust(MAX_RECORD_BYTES + 1),
]


@st.composite
def patched(draw: st.DrawFn) -> bytes:
    """Draw a report one of whose fields, known or not, holds a fragment, perhaps beside a second one of its name."""
    report = draw(good_reports())
    key = draw(st.sampled_from([*KNOWN, "u", "\x00", "\ud800"]))
    if draw(st.booleans()):
        report.pop(key, None)
    value = draw(st.sampled_from(FRAGMENTS))
    pairs = [f"{json.dumps(name)}:{json.dumps(text)}".encode() for name, text in report.items()]
    pairs.insert(draw(st.integers(0, len(pairs))), json.dumps(key).encode() + b":" + value)
    return b"{" + b",".join(pairs) + b"}"


@st.composite
def spliced(draw: st.DrawFn) -> bytes:
    """Draw the bytes of a good record with some replaced, inserted or left out."""
    data = draw(good_records)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        put = draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b",", b":", b"\n", b"\r", b"\xff"])
        )
        data = data[:at] + put + data[at + draw(st.integers(0, 3)) :]
    return data


records = st.one_of(
    good_records,
    good_records,
    spellings(odd_reports),
    patched(),
    spliced(),
    st.binary(max_size=40),
    st.tuples(good_records, st.sampled_from([b"", b"\n", b",", b" "]), good_records).map(b"".join),
    st.sampled_from(WHOLES),
)


def assert_same(fast: Columns, slow: Columns) -> None:
    for field in ("rows", "name", "time_ms", "reporter"):
        got, wanted = getattr(fast, field), getattr(slow, field)
        assert got.dtype == wanted.dtype
        assert got.tolist() == wanted.tolist(), field
    assert fast.names == slow.names
    assert fast.rejected == slow.rejected


@given(st.lists(records, max_size=40))
@example(WHOLES)
@example([b'{"service":"x","region":"US","u":' + fragment + b"}" for fragment in FRAGMENTS])
@example([b'{"service":"x","region":"US","reporter":' + fragment + b"}" for fragment in FRAGMENTS])
@example([b'{"service":"x","region":"US","time":' + fragment + b"}" for fragment in FRAGMENTS])
def test_columns_are_what_reading_one_by_one_gives(values: list[bytes | None]) -> None:
    assert_same(decode(values), decode_slowly(values))


@given(st.lists(good_reports().flatmap(lambda report: st.tuples(st.just(report), _spelt(report))), max_size=20))
def test_a_good_report_says_the_same_in_every_spelling(pairs: list[tuple[dict[str, str | None], bytes]]) -> None:
    columns = decode([value for _, value in pairs])
    assert columns.rejected == []
    assert columns.rows.tolist() == list(range(len(pairs)))
    for row, (report, _) in enumerate(pairs):
        service, time = str(report["service"]), report.get("time")
        assert columns.names[columns.name[row]] == (service, report["region"], report.get("kind") or "other")
        assert columns.time_ms[row] == (NO_TIME if time is None else parse_time(time))
        reporter = report.get("reporter")
        assert columns.reporter[row] == (hash_reporter(service, reporter) if reporter else 0)


def _spelt(report: dict[str, str | None]) -> st.SearchStrategy[bytes]:
    return spellings(st.just(dict[str, Json](report))).filter(_holds_numbers_of_json)


def _holds_numbers_of_json(value: bytes) -> bool:
    """Return whether unknown fields hold neither NaN nor infinities, which Python writes and JSON does not know."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(value, parse_constant=refuse)
    except ValueError:
        return False
    return True


@given(st.lists(records, max_size=20), st.integers(0, 20))
def test_a_record_means_the_same_in_whatever_chunk_it_comes(values: list[bytes | None], at: int) -> None:
    whole, parts = decode(values), [decode(values[:at]), decode(values[at:])]
    rows = np.concatenate([parts[0].rows, parts[1].rows + len(values[:at])])
    assert whole.rows.tolist() == rows.tolist()
    names = [part.names[code] for part in parts for code in part.name.tolist()]
    assert [whole.names[code] for code in whole.name.tolist()] == names
    assert whole.names == list(dict.fromkeys(names))
    assert whole.time_ms.tolist() == [time for part in parts for time in part.time_ms.tolist()]
    assert whole.reporter.tolist() == [reporter for part in parts for reporter in part.reporter.tolist()]


@given(times())
def test_times_agree_with_the_standard_library(text: str) -> None:
    moment = datetime.fromisoformat(text.upper())
    assert parse_time(text) == (moment - EPOCH) // timedelta(milliseconds=1)


@given(st.lists(st.none() | any_times, max_size=40))
def test_a_column_of_times_is_what_parsing_each_gives(column: list[str | None]) -> None:
    time_ms, valid = parse_times(column)
    assert list(zip(time_ms.tolist(), valid.tolist(), strict=True)) == [_parsed(parse_time, text) for text in column]


def _parsed(parse: Callable[[str], int], text: str | None) -> tuple[int, bool]:
    if text is None:
        return NO_TIME, True
    try:
        return parse(text), True
    except ValueError:
        return NO_TIME, False


@given(st.lists(st.tuples(st.text(max_size=40), st.integers(0, 2**64 - 1)), max_size=30))
def test_a_column_of_hashes_is_what_hashing_each_gives(pairs: list[tuple[str, int]]) -> None:
    column = text_column([text for text, _ in pairs])
    hashes = hash_texts(column, np.array([seed for _, seed in pairs], np.uint64))
    assert hashes.tolist() == [hash_text(text, seed) for text, seed in pairs]


@given(st.lists(st.none() | st.text(max_size=20), max_size=30))
def test_a_column_of_texts_holds_each_text(column: list[str | None]) -> None:
    data, starts, lengths = text_column(column)
    spans = zip(starts.tolist(), lengths.tolist(), strict=True)
    assert [data[start : start + length].decode() for start, length in spans] == [text or "" for text in column]


@given(good_records)
def test_one_byte_too_many_is_too_many(value: bytes) -> None:
    padded = value.ljust(MAX_RECORD_BYTES + 1)
    assert [rejected.reason for rejected in decode([padded]).rejected] == ["oversized"]
    assert decode([padded[:-1]]).rejected == decode([value]).rejected


def test_every_single_byte_change_of_a_record() -> None:
    value = b'{"service":"x","region":"US","kind":null,"reporter":"c0\\u0066","time":"2024-02-29T23:59:59.5+01:00"}'
    for at in range(len(value) + 1):
        changed = [value[:at] + bytes([byte]) + value[at + 1 :] for byte in range(256)]
        inserted = [value[:at] + bytes([byte]) + value[at:] for byte in range(256)]
        chunk = [*changed, value[:at] + value[at + 1 :], value[:at], value[at:], *inserted]
        assert_same(decode(chunk), decode_slowly(chunk))
    assert read_report(value).time_ms == parse_time("2024-02-29T22:59:59.500Z")

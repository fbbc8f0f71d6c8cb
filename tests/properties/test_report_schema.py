"""What the schema of reports refuses Tocsin refuses, and the other way round, but for what no schema can say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from streams.decode import ReportError, read_report
from streams.reporterhash import MAX_REPORTER_BYTES
from tests.support.schemas import validator

SCHEMA = validator("reports.json")

texts = st.text(max_size=40)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
#: Strings that are nearly names, and names.
names = st.from_regex(r"[A-Za-z0-9_.*-]{0,36}\n?", fullmatch=True) | st.from_regex(r"[a-z0-9_-]{60,68}", fullmatch=True)
digits = "([0-9]{2}|0[0-9]|1[0-9]|2[0-9])"
times = st.from_regex(
    rf"(0000|[0-9]{{4}}|2024|2025)-(0[0-9]|1[0-3])-([0-3][0-9])[Tt ]{digits}:[0-6][0-9]:[0-6][0-9]"
    rf"(\.[0-9]{{0,10}})?([Zz]|[+-]{digits}:[0-6][0-9])?\n?",
    fullmatch=True,
)
reporters = texts | st.text(min_size=250, max_size=260) | st.text(alphabet="é", min_size=120, max_size=135)
objects = st.fixed_dictionaries(
    {"service": names | anything, "region": names | anything},
    optional={
        "kind": names | anything,
        "reporter": reporters | anything,
        "time": times | anything,
        "unknown": anything,
    },
)


def is_report(value: bytes) -> bool:
    try:
        read_report(value)
    except ReportError:
        return False
    return True


def too_many_bytes(report: Any) -> bool:
    """Whether a reporter has few enough characters, but too many bytes: a schema counts characters."""
    reporter = report.get("reporter") if isinstance(report, dict) else None
    return isinstance(reporter, str) and len(reporter) <= MAX_REPORTER_BYTES < len(reporter.encode())


@given(objects | anything)
@example({"service": "x", "region": "US"})
@example({"service": "x", "region": "US", "kind": None, "reporter": None, "time": None})
@example({"service": "x\n", "region": "US"})
@example({"service": "x", "region": "US\n"})
@example({"service": "x", "region": "_all"})
@example({"service": "x", "region": "US", "time": "2025-05-24T12:51:07.120Z"})
@example({"service": "x", "region": "US", "time": "2024-02-29t23:59:59.123456789-23:59"})
@example({"service": "x", "region": "US", "time": "2025-02-29T00:00:00Z"})
@example({"service": "x", "region": "US", "time": "2016-12-31T23:59:60Z"})
@example({"service": "x", "region": "US", "time": "0000-01-01T00:00:00Z"})
@example({"service": "x", "region": "US", "time": "٢٠٢٥-05-24T12:51:07Z"})
@example({"service": "x", "region": "US", "reporter": "r" * 256})
@example({"service": "x", "region": "US", "reporter": "r" * 257})
@example({"service": "x", "region": "US", "reporter": "é" * 129})
def test_the_schema_and_tocsin_agree(report: Any) -> None:
    accepted = is_report(json.dumps(report).encode())
    event("a report" if accepted else "no report")
    assert accepted == (SCHEMA.is_valid(report) and not too_many_bytes(report))


@given(
    st.fixed_dictionaries(
        {
            "service": st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True),
            "region": st.from_regex(r"[A-Za-z0-9-][A-Za-z0-9_-]{0,31}", fullmatch=True),
        },
        optional={"kind": st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True), "time": times},
    )
)
def test_they_agree_on_what_is_nearly_right(report: Any) -> None:
    accepted = is_report(json.dumps(report).encode())
    event("a report" if accepted else "no report")
    assert accepted == SCHEMA.is_valid(report)


@pytest.mark.parametrize(
    "value",
    [
        b'{"service":"x","region":"US","reporter":"' + "é".encode() * 129 + b'"}',
        b'{"service":"x","region":"US","u":"' + b"a" * 65_536 + b'"}',
        b'{"service":"x","region":"US","u":' + b"[" * 256 + b"]" * 256 + b"}",
        b'{"service":"x","region":"US","reporter":"\\ud800"}',
    ],
    ids=["a reporter of too many bytes", "a record of too many bytes", "too deep", "half a character"],
)
def test_this_alone_the_schema_cannot_say(value: bytes) -> None:
    assert SCHEMA.is_valid(json.loads(value))
    assert not is_report(value)

"""What a record of the dead-letter topic says, and what of it may be shown; no broker is needed."""

from __future__ import annotations

import msgspec
import pytest

from streams.deadletters import Letter, Selection, letter, masked, stand_in
from streams.topicrecords import Header, TopicRecord

T = 1_748_088_000_000


def record(*headers: Header, value: bytes | None = b"not json") -> TopicRecord:
    return TopicRecord(1, 7, T + 500, b"tocsin.reports/3/42", value, headers)


KEY = b"0123456789abcdef"
OURS: tuple[Header, ...] = (
    ("__connect.errors.topic", b"tocsin.reports"),
    ("__connect.errors.partition", b"3"),
    ("__connect.errors.offset", b"42"),
    ("__connect.errors.stage", b"count"),
    ("__connect.errors.exception.class.name", b"malformed"),
    ("__connect.errors.exception.message", b"byte 0"),
    ("tocsin.original.timestamp", b"%d" % T),
)


def test_a_letter_says_where_the_record_was_and_what_is_wrong_with_it() -> None:
    assert letter(record(*OURS)) == Letter(
        id="tocsin.reports/3/42",
        at=(1, 7),
        partition=3,
        appended_ms=T,
        reason="malformed",
        detail="byte 0",
        key=None,
        value=b"not json",
        headers=(),
    )


def test_the_key_and_a_null_value_of_the_record_come_back() -> None:
    found = letter(record(*OURS, ("tocsin.original.key", b"\xff"), ("tocsin.original.null", b"1"), value=b""))
    assert (found.key, found.value) == (b"\xff", None)


def test_headers_of_the_producer_are_kept_even_if_they_are_called_as_ours_are() -> None:
    theirs: tuple[Header, ...] = (("traceparent", b"00"), ("__connect.errors.topic", b"elsewhere"), ("null", None))
    assert letter(record(*theirs, *OURS)).headers == theirs


def test_a_record_that_somebody_else_wrote_is_a_letter_of_unknown_reason() -> None:
    found = letter(record(("__connect.errors.partition", b"none")))
    assert (found.reason, found.partition, found.appended_ms) == ("unknown", 1, T + 500)


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), True),
        (Selection(reasons=frozenset(["malformed", "type"])), True),
        (Selection(reasons=frozenset(["type"])), False),
        (Selection(ids=frozenset(["tocsin.reports/3/42"])), True),
        (Selection(ids=frozenset(["tocsin.reports/3/4"])), False),
        (Selection(since_ms=T), True),
        (Selection(since_ms=T + 1), False),
    ],
)
def test_letters_are_chosen_by_reason_id_and_append_time(selection: Selection, taken: bool) -> None:
    assert selection.takes(letter(record(*OURS))) is taken


def test_the_reporter_of_a_value_is_masked_wherever_it_stands_in_the_object() -> None:
    value = b'{"reporter": "c0ffee", "service": 1, "reporter" : "decaf"}'
    shown = masked(value, KEY)
    assert shown is not None
    assert msgspec.json.decode(shown) == {"reporter": stand_in(b"decaf", KEY), "service": 1}


def test_a_reporter_that_is_no_text_is_masked_without_a_pseudonym() -> None:
    assert masked(b'{"reporter":["c0ffee"]}', KEY) == b'{"reporter":"***"}'


@pytest.mark.parametrize("value", [b'{"reporter": "c0ffee"', b'"c0ffee"', b'["c0ffee"]', b"\xff", b""])
def test_of_what_is_no_object_nobody_knows_where_a_reporter_is(value: bytes) -> None:
    assert masked(value, KEY) is None

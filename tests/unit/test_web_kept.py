"""What many ask for is made once, and what is kept does not grow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from streams.web.kept import Kept, Made


def test_what_many_ask_for_at_the_same_time_is_made_once() -> None:
    kept, begun, go_on = Kept(), Event(), Event()
    made: list[int] = []

    def make() -> Made:
        made.append(1)
        begun.set()
        assert go_on.wait(30)
        return Made(b"page")

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(kept.get, "key", make) for _ in range(8)]
        assert begun.wait(30)
        go_on.set()
        answers = [each.result(30) for each in asked]
    assert made == [1]
    assert {each.body for each in answers} == {b"page"}
    assert {each.headers["etag"] for each in answers} == {kept.get("key", make).headers["etag"]}


def test_what_differs_has_another_tag() -> None:
    kept = Kept()
    first = kept.get(1, lambda: Made(b"a", {"link": "<b>"}))
    assert first.headers["link"] == "<b>"
    assert first.headers["etag"] != kept.get(2, lambda: Made(b"b")).headers["etag"]
    assert first.headers["etag"] == kept.get(3, lambda: Made(b"a")).headers["etag"]


def test_what_fails_is_raised_and_tried_again() -> None:
    kept = Kept()

    def fail() -> Made:
        raise LookupError("nothing there")

    for _ in range(2):
        with pytest.raises(LookupError, match="nothing there"):
            kept.get("key", fail)
    assert kept.get("key", lambda: Made(b"there")).body == b"there"


def test_what_was_asked_for_the_longest_ago_is_forgotten_first() -> None:
    kept = Kept(most_bytes=30)
    made: list[str] = []

    def ask(key: str) -> None:
        def make() -> Made:
            made.append(key)
            return Made(bytes(10))

        kept.get(key, make)

    for key in "abc":
        ask(key)
    ask("a")
    ask("d")  # no room: "b" goes
    made.clear()
    for key in "acd":
        ask(key)
    assert made == []
    ask("b")
    assert made == ["b"]


def test_what_is_larger_than_all_that_may_be_kept_is_answered_and_not_kept() -> None:
    kept = Kept(most_bytes=30)
    made = [kept.get("large", lambda: Made(bytes(31))) for _ in range(2)]
    assert made[0] is not made[1]

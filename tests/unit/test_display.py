from __future__ import annotations

import pytest

from streams.display import clock, day, duration


@pytest.mark.parametrize(
    ("length_ms", "words"),
    [
        (198 * 60_000, "3 h 18 min"),
        (45 * 60_000, "45 min"),
        (3_600_000, "1 h"),
        (90_000, "1 min 30 s"),
        (50 * 3_600_000, "50 h"),
        (0, "0 min"),
    ],
)
def test_durations_are_said_in_hours_and_minutes(length_ms: int, words: str) -> None:
    assert duration(length_ms) == words


def test_times_are_utc() -> None:
    assert (clock(1748091060000), day(1748091060000)) == ("12:51", "24 May 2025")

"""Times as they are written for people."""

import pytest

from streams.events import instant


@pytest.mark.parametrize(
    ("time_ms", "written"),
    [
        (1_748_088_120_000, "2025-05-24T12:02Z"),
        (1_748_088_121_999, "2025-05-24T12:02:01Z"),
        (-60_000, "1969-12-31T23:59Z"),
        (253_402_300_800_000, "253402300800000 ms"),
        (-(2**63), "-9223372036854775808 ms"),
    ],
)
def test_a_time_is_written_to_the_minute_or_second_or_as_its_number_where_no_calendar_holds_it(
    time_ms: int, written: str
) -> None:
    assert instant(time_ms) == written

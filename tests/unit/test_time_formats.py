import pytest

from streams.importers.timeformat import TimeFormat

T = 1_748_088_000_000  # 2025-05-24T12:00:00Z


@pytest.mark.parametrize(
    ("pattern", "timezone", "text", "time_ms"),
    [
        ("iso", None, "2025-05-24T12:00:00Z", T),
        ("iso", None, "2025-05-24 14:00:00.1239+02:00", T + 123),
        ("iso", "UTC", "2025-05-24 12:00", T),
        ("iso", "Europe/Berlin", "2025-05-24T14:00", T),
        ("iso", "Europe/Berlin", "2025-05-24T12:00Z", T),
        ("unix-s", None, "1748088000", T),
        ("unix-s", None, "1748088000.1239", T + 123),
        ("unix-ms", None, "1748088000000", T),
        ("%d.%m.%Y %H:%M:%S", "Europe/Berlin", "24.05.2025 14:00:00", T),
        ("%m/%d/%Y %I:%M %p %z", None, "05/24/2025 02:00 PM +0200", T),
    ],
)
def test_times_are_read_as_the_format_says(pattern: str, timezone: str | None, text: str, time_ms: int) -> None:
    assert TimeFormat(pattern, timezone).read(text) == time_ms


@pytest.mark.parametrize(
    ("pattern", "timezone", "text", "message"),
    [
        ("iso", None, "2025-05-24T12:00:00", "has no offset: say whose clock it is"),
        ("iso", "UTC", "24.05.2025", "is not a date and time of ISO 8601"),
        ("%d.%m.%Y", "UTC", "2025-05-24", "is not of the form %d.%m.%Y"),
        ("unix-s", None, "1e9", "is no number of seconds"),
        ("unix-s", None, "1748088000000000", "is no time of the calendar; is it in another unit?"),
        ("unix-ms", None, "", "is no number of milliseconds"),
        ("iso", "Europe/Berlin", "2025-03-30T02:30", "does not exist in Europe/Berlin: clocks were put forward"),
        ("iso", "Asia/Tokyo", "0001-01-01T00:00", "is no time of the calendar"),
        ("iso", None, "0001-01-01T00:00+10:00", "is no time of the calendar"),
    ],
)
def test_what_is_no_time_of_the_format_says_why(pattern: str, timezone: str | None, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as raised:
        TimeFormat(pattern, timezone).read(text)
    assert str(raised.value).startswith(repr(text))


def test_of_two_moments_that_a_clock_shows_alike_the_earlier_one_is_meant() -> None:
    berlin = TimeFormat("iso", "Europe/Berlin")
    assert berlin.read("2025-10-26T02:30") == berlin.read("2025-10-26T02:30+02:00")


@pytest.mark.parametrize("pattern", ["%H:%M", "%Y-%m", "seconds", "", "%d.%m.%Q"])
def test_a_pattern_that_leads_to_no_date_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"is neither iso, unix-s, unix-ms nor a pattern with year, month and day"):
        TimeFormat(pattern)


def test_a_zone_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="'Europe/Bonn' is no time zone of the IANA database"):
        TimeFormat("iso", "Europe/Bonn")

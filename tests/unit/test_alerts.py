"""What a pager hears of a transition."""

from __future__ import annotations

import pytest

from streams.incidents import Machine, Observation
from streams.notify.alert import alert
from streams.policy import Limits
from streams.settings import Count, Settings

START_MS = 1_748_088_000_000  # 24 May 2025, 12:00 UTC
LIMITS = Limits(enabled=True, raise_above=750, clear_below=650, min_open_bins=1, clear_windows=1)


def texts(count: Count, *windows: int) -> list[str]:
    """Return the alerts of bins with these windows, the first of which raises."""
    settings = Settings(count=count)
    machine = Machine()
    alerts = [
        alert(incident, settings)
        for number, window in enumerate(windows)
        for incident in machine.step(
            Observation(
                bin_ms=START_MS + number * count.bin_ms,
                bin_end_ms=START_MS + (number + 1) * count.bin_ms,
                count=10,
                window=window,
                kinds={"app": 10},
                raised=number == 0,
                expected=4.2,
                score=97.6,
                score_threshold=5.0,
                clear_level=1.0,
                detector="ratio",
                whole_bins=count.window_bins,
                silent=False,
                lost=None,
            ),
            LIMITS,
            "x",
            "US",
            window_bins=count.window_bins,
        )
    ]
    return [each.text for each in alerts if each is not None]


def test_each_says_how_many_reports_there_are_in_a_window() -> None:
    assert texts(Count(), 1210, 2500, 640) == [
        "x in United States: incident opened, 1,210 reports in 15 minutes (since 2025-05-24T12:00Z)",
        "x in United States: incident has grown to 2,500 reports in 15 minutes",
        "x in United States: incident cleared, 640 reports in 15 minutes; the peak was 2,500 at 2025-05-24T12:02Z",
    ]


@pytest.mark.parametrize(
    ("count", "length"),
    [
        (Count(bin_s=2, window_bins=10, epoch_s=20), "20 seconds"),
        (Count(bin_s=30, window_bins=3, epoch_s=90), "90 seconds"),
        (Count(bin_s=60, window_bins=1), "1 minute"),
    ],
)
def test_a_window_is_as_long_as_the_settings_say(count: Count, length: str) -> None:
    [opened] = texts(count, 1210)
    assert f"1,210 reports in {length} (since" in opened

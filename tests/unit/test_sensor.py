"""Given what arrives in these bins, this is what can be made of them."""

import math

import msgspec
import pytest

from streams.bins import Bin
from streams.sensor import Sensing, Sensor

MINUTE_MS = 60_000
UNKNOWN_AFTER_BINS = 5


def hear(sensor: Sensor, arrived: int, covered: int = 4, skipped_bins: int = 0) -> Sensing:
    """Return what the sensor makes of a bin of four sources."""
    return sensor.sense(Bin(MINUTE_MS, {}, arrived, covered, sources=4), skipped_bins, UNKNOWN_AFTER_BINS)


def expecting(reports: float) -> Sensor:
    return Sensor(whole_bins=15, expected=reports)


def test_a_bin_with_reports_that_every_source_covers_can_be_used_for_all() -> None:
    assert hear(expecting(100.0), 90) == Sensing(
        observed=True, covered=True, teaches=True, silent=False, lost=False, loss=None, whole_bins=16
    )


def test_a_bin_that_not_every_source_covers_is_observed_but_breaks_the_row_of_whole_bins() -> None:
    sensor = expecting(100.0)
    sensing = hear(sensor, 90, covered=3)
    assert (sensing.observed, sensing.covered, sensing.whole_bins) == (True, False, 0)
    assert [hear(sensor, 90).whole_bins for _ in range(3)] == [1, 2, 3]


def test_a_bin_that_no_source_covers_is_not_observed_whatever_it_holds() -> None:
    for arrived in (0, 90):
        sensing = hear(expecting(100.0), arrived, covered=0)
        assert (sensing.observed, sensing.covered, sensing.silent, sensing.lost) == (False, False, False, False)
        assert sensing.whole_bins == 0


@pytest.mark.parametrize(("expected", "silent"), [(0.99, False), (1.0, True), (19.99, True)])
def test_a_bin_without_reports_is_silent_where_one_was_expected(expected: float, silent: bool) -> None:
    sensing = hear(expecting(expected), 0)
    assert (sensing.observed, sensing.silent, sensing.lost) == (True, silent, False)
    assert sensing.whole_bins == (0 if silent else 16)


def test_a_silence_teaches_until_ten_reports_were_expected_in_it() -> None:
    sensor = expecting(4.0)
    assert [hear(sensor, arrived).teaches for arrived in (0, 0, 0, 0, 1, 0)] == [True, True, False, False, True, True]
    assert not hear(expecting(100.0), 90, covered=3).teaches


def test_the_sensor_is_lost_where_20_reports_were_expected_and_none_came() -> None:
    sensing = hear(expecting(20.0), 0)
    assert (sensing.observed, sensing.lost, sensing.whole_bins) == (False, True, 0)


def test_a_few_expected_in_every_bin_add_up_until_one_report_comes() -> None:
    sensor = expecting(7.0)
    assert [hear(sensor, arrived).lost for arrived in (0, 0, 0, 1, 0, 0, 0)] == [False, False, True] + [False] * 3 + [
        True
    ]


def test_without_a_baseline_silence_says_nothing() -> None:
    sensor = expecting(math.nan)
    for _ in range(30):
        assert hear(sensor, 0) == Sensing(
            observed=True, covered=True, teaches=True, silent=False, lost=False, loss=None, whole_bins=sensor.whole_bins
        )


@pytest.mark.parametrize(("covered", "loss"), [(4, "sensor-lost"), (0, "gap")])
def test_what_lasts_makes_incidents_unknown_from_then_on(covered: int, loss: str) -> None:
    sensor = expecting(100.0)
    assert [hear(sensor, 0, covered).loss for _ in range(7)] == [None] * 4 + [loss] * 3
    assert hear(sensor, 80).loss is None
    assert [hear(sensor, 0, covered).loss for _ in range(5)] == [None] * 4 + [loss]


def test_not_observed_and_lost_bins_add_up_and_the_last_one_names_the_loss() -> None:
    sensor = expecting(100.0)
    assert [hear(sensor, 0, covered).loss for covered in (0, 0, 4, 4, 0, 4)] == [None] * 4 + ["gap", "sensor-lost"]


def test_skipped_bins_break_the_row_of_whole_bins() -> None:
    sensor = expecting(100.0)
    assert hear(sensor, 90, skipped_bins=1).whole_bins == 1
    assert hear(sensor, 90).whole_bins == 2


def test_a_skip_that_is_too_long_makes_incidents_unknown_even_if_it_ends_with_an_observed_bin() -> None:
    assert hear(expecting(100.0), 90, skipped_bins=4).loss is None
    assert hear(expecting(100.0), 90, skipped_bins=5).loss == "gap"
    sensor = expecting(100.0)
    hear(sensor, 0, covered=0)
    assert hear(sensor, 90, skipped_bins=4).loss == "gap"


def test_a_skip_after_a_loss_that_has_been_stated_is_not_stated_again() -> None:
    sensor = expecting(100.0)
    assert [hear(sensor, 0, covered=0).loss for _ in range(5)][-1] == "gap"
    assert hear(sensor, 90, skipped_bins=1000).loss is None


def test_its_state_survives_a_snapshot_bit_for_bit() -> None:
    sensor = Sensor(whole_bins=3, expected=1 / 3, missed=2 / 3, blind_bins=2)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sensor), type=Sensor) == sensor

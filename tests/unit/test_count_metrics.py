from __future__ import annotations

from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.counting import Flush, SourceCounter, begin_of_log
from streams.metrics import CountMetrics
from streams.settings import Count, Settings
from streams.transport import Committed
from tests.support.reports import feed, record, report, tick
from tests.support.series import series

START_MS = 1_748_088_000_000
SETTINGS = Settings(count=Count(max_names=2))
SOURCE = TP("tocsin.reports", 0)


class Counted:
    """A source partition that is counted, and its metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = CountMetrics(self.registry, SETTINGS)
        self.begin()

    def begin(self, source: TP = SOURCE) -> None:
        self.metrics.assigned({source: Committed(None, "", 0, 0)}, {source: 0})
        self.counter = SourceCounter(SETTINGS, source.partition, begin_of_log(SETTINGS))

    def take(self, *values: bytes | None, at_ms: int = START_MS) -> None:
        records = [tick(at_ms) if value is None else record(at_ms, value) for value in values]
        self.metrics.counted(self.counter, feed(self.counter, records))

    def flush(self, seconds: float) -> Flush:
        flush = self.counter.flush()
        assert flush is not None
        self.metrics.flushed(self.counter, flush, seconds)
        return flush

    def of(self, name: str, partition: int = 0, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"tocsin_count_{name}", {"partition": str(partition), **labels})


def test_every_record_is_counted_by_what_became_of_it() -> None:
    counted = Counted()
    counted.take(
        report(reporter="a"),
        report(reporter="a"),
        report(region="DE"),
        report("y"),
        report(time_ms=START_MS - 31_000),
        b"not json",
        b"",
        None,
    )
    assert {name: counted.of(f"{name}_total") for name in ("records_read", "ticks")} == {"records_read": 8, "ticks": 1}
    names = ("accepted", "late", "duplicate", "folded", "rebuilt")
    assert [counted.of(f"reports_{name}_total") for name in names] == [3, 1, 1, 1, 0]
    assert counted.of("dead_letters_total", reason="malformed") == 1
    assert counted.of("dead_letters_total", reason="empty") == 1
    assert series(counted.registry)['tocsin_position{partition="0",stage="count"}'] == 8

    counted.take(report())
    assert counted.of("records_read_total") == 9
    assert counted.of("reports_accepted_total") == 4


def test_what_is_held_grows_with_reporters_and_cells_and_goes_with_their_epoch() -> None:
    counted = Counted()
    counted.take(report(reporter="a"), report(reporter="b"), report(reporter="b", region="DE"))
    assert counted.of("reporters") == 2
    assert counted.of("cells") == 2  # the one of service x in the US, and that of coverage
    counted.take(None, at_ms=START_MS + 3_600_000)
    counted.flush(0.2)
    assert counted.of("reporters") == 0
    assert counted.of("cells") == 1


def test_append_time_and_watermark_are_in_seconds_of_the_log() -> None:
    counted = Counted()
    assert counted.of("append_time_seconds") is None
    counted.take(report(), at_ms=START_MS + 500)
    assert counted.of("append_time_seconds") == START_MS / 1000 + 0.5
    assert counted.of("watermark_seconds") is None  # not stated yet
    counted.flush(0.2)
    assert counted.of("watermark_seconds") == START_MS / 1000 + 0.5 - 30


def test_a_flush_is_measured_once_it_is_acknowledged() -> None:
    counted = Counted()
    counted.take(report())
    counted.flush(0.2)
    counted.flush(7.0)
    found = series(counted.registry)
    assert found["tocsin_count_flush_seconds_count"] == 2
    assert found["tocsin_count_flush_seconds_sum"] == 7.2
    assert found['tocsin_count_flush_seconds_bucket{le="0.25"}'] == 1


def test_counters_go_on_when_the_same_partition_comes_back_and_vanish_when_another_does() -> None:
    counted = Counted()
    counted.take(report(), b"not json")
    counted.metrics.gap(0)
    counted.metrics.revoked()
    assert counted.of("append_time_seconds") is None

    counted.begin()
    counted.take(report(), report())
    assert counted.of("reports_accepted_total") == 3

    counted.begin(TP("tocsin.reports", 1))
    assert not any('partition="0"' in each for each in series(counted.registry))
    counted.take(report())
    assert counted.of("reports_accepted_total", partition=1) == 1

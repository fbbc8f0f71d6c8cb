from collections import Counter
from datetime import datetime

import msgspec
import numpy as np
import pytest

from streams.events import TICK_KEY
from streams.partitions import partition_for
from streams.reportlog import IDLE_MS, LogRecord
from streams.scenarios import Scenario, load, reports
from streams.scenarios.scenario import BIN_MS, EPOCH_MS
from streams.scenarios.simulate import MAX_DELAY_MS

PARTITIONS = 4
LATENESS_MS = 30_000
NAMES = ["x-2025-05-24", "silent-sensor", "prank-burst", "dips-30"]


class Sent(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    service: str
    region: str
    kind: str
    reporter: str
    time: datetime

    @property
    def made_ms(self) -> int:
        return round(self.time.timestamp() * 1000)


def sent(records: list[LogRecord]) -> list[tuple[LogRecord, Sent]]:
    decoder = msgspec.json.Decoder(Sent)
    return [(record, decoder.decode(record.value)) for record in records if record.value is not None]


@pytest.fixture(scope="module", params=NAMES)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    name: str = request.param
    return load(name)


@pytest.fixture(scope="module")
def log(scenario: Scenario) -> list[LogRecord]:
    return list(reports(scenario, seed=7, partitions=PARTITIONS, lateness_ms=LATENESS_MS))


@pytest.fixture(scope="module")
def log_reports(log: list[LogRecord]) -> list[tuple[LogRecord, Sent]]:
    return sent(log)


def test_a_report_is_written_like_the_one_of_the_documentation() -> None:
    record, report = sent(list(reports(load("dips-30"))))[0]
    time = report.time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    assert record.value is not None
    assert record.value.decode() == (
        f'{{"service": "x", "region": "US", "kind": "app", "reporter": "{report.reporter}", "time": "{time}Z"}}'
    )
    assert len(report.reporter) == len("c0ffee")


def test_the_reports_are_those_of_the_file_by_service_region_kind_and_bin(
    scenario: Scenario, log_reports: list[tuple[LogRecord, Sent]]
) -> None:
    counted = Counter(
        (report.service, report.region, report.kind, (report.made_ms - scenario.start_ms) // BIN_MS)
        for _, report in log_reports
    )
    expected = {
        (*cell, index): int(count)
        for cell, counts in scenario.cells().items()
        for index, count in enumerate(counts)
        if count
    }
    assert counted == expected
    for series, counts in scenario.counts.items():
        kinds = [cell for name, cell in scenario.cells().items() if name[:2] == series]
        assert np.array_equal(np.sum(kinds, axis=0), counts)


def test_nobody_reports_twice_within_an_epoch(log_reports: list[tuple[LogRecord, Sent]]) -> None:
    senders = [(report.made_ms // EPOCH_MS, report.reporter) for _, report in log_reports]
    assert len(set(senders)) == len(senders)


def test_reports_are_keyed_by_reporter_and_spread_as_kafka_would(log_reports: list[tuple[LogRecord, Sent]]) -> None:
    for record, report in log_reports[::7]:
        assert record.key == report.reporter.encode()
        assert record.partition == partition_for(record.key, PARTITIONS)


def test_the_log_is_in_append_order_and_reports_arrive_within_two_seconds(
    log: list[LogRecord], log_reports: list[tuple[LogRecord, Sent]]
) -> None:
    times = [record.timestamp_ms for record in log]
    assert times == sorted(times)
    delays = [record.timestamp_ms - report.made_ms for record, report in log_reports]
    assert min(delays) >= 0
    assert max(delays) < MAX_DELAY_MS


def test_every_partition_ticks_from_the_start_until_the_last_bin_is_complete_and_no_further(
    scenario: Scenario, log: list[LogRecord]
) -> None:
    for partition in range(PARTITIONS):
        times = [record.timestamp_ms for record in log if record.partition == partition]
        assert times[0] == scenario.start_ms
        assert np.diff(times).max() <= IDLE_MS
        watermark_ms = times[-1] - LATENESS_MS
        assert scenario.end_ms <= watermark_ms < scenario.end_ms + BIN_MS
    assert all(record.key == TICK_KEY for record in log if record.value is None)


def test_the_seed_moves_arrivals_and_reporters_but_not_the_counts() -> None:
    scenario = load("dips-30")
    first, again, other = (list(reports(scenario, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    values = [{record.value for record in log if record.value is not None} for log in (first, other)]
    assert not values[0] & values[1]

    def counts(log: list[LogRecord]) -> Counter[tuple[str, int]]:
        return Counter((report.kind, report.made_ms // BIN_MS) for _, report in sent(log))

    assert counts(first) == counts(other)


def test_arrivals_are_spread_over_their_bin() -> None:
    offsets = [report.made_ms % BIN_MS for _, report in sent(list(reports(load("dips-30"))))]
    assert np.mean(offsets) == pytest.approx(BIN_MS / 2, rel=0.02)
    assert np.std(offsets) == pytest.approx(BIN_MS / 12**0.5, rel=0.02)


@pytest.mark.parametrize("partitions", [1, 3, 64])
def test_any_number_of_partitions(partitions: int) -> None:
    log = list(reports(load("prank-burst"), partitions=partitions))
    assert {record.partition for record in log} == set(range(partitions))
    for record, report in sent(log):
        assert record.partition == partition_for(report.reporter.encode(), partitions)

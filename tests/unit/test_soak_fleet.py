from collections import Counter

import msgspec
import numpy as np
import pytest

from benchmarks.fleet import OUTAGES, PEOPLE, Fleet, Second
from streams.counting import SourceCounter, begin_of_log
from streams.events import MINUTE_MS, Report
from streams.reportlog import LogRecord
from streams.settings import Settings

START_MS = 1_748_088_000_000
RATE, SECONDS, PARTITIONS = 500.0, 120, 4


def fleet(seed: int = 0) -> Fleet:
    return Fleet(RATE, SECONDS, PARTITIONS, seed)


@pytest.fixture(scope="module")
def seconds() -> list[Second]:
    return list(run(fleet()))


def run(of: Fleet) -> list[Second]:
    return [of.second(number, START_MS + 1000 * number) for number in range(SECONDS)]


def log(seconds: list[Second]) -> list[LogRecord]:
    return [record for second in seconds for record in second.records]


def test_levels_differ_over_four_orders_of_magnitude_and_add_up_to_the_rate() -> None:
    usual = np.array([fleet().usual_per_s(hour / 24) for hour in range(24)])

    assert usual.sum(axis=1) == pytest.approx([RATE] * 24)
    assert usual.mean(axis=0).max() > 10_000 * usual.mean(axis=0).min()


def test_a_region_has_its_night_when_its_own_clock_says_so() -> None:
    of = fleet()
    share = [of.usual_per_s(hour / 24) / RATE for hour in range(24)]
    quietest = {region: int(np.argmin([hour[row] for hour in share])) for row, (_, region) in enumerate(of.names[:12])}

    assert quietest["GB"] in (2, 3, 4)
    assert quietest["JP"] in (17, 18, 19)
    assert quietest["US"] in (8, 9, 10)


def test_an_outage_comes_on_top_of_the_rate_and_ends() -> None:
    of, outage = fleet(), OUTAGES[0]
    failing = [of.names.index(("service-01", region)) for region in outage.regions]

    for part, factor in ((outage.begin - 0.01, 1.0), (outage.begin, outage.factor), (outage.end, 1.0)):
        assert (of.expected_per_s(part) / of.usual_per_s(part))[failing] == pytest.approx([factor] * len(failing))
    assert of.expected_per_s(outage.begin).sum() > RATE


def test_records_stand_in_the_order_of_their_moments_within_their_second(seconds: list[Second]) -> None:
    for number, second in enumerate(seconds):
        moments = [record.timestamp_ms - START_MS - 1000 * number for record in second.records]
        assert moments == sorted(moments)
        assert 0 <= moments[0] <= moments[-1] < 1000


def test_a_person_keeps_to_one_partition(seconds: list[Second]) -> None:
    homes = {(record.key, record.partition) for record in log(seconds)}

    assert len(homes) == len({key for key, _ in homes})
    assert {partition for _, partition in homes} == set(range(PARTITIONS))


def test_a_fleet_is_a_function_of_its_seed(seconds: list[Second]) -> None:
    assert run(fleet()) == seconds
    assert run(fleet(seed=1)) != seconds


def test_counting_finds_as_many_late_reports_and_broken_records_as_were_made(seconds: list[Second]) -> None:
    settings = Settings()
    rejected, late, accepted, duplicate = Counter[str](), 0, 0, 0
    for partition in range(PARTITIONS):
        own = [record for record in log(seconds) if record.partition == partition]
        counter = SourceCounter(settings, partition, begin_of_log(settings))
        found = counter.add_records(
            len(own),
            np.arange(len(own)),
            np.array([record.timestamp_ms for record in own]),
            [record.key for record in own],
            [record.value for record in own],
        )
        rejected.update(str(each.reason) for each in found)
        late += counter.tally.late
        accepted += counter.tally.accepted
        duplicate += counter.tally.duplicate

    assert late == sum(second.late for second in seconds) > 300
    assert rejected.total() == sum(second.malformed for second in seconds) > 30
    assert len(rejected) > 5
    assert accepted + duplicate + late + rejected.total() == len(log(seconds))
    assert 0 < duplicate < accepted / 10


def test_reports_are_of_the_names_of_the_fleet_and_of_its_people(seconds: list[Second]) -> None:
    names = set(fleet().names)
    for record in log(seconds[:5]):
        try:
            report = msgspec.json.decode(record.value or b"", type=Report)
        except msgspec.MsgspecError:
            continue  # one of the broken ones
        if report.reporter is not None:
            assert (report.service, report.region) in names
            assert int(report.reporter, 16) < PEOPLE


def test_history_is_of_every_minute_before_its_end_at_the_usual_levels() -> None:
    of = fleet()
    history = list(of.history(START_MS, days=1))
    per_minute = [sum(counts.values()) for _, counts in history]

    assert [bin_ms for bin_ms, _ in history] == [START_MS - before * MINUTE_MS for before in range(1440, 0, -1)]
    assert np.mean(per_minute) == pytest.approx(60 * RATE, rel=0.01)

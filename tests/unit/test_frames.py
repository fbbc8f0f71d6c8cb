"""Which counts partition hears what, and how large a record gets."""

from operator import itemgetter

from streams.counting import Flush, SourceCounter, begin_of_log
from streams.events import SENSOR, Cell, Frame, Gap, Mark, decode_counts, encode
from streams.frames import FRAME_CELLS, facts, marks, service_partition
from streams.partitions import partition_for
from streams.settings import Kafka, Settings
from tests.support.reports import feed, record, report

NOON_MS = 1_748_088_000_000
SETTINGS = Settings(kafka=Kafka(counts_partitions=3))
#: One service for each of the three partitions.
HOME = {"bank": 0, "x": 1, "chat": 2}


def flush_of(*cells: Cell, gap: Gap | None = None) -> Flush:
    """Return a flush of source 5."""
    return Flush(
        gap=gap,
        cells=list(cells),
        mark=Mark(counting=SETTINGS.counting, source=5, watermark_ms=NOON_MS),
        rebuild=begin_of_log(SETTINGS),
    )


def cell(service: str, region: str = "US", kind: str = "app") -> Cell:
    return Cell(service, region, kind, NOON_MS, 1)


def test_a_service_lives_where_kafka_would_put_its_name() -> None:
    assert {service: service_partition(service, SETTINGS) for service in HOME} == HOME
    assert {service: partition_for(service.encode(), 3) for service in HOME} == HOME


def test_the_cells_of_a_service_go_to_its_partition_only() -> None:
    flush = flush_of(*map(cell, HOME), cell("x", "GB"))
    expected = {0: [cell("bank")], 1: [cell("x"), cell("x", "GB")], 2: [cell("chat")]}
    assert sorted(facts(flush, SETTINGS), key=itemgetter(0)) == [
        (partition, Frame(counting=SETTINGS.counting, source=5, cells=cells)) for partition, cells in expected.items()
    ]


def test_every_partition_hears_of_the_sensor() -> None:
    sensor = cell(SENSOR, SENSOR, "ticks")
    heard = list(facts(flush_of(sensor, cell("x")), SETTINGS))
    cells = {partition: record.cells for partition, record in heard if isinstance(record, Frame)}
    assert cells == {0: [sensor], 1: [sensor, cell("x")], 2: [sensor]}


def test_every_partition_hears_of_a_gap_before_any_frame() -> None:
    gap = Gap(counting=SETTINGS.counting, source=5, since_ms=0, until_ms=NOON_MS)
    heard = list(facts(flush_of(cell(SENSOR, SENSOR, "ticks"), gap=gap), SETTINGS))
    assert [(partition, type(record)) for partition, record in heard] == [
        *[(partition, Gap) for partition in range(3)],
        *[(partition, Frame) for partition in range(3)],
    ]
    assert heard[0][1] == gap


def test_every_partition_hears_the_mark_and_it_is_no_fact_of_the_flush() -> None:
    flush = flush_of(cell("x"))
    assert list(marks(flush, SETTINGS)) == [(partition, flush.mark) for partition in range(3)]
    assert not any(isinstance(record, Mark) for _, record in facts(flush, SETTINGS))


def test_a_flush_without_cells_is_marks_only() -> None:
    assert list(facts(flush_of(), SETTINGS)) == []


def test_frames_are_split_so_that_the_longest_names_fit_into_256_kb() -> None:
    count = 2**63 - 1
    cells = [
        Cell("s" * 64, f"{number:R>32}", "k" * 32, 10**13 + number, count) for number in range(2 * FRAME_CELLS + 1)
    ]
    records = [record for _, record in facts(flush_of(*cells), SETTINGS)]
    assert [len(record.cells) for record in records if isinstance(record, Frame)] == [FRAME_CELLS, FRAME_CELLS, 1]
    assert 200_000 < max(len(encode(record)) for record in records) < 256_000
    assert [cell for record in records if isinstance(record, Frame) for cell in record.cells] == cells


def test_counts_records_are_read_back_as_they_were_written() -> None:
    counter = SourceCounter(SETTINGS, 5, begin_of_log(SETTINGS), gap_since_ms=0)
    feed(counter, [record(NOON_MS, b""), record(NOON_MS + 900_000, report("x", reporter="ada"))])
    flush = counter.flush()
    assert flush is not None
    stated = [record for _, record in [*facts(flush, SETTINGS), *marks(flush, SETTINGS)]]
    assert {type(each) for each in stated} == {Gap, Frame, Mark}
    assert [decode_counts(encode(each)) for each in stated] == stated

"""Which counts partition hears what: a flush of one source as records of the counts topic."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator

from streams.counting import Flush
from streams.events import SENSOR, Cell, CountsRecord, Frame
from streams.partitions import partition_for
from streams.settings import Settings

#: Cells in one frame: names of the greatest length keep it below 256 kB.
FRAME_CELLS = 1400


def facts(flush: Flush, settings: Settings) -> Iterator[tuple[int, CountsRecord]]:
    """Yield counts partition and record for what must be acknowledged before the marks: gap first, then frames.

    Every partition hears of the gap and of the sensor's cells; a service's cells go where its service goes.
    """
    partitions = range(settings.kafka.counts_partitions)
    if flush.gap is not None:
        yield from ((partition, flush.gap) for partition in partitions)
    cells: dict[int, list[Cell]] = defaultdict(list)
    home = functools.cache(lambda service: service_partition(service, settings))
    for cell in flush.cells:
        for partition in partitions if cell.service == SENSOR else [home(cell.service)]:
            cells[partition].append(cell)
    for partition, own in cells.items():
        for first in range(0, len(own), FRAME_CELLS):
            frame = Frame(counting=settings.counting, source=flush.mark.source, cells=own[first : first + FRAME_CELLS])
            yield partition, frame


def marks(flush: Flush, settings: Settings) -> Iterator[tuple[int, CountsRecord]]:
    """Yield counts partition and mark: the promise, made to every partition once the facts are acknowledged."""
    for partition in range(settings.kafka.counts_partitions):
        yield partition, flush.mark


def service_partition(service: str, settings: Settings) -> int:
    """Return the partition of a service in every topic behind counts."""
    return partition_for(service.encode(), settings.kafka.counts_partitions)

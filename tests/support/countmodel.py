"""What counting must come to, said a second time: record by record, with nothing but dictionaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Literal, NamedTuple

import numpy as np
from hypothesis import strategies as st

from streams.counting import Flush, Rebuild, SourceCounter
from streams.decode import Rejected
from streams.events import DAY_MS, TICK_KEY
from streams.settings import Count, Detect, Kafka, Settings
from tests.support.reports import report

START_MS = 1_748_088_000_000
BIN_MS = 30_000
Name = tuple[str, str, str]
#: Service, region, kind, start of the bin.
CellKey = tuple[str, str, str, int]


class Said(NamedTuple):
    """What one report says."""

    name: Name
    reporter: str | None
    time_ms: int | None


class Entry(NamedTuple):
    """One record of a source partition: what a report says, or a record that is none."""

    offset: int
    timestamp_ms: int
    content: Said | Literal["tick", "malformed"]

    @property
    def key(self) -> bytes | None:
        return TICK_KEY if self.content == "tick" else None

    @property
    def value(self) -> bytes | None:
        if self.content == "tick":
            return None
        if self.content == "malformed":
            return b"down!"
        (service, region, kind), reporter, time_ms = self.content
        return report(service, region, kind=kind, reporter=reporter, time_ms=time_ms)


@dataclass
class Truth:
    """What a log comes to."""

    cells: Counter[CellKey] = field(default_factory=Counter)
    append_ms: int | None = None
    late: int = 0
    duplicate: int = 0
    #: Offset and reason.
    dead: list[tuple[int, str]] = field(default_factory=list)


def truth(settings: Settings, log: Iterable[Entry]) -> Truth:
    """Count a log as the design says, one record after the other."""
    count = settings.count
    found = Truth()
    reported: set[tuple[int, str, str]] = set()
    names: dict[int, list[Name]] = {}
    for entry in log:
        append_ms = entry.timestamp_ms if found.append_ms is None else max(found.append_ms, entry.timestamp_ms)
        found.append_ms = append_ms
        arrived_in = append_ms // count.bin_ms * count.bin_ms
        found.cells["*", "*", "ticks" if entry.content == "tick" else "reports", arrived_in] += 1
        if entry.content == "tick":
            continue
        if entry.content == "malformed":
            found.dead.append((entry.offset, "malformed"))
            continue
        name, reporter, time_ms = entry.content
        if time_ms is None:
            time_ms = append_ms
        if time_ms > append_ms + count.bin_ms:
            found.dead.append((entry.offset, "future"))
        elif time_ms < append_ms - 7 * DAY_MS:
            found.dead.append((entry.offset, "ancient"))
        elif append_ms - time_ms > count.lateness_ms:
            found.late += 1
        else:
            epoch = time_ms // count.epoch_ms
            if reporter is not None:
                if (epoch, name[0], reporter) in reported:
                    found.duplicate += 1
                    continue
                reported.add((epoch, name[0], reporter))
            known = names.setdefault(epoch, [])
            if name not in known:
                if len(known) < count.max_names:
                    known.append(name)
                else:
                    name = "other", "other", "other"
            found.cells[(*name, time_ms // count.bin_ms * count.bin_ms)] += 1
    return found


def small_settings(draw: st.DrawFn) -> Settings:
    """Draw settings so small that a short log meets every boundary."""
    return Settings(
        kafka=Kafka(reports_partitions=draw(st.integers(1, 3)), counts_partitions=draw(st.integers(1, 2))),
        count=Count(
            bin_s=BIN_MS // 1000,
            window_bins=1,
            epoch_s=draw(st.sampled_from([30, 60, 90])),
            allowed_lateness_s=draw(st.sampled_from([0, 10, 30, 75])),
            max_names=draw(st.sampled_from([1, 2, 3, 100])),
        ),
        detect=Detect(unknown_after_minutes=1),
    )


#: How a log is read: size of each chunk and whether a flush follows it, again and again.
Plan = list[tuple[int, bool]]
plans: st.SearchStrategy[Plan] = st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=6)

services = st.sampled_from(["x", "mail", "other"])
regions = st.sampled_from(["US", "GB", "other"])
kinds = st.sampled_from(["app", "other"])
reporters = st.none() | st.sampled_from("abc")
steps_ms = st.sampled_from([0, 0, 1, 5_000, 5_000, 10_000, 29_999, 30_000, 300_000, -1, -5_000, -40_000])


@st.composite
def entries(draw: st.DrawFn, settings: Settings, max_size: int = 40, *, backwards: bool = True) -> list[Entry]:
    """Draw the log of one source partition, with holes in its offsets."""
    late_ms = settings.count.lateness_ms
    delays_ms = st.sampled_from([0, 1, 5_000, 20_000, late_ms, late_ms + 1, -BIN_MS, -BIN_MS - 1, -10_000])
    extremes_ms = st.sampled_from([7 * DAY_MS, 7 * DAY_MS + 1])
    log: list[Entry] = []
    timestamp_ms = append_ms = START_MS + draw(st.sampled_from([0, 1, 29_999, 45_000]))
    offset = draw(st.sampled_from([0, 7]))
    for _ in range(draw(st.integers(1, max_size))):
        step_ms = draw(steps_ms)
        timestamp_ms += step_ms if backwards else abs(step_ms)
        append_ms = max(append_ms, timestamp_ms)
        content: Said | Literal["tick", "malformed"]
        match draw(st.integers(0, 9)):
            case 0:
                content = "tick"
            case 1:
                content = "malformed"
            case lot:
                time_ms = None if lot == 2 else append_ms - draw(extremes_ms if lot == 3 else delays_ms)
                content = Said((draw(services), draw(regions), draw(kinds)), draw(reporters), time_ms)
        log.append(Entry(offset, timestamp_ms, content))
        offset += draw(st.sampled_from([1, 1, 1, 4]))
    return log


def add(counter: SourceCounter, chunk: Sequence[Entry], end: int) -> list[Rejected]:
    """Count a chunk of a log that ends before offset `end`."""
    return counter.add_records(
        end,
        np.array([entry.offset for entry in chunk], np.int64),
        np.array([entry.timestamp_ms for entry in chunk], np.int64),
        [entry.key for entry in chunk],
        [entry.value for entry in chunk],
    )


@dataclass
class Life:
    """What one life of a counter has stated, and the dead letters it has written."""

    counter: SourceCounter
    flushes: list[Flush] = field(default_factory=list)
    dead: list[tuple[int, str]] = field(default_factory=list)

    @property
    def rebuilds(self) -> list[Rebuild]:
        return [flush.rebuild for flush in self.flushes]


def live(
    settings: Settings,
    log: Sequence[Entry],
    begin: Rebuild,
    plan: Plan,
    *,
    source: int = 0,
    gap_since_ms: int | None = None,
) -> Life:
    """Count the rest of a log from `begin` on, and flush at the end."""
    life = Life(SourceCounter(settings, source, begin, gap_since_ms))
    rest = [entry for entry in log if entry.offset >= begin.offset]
    for size, flush_now in cycle(plan):
        chunk, rest = rest[:size], rest[size:]
        if chunk:
            rejected = add(life.counter, chunk, rest[0].offset if rest else chunk[-1].offset + 1)
            life.dead += [(chunk[each.row].offset, str(each.reason)) for each in rejected]
        if flush_now or not rest:
            flush = life.counter.flush()
            if flush is not None:
                life.flushes.append(flush)
        if not rest:
            break
    return life


def stated(flushes: Iterable[Flush]) -> dict[CellKey, int]:
    """Merge the cells of flushes by maximum."""
    cells: dict[CellKey, int] = {}
    for cell in (cell for flush in flushes for cell in flush.cells):
        key = cell.service, cell.region, cell.kind, cell.bin_ms
        cells[key] = max(cell.count, cells.get(key, 0))
    return cells

"""The count stage: chunks of reports in, frames and marks out, dead letters aside."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
import structlog
from faust.types import TP

from streams.chunks import CHUNK_RECORDS, Chunk
from streams.counting import BEGINNING_MS, CountingChangedError, Rebuild, SourceCounter, begin_of_log
from streams.decode import Rejected
from streams.events import TICK_KEY, CountsRecord, encode
from streams.frames import facts, marks
from streams.metrics import CountMetrics
from streams.publisher import Outgoing, Publisher
from streams.settings import Settings
from streams.stages import StageError, rebuild_point, require_next
from streams.topics import Topics
from streams.transport import CommitPoint, Committed

log = structlog.get_logger(__name__)

#: Records counted at a time where many are no reports: refusing one takes some ten times as long as counting one.
PART_RECORDS = 2048
MANY_REJECTED = 0.01

_HEADER = "__connect.errors."


@dataclass(slots=True, eq=False)
class _Source:
    """A source partition that this worker owns."""

    counter: SourceCounter
    active_s: float
    part_records: int = CHUNK_RECORDS
    dead_letters: list[Outgoing] = field(default_factory=list)
    stated: Rebuild | None = None
    commit: CommitPoint | None = None


class CountStage:
    """Counts the source partitions that are assigned to this worker.

    Parameters
    ----------
    settings
        The deployment's settings.
    publisher
        What the facts are published with.
    metrics
        Where the counters are kept.
    """

    def __init__(self, settings: Settings, publisher: Publisher, metrics: CountMetrics) -> None:
        self._settings = settings
        self._topics = Topics(settings.kafka.prefix)
        self._publisher = publisher
        self._metrics = metrics
        self._sources: dict[TP, _Source] = {}
        self.started = False

    async def start(self, assigned: Mapping[TP, Committed]) -> Mapping[TP, int]:
        """Begin to count each assigned source partition where its rebuild point says."""
        now_s = asyncio.get_running_loop().time()
        self._sources = {tp: _Source(self._counter(tp, known), now_s) for tp, known in assigned.items()}
        positions = {tp: source.counter.position for tp, source in self._sources.items()}
        self._metrics.assigned(assigned, positions)
        self.started = True
        return positions

    def stop(self) -> None:
        """Drop all state: the partitions are gone."""
        self._sources = {}
        self._metrics.revoked()
        self.started = False

    async def take(self, chunk: Chunk) -> None:
        """Count a chunk; in parts, where the one before held many records that are no reports.

        Raises
        ------
        StageError
            If a record's timestamp is not the broker's although the clock is, or records are missing before the chunk.
        """
        source = self._sources[chunk.tp]
        if self._settings.kafka.clock == "broker" and chunk.create_time_offset >= 0:
            raise StageError(
                f'kafka.clock = "broker", but the record at offset {chunk.create_time_offset} of {chunk.tp.topic} '
                f"partition {chunk.tp.partition} has its producer's timestamp: set message.timestamp.type="
                'LogAppendTime on the topic, or kafka.clock = "log"'
            )
        require_next(chunk, source.counter.position)
        source.active_s = asyncio.get_running_loop().time()
        all_rejected: list[Rejected] = []
        for part in chunk.parts(source.part_records):
            if part.start != chunk.start:
                await asyncio.sleep(0)  # others have their turn
                if self._sources.get(chunk.tp) is not source:
                    return  # revoked meanwhile: whoever has the partition now counts the rest
            rejected = source.counter.add_records(part.end, part.offsets, part.timestamps_ms, part.keys, part.values)
            source.dead_letters += self._dead_letters(part, rejected)
            all_rejected += rejected
        many = len(all_rejected) > MANY_REJECTED * len(chunk.values)
        source.part_records = PART_RECORDS if many else CHUNK_RECORDS
        self._metrics.counted(source.counter, all_rejected)

    async def flush(self) -> None:
        """State everything that has been counted since the last flush, then offer the rebuild points it covers."""
        await asyncio.gather(*(self._flush_source(tp, source) for tp, source in self._sources.items()))

    async def tick(self) -> None:
        """Give every source without a record for a while a record that carries nothing but an append time."""
        if self._settings.kafka.clock != "broker":
            return  # whoever writes the log writes its ticks
        now_s = asyncio.get_running_loop().time()
        idle = [
            (tp, source)
            for tp, source in self._sources.items()
            if now_s - source.active_s >= self._settings.count.idle_tick_s
        ]
        for _, source in idle:
            source.active_s = now_s
        await self._publisher.publish(
            (Outgoing(tp.topic, tp.partition, TICK_KEY, None) for tp, _ in idle), lambda: False
        )

    def commit_points(self) -> Mapping[TP, CommitPoint]:
        """Return the rebuild points whose facts are acknowledged."""
        return {tp: source.commit for tp, source in self._sources.items() if source.commit is not None}

    async def committed(self, points: Mapping[TP, CommitPoint]) -> None:
        """Hear that Kafka has accepted these points."""
        for tp, source in self._sources.items():
            if tp in points:
                self._metrics.committed(tp.partition)
                if source.commit == points[tp]:
                    source.commit = None

    def troubles(self, now_s: float) -> list[str]:
        """Return why this worker is not ready, one line each; `now_s` is the wall clock's."""
        if not self.started:
            return ["count: no partitions assigned yet"]
        quiet_s = now_s - self._metrics.flushed_s
        if self._sources and quiet_s > self._settings.worker.stalled_after_s:
            return [f"count: nothing stated for {quiet_s:.0f} s"]
        return self._publisher.troubles("count")

    def _counter(self, tp: TP, known: Committed) -> SourceCounter:
        if known.offset is None and known.log_start == 0:
            return SourceCounter(self._settings, tp.partition, begin_of_log(self._settings))
        begin = rebuild_point(tp, known, Rebuild)
        if begin is not None and begin.counting != self._settings.counting:
            raise CountingChangedError(
                f"{tp.topic} partition {tp.partition} was counted under settings {begin.counting}, this worker has "
                f"{self._settings.counting}: [count] and the partition numbers are fixed for the life of a counts "
                "topic; drain to a new kafka.prefix to change them"
            )
        if begin is not None and known.log_start <= begin.offset <= known.log_end:
            return SourceCounter(self._settings, tp.partition, begin)
        offset = known.log_start
        if known.offset is not None and known.log_start <= known.offset <= known.log_end:
            offset = known.offset
        log.warning(
            "gap: reading does not begin where it ended", partition=tp.partition, offset=offset, committed=known.offset
        )
        self._metrics.gap(tp.partition)
        return SourceCounter(
            self._settings,
            tp.partition,
            msgspec.structs.replace(begin_of_log(self._settings), offset=offset),
            gap_since_ms=BEGINNING_MS if begin is None else begin.floor_ms,
        )

    async def _flush_source(self, tp: TP, source: _Source) -> None:
        def owned() -> bool:
            return self._sources.get(tp) is source

        started_s = asyncio.get_running_loop().time()
        dead_letters, source.dead_letters = source.dead_letters, []
        flush = source.counter.flush()
        if flush is None or (flush.rebuild == source.stated and not (flush.cells or dead_letters)):
            return
        stated = [*dead_letters, *self._outgoing(tp, facts(flush, self._settings))]
        if not await self._publisher.publish(stated, owned):
            return
        if not await self._publisher.publish(self._outgoing(tp, marks(flush, self._settings)), owned) or not owned():
            return
        source.stated = flush.rebuild
        source.commit = CommitPoint(flush.rebuild.offset, msgspec.json.encode(flush.rebuild).decode())
        self._metrics.flushed(source.counter, flush, asyncio.get_running_loop().time() - started_s)

    def _outgoing(self, tp: TP, records: Iterable[tuple[int, CountsRecord]]) -> Iterator[Outgoing]:
        key = str(tp.partition).encode()
        for partition, record in records:
            yield Outgoing(self._topics.counts, partition, key, encode(record))

    def _dead_letters(self, chunk: Chunk, rejected: Iterable[Rejected]) -> Iterator[Outgoing]:
        """Return the rejected records with their original bytes; the key names where they were found."""
        for each in rejected:
            offset = int(chunk.offsets[each.row])
            key, value = chunk.keys[each.row], chunk.values[each.row]
            headers = list(chunk.headers.get(each.row, []))
            about = {
                "topic": chunk.tp.topic,
                "partition": str(chunk.tp.partition),
                "offset": str(offset),
                "stage": "count",
                "exception.class.name": str(each.reason),
                "exception.message": each.detail,
            }
            headers += [(_HEADER + name, text.encode()) for name, text in about.items()]
            headers.append(("tocsin.original.timestamp", str(int(chunk.timestamps_ms[each.row])).encode()))
            if key is not None:
                headers.append(("tocsin.original.key", key))
            if value is None:
                headers.append(("tocsin.original.null", b"1"))
            yield Outgoing(
                self._topics.dead_letters,
                chunk.tp.partition,
                f"{chunk.tp.topic}/{chunk.tp.partition}/{offset}".encode(),
                value or b"",
                headers,
            )

"""The detect stage: frames and marks in; incidents, outages, levels and snapshots out."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
import structlog
from faust.types import TP

from streams.bins import BinMerger, BinRebuild
from streams.chunks import Chunk
from streams.cloudevents import Headers, headers
from streams.counting import CountingChangedError
from streams.detection import Detection, Fact, Judgement
from streams.events import Incident, Outage, SettingsChange, decode, decode_counts, encode, instant
from streams.inforce import InForce
from streams.metrics import DetectMetrics
from streams.orphans import Orphans
from streams.publisher import Outgoing, Publisher
from streams.settings import Settings
from streams.snapshots import DetectionChangedError, SnapshotBook, complete
from streams.stages import StageError, reading, rebuild_point, require_next
from streams.topics import Topics
from streams.transport import CommitPoint, Committed
from streams.versions import VersionError

log = structlog.get_logger(__name__)

#: Facts to collect before they are published: what a restart far behind holds in memory.
PUBLISH_FACTS = 5000

#: Reads one partition of a topic from its beginning to its present end.
ReadPartition = Callable[[TP], Awaitable[list[tuple[bytes, bytes | None]]]]


class Floor(msgspec.Struct, frozen=True):
    """What Kafka keeps of a counts partition beside the offset: no snapshot that a restart needs is older.

    `detecting` is the fingerprint of the settings under which the bin at the floor was, or will be, judged.
    """

    floor_ms: int
    detecting: str
    bins: BinRebuild
    version: int = 1


@dataclass(slots=True, eq=False)
class _Partition:
    """A counts partition that this worker owns."""

    merger: BinMerger
    detection: Detection
    book: SnapshotBook
    orphans: Orphans
    in_force: InForce
    position: int
    #: Where the log ended at the start: from there on the worker's own settings must be in force.
    log_end: int
    #: Whether the worker has asked for that, and has not read its own word yet.
    asked: bool
    commit: CommitPoint | None = None


class DetectStage:
    """Judges the bins of the counts partitions that are assigned to this worker.

    Parameters
    ----------
    settings
        The deployment's settings.
    publisher
        What the facts are published with.
    metrics
        Where the counters are kept.
    read_partition
        Reads the snapshots.
    apply_settings
        Have the detection settings of this worker apply from the next bin on, if others are in force.
    """

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        metrics: DetectMetrics,
        read_partition: ReadPartition,
        *,
        apply_settings: bool = False,
    ) -> None:
        self._settings = settings
        self._topics = Topics(settings.kafka.prefix)
        self._publisher = publisher
        self._metrics = metrics
        self._read_partition = read_partition
        self._apply_settings = apply_settings
        self._partitions: dict[TP, _Partition] = {}
        self.started = False
        #: Whether there were more keys than the budget is for when it was last looked at.
        self._outgrown = False

    async def start(self, assigned: Mapping[TP, Committed]) -> Mapping[TP, int]:
        """Restore the state of each assigned partition and begin to read where its rebuild point says."""
        self._partitions = {}
        started = {tp: await self._begin(tp, known) for tp, known in assigned.items()}
        # only now, for nothing is written unless all that is there can be read
        for tp in started if self._apply_settings else ():
            await self._ask_for_settings(tp)
        self._partitions = started
        positions = {tp: partition.position for tp, partition in started.items()}
        self._metrics.assigned(assigned, positions)
        for tp, partition in started.items():
            if (floor := rebuild_point(tp, assigned[tp], Floor)) is not None:
                self._metrics.floor(tp.partition, floor.floor_ms)
            self._require_own_settings(tp, partition)
        self.started = True
        return positions

    def stop(self) -> None:
        """Drop all state: the partitions are gone."""
        self._partitions = {}
        self._metrics.revoked()
        self.started = False

    async def take(self, chunk: Chunk) -> None:
        """Merge a chunk, judge the bins that it completes, and publish what follows.

        Raises
        ------
        VersionError
            If a record is of a version that this Tocsin does not know.
        StageError
            If records are missing before the chunk, or a record is none of the counts topic's.
        """
        partition = self._partitions[chunk.tp]
        require_next(chunk, partition.position)
        partition.position = chunk.end
        judgements: list[Judgement] = []
        facts = 0
        for offset, value in zip(chunk.offsets.tolist(), chunk.values, strict=True):
            try:
                record = decode_counts(value or b"")
            except VersionError as error:
                raise error.at(f"{chunk.tp.topic} partition {chunk.tp.partition} offset {offset}") from None
            except msgspec.MsgspecError as error:
                raise StageError(
                    f"{chunk.tp.topic} partition {chunk.tp.partition} offset {offset} is no frame, mark, gap or change "
                    f"of settings: {error}"
                ) from error
            with reading(f"{chunk.tp.topic} partition {chunk.tp.partition} offset {offset}"):
                partition.merger.add(offset, record)
            if isinstance(record, SettingsChange):
                self._change(chunk.tp, partition, record)
            for bin_ in partition.merger.complete():
                begun_s = time.monotonic()
                judgement = partition.detection.judge(bin_)
                at_ms = bin_.bin_ms + self._settings.count.bin_ms
                partition.orphans.settle(judgement, at_ms, partition.detection)
                self._metrics.judged(chunk.tp.partition, at_ms, bin_.covered, partition.detection, begun_s)
                judgements.append(judgement)
                facts += len(judgement.facts)
                if facts >= PUBLISH_FACTS:
                    if not await self._publish(chunk.tp, partition, judgements):
                        return
                    judgements, facts = [], 0
        self._metrics.merged(chunk.tp.partition, partition.merger)
        if await self._publish(chunk.tp, partition, judgements):
            self._metrics.processed(chunk.tp.partition, chunk.end)
            self._require_own_settings(chunk.tp, partition)
            self._tell_of_fleet()

    def commit_points(self) -> Mapping[TP, CommitPoint]:
        """Return the rebuild points whose facts and snapshots are acknowledged."""
        return {tp: partition.commit for tp, partition in self._partitions.items() if partition.commit is not None}

    async def committed(self, points: Mapping[TP, CommitPoint]) -> None:
        """Drop the snapshots and the memory that no restart needs any more."""
        for tp, partition in list(self._partitions.items()):
            if tp not in points or not self._owned(tp, partition)():
                continue
            floor_ms = msgspec.json.decode(points[tp].metadata, type=Floor).floor_ms
            self._metrics.committed(tp.partition)
            self._metrics.floor(tp.partition, floor_ms)
            partition.merger.forget(floor_ms)
            if partition.commit == points[tp]:
                partition.commit = None
            tombstones = [
                Outgoing(self._topics.baselines, tp.partition, key, None)
                for _, key in partition.book.obsolete(floor_ms)
            ]
            await self._publisher.publish(tombstones, self._owned(tp, partition))

    def troubles(self, now_s: float) -> list[str]:
        """Return why this worker is not ready, one line each; `now_s` is the wall clock's."""
        if not self.started:
            return ["detect: no partitions assigned yet"]
        quiet_s = now_s - self._metrics.judged_s
        if self._partitions and quiet_s > self._settings.worker.stalled_after_s:
            return [f"detect: no bin judged for {quiet_s:.0f} s; {self._slowest()}"]
        return self._publisher.troubles("detect")

    def _slowest(self) -> str:
        """Return which source holds the bins back."""
        sources = set(range(self._settings.kafka.reports_partitions))
        for partition in self._partitions.values():
            watermarks = partition.merger.watermarks
            silent = sorted(sources - watermarks.keys())
            if silent:
                return f"no watermark yet of source {', '.join(map(str, silent))}"
            source = min(watermarks, key=watermarks.__getitem__)
            return f"the slowest source is {source}, complete up to {instant(watermarks[source])}"
        return "no partitions"

    def _tell_of_fleet(self) -> None:
        """Warn once when this worker's partitions alone have more keys than the budget is for."""
        keys = sum(partition.detection.keys - 1 for partition in self._partitions.values())  # but for the sensors
        budgeted = self._settings.detect.fleet_keys
        if keys > budgeted and not self._outgrown:
            log.warning(
                "more services and regions than detect.fleet_keys: more false alarms than asked for",
                keys=keys,
                fleet_keys=budgeted,
            )
        self._outgrown = keys > budgeted

    def _owned(self, tp: TP, partition: _Partition) -> Callable[[], bool]:
        return lambda: self._partitions.get(tp) is partition

    async def _begin(self, tp: TP, known: Committed) -> _Partition:
        floor = rebuild_point(tp, known, Floor)
        if floor is not None and floor.bins.counting != self._settings.counting:
            raise CountingChangedError(
                f"{tp.topic} partition {tp.partition} was judged under counting settings {floor.bins.counting}, this "
                f"worker has {self._settings.counting}: [count] and the partition numbers are fixed for the life of a "
                "counts topic; drain to a new kafka.prefix to change them"
            )
        offset = known.offset
        gapped = False
        if floor is None or offset is None or not known.log_start <= offset <= known.log_end:
            offset, gapped = known.log_start, known.log_start > 0
            if gapped:
                log.warning("gap: reading does not begin where it ended", partition=tp.partition, offset=offset)
                self._metrics.gap(tp.partition)
        baselines = await self._read_partition(TP(self._topics.baselines, tp.partition))
        incidents = await self._read_partition(TP(self._topics.incidents, tp.partition))
        outages = await self._read_partition(TP(self._topics.outages, tp.partition))
        with reading(f"{self._topics.baselines} partition {tp.partition}"):
            snapshots = complete(baselines)
        with reading(f"{self._topics.incidents} and {self._topics.outages}, partition {tp.partition}"):
            orphans = Orphans(incidents, outages)
        book = SnapshotBook(self._settings.count.bin_ms, snapshots, floor.floor_ms if floor else None)
        living = {service: snapshots[service] for service in book.services}
        in_force = InForce(self._settings, floor.detecting if floor else None, living)
        return _Partition(
            merger=BinMerger(self._settings, floor.bins if floor else None, gapped=gapped),
            detection=Detection(in_force.settings, living, apply_settings=True, learn_anew=self._apply_settings),
            book=book,
            orphans=orphans,
            in_force=in_force,
            position=offset,
            log_end=known.log_end,
            asked=self._apply_settings,
        )

    async def _ask_for_settings(self, tp: TP) -> None:
        """Write this worker's detection settings into the log: they apply to the bins that later records complete."""
        change = SettingsChange(
            counting=self._settings.counting,
            detecting=self._settings.detecting,
            settings=self._settings.detection_tables,
        )
        await self._publisher.publish([Outgoing(tp.topic, tp.partition, None, encode(change))])

    def _change(self, tp: TP, partition: _Partition, record: SettingsChange) -> None:
        if partition.in_force.change(record, partition.merger.next_ms):
            settings = partition.in_force.settings
            partition.detection = partition.detection.under(settings, learn_anew=self._apply_settings)
            log.info("other detection settings apply", partition=tp.partition, detecting=settings.detecting)
        if partition.in_force.is_own:
            partition.asked = False

    def _require_own_settings(self, tp: TP, partition: _Partition) -> None:
        """Raise a DetectionChangedError once the log has been read and other settings than this worker's apply."""
        if partition.position < partition.log_end or partition.asked or partition.in_force.is_own:
            return
        raise DetectionChangedError(
            f"{tp.topic} partition {tp.partition} is judged under detection settings "
            f"{partition.in_force.settings.detecting}, this worker has {self._settings.detecting}: [detect], "
            "[[policy]] or [regions] has changed; start the worker with --apply-settings to have its settings apply "
            "from the next bin on"
        )

    async def _publish(self, tp: TP, partition: _Partition, judgements: list[Judgement]) -> bool:
        """Publish facts, then the snapshots that rest on them; then offer the rebuild point that both cover."""
        owned = self._owned(tp, partition)
        if not await self._publisher.publish(self._facts(tp, judgements), owned):
            return False
        snapshots = [snapshot for judgement in judgements for snapshot in judgement.snapshots]
        records = [Outgoing(self._topics.baselines, tp.partition, each.key, each.value) for each in snapshots]
        if not await self._publisher.publish(records, owned) or not owned():
            return False
        self._metrics.closed(tp.partition, judgements)
        for judgement in judgements:
            for service in judgement.born:
                partition.book.born(service, judgement.bin_ms)
            for service in judgement.gone:
                partition.book.gone(service, judgement.bin_ms)
            for snapshot in judgement.snapshots:
                partition.book.acknowledged(snapshot.service, snapshot.bin_ms, snapshot.parts)
        if partition.merger.next_ms is not None:
            floor_ms = partition.book.floor_ms(partition.merger.next_ms)
            bins = partition.merger.rebuild(floor_ms)
            if bins is not None:
                floor = Floor(floor_ms, partition.in_force.at(floor_ms), bins)
                partition.commit = CommitPoint(bins.offset, msgspec.json.encode(floor).decode())
        return True

    def _facts(self, tp: TP, judgements: Iterable[Judgement]) -> Iterator[Outgoing]:
        names = {
            "incidents": self._topics.incidents,
            "outages": self._topics.outages,
            "levels": self._topics.levels,
            "levels.15m": self._topics.levels_15m,
            "series": self._topics.series,
        }
        for judgement in judgements:
            for fact in judgement.facts:
                topic = names[fact.topic]
                yield Outgoing(topic, tp.partition, fact.key, fact.value, _headers(fact, topic))


def _headers(fact: Fact, topic: str) -> Headers:
    match fact.topic:
        case "incidents":
            return headers(decode(fact.value, Incident), topic)
        case "outages":
            return headers(decode(fact.value, Outage), topic)
        case "levels" | "levels.15m" | "series":
            return []  # too many, and nobody's event

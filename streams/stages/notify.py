"""The notify stage: transitions of incidents in, alerts out, each once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from faust.types import TP

from streams.chunks import Chunk
from streams.cloudevents import headers
from streams.events import DAY_MS, Alert, Incident, decode, encode
from streams.metrics import NotifyMetrics
from streams.notify import Channel
from streams.notify.alert import alert
from streams.publisher import Outgoing, Publisher
from streams.settings import Settings
from streams.stages import reading, rebuild_point
from streams.topics import Topics
from streams.transport import CommitPoint, Committed

#: How far back, in event time, a repeated transition is recognised: detect repeats the last minutes after a crash.
REMEMBERED_MS = DAY_MS // 4


class Delivered(msgspec.Struct, frozen=True):
    """What Kafka keeps of an incidents partition beside the offset: up to where alerts have gone out."""

    processed: int
    version: int = 1


@dataclass(slots=True, eq=False)
class _Partition:
    """An incidents partition that this worker owns."""

    position: int
    processed: int
    newest_ms: int = 0
    #: Offset, time and key of the transitions that are remembered, in log order; and their values by key.
    remembered: deque[tuple[int, int, bytes]] = field(default_factory=deque)
    values: dict[bytes, bytes] = field(default_factory=dict)
    commit: CommitPoint | None = None


class NotifyStage:
    """Turns the transitions of the incidents partitions that are assigned to this worker into alerts.

    Parameters
    ----------
    settings
        The deployment's settings.
    publisher
        What the alerts are published with.
    metrics
        Where the counters are kept.
    channels
        Where else they go.
    """

    def __init__(
        self, settings: Settings, publisher: Publisher, metrics: NotifyMetrics, channels: Sequence[Channel]
    ) -> None:
        self._settings = settings
        self._topics = Topics(settings.kafka.prefix)
        self._publisher = publisher
        self._metrics = metrics
        self._channels = channels
        self._partitions: dict[TP, _Partition] = {}
        self.started = False

    async def start(self, assigned: Mapping[TP, Committed]) -> Mapping[TP, int]:
        """Begin where the transitions that may be repeated begin; what was delivered is only read."""
        self._partitions = {tp: _begin(tp, known) for tp, known in assigned.items()}
        positions = {tp: partition.position for tp, partition in self._partitions.items()}
        self._metrics.assigned(assigned, positions)
        self.started = True
        return positions

    def stop(self) -> None:
        """Drop all state: the partitions are gone."""
        self._partitions = {}
        self._metrics.revoked()
        self.started = False

    def troubles(self, now_s: float) -> list[str]:  # noqa: ARG002  # the signature is Stage's
        """Return why this worker is not ready, one line each."""
        return self._publisher.troubles("notify") if self.started else ["notify: no partitions assigned yet"]

    async def take(self, chunk: Chunk) -> None:
        """Publish and deliver the alerts about a chunk of transitions.

        Raises
        ------
        VersionError
            If a record is of a version that this Tocsin does not know.
        StageError
            If a record is no transition of an incident.
        """
        partition = self._partitions[chunk.tp]
        alerts = list(self._alerts(partition, chunk))
        topic = self._topics.alerts
        records = [
            Outgoing(topic, chunk.tp.partition, each.service.encode(), encode(each), headers(each, topic))
            for each in alerts
        ]
        if not await self._publisher.publish(records, lambda: self._partitions.get(chunk.tp) is partition):
            return
        for each in alerts:
            self._metrics.alerted(each.kind)
            for channel in self._channels:
                await channel.send(each)
        partition.processed = max(partition.processed, chunk.end)
        rebuild = partition.remembered[0][0] if partition.remembered else chunk.end
        partition.commit = CommitPoint(rebuild, msgspec.json.encode(Delivered(partition.processed)).decode())
        if self._partitions.get(chunk.tp) is partition:
            self._metrics.processed(chunk.tp.partition, chunk.end)

    def commit_points(self) -> Mapping[TP, CommitPoint]:
        """Return where the memory of what was delivered can be rebuilt from."""
        return {tp: partition.commit for tp, partition in self._partitions.items() if partition.commit is not None}

    async def committed(self, points: Mapping[TP, CommitPoint]) -> None:
        """Hear that Kafka has accepted these points."""
        for tp, partition in self._partitions.items():
            if tp in points:
                self._metrics.committed(tp.partition)
            if partition.commit == points.get(tp):
                partition.commit = None

    def _alerts(self, partition: _Partition, chunk: Chunk) -> Iterable[Alert]:
        for offset, key, value in zip(chunk.offsets.tolist(), chunk.keys, chunk.values, strict=True):
            if key is None or value is None:
                continue
            if key in partition.values:
                self._metrics.repeated(contradicted=partition.values[key] != value)
                continue
            with reading(f"{chunk.tp.topic} partition {chunk.tp.partition} offset {offset}"):
                incident = decode(value, Incident)
            partition.newest_ms = max(partition.newest_ms, incident.at_ms)
            partition.remembered.append((offset, incident.at_ms, key))
            partition.values[key] = value
            while partition.remembered[0][1] < partition.newest_ms - REMEMBERED_MS:
                del partition.values[partition.remembered.popleft()[2]]
            due = alert(incident, self._settings)
            if due is not None and offset >= partition.processed:
                yield due


def _begin(tp: TP, known: Committed) -> _Partition:
    delivered = rebuild_point(tp, known, Delivered)
    if known.offset is None or not known.log_start <= known.offset <= known.log_end:
        # never ran here, or for longer than transitions are kept: what happened before is no news
        return _Partition(known.log_start, known.log_start if known.log_start == 0 else known.log_end)
    return _Partition(known.offset, known.offset if delivered is None else delivered.processed)

"""From the topics into the read model: a thread of its own, which never ends for want of a broker."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.structs import ConsumerRecord, TopicPartition
from kafka import KafkaAdminClient

from streams import acls
from streams.acls import Role
from streams.metrics import WebMetrics
from streams.security import client_arguments
from streams.settings import Settings, SettingsError
from streams.topicreader import reader
from streams.topics import BOOTSTRAP_MS, Cluster, Topics, TopicsError
from streams.versions import VersionError
from streams.web.model import BINS_KEPT_MS, QUARTERS_KEPT_MS, Fact, ReadModel
from streams.web.shapes import StatusState

log = structlog.get_logger(__name__)

#: How long one look for new records waits for some, and how many are entered at once.
_WAIT_MS = 100
_AT_ONCE = 2000
#: How often a broker is asked what is not read yet, or whether it is there at all, and how long it may take to say so.
_ASK_S = 3.0
_ANSWER_S = 5.0
_AGAIN_S = 2.0


@dataclass(slots=True)
class Health:
    """How the reading goes; read by other threads."""

    state: StatusState = "catching-up"
    reason: str | None = "what the topics hold is not read yet"
    #: When a newer level arrived, by the monotonic clock.
    heard_s: float | None = None


class TopicsReader:
    """Reads the public topics into the read model, from where it left off.

    Parameters
    ----------
    settings
        The deployment's settings.
    model
        Where facts go; nobody else writes to it.
    metrics
        Where is counted what is read.
    changed
        Called, in the thread of the reader, after each change to the model.
    """

    def __init__(self, settings: Settings, model: ReadModel, metrics: WebMetrics, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._model = model
        self._metrics = metrics
        self._changed = changed
        self._stop = threading.Event()
        self._newest_ms = model.newest_ms
        self.health = Health()
        topics = Topics(settings.kafka.prefix)
        #: What is too old to be kept is not read; other topics are read whole.
        self._kept_ms = {topics.levels: BINS_KEPT_MS, topics.levels_15m: QUARTERS_KEPT_MS}
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End, after what is being entered."""
        self._stop.set()
        self._thread.join()

    def status(self) -> tuple[StatusState, str | None, float | None]:
        """Return the state, why it is not `live`, and for how many seconds no newer level has arrived."""
        health = self.health
        quiet_s = None if health.heard_s is None else time.monotonic() - health.heard_s
        limit_s = self._settings.web.stale_after_s
        if health.state == "live" and quiet_s is not None and quiet_s > limit_s:
            return "stale", f"no newer level for {quiet_s:.0f} s", quiet_s
        return health.state, health.reason, quiet_s

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                asyncio.run(self._read())
            except VersionError as error:
                log.error("a fact cannot be read", reason=str(error))
                self.health.state, self.health.reason = "failed", str(error)
                return
            except (TopicsError, SettingsError, KafkaError, OSError) as error:
                self._lost(str(error) or type(error).__name__)
            except Exception as error:
                log.error("reading the topics has failed", exc_info=error)
                self._lost(f"{type(error).__name__}: {error}")
            self._stop.wait(_AGAIN_S)

    def _lost(self, reason: str) -> None:
        if self.health.reason != reason:
            log.warning("cannot read the topics", reason=reason)
        self.health.state, self.health.reason = "disconnected", reason

    async def _read(self) -> None:
        """Read from where the model is, until told to stop."""
        await asyncio.to_thread(self._prepare)
        partitions = [
            TopicPartition(topic, each)
            for topic in self._model.topics
            for each in range(self._settings.kafka.counts_partitions)
        ]
        async with reader(self._settings) as consumer:
            consumer.assign(partitions)
            ends = await self._seek(consumer, partitions)
            self.health.state, self.health.reason = "catching-up", "what the topics hold is still being read"
            asked_s = time.monotonic()
            while not self._stop.is_set():
                batches = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=_AT_ONCE)
                if batches:
                    self._enter(batches)
                # while there is much to read as well: that is when the lag matters
                if time.monotonic() - asked_s > _ASK_S:
                    await self._ask(consumer, partitions)
                    asked_s = time.monotonic()
                if self.health.state == "catching-up" and await self._is_behind(consumer, ends):
                    continue
                if batches or self.health.state == "catching-up":
                    self._live()

    def _prepare(self) -> None:
        """Begin anew if the cluster is another one than that of the model."""
        cluster = look(self._settings)
        if not self._model.belongs_to(cluster):
            log.warning("the read model is of another cluster and is made anew", cluster=cluster)
            self._model.clear()
            self._model.belongs_to(cluster)
            self._changed()

    async def _seek(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Set where reading begins and return where the partitions end now."""
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        begins: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
        known = self._model.positions()
        if any(offset > ends[TopicPartition(*tp)] for tp, offset in known.items()):
            log.warning("topics hold less than has been read: they were made anew, and so is the read model")
            self._model.clear()
            self._changed()
            known = {}
        for tp in partitions:
            begin = known.get((tp.topic, tp.partition))
            if begin is None and tp.topic in self._kept_ms and begins[tp] < ends[tp]:
                begin = await self._first_kept(consumer, tp, begins[tp], ends[tp])
            consumer.seek(tp, max(begins[tp], begin or 0))
        return ends

    async def _first_kept(self, consumer: AIOKafkaConsumer, tp: TopicPartition, begin: int, end: int) -> int:
        """Return the offset from which on a partition holds what is kept.

        By the records' own timestamps, counted back from the last one: no fact is written before the time that it
        tells of.
        """
        consumer.seek(tp, end - 1)
        deadline_s = time.monotonic() + _ANSWER_S
        while time.monotonic() < deadline_s:
            last: list[ConsumerRecord] = (await consumer.getmany(tp, timeout_ms=_WAIT_MS)).get(tp, [])
            if last:
                since_ms = last[-1].timestamp - self._kept_ms[tp.topic]
                found = await consumer.offsets_for_times({tp: max(since_ms, 0)})
                return begin if found.get(tp) is None else int(found[tp].offset)
        return begin  # compaction has removed the last record

    async def _is_behind(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
        # the position, not the last offset: compaction may have removed the last records
        return any([await consumer.position(tp) < end for tp, end in ends.items()])

    async def _ask(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Measure the lag; raise an error if no broker is there: a consumer that gets nothing does not say why."""
        try:
            ends = await asyncio.wait_for(consumer.end_offsets(partitions), _ANSWER_S)
        except TimeoutError:
            raise KafkaTimeoutError(f"no broker has answered for {_ANSWER_S:.0f} s") from None
        lag = sum([max(0, end - await consumer.position(tp)) for tp, end in ends.items()])
        self._metrics.lag(lag)

    def _live(self) -> None:
        if self.health.state != "live":
            log.info("the read model is up to date", revision=self._model.revision)
        if self.health.heard_s is None and self._newest_ms is not None:
            self.health.heard_s = time.monotonic()
        self.health.state, self.health.reason = "live", None

    def _enter(self, batches: Mapping[TopicPartition, list[ConsumerRecord]]) -> None:
        facts, positions = [], {}
        for tp, batch in batches.items():
            positions[tp.topic, tp.partition] = batch[-1].offset + 1
            # a tombstone tells of nothing
            facts += [Fact(tp.topic, tp.partition, each.offset, each.value) for each in batch if each.value]
        applied = self._model.apply(facts, positions)
        self._metrics.applied(applied.entered, applied.repeated, applied.contradicted, applied.unreadable)
        newest_ms = self._model.newest_ms
        if newest_ms != self._newest_ms:
            self._newest_ms = newest_ms
            self.health.heard_s = time.monotonic()
        if applied.entered:
            self._changed()


def look(settings: Settings) -> str:
    """Return the name of the cluster, after a look at the topics that are read.

    Raises
    ------
    TopicsError
        If no broker answers, or a topic is missing or otherwise.
    MissingRightError
        If one may not be read.
    """
    topics = Topics(settings.kafka.prefix)
    with Cluster(settings) as cluster:
        acls.require(
            cluster,
            settings,
            Role.WEB,
            *(topics.incidents, topics.outages, topics.levels, topics.levels_15m, topics.series),
        )
    admin: Any = KafkaAdminClient(**client_arguments(settings.kafka), bootstrap_timeout_ms=BOOTSTRAP_MS)
    try:
        return str(admin.describe_cluster()["cluster_id"])
    finally:
        admin.close()

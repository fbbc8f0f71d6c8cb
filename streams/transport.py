"""A Faust transport that hands its agent one message per fetched chunk and lets the stage choose its commits.

Faust keeps the app, the agents, the worker's life cycle and the group membership. What this replaces is the fetch
and commit path: records are read straight from Kafka's record batches into a :class:`Chunk`, offsets are committed
where the :class:`Stage` says, together with a string of its own, and reading starts at explicit positions only.
The private fields that this leans on are listed and checked in `tests/unit/test_transport_pins.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, NamedTuple, NoReturn, Protocol

import faust
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchError, FetchResult
from aiokafka.errors import (
    ConsumerStoppedError,
    GroupAuthorizationFailedError,
    KafkaError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.chunks import BatchReader, Chunk
from streams.security import Operation, Resource

log = structlog.get_logger(__name__)

#: How long Kafka may wait for new records before it answers a fetch.
FETCH_WAIT_MS = 100
#: How long to wait before a stage whose start has met an error of Kafka's is started again.
START_AGAIN_S = 1.0

SCHEME = "tocsin"
TRANSPORTS.aliases[SCHEME] = f"{__name__}:ChunkTransport"


class PositionLostError(Exception):
    """The next record to read is gone: deleted by retention, or truncated."""


class Committed(NamedTuple):
    """What Kafka knows of a partition when it is assigned; `offset` is None where nothing was ever committed."""

    offset: int | None
    metadata: str
    log_start: int
    log_end: int


class CommitPoint(NamedTuple):
    """A rebuild point: where a restart reads on, and the string it needs to do so."""

    offset: int
    metadata: str


class Stage(Protocol):
    """What the transport asks of the stage that runs in its app."""

    async def start(self, assigned: Mapping[TP, Committed]) -> Mapping[TP, int]:
        """Forget everything of before and return the position at which each partition is to be read."""

    def stop(self) -> None:
        """Drop all state: the partitions are gone."""

    def commit_points(self) -> Mapping[TP, CommitPoint]:
        """Return the rebuild points whose facts are acknowledged and that are not committed yet."""

    async def committed(self, points: Mapping[TP, CommitPoint]) -> None:
        """Hear that Kafka has accepted these points."""

    def troubles(self, now_s: float) -> list[str]:
        """Return why the stage is not ready, one line each; `now_s` is the wall clock's."""


class ChunkSchema(faust.Schema[None, Chunk]):
    """Hands chunks through untouched."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        """Return no key: a chunk has many."""
        return None

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        """Return the chunk."""
        return message.value


class ChunkConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that talks to Kafka: fetches chunks, commits rebuild points, knows which assignment is current."""

    #: Number of the current assignment; chunks and commits of another one are void. The time between a revocation
    #: and the assignment that follows has a number too, under which nothing is read.
    assignment_number = 0
    _reading = False
    _committing: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._readers: dict[TP, BatchReader] = {}

    @property
    def _stage_app(self) -> Any:
        return self.consumer.app  # every app of this transport is a StageApp, which this module knows nothing of

    @property
    def in_contact(self) -> bool:
        """Whether the broker that leads the group is known and answered last."""
        coordinator = self._consumer._coordinator if self._consumer is not None else None
        return coordinator is not None and coordinator.coordinator_id is not None  # None until the consumer has begun

    def end_offset(self, tp: TP) -> int | None:
        """Return the end of a partition as of its last fetch, which is repeated while nothing comes.

        None where nothing has been fetched yet, or the partition is not assigned. Any thread may ask.
        """
        subscription = self._consumer._subscription.subscription if self._consumer is not None else None
        assignment = subscription.assignment if subscription is not None else None
        state = assignment.state_value(TopicPartition(tp.topic, tp.partition)) if assignment is not None else None
        end: int | None = state.highwater if state is not None else None
        return end

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # reports of an aborted transaction were never made; Faust ties this to its own transactions
        consumer._isolation_level = "read_committed"
        # a position that is gone must be an error: nothing resets offsets silently
        consumer._auto_offset_reset = "none"
        # while Kafka waits for records of some partitions, nothing can be fetched of the others; Faust fixes 1.5 s
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    def _stopped_set(self) -> None:
        try:
            super()._stopped_set()
        except RuntimeError:  # the thread has crashed and closed its loop: nobody waits there any more
            self._stopped.set()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Void the assignment before anything else can be delivered under it."""
        self._void()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Give the assignment a number of its own: what was begun since the revocation does not know of it."""
        self._void()
        await super().on_partitions_assigned(assigned, generation_id)

    def _void(self) -> None:
        self.assignment_number += 1
        self._reading = False
        self._readers.clear()
        if self._committing is not None:
            self._committing.cancel()  # else aiokafka could send it again in the name of the next generation

    async def committed(self) -> tuple[int, dict[TP, Committed]]:
        """Return the number of the assignment and what Kafka knows of its partitions."""
        number = self.assignment_number
        consumer = self._ensure_consumer()
        tps = [TopicPartition(tp.topic, tp.partition) for tp in self.assignment()]
        if not tps:
            return number, {}
        commits = await consumer._coordinator.fetch_committed_offsets(tps)
        log_starts = await consumer.beginning_offsets(tps)
        log_ends = await consumer.end_offsets(tps)
        known = {}
        for tp in tps:
            commit = commits.get(tp)
            offset = commit.offset if commit is not None and commit.offset >= 0 else None
            metadata = commit.metadata if commit is not None else ""
            known[TP(tp.topic, tp.partition)] = Committed(offset, metadata or "", log_starts[tp], log_ends[tp])
        return number, known

    async def begin(self, number: int, positions: Mapping[TP, int]) -> None:
        """Seek to `positions` and begin to read, unless assignment `number` is over."""
        if number != self.assignment_number:
            return
        consumer = self._ensure_consumer()
        for tp, offset in positions.items():
            consumer.seek(TopicPartition(tp.topic, tp.partition), offset)
        self._readers.clear()
        self._reading = True

    async def commit_points(self, number: int, points: Mapping[TP, CommitPoint]) -> bool:
        """Commit `points`, unless assignment `number` is over; the broker fences what slips through here."""
        if number != self.assignment_number or not self._reading:
            return False
        offsets = {
            TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(point.offset, point.metadata)
            for tp, point in points.items()
        }
        self._committing = asyncio.ensure_future(self._ensure_consumer().commit(offsets))
        await asyncio.wait({self._committing})
        if self._committing.cancelled():
            return False
        error = self._committing.exception()
        if isinstance(error, KafkaError):  # the facts are published; the next commit covers this one
            log.warning("commit refused", error=str(error) or type(error).__name__)
            return False
        if error is not None:
            raise error
        return True

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> dict[TP, list[Chunk]]:
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():
            chunks = self._ready_chunks(fetcher, active_partitions)
            if not chunks:
                waiter = fetcher._create_fetch_waiter()
                await asyncio.wait([waiter], timeout=timeout)
                if waiter.done():
                    try:
                        waiter.result()  # raises what the group cannot go on with
                    except GroupAuthorizationFailedError:
                        app = self._stage_app
                        raise app.lacks(Operation.READ, Resource.GROUP, app.conf.id) from None
                else:
                    waiter.cancel()
                chunks = self._ready_chunks(fetcher, active_partitions)
        return chunks

    def _ready_chunks(self, fetcher: Any, active: set[TP]) -> dict[TP, list[Chunk]]:
        """Return at most one chunk of each active partition from what has been fetched."""
        if not self._reading or not self.consumer.flow_active or fetcher._subscriptions.reassignment_in_progress:
            return {}
        chunks = {}
        for key in list(fetcher._records):
            tp = TP(key.topic, key.partition)
            if tp not in active:
                continue
            result = fetcher._records[key]
            chunk, exhausted = self._next_chunk(tp, result)
            if exhausted:
                self._readers.pop(tp, None)
                del fetcher._records[key]
                fetcher._notify(fetcher._wait_consume_future)
            if isinstance(result, FetchError):
                self._raise(tp, result._error)
            if chunk is not None and chunk.end > chunk.start:
                chunks[tp] = [chunk]
        return chunks

    def _next_chunk(self, tp: TP, result: FetchResult | FetchError) -> tuple[Chunk | None, bool]:
        if isinstance(result, FetchError) or not result.check_assignment(tp) or not result.has_more():
            return None, True
        reader = self._readers.get(tp)
        if reader is None or reader.fetched is not result._partition_records:
            reader = self._readers[tp] = BatchReader(tp, result._partition_records)
        chunk = reader.read(self.assignment_number)
        result._update_position()
        return chunk, reader.exhausted

    def _raise(self, tp: TP, error: Exception) -> NoReturn:
        if isinstance(error, OffsetOutOfRangeError):
            [offset] = error.args[0].values()
            raise PositionLostError(
                f"{tp.topic} partition {tp.partition}: the record at offset {offset} is gone, deleted by retention or "
                "truncated; a start states what is missing as a gap"
            )
        if isinstance(error, TopicAuthorizationFailedError):
            raise self._stage_app.lacks(Operation.READ, Resource.TOPIC, tp.topic)
        raise error


class ChunkConsumer(driver.Consumer):
    """A consumer that yields chunks and commits what the stage of its app says."""

    _thread: ChunkConsumerThread
    #: The assignment whose state the stage holds.
    assignment_number = -1
    _starting: asyncio.Future[None] | None = None

    @property
    def _stage(self) -> Stage:
        stage: Stage = self._stage_app.stage
        return stage

    @property
    def _stage_app(self) -> Any:
        return self.app  # see the thread's

    def _new_consumer_thread(self) -> ChunkConsumerThread:
        return ChunkConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def in_contact(self) -> bool:
        """Whether Kafka answers."""
        return self._thread.in_contact

    def end_offset(self, tp: TP) -> int | None:
        """Return the end of a partition as far as is known; see the thread's."""
        return self._thread.end_offset(tp)

    def is_current(self, chunk: Chunk) -> bool:
        """Return whether `chunk` belongs to the assignment that the stage was started for."""
        return chunk.assignment == self.assignment_number == self._thread.assignment_number

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Drop the state: after a rebalance nothing of before may be used."""
        self.assignment_number = -1
        if self._starting is not None:
            self._starting.cancel()
        self._stage.stop()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Have the stage started with nothing as well: Faust does not seek then, and a worker in reserve is ready."""
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:
            await self.perform_seek()

    async def perform_seek(self) -> None:
        """Have the stage started; Faust calls this once per assignment, and ends in silence if it takes long."""
        if self._starting is not None:
            self._starting.cancel()
        self._starting = self.add_future(self._start_stage())

    async def _start_stage(self) -> None:
        """Start the stage at positions of its own choice."""
        while True:
            try:
                number, known = await self._thread.call_thread(self._thread.committed)
                positions = await self._stage.start(known)
                self.assignment_number = number
                await self._thread.call_thread(self._thread.begin, number, positions)
            except TopicAuthorizationFailedError as error:
                raise self._stage_app.lacks(Operation.READ, Resource.TOPIC, str(error.args[0])) from None
            except KafkaError as error:
                log.warning("the stage did not start, trying again", error=str(error) or type(error).__name__)
                await asyncio.sleep(START_AGAIN_S)
            else:
                return

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """Yield the chunks that are ready, one message each."""
        records, _ = await self._wait_next_records(timeout)
        for tp, chunks in (records or {}).items():
            for chunk in chunks:
                if self.should_stop or not self.is_current(chunk):
                    return
                self._read_offset[tp] = None  # else Faust would drop what a restart reads again, and note holes
                yield tp, self._to_message(tp, chunk)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        # positional up to the timestamp and its type; then headers, key, value, checksum and the two sizes
        return ConsumerMessage(
            tp.topic, tp.partition, record.end - 1, 0.0, 0, None, None, record, None, None, None, tp,
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit the rebuild points that the stage offers."""
        self._acked.clear()  # Faust notes an ack per chunk; nothing here reads them
        self._acked_index.clear()
        number = self.assignment_number
        points = self._stage.commit_points() if number >= 0 else {}
        if not points or not await self._thread.call_thread(self._thread.commit_points, number, points):
            return False
        if number == self.assignment_number:
            await self._stage.committed(points)
        return True

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Leave stalls to the worker's own watchdog: Faust compares two different clocks here."""


class IdempotentProducer(driver.Producer):
    """A producer whose acknowledged records are there once, on every in-sync replica."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class ChunkTransport(driver.Transport):
    """Faust's aiokafka transport with the two classes above in it; selected by `broker="tocsin://..."`."""

    Consumer: ClassVar[type[ChunkConsumer]] = ChunkConsumer
    Producer: ClassVar[type[IdempotentProducer]] = IdempotentProducer

"""Where the transport begins to read, what it commits, and what a rebalance makes void."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from streams import chunks, stageapp, transport
from streams.broker import EmbeddedBroker
from streams.transport import ChunkConsumer, CommitPoint, Committed, PositionLostError
from tests.support.recorder import Recorder, recording
from tests.support.source import Source, read, read_up_to
from tests.support.waiting import eventually


@pytest.fixture
def source(broker: EmbeddedBroker) -> Source:
    return Source(broker)


# --- Where reading begins, and what is committed --------------------------------------------------------------------


@pytest.fixture
def commits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stageapp, "COMMIT_S", 0.2)


def test_a_stage_is_told_what_kafka_knows_and_reads_exactly_from_where_it_has_chosen(broker: EmbeddedBroker) -> None:
    source = Source(broker, partitions=3)
    new, kept, lost = source.tp(0), source.tp(1), source.tp(2)

    async def scenario() -> Recorder:
        await source.produce(b"0", b"1", b"2", partition=0)
        source.delete_before(1, partition=0)
        await source.produce(*(b"%d" % each for each in range(2000)), partition=1)  # one batch: 777 is inside of it
        await source.commit(5, "kept", partition=1)
        await source.produce(*(b"%d" % each for each in range(10)), partition=2)
        await source.commit(3, "lost", partition=2)
        source.delete_before(6, partition=2)
        return await read(source, {0: 3, 1: 2000, 2: 10}, Recorder(begin={kept: 777, lost: 6}))

    life = asyncio.run(scenario()).lives[0]
    assert life.known == {
        new: Committed(None, "", 1, 3),
        kept: Committed(5, "kept", 0, 2000),
        lost: Committed(3, "lost", 6, 10),
    }
    assert {tp: [int(value or b"") for chunk in life.chunks[tp] for value in chunk.values] for tp in life.begun} == {
        new: [1, 2],
        kept: list(range(777, 2000)),
        lost: [6, 7, 8, 9],
    }


@pytest.mark.usefixtures("commits_at_once")
def test_what_a_stage_commits_is_what_its_next_start_is_told(source: Source) -> None:
    tp = source.tp()

    async def scenario() -> tuple[list[OffsetAndMetadata | None], Recorder]:
        await source.produce(*(b"%d" % each for each in range(10)))
        recorder, found = Recorder(), []
        async with recording(source.settings, source.topic, recorder):
            await read_up_to(source, {0: 10}, recorder)
            for point in (CommitPoint(4, '{"floor": 1}'), CommitPoint(4, '{"floor": 2}'), CommitPoint(3, "\xe9")):
                recorder.offered = {tp: point}
                await eventually(lambda: not recorder.offered, f"{point} accepted")
                assert recorder.accepted == {tp: point}
                found.append(await source.committed())
        return found, await read(source, {0: 10})

    found, second = asyncio.run(scenario())
    assert found == [
        OffsetAndMetadata(4, '{"floor": 1}'),
        OffsetAndMetadata(4, '{"floor": 2}'),  # the string alone has changed
        OffsetAndMetadata(3, "\xe9"),
    ]
    assert second.lives[0].known == {tp: Committed(3, "\xe9", 0, 10)}
    assert second.values == [b"%d" % each for each in range(3, 10)]


def test_what_is_offered_when_the_app_ends_is_committed(source: Source) -> None:
    async def scenario() -> OffsetAndMetadata | None:
        await source.produce(b"0", b"1")
        recorder = Recorder()
        async with recording(source.settings, source.topic, recorder):
            await read_up_to(source, {0: 2}, recorder)
            recorder.offered = {source.tp(): CommitPoint(2, "last")}
        return await source.committed()

    assert asyncio.run(scenario()) == OffsetAndMetadata(2, "last")


def test_when_retention_removes_what_was_to_be_read_next_the_app_ends_and_nothing_is_reset(source: Source) -> None:
    class Overtaken(Recorder):
        async def start(self, assigned: Mapping[TP, Committed]) -> Mapping[TP, int]:
            begun = await super().start(assigned)
            await asyncio.to_thread(source.delete_before, 6)
            return begun

    async def scenario() -> tuple[Recorder, BaseException | None]:
        await source.produce(*(b"%d" % each for each in range(10)))
        await source.commit(3)
        recorder = Overtaken()
        async with recording(source.settings, source.topic, recorder) as app:
            await eventually(lambda: app.crash_reason, "the app has crashed")
            return recorder, app.crash_reason

    recorder, reason = asyncio.run(scenario())
    assert isinstance(reason, PositionLostError)
    assert str(reason).startswith(f"{source.topic} partition 0: the record at offset 3 is gone")
    assert recorder.values == []


def test_a_start_that_meets_an_error_of_kafkas_is_tried_again(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "START_AGAIN_S", 0.1)

    class Unlucky(Recorder):
        failures = 2

        async def start(self, assigned: Mapping[TP, Committed]) -> Mapping[TP, int]:
            if self.failures:
                self.failures -= 1
                raise KafkaConnectionError
            return await super().start(assigned)

    async def scenario() -> Recorder:
        await source.produce(b"0")
        return await read(source, {0: 1}, Unlucky())

    assert asyncio.run(scenario()).values == [b"0"]


def test_a_start_may_take_longer_than_faust_would_wait(source: Source) -> None:
    class Slow(Recorder):
        async def start(self, assigned: Mapping[TP, Committed]) -> Mapping[TP, int]:
            await asyncio.sleep(2.5)
            return await super().start(assigned)

    async def scenario() -> Recorder:
        await source.produce(b"0")
        recorder = Slow()
        async with recording(source.settings, source.topic, recorder, broker_request_timeout=2.0):
            await read_up_to(source, {0: 1}, recorder)
        return recorder

    assert asyncio.run(scenario()).values == [b"0"]


def test_what_a_start_raises_ends_the_app(source: Source) -> None:
    class Broken(Recorder):
        async def start(self, assigned: Mapping[TP, Committed]) -> Mapping[TP, int]:
            raise ZeroDivisionError(f"what went wrong with {assigned}")

    async def scenario() -> BaseException | None:
        async with recording(source.settings, source.topic, Broken()) as app:
            await eventually(lambda: app.crash_reason, "the app has crashed")
            return app.crash_reason

    assert isinstance(asyncio.run(scenario()), ZeroDivisionError)


# --- Rebalances -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("commits_at_once")
def test_after_a_rebalance_nothing_of_before_is_used(broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two apps come and go while records are written: each life reads every record from where it began, in order."""
    monkeypatch.setattr(chunks, "CHUNK_RECORDS", 20)
    source = Source(broker, partitions=4)
    every = {source.tp(partition) for partition in range(4)}
    first, second = Recorder(pause_s=0.01), Recorder(pause_s=0.01)

    async def scenario() -> None:
        written = [0, 0, 0, 0]
        writing = asyncio.Event()

        async def write() -> None:
            async with source.producer(linger_ms=5) as producer:
                while not writing.is_set():
                    for partition in range(4):
                        sent = [await producer.send(source.topic, b"x", partition=partition) for _ in range(30)]
                        await asyncio.gather(*sent)
                        written[partition] += 30

        def shared() -> bool:
            parts = [set(each.lives[-1].begun) for each in (first, second) if each.lives and not each.lives[-1].over]
            return len(parts) == 2 and all(parts) and parts[0] | parts[1] == every and not parts[0] & parts[1]

        async with recording(source.settings, source.topic, first) as app:
            writer = asyncio.create_task(write())
            await eventually(lambda: len(first.chunks) > 20, "the first app reads")
            old = first.chunks[0]
            consumer = app.consumer
            assert isinstance(consumer, ChunkConsumer)
            number = consumer.assignment_number
            assert app.is_current(old)
            first.offered = {tp: CommitPoint(first.at(tp), "first") for tp in every}
            await eventually(lambda: not first.offered, "committed")

            async with recording(source.settings, source.topic, second):
                await eventually(shared, "both apps have a share")
                assert not app.is_current(old)
                [gone, *_] = second.lives[-1].begun
                stale = {gone: CommitPoint(0, "stale")}
                assert not await consumer._thread.call_thread(consumer._thread.commit_points, number, stale)
                assert second.lives[-1].known[gone].metadata == "first"
                await eventually(lambda: len(second.chunks) > 20 and len(first.chunks) > 20, "both read")
                assert (await source.committed(gone.partition) or stale[gone]).metadata == "first"

            await eventually(lambda: set(first.lives[-1].begun) == every, "the first app has all again")
            writing.set()
            await writer
            await read_up_to(source, dict(enumerate(written)), first)
            assert not any(consumer._gap.values())  # Faust would note one between any two chunks, and keep it

    asyncio.run(scenario())
    assert first.discontinuities == second.discontinuities == []
    assert len(first.lives) >= 3
    for life in first.lives + second.lives:
        for tp, begun in life.begun.items():
            read_offsets = [offset for chunk in life.chunks[tp] for offset in chunk.offsets.tolist()]
            assert read_offsets == list(range(begun, begun + len(read_offsets)))


@pytest.mark.usefixtures("commits_at_once")
def test_a_commit_that_hangs_while_the_group_rebalances_is_not_made_in_the_name_of_the_next_generation(
    broker: EmbeddedBroker,
) -> None:
    source = Source(broker, partitions=2)

    async def scenario() -> None:
        first, second = Recorder(), Recorder()
        async with recording(source.settings, source.topic, first) as app:
            await eventually(lambda: first.lives, "the first app has begun")
            assert isinstance(app.consumer, ChunkConsumer)
            consumer = app.consumer._thread._ensure_consumer()
            commit, hangs = consumer.commit, threading.Event()

            async def hang(_: object) -> None:
                hangs.set()
                await asyncio.get_running_loop().create_future()

            consumer.commit = hang
            first.offered = {source.tp(0): CommitPoint(0, "stale"), source.tp(1): CommitPoint(0, "stale")}
            await eventually(hangs.is_set, "the commit hangs")
            consumer.commit = commit
            async with recording(source.settings, source.topic, second):
                await eventually(lambda: second.lives, "the second app has begun")
                await eventually(lambda: len(first.lives) == 2, "the first app has begun again")
                assert first.accepted == {}
                [tp] = first.lives[-1].begun
                first.offered = {tp: CommitPoint(0, "new")}
                await eventually(lambda: first.accepted, "the next commit is made")
                assert await source.committed(tp.partition) == OffsetAndMetadata(0, "new")
                assert await source.committed(1 - tp.partition) is None

    asyncio.run(scenario())


# --- Contact --------------------------------------------------------------------------------------------------------


def test_an_app_says_that_it_has_no_contact_until_it_has(source: Source) -> None:
    async def scenario() -> None:
        app = stageapp.stage_app(source.settings, "recorder")
        assert app.troubles(0.0) == [f"{source.settings.kafka.prefix}-recorder: no contact with Kafka"]
        async with recording(source.settings, source.topic, Recorder()) as running:
            await eventually(lambda: running.troubles(12.0) == ["asked at 12.0"], "the stage is asked")

    asyncio.run(scenario())


# --- The end of a partition -----------------------------------------------------------------------------------------


def test_the_end_of_a_partition_is_known_also_while_nothing_comes(broker: EmbeddedBroker) -> None:
    source = Source(broker, partitions=2)

    async def scenario() -> None:
        await source.produce(b"0", b"1", b"2")
        async with recording(source.settings, source.topic, Recorder()) as app:
            assert app.end_offset(source.topic, 0) is None
            for partition, end in ((0, 3), (1, 0)):
                await eventually(lambda: app.end_offset(source.topic, partition) == end, "the end is known")  # noqa: B023 - awaited at once
            await source.produce(b"3")
            await eventually(lambda: app.end_offset(source.topic, 0) == 4, "the new end is known")
            assert app.end_offset(source.topic, 2) is None

    asyncio.run(scenario())

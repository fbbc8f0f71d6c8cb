"""What `streams/transport.py` and `streams/chunks.py` lean on inside of Faust, mode and aiokafka is where it was.

A failure says what has moved. Before a new version of the three is pinned, read what it does there now.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import mode
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher, FetchError, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import Assignment, Subscription, SubscriptionState, TopicPartitionState
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from faust.transport import consumer as transport_consumer
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import ConsumerMessage
from prometheus_client import CollectorRegistry

from streams.app import count_app
from streams.settings import Settings
from streams.transport import ChunkConsumerThread

ROOT = Path(__file__).parents[2]


def assert_there(owner: object, *names: str) -> None:
    moved = [name for name in names if not hasattr(owner, name)]
    kind = owner if inspect.isclass(owner) or inspect.ismodule(owner) else type(owner)
    assert not moved, f"{kind.__module__}.{kind.__qualname__} no longer has {', '.join(moved)}"


@pytest.mark.parametrize("package", ["faust-streaming", "mode-streaming", "aiokafka"])
def test_the_three_packages_are_pinned_to_one_version_and_that_one_is_installed(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [pin] = [each for each in project["dependencies"] if each.startswith(package)]
    assert pin == f"{package}=={importlib.metadata.version(package)}"


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        # overridden: Faust calls them with these
        (driver.AIOKafkaConsumerThread.__post_init__, ""),
        (driver.AIOKafkaConsumerThread._create_worker_consumer, "transport"),
        (driver.AIOKafkaConsumerThread._fetch_records, "consumer active_partitions timeout max_records"),
        (driver.AIOKafkaConsumerThread.on_partitions_revoked, "revoked"),
        (driver.AIOKafkaConsumerThread.on_partitions_assigned, "assigned generation_id"),
        (driver.AIOKafkaConsumerThread._stopped_set, ""),
        (driver.Consumer._new_consumer_thread, ""),
        (driver.Consumer._to_message, "tp record"),
        (driver.Consumer.on_partitions_revoked, "revoked"),
        (driver.Consumer.perform_seek, ""),
        (driver.Consumer.getmany, "timeout"),
        (driver.Consumer.force_commit, "topics start_new_transaction"),
        (driver.Consumer.verify_event_path, "now tp"),
        (driver.Producer._settings_extra, ""),
        (faust.Schema.loads_key, "app message loads serializer"),
        (faust.Schema.loads_value, "app message loads serializer"),
        (faust.App._create_directories, ""),
        # called
        (driver.AIOKafkaConsumerThread._ensure_consumer, ""),
        (driver.AIOKafkaConsumerThread.assignment, ""),
        (driver.AIOKafkaConsumerThread.call_thread, "fun args kwargs"),
        (driver.Consumer._wait_next_records, "timeout"),
        (driver.Consumer.add_future, "coro"),
        (driver.Producer.send, "topic key value partition timestamp headers transactional_id"),
        (AIOKafkaConsumer.commit, "offsets"),
        (AIOKafkaConsumer.seek, "partition offset"),
        (AIOKafkaConsumer.beginning_offsets, "partitions"),
        (AIOKafkaConsumer.end_offsets, "partitions"),
        (GroupCoordinator.fetch_committed_offsets, "partitions"),
        (Fetcher._notify, "future"),
        (Fetcher._create_fetch_waiter, ""),
        (FetchResult.check_assignment, "tp"),
        (FetchResult.has_more, ""),
        (FetchResult._update_position, ""),
        (PartitionRecords._consume_aborted_up_to, "batch_offset"),
        (PartitionRecords._contains_abort_marker, "next_batch"),
        (SubscriptionState.fetch_context, ""),
        (Assignment.state_value, "tp"),
    ],
    ids=lambda each: each.__qualname__ if callable(each) else "",
)
def test_a_method_has_the_parameters_that_the_transport_knows(function: Any, parameters: str) -> None:
    found = [name for name in inspect.signature(function).parameters if name != "self"]
    name = f"{function.__module__}.{function.__qualname__}"
    assert found == parameters.split(), f"{name} takes {found}, the transport knows {parameters.split()}"


def test_a_message_is_made_of_the_fields_that_the_transport_passes_by_position() -> None:
    fields = ["topic", "partition", "offset", "timestamp", "timestamp_type", "headers", "key", "value", "checksum"]
    fields += ["serialized_key_size", "serialized_value_size", "tp"]
    found = [name for name in inspect.signature(ConsumerMessage.__init__).parameters if name != "self"]
    assert found[: len(fields)] == fields, f"faust.types.ConsumerMessage takes {found}"
    assert "generation_id" in found, f"faust.types.ConsumerMessage takes {found}"


def test_faust_selects_transports_and_their_parts_as_the_transport_registers_them() -> None:
    assert isinstance(TRANSPORTS.aliases, dict), "faust.transport.drivers.TRANSPORTS.aliases is no dict"
    assert_there(driver.Transport, "Consumer", "Producer")
    assert_there(faust.App, "_consumer", "consumer_generation_id")
    assert_there(mode.Service, "crash_reason")


def test_the_drain_loop_asks_each_time_how_far_a_partition_is_read() -> None:
    source = inspect.getsource(transport_consumer.Consumer._drain_messages)
    assert "get_read_offset(tp)" in source, "faust Consumer._drain_messages no longer drops what it has read before"


def test_a_consumer_of_faust_has_the_fields_that_the_transport_touches() -> None:
    async def scenario() -> None:
        app = faust.App("pins", broker="kafka://127.0.0.1:9", web_enabled=False)
        assert_there(app.consumer, "_acked", "_acked_index", "_read_offset", "flow_active", "app", "should_stop")
        assert_there(app, "_crashed")
        thread = app.consumer._thread  # type: ignore[attr-defined]  # what it is, is what is asked here
        assert_there(thread, "_consumer", "consumer", "app")

    asyncio.run(scenario())


def test_a_thread_that_has_crashed_and_closed_its_loop_can_be_stopped() -> None:
    async def scenario() -> None:
        consumer: Any = count_app(Settings(), CollectorRegistry()).consumer
        thread = consumer._thread
        assert isinstance(thread, ChunkConsumerThread)
        assert_there(thread, "thread_loop", "_stopped", "should_stop")
        thread.thread_loop.close()
        thread._stopped_set()
        assert thread.should_stop

    asyncio.run(scenario())


def test_a_consumer_of_aiokafka_has_the_fields_that_the_transport_touches() -> None:
    async def scenario() -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:9", group_id="pins")
        assert_there(
            consumer,
            "_fetcher",
            "_coordinator",
            "_closed",
            "_subscription",
            "_isolation_level",
            "_auto_offset_reset",
            "_fetch_max_wait_ms",
        )
        used = inspect.getsource(AIOKafkaConsumer.start)
        for name in ("_isolation_level", "_auto_offset_reset", "_fetch_max_wait_ms"):
            assert f"self.{name}" in used, f"AIOKafkaConsumer.start no longer takes {name}: set before it, it is lost"
        assert "coordinator_id" in inspect.getsource(GroupCoordinator.__init__), (
            "GroupCoordinator.coordinator_id has moved"
        )
        subscriptions = SubscriptionState(loop=asyncio.get_running_loop())
        assert_there(subscriptions, "reassignment_in_progress", "subscription")
        assert_there(Subscription, "assignment")
        assert_there(TopicPartitionState(None), "highwater")
        client = SimpleNamespace(_loop=asyncio.get_running_loop(), _metadata_max_age_ms=1000)
        fetcher = Fetcher(client, subscriptions)
        assert_there(fetcher, "_records", "_subscriptions", "_closed", "_wait_consume_future")
        await fetcher.close()

    asyncio.run(scenario())


def test_what_has_been_fetched_has_the_fields_that_the_reader_touches() -> None:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=999,
    )
    builder.append(0, timestamp=1, key=b"k", value=b"v", headers=[("h", b"1")])
    records = MemoryRecords(bytes(builder.build()))
    tp = TopicPartition("topic", 0)
    fetched = PartitionRecords(tp, records, [(1, 0)], 0, None, None, True, 1)
    assert_there(fetched, "_records", "_check_crcs", "_aborted_producers", "next_fetch_offset")
    assert_there(FetchResult(tp, assignment=None, partition_records=fetched, backoff=0), "_partition_records")
    assert_there(FetchError(error=OffsetOutOfRangeError({tp: 3}), backoff=0), "_error")
    assert OffsetOutOfRangeError({tp: 3}).args == ({tp: 3},)

    assert_there(fetched._records, "has_next", "next_batch")
    batch = fetched._records.next_batch()
    assert isinstance(batch, DefaultRecordBatch)
    assert_there(
        batch,
        *("validate_crc", "base_offset", "next_offset", "producer_id", "is_control_batch", "is_transactional"),
        *("timestamp_type", "max_timestamp"),
    )
    assert batch.producer_id is not None, "a batch without a producer id had -1, which is no None"
    [record] = batch
    assert (record.offset, record.timestamp, record.key, record.value) == (0, 1, b"k", b"v")
    assert [(name, content) for name, content in record.headers] == [("h", b"1")]

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaTimeoutError,
    LeaderNotAvailableError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
)
from faust.exceptions import NotReady, ProducerSendError
from prometheus_client import CollectorRegistry

from streams import publisher
from streams.metrics import CountMetrics
from streams.publisher import Outgoing, Publisher, PublishError
from streams.settings import Settings

RECORDS = [Outgoing("facts", 3, None, b"%d" % each) for each in range(4)]


class Producer:
    """A producer whose sends fail as planned: at once, or later when they are acknowledged."""

    def __init__(self, at_once: Sequence[Exception | None] = (), later: Sequence[Exception | None] = ()) -> None:
        self.at_once = list(at_once)
        self.later = list(later)
        self.sent: list[bytes | None] = []

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int, timestamp: None, headers: Any
    ) -> asyncio.Future[None]:
        assert (topic, key, partition, timestamp, headers) == ("facts", None, 3, None, [])
        refusal = self.at_once.pop(0) if self.at_once else None
        if isinstance(refusal, NotReady):
            raise refusal
        if refusal is not None:
            raise ProducerSendError from refusal
        self.sent.append(value)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        failure = self.later.pop(0) if self.later else None
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(failure)
        return future


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "_FIRST_DELAY_S", 0.001)


def publish(
    producer: Producer, wanted: Callable[[], bool] = lambda: True, registry: CollectorRegistry | None = None
) -> bool:
    app: Any = SimpleNamespace(producer=producer)
    metrics = CountMetrics(registry or CollectorRegistry(), Settings())
    return asyncio.run(Publisher(app, metrics).publish(RECORDS, wanted))


def test_what_is_not_acknowledged_is_sent_again_in_order_and_nothing_else() -> None:
    producer = Producer(later=[None, LeaderNotAvailableError(), None, KafkaTimeoutError()])
    assert publish(producer)
    assert producer.sent == [b"0", b"1", b"2", b"3", b"1", b"3"]


def test_after_a_refusal_what_was_taken_before_it_is_not_sent_again() -> None:
    producer = Producer(at_once=[None, None, KafkaTimeoutError()])
    assert publish(producer)
    assert producer.sent == [b"0", b"1", b"2", b"3"]


def test_each_record_is_counted_once_it_is_acknowledged_and_each_further_attempt() -> None:
    registry = CollectorRegistry()
    publish(Producer(later=[None, LeaderNotAvailableError(), None, KafkaTimeoutError()]), registry=registry)
    labels = {"stage": "count", "topic": "facts"}
    assert registry.get_sample_value("tocsin_facts_published_total", labels) == len(RECORDS)
    assert registry.get_sample_value("tocsin_publish_retries_total", {"stage": "count"}) == 1


def test_what_is_no_longer_wanted_is_not_sent_again() -> None:
    producer = Producer(later=[KafkaTimeoutError()])
    assert not publish(producer, wanted=lambda: False)
    assert len(producer.sent) == len(RECORDS)


@pytest.mark.parametrize("error", [OutOfOrderSequenceNumber(), MessageSizeTooLargeError()])
@pytest.mark.parametrize("when", ["at_once", "later"])
def test_what_another_attempt_would_meet_again_is_an_error_that_names_the_place(error: Exception, when: str) -> None:
    producer = Producer(**{when: [None, error]})
    with pytest.raises(PublishError, match=r"cannot publish to facts partition 3: \[Error \d+\]"):
        publish(producer)


@pytest.mark.parametrize("at_once", [ProducerClosed(), NotReady()])
def test_when_the_app_ends_so_does_publishing(at_once: Exception) -> None:
    assert not publish(Producer(at_once=[at_once]))


def test_a_slow_acknowledgement_is_a_trouble_until_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "SLOW_S", 0.0)

    async def scenario() -> None:
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def send(*_: object) -> asyncio.Future[None]:
            return acknowledged

        app: Any = SimpleNamespace(producer=SimpleNamespace(send=send))
        slow = Publisher(app, CountMetrics(CollectorRegistry(), Settings()))
        assert slow.troubles("count") == []
        publishing = asyncio.create_task(slow.publish(RECORDS[:1]))
        await asyncio.sleep(0)
        assert slow.troubles("count") == ["count: facts are not acknowledged for 0 s"]
        acknowledged.set_result(None)
        assert await publishing
        assert slow.troubles("count") == []

    asyncio.run(scenario())

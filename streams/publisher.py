"""Publishing facts: every record is acknowledged by all in-sync replicas before anything that rests on it goes on."""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Tallies
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import faust
import structlog
from aiokafka.errors import KafkaError, KafkaTimeoutError, ProducerClosed, TopicAuthorizationFailedError
from faust.exceptions import NotReady, ProducerSendError

from streams.metrics import StageMetrics
from streams.security import Operation, Resource

log = structlog.get_logger(__name__)

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
#: How long an acknowledgement may take before the worker is called not ready.
SLOW_S = 10.0


class PublishError(Exception):
    """Kafka will never take a record, or the producer can send no more: trying again is of no use."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to publish; the partition is always explicit."""

    topic: str
    partition: int
    key: bytes | None
    # dead letters name people: whoever logs a record must not log them
    value: bytes | None = field(repr=False)
    headers: Sequence[tuple[str, bytes | None]] = field(default=(), repr=False)


class Publisher:
    """Publishes through the producer of a Faust app, again and again until the broker has it.

    Facts may be stated twice, so what was sent before a failure is sent once more without harm.

    Parameters
    ----------
    app
        The app whose producer is used.
    metrics
        Where is counted what is published.
    """

    def __init__(self, app: faust.App, metrics: StageMetrics) -> None:
        self._app = app
        self._metrics = metrics
        #: When each publication that is under way began, by the monotonic clock.
        self._begun_s: dict[object, float] = {}

    async def publish(self, records: Iterable[Outgoing], wanted: Callable[[], bool] = lambda: True) -> bool:
        """Publish records.

        Returns
        -------
        bool
            True once all are acknowledged; False if they are no longer `wanted` before that, or the app ends.

        Raises
        ------
        PublishError
            If they never can be.
        MissingRightError
            If this stage may not write to the topic of one.
        """
        pending = list(records)
        delay_s = _FIRST_DELAY_S
        publication = object()
        self._begun_s[publication] = time.monotonic()
        try:
            while pending := await self._attempt(pending):
                if not wanted():
                    return False
                self._metrics.retried()
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
        except (NotReady, ProducerClosed):
            return False
        finally:
            del self._begun_s[publication]
        return True

    def troubles(self, stage: str) -> list[str]:
        """Return a line if Kafka does not take what is published."""
        waiting_s = time.monotonic() - min(list(self._begun_s.values()), default=time.monotonic())
        return [f"{stage}: facts are not acknowledged for {waiting_s:.0f} s"] if waiting_s > SLOW_S else []

    async def _attempt(self, records: Sequence[Outgoing]) -> list[Outgoing]:
        """Send all records and return those that were not acknowledged."""
        sent: list[Awaitable[object]] = []
        errors: list[BaseException] = []
        try:
            for record in records:
                headers: Any = list(record.headers)  # their values may be null, which Faust's type forbids
                partition = record.partition
                sent.append(
                    await self._app.producer.send(record.topic, record.key, record.value, partition, None, headers)
                )
        except ProducerSendError as error:
            errors.append(error.__cause__ or error)
        results = await asyncio.gather(*sent, return_exceptions=True)
        failed = [record for record, result in zip(records, results, strict=False) if isinstance(result, BaseException)]
        failed += records[len(sent) :]
        self._metrics.published(Tallies(each.topic for each in records) - Tallies(each.topic for each in failed))
        errors += [result for result in results if isinstance(result, BaseException)]
        for each in errors:
            if isinstance(each, TopicAuthorizationFailedError):
                app: Any = self._app  # a StageApp, which this module knows nothing of
                raise app.lacks(Operation.WRITE, Resource.TOPIC, failed[0].topic) from None
            _raise_unless_passing(each, failed[0])
        if errors:
            log.warning("publishing failed", records=len(failed), error=str(errors[0]) or type(errors[0]).__name__)
        return failed


def _raise_unless_passing(error: BaseException, record: Outgoing) -> None:
    """Raise what another attempt to send `record` and others would meet again."""
    if isinstance(error, KafkaTimeoutError) or (isinstance(error, KafkaError) and error.retriable):
        return
    if isinstance(error, KafkaError) and not isinstance(error, ProducerClosed):
        reason = str(error) or type(error).__name__
        raise PublishError(f"cannot publish to {record.topic} partition {record.partition}: {reason}") from error
    raise error

"""Publishing facts: every record is acknowledged by all in-sync replicas before anything that rests on it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import faust
import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError

log = structlog.get_logger(__name__)

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to publish; the partition is always explicit."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Publisher:
    """Publishes through the producer of a Faust app, again and again until the broker has it.

    Facts may be stated twice, so what was sent before a failure is sent once more without harm.

    Parameters
    ----------
    app
        The app whose producer is used.
    """

    def __init__(self, app: faust.App) -> None:
        self._app = app
        self._failures = 0

    async def publish(self, records: Iterable[Outgoing], wanted: Callable[[], bool] = lambda: True) -> bool:
        """Return True once all records are acknowledged, False if they are no longer `wanted` before that."""
        pending = list(records)
        delay_s = _FIRST_DELAY_S
        while pending:
            pending = await self._attempt(pending)
            if not pending:
                break
            if not wanted():
                return False
            self._failures += 1
            log.warning("publishing failed, trying again", records=len(pending), delay_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
        self._failures = 0
        return True

    def troubles(self, stage: str) -> list[str]:
        """Return a line if the broker does not take what is published."""
        return [f"{stage}: facts are not acknowledged, {self._failures} tries so far"] if self._failures else []

    async def _attempt(self, records: Sequence[Outgoing]) -> list[Outgoing]:
        """Send all records and return those that were not acknowledged."""
        try:
            sent = [
                await self._app.producer.send(
                    record.topic, record.key, record.value, record.partition, None, list(record.headers)
                )
                for record in records
            ]
        except (ProducerSendError, KafkaError) as error:
            log.warning("sending failed", error=str(error) or type(error).__name__)
            return list(records)
        results = await asyncio.gather(*sent, return_exceptions=True)
        failed = []
        for record, result in zip(records, results, strict=True):
            if isinstance(result, KafkaError):
                failed.append(record)
            elif isinstance(result, BaseException):
                raise result
        return failed

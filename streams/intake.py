"""Writing report logs and baselines to Kafka, as producers outside of the pipeline do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError, TopicAuthorizationFailedError

from streams.reportlog import LogRecord
from streams.security import MissingRightError, Operation, Resource, Right, client_arguments
from streams.settings import Settings
from streams.snapshots import Packed
from streams.topicrecords import Header
from streams.topics import BOOTSTRAP_MS, Topics, unreachable

_SHORTEST_SLEEP_S = 0.02


class IntakeError(Exception):
    """A record was not taken by the broker."""


class Returned(NamedTuple):
    """A dead letter on its way back: what becomes of it, and the key and partition under which it lies."""

    record: LogRecord
    headers: Sequence[Header]
    letter: bytes
    letter_partition: int


class Intake:
    """Writes records with kafka-python; a context manager that ends with everything acknowledged.

    Any step raises a `MissingRightError` once Kafka has not allowed to write a record.

    Parameters
    ----------
    settings
        The deployment's settings.

    Raises
    ------
    UnreachableError
        If no broker answers; the message says which address was tried.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.kafka
        self._topics = Topics(settings.kafka.prefix)
        #: The first failure, and the topic of its record.
        self._failure: tuple[BaseException, str] | None = None
        arguments = client_arguments(settings.kafka)
        try:
            self._producer = KafkaProducer(
                **arguments,
                bootstrap_timeout_ms=BOOTSTRAP_MS,
                acks="all",
                linger_ms=20,
                compression_type="gzip",  # the one that needs no other library
            )
        except (KafkaError, OSError, ValueError) as error:
            raise unreachable(settings.kafka, error) from None

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._producer.close(timeout=0)  # what went wrong is not to wait for what cannot be written
            return
        try:
            self._acknowledged()
        finally:
            self._producer.close()

    def reports(
        self,
        records: Iterable[LogRecord],
        *,
        rate: float | None = None,
        speed: float | None = None,
    ) -> int:
        """Write a report log and return how many records it had.

        Parameters
        ----------
        records
            In append order; each goes to its partition with its timestamp (which a LogAppendTime topic replaces).
        rate
            At most so many records a second.
        speed
            At most so many times as fast as the log was written.

        Raises
        ------
        IntakeError
            If a record is not taken by the broker; those before it may have been.
        """
        started_s = time.monotonic()
        first_ms: int | None = None
        written = 0
        for record in records:
            first_ms = record.timestamp_ms if first_ms is None else first_ms
            due_s = max(
                written / rate if rate else 0.0,
                (record.timestamp_ms - first_ms) / 1000 / speed if speed else 0.0,
            )
            ahead_s = due_s - (time.monotonic() - started_s)
            if ahead_s > _SHORTEST_SLEEP_S:
                time.sleep(ahead_s)
            self._send(self._topics.reports, record.partition, record.key, record.value, record.timestamp_ms)
            written += 1
        self._producer.flush()
        return written

    def baselines(self, packed: Mapping[int, list[Packed]], replaced: Mapping[int, Iterable[bytes]] = {}) -> int:
        """Write snapshots, by counts partition, and return how many records they were.

        Parameters
        ----------
        packed
            The snapshots.
        replaced
            Keys of earlier ones that are to be deleted.
        """
        for partition, keys in replaced.items():
            for key in keys:
                self._send(self._topics.baselines, partition, key, None, None)
        for partition, snapshots in packed.items():
            for snapshot in snapshots:
                self._send(self._topics.baselines, partition, snapshot.key, snapshot.value, None)
        self._producer.flush()
        return sum(map(len, packed.values()))

    def send_back(self, letters: Sequence[Returned]) -> None:
        """Write what dead letters have become to the reports topic, then take the letters away.

        Raises
        ------
        IntakeError
            If one is not taken by the broker; no letter is taken away then.
        """
        for each in letters:
            record = each.record
            self._send(
                self._topics.reports, record.partition, record.key, record.value, record.timestamp_ms, each.headers
            )
        self._acknowledged()
        for each in letters:
            self._send(self._topics.dead_letters, each.letter_partition, each.letter, None, None)
        self._acknowledged()

    def _acknowledged(self) -> None:
        self._producer.flush()
        self._raise_failure()

    def _send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int | None,
        headers: Sequence[Header] = (),
    ) -> None:
        self._raise_failure()
        try:
            future: Any = self._producer.send(
                topic, value, key=key, headers=list(headers), partition=partition, timestamp_ms=timestamp_ms
            )
        except KafkaError as error:
            raise IntakeError(f"a record cannot be written to {topic}: {error}") from None
        future.add_errback(self._failed, topic)

    def _failed(self, topic: str, error: BaseException) -> None:
        self._failure = self._failure or (error, topic)

    def _raise_failure(self) -> None:
        if self._failure is None:
            return
        error, topic = self._failure
        if isinstance(error, TopicAuthorizationFailedError):
            raise MissingRightError(self._settings, [Right(Operation.WRITE, Resource.TOPIC, topic)])
        raise IntakeError(f"a record was not written to {topic}: {error}")

"""The Faust app that a stage runs in: settings that keep Faust from losing or repeating data."""

from __future__ import annotations

import faust
from faust.types import TP, TopicT
from mode import CrashingSupervisor, Service

from streams.chunks import Chunk
from streams.diagnosis import Diagnosis, diagnose
from streams.security import (
    MissingRightError,
    Operation,
    Resource,
    Right,
    credentials,
    warn_if_exposed,
)
from streams.settings import Settings
from streams.topicfindings import DEAD_LETTER_BYTES
from streams.topics import RefusedError
from streams.transport import SCHEME, ChunkConsumer, ChunkSchema, Stage

#: Chunks that may wait for an agent: what bounds memory when Kafka is faster than the stage.
WAITING_CHUNKS = 3
#: How often rebuild points are committed.
COMMIT_S = 2.0
#: How often it is looked whether there is contact with Kafka.
CONTACT_S = 5.0
#: How long a record may stay unacknowledged before it is sent again.
SEND_TIMEOUT_S = 20.0


class StageApp(faust.App):
    """A Faust app with one stage; made by `stage_app`."""

    stage: Stage
    settings: Settings
    #: Name of the stage, and its role on the cluster.
    role: str
    _diagnosis: Diagnosis | None = None

    def troubles(self, now_s: float) -> list[str]:
        """Return why this worker is not ready, one line each; `now_s` is the wall clock's. Any thread may ask."""
        consumer = self._consumer
        if not (isinstance(consumer, ChunkConsumer) and consumer.in_contact):
            diagnosis = self._diagnosis
            return [f"{self.conf.id}: no contact with Kafka{f': {diagnosis.line}' if diagnosis else ''}"]
        return self.stage.troubles(now_s)

    def lacks(self, operation: Operation, resource: Resource, name: str) -> MissingRightError:
        """Return the error about a right that this stage needs and does not have."""
        return MissingRightError(self.settings.kafka, [Right(operation, resource, name)], self.role)

    @Service.task
    async def _find_out_why_contact_is_lost(self) -> None:
        """Crash when brokers that answer do not let us in any more: a new start reads new secrets and certificates."""
        while not self.should_stop:
            await self.sleep(CONTACT_S)
            before, self._diagnosis = self._diagnosis, None
            if isinstance(self._consumer, ChunkConsumer) and not self._consumer.in_contact:
                self._diagnosis = await diagnose(self.settings.kafka)
            # twice, for a broker that is starting may not know its users yet
            if self._diagnosis is not None and self._diagnosis.refused and self._diagnosis == before:
                raise RefusedError(self._diagnosis.line)

    def chunks(self, topic: str) -> TopicT:
        """Return a channel of the chunks of a topic."""
        return self.topic(topic, schema=ChunkSchema(), maxsize=WAITING_CHUNKS)

    def is_current(self, chunk: Chunk) -> bool:
        """Return whether a chunk may be used: Faust also delivers what was queued before a rebalance."""
        consumer = self.consumer
        assert isinstance(consumer, ChunkConsumer)
        return consumer.is_current(chunk)

    def end_offset(self, topic: str, partition: int) -> int | None:
        """Return the end of a partition as far as is known. Any thread may ask."""
        consumer = self._consumer
        return consumer.end_offset(TP(topic, partition)) if isinstance(consumer, ChunkConsumer) else None

    def _create_directories(self) -> None:
        """Create none: Faust would put them into the current directory, for tables that no stage has."""


def stage_app(settings: Settings, name: str) -> StageApp:
    """Return an app without agents for the stage `name`; its consumer group is `<prefix>-<name>`.

    Raises
    ------
    SettingsError
        If a file with a password or a certificate cannot be used.
    """
    session_s = settings.kafka.session_timeout_s
    warn_if_exposed(settings.kafka)
    app = StageApp(
        f"{settings.kafka.prefix}-{name}",
        broker=";".join(f"{SCHEME}://{address}" for address in settings.kafka.bootstrap_servers.split(",")),
        agent_supervisor=CrashingSupervisor,
        autodiscover=False,
        broker_commit_interval=COMMIT_S,
        broker_credentials=credentials(settings.kafka),
        broker_heartbeat_interval=session_s / 5,
        broker_request_timeout=max(40.0, session_s),
        broker_session_timeout=session_s,
        producer_compression_type="gzip",  # the one that every client reads without another library
        producer_max_request_size=DEAD_LETTER_BYTES,
        producer_request_timeout=SEND_TIMEOUT_S,
        stream_wait_empty=False,  # commits do not come from acks, so there is nothing to wait for
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    app.settings, app.role = settings, name
    return app

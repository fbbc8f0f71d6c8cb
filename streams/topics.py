"""The topics: their names, partitions, retention, and whether a cluster has them as Tocsin needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    KafkaTimeoutError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)

from streams.diagnosis import diagnose
from streams.events import DAY_MS
from streams.security import MissingRightError, Operation, Resource, Right, client_arguments
from streams.settings import Kafka, Settings
from streams.topicfindings import DEAD_LETTER_BYTES, Actual, Finding, Severity, Topic, compare

#: How long a command waits for the first answer of a broker.
BOOTSTRAP_MS = 5_000
#: What it takes to compare a topic with what it should be.
_TO_LOOK = (Operation.DESCRIBE, Operation.DESCRIBE_CONFIGS)


class TopicsError(Exception):
    """The cluster cannot be reached, or its topics are not as they must be; the message has one line per finding."""


class UnreachableError(TopicsError):
    """No broker answers at the address; trying again later may help."""


class RefusedError(UnreachableError):
    """A broker answers, and does not let us in: somebody has to change something, here or there."""


def unreachable(settings: Kafka, error: Exception) -> UnreachableError:
    """Return the error that says which address was tried, and why in vain; `error` is what kafka-python raised."""
    return asyncio.run(unreached(settings, error))


async def unreached(settings: Kafka, error: Exception) -> UnreachableError:
    """Do the same where an event loop runs; `error` is what a client of Kafka raised."""
    if (diagnosis := await diagnose(settings)) is not None:
        return (RefusedError if diagnosis.refused else UnreachableError)(diagnosis.line)
    reason = "no broker answers" if isinstance(error, KafkaTimeoutError) else str(error)
    return UnreachableError(f"cannot reach Kafka at {settings.bootstrap_servers} (kafka.bootstrap_servers): {reason}")


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of all topics of a deployment, and what their records are keyed by."""

    prefix: str

    @property
    def reports(self) -> str:
        """What people say, written by anybody; by reporter, if there is a key."""
        return f"{self.prefix}.reports"

    @property
    def dead_letters(self) -> str:
        """Records of the reports topic that are no reports; by topic/partition/offset."""
        return f"{self.prefix}.reports.dlq"

    @property
    def counts(self) -> str:
        """Frames, marks and gaps; by source partition."""
        return f"{self.prefix}.counts"

    @property
    def baselines(self) -> str:
        """Snapshots of detector state; by service/bin/part."""
        return f"{self.prefix}.baselines"

    @property
    def incidents(self) -> str:
        """Transitions of incidents; by incident id/sequence number."""
        return f"{self.prefix}.incidents"

    @property
    def outages(self) -> str:
        """Outages after each change; by outage id/sequence number."""
        return f"{self.prefix}.outages"

    @property
    def levels(self) -> str:
        """Every service in every bin; by service."""
        return f"{self.prefix}.levels"

    @property
    def levels_15m(self) -> str:
        """Every service in every quarter of an hour; by service/start."""
        return f"{self.prefix}.levels.15m"

    @property
    def series(self) -> str:
        """What was counted around outages, bin by bin; by outage id/region/start."""
        return f"{self.prefix}.series"

    @property
    def alerts(self) -> str:
        """What a pager should hear; by service."""
        return f"{self.prefix}.alerts"


def layout(settings: Settings) -> list[Topic]:
    """Return every topic of a deployment as it should be."""
    topics = Topics(settings.kafka.prefix)
    by_source = settings.kafka.reports_partitions, "reports_partitions"
    by_service = settings.kafka.counts_partitions, "counts_partitions"
    if settings.kafka.clock == "broker":
        reports = {"message.timestamp.type": "LogAppendTime", "retention.ms": str(7 * DAY_MS)}
    else:
        # a replayed log is as old as what it tells of: neither its age nor its distance from now may matter
        forever = str(2**63 - 1)
        reports = {
            "message.timestamp.type": "CreateTime",
            "message.timestamp.before.max.ms": forever,
            "message.timestamp.after.max.ms": forever,
            "retention.ms": "-1",
        }

    def keep(days: int, policy: str = "delete") -> dict[str, str]:
        return {"cleanup.policy": policy, "retention.ms": str(days * DAY_MS)}

    return [
        Topic(
            topics.reports,
            *by_source,
            "workers that stand still for longer meet a gap",
            {"cleanup.policy": "delete", **reports},
            personal=True,
        ),
        Topic(
            topics.dead_letters,
            *by_source,
            "letters go before anybody has looked at them",
            # a record of the greatest size still has room for the headers that say what is wrong with it
            {**keep(30, "compact,delete"), "max.message.bytes": str(DEAD_LETTER_BYTES)},
            personal=True,
        ),
        Topic(topics.counts, *by_service, "detect workers that stand still for longer meet a gap", keep(2)),
        Topic(topics.baselines, *by_service, "detection would begin anew", {"cleanup.policy": "compact"}),
        Topic(topics.incidents, *by_service, "the incident log ends there", keep(400, "compact,delete")),
        Topic(topics.outages, *by_service, "the log of outages ends there", keep(400, "compact,delete")),
        Topic(topics.levels, *by_service, "the levels of earlier bins cannot be looked at", keep(7)),
        Topic(
            topics.levels_15m,
            *by_service,
            "the levels of earlier quarters cannot be looked at",
            keep(400, "compact,delete"),
        ),
        Topic(topics.series, *by_service, "charts of outages end there", {"cleanup.policy": "compact"}),
        Topic(topics.alerts, *by_service, "alerts that have not been delivered by then never are", keep(30)),
    ]


class Cluster:
    """A cluster's topics: a context manager around one connection.

    Raises
    ------
    UnreachableError
        If no broker answers, now or at any step until the context ends; the message says which address was tried.
    TopicsError
        If the cluster refuses an answer.
    MissingRightError
        If the user of the settings may not look at a topic.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wanted = layout(settings)
        arguments = client_arguments(settings.kafka)
        try:
            self._admin = KafkaAdminClient(**arguments, client_id="tocsin-topics", bootstrap_timeout_ms=BOOTSTRAP_MS)
        except (KafkaError, OSError, ValueError) as error:
            raise unreachable(settings.kafka, error) from None

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._admin.close()
        if isinstance(error, KafkaError):
            address = self._settings.kafka.bootstrap_servers
            if error.retriable:
                raise unreachable(self._settings.kafka, error) from None
            raise TopicsError(f"Kafka at {address} refuses to tell of its topics: {error}") from None

    def create(self) -> list[str]:
        """Create the topics that do not exist and return their names.

        Raises
        ------
        MissingRightError
            If the user of the settings may not create one; the others are created.
        """
        self.require_rights([Right(Operation.DESCRIBE, Resource.TOPIC, topic.name) for topic in self._wanted])
        existing = set(self._admin.list_topics())
        missing = [topic for topic in self._wanted if topic.name not in existing]
        replication = self._settings.kafka.replication_factor
        durable = {"min.insync.replicas": str(min(2, replication)), "unclean.leader.election.enable": "false"}
        new = [
            NewTopic(topic.name, topic.partitions, replication, topic_configs=topic.config | durable)
            for topic in missing
        ]
        try:
            if new:
                self._admin.create_topics(new, wait_for_metadata=True)
        except TopicAlreadyExistsError:
            pass  # somebody else creates them at the same time; `findings` says whether they are alike
        except TopicAuthorizationFailedError:
            existing = set(self._admin.list_topics())
            lacking = [
                Right(Operation.CREATE, Resource.TOPIC, topic.name) for topic in missing if topic.name not in existing
            ]
            raise MissingRightError(self._settings.kafka, lacking) from None
        except KafkaError as error:
            raise TopicsError(f"cannot create {', '.join(topic.name for topic in missing)}: {error}") from None
        return [topic.name for topic in missing]

    def delete(self) -> None:
        """Delete every topic of the deployment that exists, with all that is in it."""
        existing = set(self._admin.list_topics())
        self._admin.delete_topics([topic.name for topic in self._wanted if topic.name in existing])

    def require(self, *names: str) -> None:
        """Raise a TopicsError if there are findings about these topics."""
        findings = list(self.findings(names))
        if findings:
            raise TopicsError("\n".join(findings))

    def findings(self, names: Collection[str] = ()) -> Iterator[str]:
        """Yield for what these topics of the deployment make workers refuse, all if none is named, one line each."""
        return (str(each) for each in self.differences(names) if each.severity is Severity.MUST)

    def differences(self, names: Collection[str] = ()) -> Iterator[Finding]:
        """Yield every difference between these topics, all if none is named, and what they should be."""
        asked = [topic for topic in self._wanted if not names or topic.name in names]
        looks = [Right(operation, Resource.TOPIC, topic.name) for topic in asked for operation in _TO_LOOK]
        self.require_rights(looks)
        existing = self._described([topic.name for topic in asked])
        for wanted in asked:
            topic, config = existing.get(wanted.name), self._config(wanted.name)
            actual = Actual()
            if topic is not None:  # a topic may vanish between the two: then it has no configuration
                actual = Actual([len(each["replica_nodes"]) for each in topic["partitions"]], config)
            yield from compare(wanted, actual, self._settings)

    def require_rights(self, rights: Collection[Right], role: str | None = None) -> None:
        """Raise a MissingRightError about those of these rights that the user of the settings does not have.

        Parameters
        ----------
        rights
            What is to be allowed; what does not exist yet is not looked at.
        role
            The role of `streams.acls` that needs it, for the message.
        """
        topics = {right.name for right in rights if right.resource is Resource.TOPIC}
        allowed = {(Resource.TOPIC, name): operations for name, operations in self._allowed_topics(topics)}
        for name in {right.name for right in rights if right.resource is Resource.GROUP}:
            allowed[Resource.GROUP, name] = self._allowed_group(name)
        missing = [
            right
            for right in rights
            if (operations := allowed[right.resource, right.name]) is not None
            and right.operation.name not in operations
        ]
        if missing:
            raise MissingRightError(self._settings.kafka, missing, role)

    def _allowed_topics(self, names: Collection[str]) -> Iterator[tuple[str, Collection[str] | None]]:
        """Yield what may be done with each of these topics, None where that is not known."""
        for topic in self._admin.describe_topics(sorted(names)) if names else ():
            name = topic["name"]
            if topic["error_code"] == TopicAuthorizationFailedError.errno:  # not even Describe, which others imply
                yield name, [Operation.DESCRIBE_CONFIGS.name] if self._config(name) else []
            else:
                yield name, topic["authorized_operations"]

    def _allowed_group(self, name: str) -> Collection[str] | None:
        try:
            described: Any = self._admin.describe_groups([name])
        except GroupAuthorizationFailedError:
            return ()
        # where the coordinator is known already, the refusal comes as text
        if GroupAuthorizationFailedError.__name__ in str(described[name]["error"]):
            return ()
        operations: Collection[str] | None = described[name]["authorized_operations"]
        return operations  # none before the group's first member

    def _described(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return Kafka's description of those of these topics that exist."""
        described: list[dict[str, Any]] = self._admin.describe_topics(list(names))
        return {topic["name"]: topic for topic in described if topic["error_code"] == 0}

    def _config(self, name: str) -> dict[str, str]:
        """Return the configuration of a topic, nothing if there is no such topic."""
        resource = ConfigResource(ConfigResourceType.TOPIC, name)
        answer: Any = self._admin.describe_configs([resource], config_filter="all")
        return {key: entry["value"] for key, entry in answer["topic"][name].items()}

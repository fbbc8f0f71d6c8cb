"""The rights of `streams.acls` on a Kafka that asks for them: they suffice, and one that is missing is named."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)

from streams import acls
from streams.acls import Role, rights
from streams.broker import EmbeddedBroker, Listener
from streams.cli.context import ExitCode
from streams.deadletters import Selection, redrive, summaries
from streams.intake import Intake, Returned
from streams.security import MissingRightError, Operation, Resource, Right
from streams.settings import Count, Kafka, Settings
from streams.tail import Record, tail
from streams.topicrecords import append_times
from streams.topics import Cluster, Topics, layout
from streams.web.reader import look
from streams.worker import STAGES
from tests.support.processes import Process, processes
from tests.support.reports import record, report
from tests.support.waiting import until

#: Bins of a second, so that the workers soon have something to say.
QUICK = {"bin_s": 1, "window_bins": 5, "epoch_s": 10, "allowed_lateness_s": 1, "flush_s": 0.2, "idle_tick_s": 0.3}
ROLES = list(Role)
_numbers = itertools.count()


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    """A Kafka that allows the users called after the roles what ACLs say, and its administrators everything."""
    users = {f"tocsin-{role}": "x" for role in ROLES}
    with EmbeddedBroker(listeners={"USERS": Listener(sasl=True)}, users=users, authorize=True) as running:
        yield running


@pytest.fixture(scope="module")
def admin(broker: EmbeddedBroker) -> Iterator[Any]:
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as client:
        yield client


class Deployment:
    """Topics of its own, whose roles are allowed nothing but what the table says."""

    def __init__(
        self, broker: EmbeddedBroker, admin: Any, *, create: bool = True, withheld: Operation | None = None
    ) -> None:
        self._broker = broker
        self._admin = admin
        self.prefix = f"acls-{next(_numbers)}"
        self.topics = Topics(self.prefix)
        for role in ROLES:
            self.allow(role, [right for right in rights(role, self.settings(role)) if right.operation is not withheld])
        if create:
            with Cluster(self.administrator) as cluster:
                cluster.create()

    @property
    def administrator(self) -> Settings:
        """The settings of somebody who is allowed everything."""
        return Settings(kafka=self._kafka(bootstrap_servers=self._broker.bootstrap_servers))

    def settings(self, role: Role) -> Settings:
        """Return the settings of a role, that authenticates as the user of its name."""
        user = {"security_protocol": "SASL_PLAINTEXT", "sasl_username": f"tocsin-{role}", "sasl_password": "x"}
        servers = self._broker.servers("USERS")
        return Settings(kafka=self._kafka(bootstrap_servers=servers, **user), count=Count(**QUICK))  # type: ignore[arg-type]  # numbers of two types

    def options(self, role: Role) -> dict[str, object]:
        """Return the same for a process."""
        kafka = self.settings(role).kafka.model_dump(exclude_defaults=True) | {"sasl_password": "x"}
        own = {f"kafka__{key}": value for key, value in kafka.items()}
        detector = {"detect__detector": "limit", "detect__limit__above": 1}
        return own | {f"count__{key}": value for key, value in QUICK.items()} | detector | {"worker__http_port": 0}

    def allow(self, role: Role, given: Sequence[Right]) -> None:
        self._admin.create_acls([_acl(role, right) for right in given])

    def existing(self) -> set[str]:
        return {name for name in self._admin.list_topics() if name.startswith(f"{self.prefix}.")}

    @contextmanager
    def without(self, role: Role, right: Right) -> Iterator[None]:
        """Take a right away, and give it back at the end."""
        self._admin.delete_acls([_acl(role, right)])
        try:
            yield
        finally:
            self.allow(role, [right])

    def _kafka(self, **own: Any) -> Kafka:
        return Kafka(prefix=self.prefix, reports_partitions=1, counts_partitions=1, session_timeout_s=2, **own)


def _acl(role: Role, right: Right) -> ACL:
    pattern = ResourcePattern(ResourceType[right.resource.name], right.name, ACLResourcePatternType.LITERAL)
    operation = ACLOperation[right.operation.name]
    return ACL(f"User:tocsin-{role}", "*", operation, ACLPermissionType.ALLOW, pattern)


async def _all(settings: Settings, *topics: str) -> list[Record]:
    return [each async for records in tail(settings, topics, follow=False) for each in records]


def told(error: pytest.ExceptionInfo[MissingRightError]) -> list[str]:
    """Return the lines of an error without what is said at the end of each."""
    return [line.partition(";")[0] for line in str(error.value).splitlines()]


# --- They suffice ---------------------------------------------------------------------------------------------------


class Running(NamedTuple):
    deployment: Deployment
    workers: dict[Role, Process]


@pytest.fixture(scope="module")
def running(broker: EmbeddedBroker, admin: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A worker of every stage, each its own user."""
    deployment = Deployment(broker, admin, create=False)
    with Cluster(deployment.settings(Role.TOPICS)) as cluster:
        cluster.create()
        assert list(cluster.differences()) == []
    with processes(tmp_path_factory.mktemp("workers")) as start:
        workers = {role: start("worker", role, **deployment.options(role)) for role in map(Role, STAGES)}
        for role, worker in workers.items():
            until(worker.is_ready, f"{role} is ready", 60)
        yield Running(deployment, workers)


def test_with_nothing_else_reports_become_incidents_and_alerts(running: Running) -> None:
    deployment = running.deployment
    incidents, alerts = deployment.topics.incidents, deployment.topics.alerts

    def has_opened() -> bool:
        with Intake(deployment.settings(Role.PRODUCE)) as intake:
            intake.reports([record(0, report()) for _ in range(20)])
        return bool(asyncio.run(_all(deployment.settings(Role.READ), incidents)))

    until(has_opened, "an incident is stated", 60)
    until(lambda: asyncio.run(_all(deployment.administrator, alerts)), "it is alerted of", 60)
    assert [worker.errors() for worker in running.workers.values()] == [[], [], []]


def test_with_nothing_else_dead_letters_are_written_read_and_sent_back(running: Running) -> None:
    reader, redriver = running.deployment.settings(Role.READ), running.deployment.settings(Role.REDRIVE)
    with Intake(running.deployment.settings(Role.PRODUCE)) as intake:
        intake.reports([record(0, b"no report")])
    until(lambda: asyncio.run(summaries(reader, Selection())), "the letter is there")
    done = asyncio.run(
        redrive(redriver, Selection(), through="""sed 's/.*/{"service":"x","region":"US"}/'""", dry_run=False)
    )
    assert (done.sent, done.left) == (1, [])
    assert asyncio.run(summaries(reader, Selection())) == []


@pytest.mark.parametrize(
    ("role", "right"),
    [
        (Role.COUNT, lambda topics: Right(Operation.WRITE, Resource.TOPIC, topics.counts)),
        (Role.DETECT, lambda topics: Right(Operation.READ, Resource.TOPIC, topics.counts)),
        (Role.NOTIFY, lambda topics: Right(Operation.READ, Resource.GROUP, f"{topics.prefix}-notify")),
    ],
    ids=["count", "detect", "notify"],
)
def test_a_worker_that_loses_one_ends_with_the_line_that_names_it(
    running: Running, role: Role, right: Callable[[Topics], Right]
) -> None:
    lost = right(running.deployment.topics)
    with running.deployment.without(role, lost):
        assert running.workers[role].exit_code() == ExitCode.USAGE
    said = f"{role}: the user tocsin-{role} (kafka.sasl_username) lacks {lost.operation} on {lost.resource} {lost.name}"
    assert [line for line in running.workers[role].errors() if said in line] != []


# --- Each is needed, and named where it is missing ------------------------------------------------------------------


@pytest.fixture(scope="module")
def deployment(broker: EmbeddedBroker, admin: Any) -> Deployment:
    """One with a record in each topic, for what is empty is not read."""
    own = Deployment(broker, admin)
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
        for topic in layout(own.settings(Role.TOPICS)):
            producer.send(topic.name, b"{}", key=b"any").get(timeout=30)
    return own


@pytest.mark.parametrize("role", [Role.COUNT, Role.DETECT, Role.NOTIFY])
def test_a_stage_misses_each_at_its_start(deployment: Deployment, role: Role) -> None:
    settings = deployment.settings(role)
    needed = rights(role, settings)
    with Cluster(settings) as cluster:
        cluster.require_rights(needed, role)
        for right in needed:
            with deployment.without(role, right), pytest.raises(MissingRightError) as raised:
                until(lambda: cluster.require_rights(needed, role), f"{right} is taken away")
            who = f"{role}: the user tocsin-{role} (kafka.sasl_username)"
            assert told(raised) == [f"{who} lacks {right.operation} on {right.resource} {right.name}"]
            until(lambda: _works(lambda: cluster.require_rights(needed)), f"{right} is given back")


def _works(command: Callable[[], object]) -> bool:
    try:
        command()
    except MissingRightError:
        return False
    return True


def produce(settings: Settings, topics: Topics) -> None:
    with Cluster(settings) as cluster:
        acls.require(cluster, settings, Role.PRODUCE, topics.reports)
    with Intake(settings) as intake:
        intake.reports([record(0, report())])


def backfill(settings: Settings, topics: Topics) -> None:
    with Cluster(settings) as cluster:
        acls.require(cluster, settings, Role.BACKFILL, topics.baselines)
    asyncio.run(_all(settings, topics.baselines))
    with Intake(settings) as intake:
        intake.baselines({}, {0: [b"of before"]})


def read(settings: Settings, topics: Topics) -> None:
    with Cluster(settings) as cluster:
        acls.require(cluster, settings, Role.READ, topics.reports, topics.dead_letters, topics.incidents, topics.levels)
    asyncio.run(_all(settings, topics.incidents))
    for topic in (topics.reports, topics.dead_letters):
        asyncio.run(append_times(settings, topic))


def send_back(settings: Settings, topics: Topics) -> None:
    with Cluster(settings) as cluster:
        acls.require(cluster, settings, Role.REDRIVE, topics.reports, topics.dead_letters)
    for topic in (topics.reports, topics.dead_letters):
        asyncio.run(append_times(settings, topic))
    with Intake(settings) as intake:
        intake.send_back([Returned(record(0, report()), [], b"letter", 0)])


def watch(settings: Settings, topics: Topics) -> None:
    look(settings)
    for topic in (topics.incidents, topics.outages, topics.levels, topics.levels_15m, topics.series):
        asyncio.run(_all(settings, topic))


@pytest.mark.parametrize(
    ("role", "command"),
    [
        (Role.PRODUCE, produce),
        (Role.BACKFILL, backfill),
        (Role.READ, read),
        (Role.REDRIVE, send_back),
        (Role.WEB, watch),
    ],
)
def test_a_command_ends_with_the_line_that_names_it(
    deployment: Deployment, role: Role, command: Callable[[Settings, Topics], None]
) -> None:
    settings, topics = deployment.settings(role), deployment.topics
    until(lambda: _works(lambda: command(settings, topics)), "all is allowed")
    for right in rights(role, settings):
        with deployment.without(role, right), pytest.raises(MissingRightError) as raised:
            until(lambda: command(settings, topics), f"{right} is taken away")
        who = f"{role}: the user tocsin-{role} (kafka.sasl_username)"
        assert told(raised) == [f"{who} lacks {right.operation} on topic {right.name}"]
        until(lambda: _works(lambda: command(settings, topics)), f"{right} is given back")


@pytest.mark.parametrize("withheld", [Operation.DESCRIBE, Operation.CREATE])
def test_topics_that_may_not_be_looked_at_or_created_are_named(
    broker: EmbeddedBroker, admin: Any, withheld: Operation
) -> None:
    deployment = Deployment(broker, admin, create=False, withheld=withheld)
    settings = deployment.settings(Role.TOPICS)
    names = [topic.name for topic in layout(settings)]
    with Cluster(settings) as cluster:
        with pytest.raises(MissingRightError) as raised:
            cluster.create()
        assert told(raised) == [
            f"the user tocsin-topics (kafka.sasl_username) lacks {withheld} on topic {name}" for name in names
        ]
        assert deployment.existing() == set()
        deployment.allow(Role.TOPICS, rights(Role.TOPICS, settings))
        until(lambda: _works(cluster.create), "all is allowed, and done")
    assert deployment.existing() == set(names)


def test_no_right_is_missed_by_whom_everything_is_allowed(broker: EmbeddedBroker, admin: Any) -> None:
    deployment = Deployment(broker, admin)
    with Cluster(deployment.administrator) as cluster:
        cluster.require_rights(rights(Role.COUNT, deployment.settings(Role.COUNT)), Role.COUNT)

"""What each part of Tocsin has to be allowed on a cluster that asks: the least, shown by tests/broker/test_acls.py."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from enum import StrEnum
from itertools import groupby

from streams.security import Operation, Resource, Right
from streams.settings import Settings
from streams.topics import Cluster, Topics, layout

_READ, _WRITE, _CREATE = Operation.READ, Operation.WRITE, Operation.CREATE
_LOOK = (Operation.DESCRIBE, Operation.DESCRIBE_CONFIGS)


class Role(StrEnum):
    """The parts of Tocsin that a cluster may be told apart as users."""

    COUNT = "count"
    DETECT = "detect"
    NOTIFY = "notify"
    TOPICS = "topics"
    PRODUCE = "produce"
    BACKFILL = "backfill"
    WEB = "web"
    READ = "read"
    REDRIVE = "redrive"


#: What runs in each role.
PURPOSES = {
    Role.COUNT: "tocsin worker count",
    Role.DETECT: "tocsin worker detect",
    Role.NOTIFY: "tocsin worker notify",
    Role.TOPICS: "tocsin topics create and check",
    Role.PRODUCE: "tocsin produce and simulate",
    Role.BACKFILL: "tocsin backfill",
    Role.WEB: "tocsin web",
    Role.READ: "tocsin incidents, explain, export, dlq list and dlq show",
    Role.REDRIVE: "tocsin dlq redrive",
}
_STAGES = {Role.COUNT, Role.DETECT, Role.NOTIFY}


def rights(role: Role, settings: Settings) -> list[Right]:
    """Return what a role has to be allowed, resource by resource.

    Parameters
    ----------
    role
        What runs.
    settings
        The deployment's settings, which name the topics.
    """
    topics = Topics(settings.kafka.prefix)
    everything = [topic.name for topic in layout(settings)]
    # the operations by topic; whoever reads or writes may also describe
    uses: dict[Role, dict[str, tuple[Operation, ...]]] = {
        Role.COUNT: {
            # the stage writes ticks to where it reads from
            topics.reports: (_READ, _WRITE) if settings.kafka.clock == "broker" else (_READ,),
            topics.dead_letters: (_WRITE,),
            topics.counts: (_WRITE,),
        },
        Role.DETECT: {
            # it writes to where it reads from what --apply-settings has begun
            topics.counts: (_READ, _WRITE),
            topics.baselines: (_READ, _WRITE),
            # incidents that lost state has forgotten are read at a start
            topics.incidents: (_READ, _WRITE),
            topics.outages: (_READ, _WRITE),
            topics.levels: (_WRITE,),
            topics.levels_15m: (_WRITE,),
            topics.series: (_WRITE,),
        },
        Role.NOTIFY: {topics.incidents: (_READ,), topics.alerts: (_WRITE,)},
        Role.TOPICS: dict.fromkeys(everything, (_CREATE,)),
        Role.PRODUCE: {topics.reports: (_WRITE,)},
        Role.BACKFILL: {topics.baselines: (_READ, _WRITE)},
        Role.WEB: dict.fromkeys(
            (topics.incidents, topics.outages, topics.levels, topics.levels_15m, topics.series), (_READ,)
        ),
        Role.READ: dict.fromkeys((topics.reports, topics.dead_letters, topics.incidents, topics.levels), (_READ,)),
        Role.REDRIVE: dict.fromkeys((topics.reports, topics.dead_letters), (_READ, _WRITE)),
    }
    used = uses[role]
    # workers compare all topics with what they should be, commands those that they use
    looked_at = everything if role in _STAGES | {Role.TOPICS} else list(used)
    found = [
        Right(operation, Resource.TOPIC, name)
        for name in looked_at
        for operation in (*used.get(name, ()), *_looks(used.get(name, ())))
    ]
    if role in _STAGES:
        found.append(Right(_READ, Resource.GROUP, f"{settings.kafka.prefix}-{role}"))
    return found


def require(cluster: Cluster, settings: Settings, role: Role, *topics: str) -> None:
    """Raise an error unless a role may do with these topics what it has to, and they are as they must be.

    Raises
    ------
    MissingRightError
        If it may not.
    TopicsError
        If one of them is missing or otherwise.
    """
    cluster.require_rights([right for right in rights(role, settings) if right.name in topics], role)
    cluster.require(*topics)


def by_operations(role: Role, settings: Settings) -> dict[tuple[Resource, tuple[Operation, ...]], list[str]]:
    """Return the same as names of resources, by their kind and what has to be allowed on each of them."""
    found: dict[tuple[Resource, tuple[Operation, ...]], list[str]] = {}
    for (resource, name), same in groupby(rights(role, settings), key=lambda each: (each.resource, each.name)):
        found.setdefault((resource, tuple(each.operation for each in same)), []).append(name)
    return found


def commands(role: Role, settings: Settings, principal: str) -> Iterator[str]:
    """Yield the command lines by which an administrator allows a principal, `User:tocsin`, all that a role needs."""
    tool = f"kafka-acls.sh --bootstrap-server {settings.kafka.bootstrap_servers} --command-config admin.properties"
    for (resource, operations), names in by_operations(role, settings).items():
        what = [*(f"--operation {operation}" for operation in operations), *(f"--{resource} {name}" for name in names)]
        yield f"{tool} --add --allow-principal {shlex.quote(principal)} {' '.join(what)}"


def _looks(operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    return _LOOK[1:] if {_READ, _WRITE} & set(operations) else _LOOK

"""What each part of Tocsin has to be allowed on a cluster that asks: the least, shown by tests/broker/test_acls.py."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from streams.security import Operation, Resource, Right
from streams.settings import Settings
from streams.topics import Topics, layout

_READ, _WRITE, _CREATE = Operation.READ, Operation.WRITE, Operation.CREATE
_LOOK = (Operation.DESCRIBE, Operation.DESCRIBE_CONFIGS)

#: What each role is for.
ROLES = {
    "count": "tocsin worker count",
    "detect": "tocsin worker detect",
    "notify": "tocsin worker notify",
    "topics": "tocsin topics create and check",
    "produce": "tocsin produce and simulate",
    "backfill": "tocsin backfill",
    "read": "tocsin incidents, export, dlq list and dlq show",
    "redrive": "tocsin dlq redrive",
}


def rights(role: str, settings: Settings) -> list[Right]:
    """Return what a role has to be allowed, resource by resource.

    Parameters
    ----------
    role
        One of `ROLES`.
    settings
        The deployment's settings, which name the topics.
    """
    topics = Topics(settings.kafka.prefix)
    everything = [topic.name for topic in layout(settings)]
    # the operations by topic; whoever reads or writes may also describe
    uses: dict[str, dict[str, tuple[Operation, ...]]] = {
        "count": {
            # the stage writes ticks to where it reads from
            topics.reports: (_READ, _WRITE) if settings.kafka.clock == "broker" else (_READ,),
            topics.dead_letters: (_WRITE,),
            topics.counts: (_WRITE,),
        },
        "detect": {
            # it writes to where it reads from what --apply-settings has begun
            topics.counts: (_READ, _WRITE),
            topics.baselines: (_READ, _WRITE),
            # incidents that lost state has forgotten are read at a start
            topics.incidents: (_READ, _WRITE),
            topics.outages: (_READ, _WRITE),
            topics.levels: (_WRITE,),
        },
        "notify": {topics.incidents: (_READ,), topics.alerts: (_WRITE,)},
        "topics": dict.fromkeys(everything, (_CREATE,)),
        "produce": {topics.reports: (_WRITE,)},
        "backfill": {topics.baselines: (_READ, _WRITE)},
        "read": dict.fromkeys((topics.reports, topics.dead_letters, topics.incidents), (_READ,)),
        "redrive": dict.fromkeys((topics.reports, topics.dead_letters), (_READ, _WRITE)),
    }
    used = uses[role]
    # workers compare all topics with what they should be, commands those that they use
    looked_at = everything if role in ("count", "detect", "notify", "topics") else list(used)
    found = [
        Right(operation, Resource.TOPIC, name)
        for name in looked_at
        for operation in (*used.get(name, ()), *_looks(used.get(name, ())))
    ]
    if role in ("count", "detect", "notify"):
        found.append(Right(_READ, Resource.GROUP, f"{settings.kafka.prefix}-{role}"))
    return found


def commands(role: str, settings: Settings, principal: str) -> Iterator[str]:
    """Yield the command lines that allow a principal, such as `User:tocsin`, all that a role needs."""
    for (resource, name), same in groupby(rights(role, settings), key=lambda each: (each.resource, each.name)):
        operations = " ".join(f"--operation {each.operation}" for each in same)
        yield f"kafka-acls.sh --add --allow-principal {principal} {operations} --{resource} {name}"


def _looks(operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    return _LOOK[1:] if {_READ, _WRITE} & set(operations) else _LOOK

"""What a topic should be, what it is, and what each difference means."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from streams.events import DAY_MS
from streams.settings import Settings

#: Largest dead letter; the records of the reports topic are at most half as large.
DEAD_LETTER_BYTES = 2 << 20
#: What its headers may take of that, and the largest record of the other topics.
_HEADER_BYTES = 64 << 10
_FACT_BYTES = 1_000_000
_FOR_EVER = -1


class Severity(StrEnum):
    """How much a difference matters."""

    #: Exactness is at stake: workers refuse to start.
    MUST = "must"
    #: Something works worse or later, or is kept for shorter or longer, than the documentation says.
    SHOULD = "should"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it should be."""

    name: str
    partitions: int
    #: The setting of `[kafka]` that says how many.
    partitions_key: str
    #: What happens when its records go earlier than they should.
    when_lost: str
    config: dict[str, str] = field(default_factory=dict)
    #: Whether its records say who has reported.
    personal: bool = False


@dataclass(frozen=True, slots=True)
class Actual:
    """One topic as it is: the replicas of each partition, and its configuration; empty where there is no such topic."""

    replicas: Sequence[int] = ()
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between a topic as it is and as it should be."""

    topic: str
    severity: Severity
    setting: str
    actual: str
    wanted: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"topic {self.topic} has {self.setting}={self.actual}, not {self.wanted}: {self.why}; {self.remedy}"


class _MissingTopic(Finding):
    def __str__(self) -> str:
        return f"topic {self.topic} does not exist: {self.remedy}"


def compare(wanted: Topic, actual: Actual, settings: Settings) -> Iterator[Finding]:
    """Yield how a topic differs from what it should be, the gravest first.

    Parameters
    ----------
    wanted, actual
        The topic as it should be and as it is.
    settings
        The deployment's.
    """
    if not actual.config:
        missing = wanted.name, Severity.MUST, "existence", "no", "yes", "the stages write to it or read from it"
        yield _MissingTopic(*missing, "run `tocsin topics create`")
        return
    found = [
        *_layout(wanted, actual, settings),
        *_semantics(wanted, actual.config, settings),
        *_durability(wanted, actual, settings),
        *_retention(wanted, actual.config, settings),
        *_sizes(wanted, actual.config, settings),
    ]
    yield from sorted(found, key=lambda each: each.severity is not Severity.MUST)


def _layout(wanted: Topic, actual: Actual, settings: Settings) -> Iterator[Finding]:
    if len(actual.replicas) != wanted.partitions:
        yield Finding(
            wanted.name,
            Severity.MUST,
            "partitions",
            str(len(actual.replicas)),
            str(wanted.partitions),
            f"kafka.{wanted.partitions_key} says so, and records would go where nobody looks for them",
            f"set kafka.{wanted.partitions_key} = {len(actual.replicas)}, or drain to a new kafka.prefix",
        )
    least, factor = min(actual.replicas, default=0), settings.kafka.replication_factor
    if least < factor:
        yield Finding(
            wanted.name,
            Severity.MUST,
            "replicas",
            str(least),
            str(factor),
            "kafka.replication_factor says so, and a lost broker would take its records along",
            f"add replicas with kafka-reassign-partitions.sh, or set kafka.replication_factor = {least}",
        )


def _semantics(wanted: Topic, config: Mapping[str, str], settings: Settings) -> Iterator[Finding]:
    """Compare what decides which records there are and which times they have."""
    policy = wanted.config["cleanup.policy"]
    if sorted(config["cleanup.policy"].split(",")) != sorted(policy.split(",")):
        why = {
            "delete": "compaction would leave one record of each key",
            "compact": "snapshots would go by their age, and with them what quiet services have taught",
            "compact,delete": "records that are stated again or taken back would stay, or all would stay for ever",
        }[policy]
        yield _config(wanted, Severity.MUST, "cleanup.policy", config, policy, why, settings)
    kind = wanted.config.get("message.timestamp.type")
    if kind is not None and config["message.timestamp.type"] != kind:
        clock = settings.kafka.clock
        other = "log" if clock == "broker" else "broker"
        why = f'kafka.clock = "{clock}" takes append times from there'
        found = _config(wanted, Severity.MUST, "message.timestamp.type", config, kind, why, settings)
        yield replace(found, remedy=f'{found.remedy} (or set kafka.clock = "{other}")')
    for name in ("message.timestamp.before.max.ms", "message.timestamp.after.max.ms"):
        limit = wanted.config.get(name)
        if limit is not None and int(config.get(name, limit)) < int(limit):  # brokers before 3.6 have no such limits
            why = "the broker would refuse records that are far from now, as those of a replay are"
            yield _config(wanted, Severity.SHOULD, name, config, limit, why, settings)


def _durability(wanted: Topic, actual: Actual, settings: Settings) -> Iterator[Finding]:
    if settings.kafka.replication_factor < 2:
        return
    config, replicas = actual.config, min(actual.replicas, default=0)
    insync = int(config["min.insync.replicas"])
    if insync < 2:
        why = "facts that one broker alone has acknowledged would be lost with it"
        yield _config(wanted, Severity.MUST, "min.insync.replicas", config, "2", why, settings)
    elif insync >= replicas > 2:  # of two replicas both have to acknowledge
        why = "nothing can be written while a single broker is down"
        yield _config(wanted, Severity.SHOULD, "min.insync.replicas", config, str(replicas - 1), why, settings)
    if config["unclean.leader.election.enable"] == "true":
        why = "a broker that is behind could become leader and take back facts"
        yield _config(wanted, Severity.MUST, "unclean.leader.election.enable", config, "false", why, settings)


def _retention(wanted: Topic, config: Mapping[str, str], settings: Settings) -> Iterator[Finding]:
    if "retention.ms" in wanted.config:
        right, is_ = int(wanted.config["retention.ms"]), int(config["retention.ms"])
        shorter = is_ != _FOR_EVER and (right == _FOR_EVER or is_ < right)
        longer = right != _FOR_EVER and (is_ == _FOR_EVER or is_ > right)
        why = None
        if shorter and right == _FOR_EVER:
            why = "replayed records are as old as what they tell of, and would be deleted at once"
        elif shorter:
            why = f"records go after {is_ / DAY_MS:.3g} d, not {right / DAY_MS:.3g} d: {wanted.when_lost}"
        elif longer and wanted.personal:
            why = f"reporters are personal data, and are to be kept for {right / DAY_MS:.3g} days"
        if why is not None:
            yield _config(wanted, Severity.SHOULD, "retention.ms", config, str(right), why, settings)
    if "delete" in config["cleanup.policy"] and int(config["retention.bytes"]) != _FOR_EVER:
        why = f"where the topic is larger, records go however new they are: {wanted.when_lost}"
        yield _config(wanted, Severity.SHOULD, "retention.bytes", config, str(_FOR_EVER), why, settings)


def _sizes(wanted: Topic, config: Mapping[str, str], settings: Settings) -> Iterator[Finding]:
    largest = int(config["max.message.bytes"])
    if "max.message.bytes" in wanted.config:
        least = int(wanted.config["max.message.bytes"])
        if largest < least:
            why = "count would stand still at a large record that is no report"
            yield _config(wanted, Severity.SHOULD, "max.message.bytes", config, str(least), why, settings)
    elif wanted.personal:
        most = DEAD_LETTER_BYTES - _HEADER_BYTES
        if largest > most:
            why = "count would stand still at a record that is no report and too large for a dead letter"
            yield _config(wanted, Severity.SHOULD, "max.message.bytes", config, str(most), why, settings)
    elif largest < _FACT_BYTES:
        why = "a stage would stand still at a fact that is too large, such as the levels of many regions"
        yield _config(wanted, Severity.SHOULD, "max.message.bytes", config, str(_FACT_BYTES), why, settings)


def _config(
    wanted: Topic, severity: Severity, name: str, config: Mapping[str, str], value: str, why: str, settings: Settings
) -> Finding:
    return Finding(wanted.name, severity, name, config[name], value, why, _alter(wanted.name, name, value, settings))


def _alter(topic: str, name: str, value: str, settings: Settings) -> str:
    """Return the command of Kafka's that sets this."""
    listed = f"[{value}]" if "," in value else value
    return shlex.join(
        [
            *("kafka-configs.sh", "--bootstrap-server", settings.kafka.bootstrap_servers, "--alter"),
            *("--entity-type", "topics", "--entity-name", topic, "--add-config", f"{name}={listed}"),
        ]
    )

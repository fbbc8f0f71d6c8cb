"""The AsyncAPI document: every topic with its key, headers and records, and which stage writes or reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from streams.events import TICK_KEY
from streams.fields import SERVICE_PATTERN, whole
from streams.settings import Settings
from streams.topicfindings import Topic
from streams.topics import Topics, layout

FILE = "asyncapi.yaml"
REPORTS = "reports.json"
DEAD_LETTER_HEADERS = "reports.dlq.headers.json"
COUNTS = "counts.json"
BASELINES = "baselines.json"
INCIDENTS = "incidents.json"
OUTAGES = "outages.json"
LEVELS = "levels.json"
LEVELS_15M = "levels.15m.json"
SERIES = "series.json"
ALERTS = "alerts.json"
EVENT_HEADERS = "event.headers.json"

#: The channel that each stage reads as a consumer group; what else it reads, it reads whole.
_INPUT = {"count": "reports", "detect": "counts", "notify": "incidents"}
_BINDING = {"bindingVersion": "0.5.0"}
_BINARY = "application/octet-stream"

Tree = dict[str, Any]


def document() -> Tree:
    """Return the document for the default settings."""
    settings = Settings()
    topics = Topics(settings.kafka.prefix)
    channels = {_name(topic.name): _channel(topic) for topic in layout(settings)}
    for name, messages in _messages().items():
        channels[name]["messages"] = messages
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tocsin",
            "version": "1",
            "description": (
                "Reports of users become incidents. Partition numbers, prefix and clock are settings; shown are the "
                f"defaults. Behind {topics.counts} each record goes to the partition of its service (murmur2), "
                "whatever its key."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "cluster": {
                "host": settings.kafka.bootstrap_servers,
                "protocol": "kafka",
                "description": "The brokers of kafka.bootstrap_servers.",
            }
        },
        "channels": channels,
        "operations": dict(_operations(topics)),
    }


def _name(topic: str) -> str:
    """Return the name of a topic's channel: without the prefix, without dots."""
    return topic.partition(".")[2].replace(".", "-")


def _channel(topic: Topic) -> Tree:
    config: Tree = {
        name: int(value) if re.fullmatch(r"-?[0-9]+", value) else value for name, value in topic.config.items()
    }
    config["cleanup.policy"] = topic.config["cleanup.policy"].split(",")
    binding = {"topic": topic.name, "partitions": topic.partitions, "topicConfiguration": config, **_BINDING}
    return {"address": topic.name, "messages": {}, "bindings": {"kafka": binding}}


def _messages() -> dict[str, dict[str, Tree]]:
    """Return the messages of every channel."""
    service_key = {"type": "string", "pattern": whole(SERVICE_PATTERN), "description": "The service."}
    fact_key = {"type": "string", "description": "Id/sequence number: readers take each key once."}
    source_key = {"type": "string", "pattern": "^[0-9]+$", "description": "The source partition."}
    reporter_key = {"type": "string", "description": "The reporter, so that one counts once; or no key."}
    tick_key = {"const": TICK_KEY.decode()}
    place_key = {"type": "string", "pattern": r"^.+/[0-9]+/[0-9]+$", "description": "topic/partition/offset."}
    quarter_key = {"type": "string", "pattern": r"^.+/-?[0-9]+$", "description": "service/start."}
    series_key = {"type": "string", "pattern": r"^.+/.+/-?[0-9]+$", "description": "outage id/region/start."}
    snapshot_key = {"type": "string", "pattern": r"^.+/-?[0-9]+/[0-9]+$", "description": "service/bin/part."}
    bytes_ = {"type": "string", "format": "binary"}
    return {
        "reports": {
            "report": _message("Somebody says that a service fails for them.", reporter_key, _file(REPORTS)),
            "tick": _message("Nothing but an append time, where a partition is quiet.", tick_key, {"type": "null"}),
        },
        "reports-dlq": {
            "deadLetter": _message(
                "A record of the reports topic that is no report.",
                place_key,
                {**bytes_, "description": "The record's value, byte for byte; empty if it had none."},
                headers=DEAD_LETTER_HEADERS,
                contentType=_BINARY,
            )
        },
        "counts": {
            name: _message(summary, key, _file(f"{COUNTS}#/$defs/{kind}"))
            for name, kind, key, summary in (
                ("frame", "Frame", source_key, "Counts that cells of a source have reached."),
                ("mark", "Mark", source_key, "The watermark of a source."),
                ("gap", "Gap", source_key, "Event times that a source does not cover."),
                ("settings", "SettingsChange", {"type": "null"}, "Other detection settings from here on."),
            )
        },
        "baselines": {
            "snapshot": _message(
                "Detector state and open incidents of up to 200 regions of a service as of one bin.",
                snapshot_key,
                {**bytes_, "description": f"MessagePack, compressed with zlib; {BASELINES} says what is in it."},
                contentType=_BINARY,
            )
        },
        "incidents": {
            "incident": _message("A transition of an incident.", fact_key, _file(INCIDENTS), headers=EVENT_HEADERS)
        },
        "outages": {"outage": _message("A change of an outage.", fact_key, _file(OUTAGES), headers=EVENT_HEADERS)},
        "levels": {"levels": _message("A service in one bin.", service_key, _file(LEVELS))},
        "levels-15m": {"quarter": _message("A service in a quarter of an hour.", quarter_key, _file(LEVELS_15M))},
        "series": {"piece": _message("A region around an outage, bin by bin.", series_key, _file(SERIES))},
        "alerts": {"alert": _message("What a pager should hear.", service_key, _file(ALERTS), headers=EVENT_HEADERS)},
    }


def _message(summary: str, key: Tree, payload: Tree, headers: str | None = None, **more: Any) -> Tree:
    message: Tree = {"summary": summary, "payload": payload, **more}
    if headers is not None:
        message["headers"] = _file(headers)
    return {**message, "bindings": {"kafka": {"key": key, **_BINDING}}}


def _operations(topics: Topics) -> Iterator[tuple[str, Tree]]:
    """Yield what each stage does: which messages of which channel it reads or writes, and why."""
    for stage, action, channel, messages, summary in (
        ("count", "receive", "reports", ["report", "tick"], "Count reports."),
        ("count", "send", "reports", ["tick"], "Keep the time of a quiet partition going."),
        ("count", "send", "reports-dlq", ["deadLetter"], "Put aside what is no report."),
        ("count", "send", "counts", ["frame", "mark", "gap"], "State what has been counted."),
        ("detect", "receive", "counts", ["frame", "mark", "gap", "settings"], "Judge the bins that are complete."),
        ("detect", "send", "counts", ["settings"], "Have other settings apply, if told to."),
        ("detect", "send", "baselines", ["snapshot"], "Keep state for a restart."),
        ("detect", "receive", "baselines", ["snapshot"], "Restore state at a start."),
        ("detect", "send", "incidents", ["incident"], "State the transitions of incidents."),
        ("detect", "receive", "incidents", ["incident"], "Find, at a start, incidents that lost state has forgotten."),
        ("detect", "send", "outages", ["outage"], "State the changes of outages."),
        ("detect", "receive", "outages", ["outage"], "Find, at a start, outages that lost state has forgotten."),
        ("detect", "send", "levels", ["levels"], "Show every bin of every service."),
        ("detect", "send", "levels-15m", ["quarter"], "Show every quarter of an hour, for longer."),
        ("detect", "send", "series", ["piece"], "Show what was counted around outages, for good."),
        ("notify", "receive", "incidents", ["incident"], "Hear of transitions."),
        ("notify", "send", "alerts", ["alert"], "Tell people."),
        ("web", "receive", "incidents", ["incident"], "Show incidents."),
        ("web", "receive", "outages", ["outage"], "Show outages."),
        ("web", "receive", "levels", ["levels"], "Show the last day."),
        ("web", "receive", "levels-15m", ["quarter"], "Show the last week."),
        ("web", "receive", "series", ["piece"], "Show what was counted around outages."),
    ):
        operation: Tree = {
            "action": action,
            "summary": summary,
            "channel": {"$ref": f"#/channels/{channel}"},
            "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"} for message in messages],
        }
        if action == "receive" and _INPUT.get(stage) == channel:
            group = {"type": "string", "const": f"{topics.prefix}-{stage}"}
            operation["bindings"] = {"kafka": {"groupId": group, **_BINDING}}
        yield f"{stage}-{action}-{channel}", operation


def _file(name: str) -> Tree:
    return {"$ref": f"./{name}"}


def text(tree: Tree) -> str:
    """Return a document as YAML, each string in the double quotes of JSON."""
    return "# Made by docs/generate.py from the types in streams/.\n" + "".join(f"{line}\n" for line in _lines(tree))


def _lines(node: Any) -> Iterator[str]:
    """Yield the lines of a node that is not empty."""
    if isinstance(node, dict):
        for key, value in node.items():
            name = key if re.fullmatch(r"[$A-Za-z_][A-Za-z0-9_.-]*", key) else json.dumps(key)
            if value and isinstance(value, dict | list):
                yield f"{name}:"
                yield from (f"  {line}" for line in _lines(value))
            else:
                yield f"{name}: {_scalar(value)}"
    elif isinstance(node, list):
        for value in node:
            first, *rest = _lines(value)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield _scalar(node)


def _scalar(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

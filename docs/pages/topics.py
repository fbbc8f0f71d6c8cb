"""The reference of topics: how they are laid out, and what the AsyncAPI document says of who writes and reads what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from docs.pages import markdown
from streams import asyncapi
from streams.events import DAY_MS
from streams.settings import Settings
from streams.topicfindings import Topic
from streams.topics import layout

_INTRODUCTION = """\
# Topics

`tocsin topics create` makes them and `tocsin topics check` compares them with this, for the prefix, the partitions and
the clock of [the settings](settings.md#kafkaprefix); shown are the defaults. Behind `tocsin.counts` each record goes to
the partition murmur2(service) mod n, whatever its key.

The same for programs is in [`asyncapi.yaml`](../../schemas/asyncapi.yaml). How the versions of records change is in
[compatibility](../explanation/compatibility.md).
"""

_PAYLOAD = re.compile(r"\./(?P<file>[^#]+)(#/\$defs/(?P<type>.+))?")


def page() -> str:
    """Return the page."""
    document = asyncapi.document()
    channels = {channel["address"]: (name, channel) for name, channel in document["channels"].items()}
    parts = [markdown.GENERATED, _INTRODUCTION]
    for topic in layout(Settings()):
        name, channel = channels[topic.name]
        messages = channel["messages"]
        parts.append(f"## `{topic.name}`\n")
        parts.append(markdown.table(("record", "key", "value", "what it says"), map(_row, messages.items())))
        parts.append(markdown.bullets(_facts(topic, list(_operations(document, name)))))
    return "\n".join(parts)


def _row(named: tuple[str, dict[str, Any]]) -> tuple[str, ...]:
    name, message = named
    key = message["bindings"]["kafka"]["key"]
    described = f"`{key['const']}`" if "const" in key else markdown.text(key.get("description", "none").rstrip("."))
    return _words(name), described, _value(message), markdown.text(message["summary"])


def _value(message: dict[str, Any]) -> str:
    payload = message["payload"]
    if reference := _PAYLOAD.fullmatch(payload.get("$ref", "")):
        link = f"[{reference['file']}](../../schemas/{reference['file']})"
        return f"JSON: {link}, {reference['type']}" if reference["type"] else f"JSON: {link}"
    if payload.get("type") == "null":
        return "none"
    linked = re.sub(
        r"(?<![\w.])\w+\.json", lambda name: f"[{name[0]}](../../schemas/{name[0]})", payload["description"]
    )
    return linked.rstrip(".")


def _facts(topic: Topic, operations: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    yield "partitions", f"{topic.partitions}, [`kafka.{topic.partitions_key}`](settings.md#kafka{topic.partitions_key})"
    yield "cleanup", f"`{topic.config['cleanup.policy']}`"
    kept_ms = int(topic.config.get("retention.ms", -1))
    yield "kept", "until the key is deleted" if kept_ms < 0 else f"for {kept_ms // DAY_MS} days"
    rest = {name: value for name, value in topic.config.items() if name not in ("cleanup.policy", "retention.ms")}
    if rest:
        yield "further configuration", ", ".join(f"`{name}={value}`" for name, value in rest.items())
    yield from operations


def _operations(document: dict[str, Any], channel: str) -> Iterator[tuple[str, str]]:
    for name, operation in document["operations"].items():
        if operation["channel"]["$ref"] != f"#/channels/{channel}":
            continue
        stage = name.partition("-")[0]
        kinds = [_words(each["$ref"].rpartition("/")[2]) for each in operation["messages"]]
        group = operation.get("bindings", {}).get("kafka", {}).get("groupId", {}).get("const")
        does = "writes" if operation["action"] == "send" else "reads"
        what = ", ".join(kinds) + (f" as the consumer group `{group}`" if group else "")
        yield f"{stage} {does} {what}", markdown.text(operation["summary"])


def _words(name: str) -> str:
    """Return a name such as `deadLetter` in words."""
    return re.sub(r"(?=[A-Z])", " ", name).lower()

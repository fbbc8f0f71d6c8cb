"""The schemas of all records, made from their types: JSON Schema (2020-12) for each topic, AsyncAPI for the whole.

`docs/generate.py` writes them to `schemas/`.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

import msgspec

from streams import asyncapi
from streams.decode import MAX_DEPTH, MAX_RECORD_BYTES, Reason
from streams.events import Alert, Cell, CountsRecord, Incident, Levels, Outage, QuarterLevels, Report, Series
from streams.fields import SERVICE_PATTERN
from streams.snapshots import Snapshot

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_REPORT_EXAMPLES = [
    {"service": "x", "region": "US", "kind": "app", "reporter": "c0ffee", "time": "2025-05-24T12:51:07.120Z"},
    {"service": "mail", "region": "berlin"},
]
_REPORT_LIMITS = (
    f"A record of JSON in UTF-8, at most {MAX_RECORD_BYTES} bytes and {MAX_DEPTH} levels deep. Unknown fields are "
    "ignored; of a field that is there twice the last one counts. What is no such report goes to the dead letters, and "
    "so does an event time more than one bin after the append time, or more than 7 days before it."
)
_DIGITS = "^[0-9]+$"

Schema = dict[str, Any]


def documents() -> dict[str, str]:
    """Return every file of `schemas/`: its content by its name."""
    schemas = {
        asyncapi.REPORTS: _reports(),
        asyncapi.DEAD_LETTER_HEADERS: _dead_letter_headers(),
        asyncapi.COUNTS: _counts(),
        asyncapi.BASELINES: _written(Snapshot),
        asyncapi.INCIDENTS: _written(Incident),
        asyncapi.OUTAGES: _written(Outage),
        asyncapi.LEVELS: _written(Levels),
        asyncapi.LEVELS_15M: _written(QuarterLevels),
        asyncapi.SERIES: _written(Series),
        asyncapi.ALERTS: _written(Alert),
        asyncapi.EVENT_HEADERS: _event_headers(),
    }
    files = {
        name: json.dumps({"$schema": DIALECT, "$id": name, **schema}, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas.items()
    }
    return {**files, asyncapi.FILE: asyncapi.text(asyncapi.document())}


def _reports() -> Schema:
    """Return the schema of what producers may send."""
    _, components = msgspec.json.schema_components([Report])
    schema = readable(components["Report"])
    return {**schema, "description": f"{schema['description']}\n\n{_REPORT_LIMITS}", "examples": _REPORT_EXAMPLES}


def _counts() -> Schema:
    [union], components = msgspec.json.schema_components([CountsRecord], ref_template="#/$defs/{name}")
    names = [reference["$ref"].rpartition("/")[2] for reference in union["anyOf"]]
    definitions = {
        name: complete(readable(component)) if name in names else readable(component)
        for name, component in components.items()
    }
    for item, field in zip(definitions["Cell"]["prefixItems"], msgspec.structs.fields(Cell), strict=True):
        item["title"] = field.name
    return {
        "title": "Counts",
        "description": "A record of the counts topic; its field `type` says which.",
        "oneOf": union["anyOf"],
        "$defs": definitions,
    }


def _written(kind: type[msgspec.Struct]) -> Schema:
    """Return the schema of a record that Tocsin writes: it always has all of its fields."""
    _, components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    definitions = {name: complete(readable(component)) for name, component in components.items()}
    root = definitions.pop(kind.__name__)
    return {**root, "$defs": definitions} if definitions else root


def complete(schema: Schema) -> Schema:
    """Return the schema of an object of which all fields are always there."""
    if schema.get("type") == "object":
        for name, field in schema["properties"].items():
            default = field.pop("default", None)
            if name == "version" and default is not None:
                field["const"] = default
        schema["required"] = list(schema["properties"])
    return schema


def readable(schema: Schema) -> Schema:
    """Return a schema as people would write it: docstrings as paragraphs, short forms where there are some."""
    for field in schema.get("properties", {}).values():
        match field:
            case {"anyOf": [{"type": str(kind)} as only, {"type": "null"}]}:
                del field["anyOf"]
                field |= {**only, **field, "type": [kind, "null"]}
            case {"enum": [tag]}:
                del field["enum"]
                field["const"] = tag
    if "description" in schema:
        paragraphs = inspect.cleandoc(schema["description"]).split("\n\n")
        schema["description"] = "\n\n".join(re.sub(r"\s+", " ", paragraph) for paragraph in paragraphs)
    return schema


def _dead_letter_headers() -> Schema:
    connect = {
        "topic": {"type": "string", "description": "The reports topic."},
        "partition": {"type": "string", "pattern": _DIGITS, "description": "Where the record was found."},
        "offset": {"type": "string", "pattern": _DIGITS, "description": "Where the record was found."},
        "stage": {"const": "count"},
        "exception.class.name": {"enum": list(Reason), "description": "Why the record is no report."},
        "exception.message": {"type": "string", "description": "The same in words; never quotes the reporter."},
    }
    own = {
        "tocsin.original.timestamp": {
            "type": "string",
            "pattern": _DIGITS,
            "description": "The record's timestamp, in milliseconds since the Unix epoch.",
        },
    }
    optional = {
        "tocsin.original.key": {
            "type": "string",
            "description": "The record's key as it was, if it had one: mostly the reporter, so personal data.",
        },
        "tocsin.original.null": {"const": "1", "description": "The record had no value; the dead letter's is empty."},
    }
    required = {f"__connect.errors.{name}": schema for name, schema in connect.items()} | own
    return {
        "title": "DeadLetterHeaders",
        "description": (
            "Headers of a dead letter, as text in UTF-8, behind those that the record had. The names are those of "
            "Kafka Connect."
        ),
        "type": "object",
        "properties": required | optional,
        "required": list(required),
    }


def _event_headers() -> Schema:
    properties = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "description": "Id and sequence number; unique within the source."},
        "ce_source": {"type": "string", "format": "uri-reference", "description": "`/` and the topic."},
        "ce_type": {
            "type": "string",
            "pattern": r"^tocsin\.(incident|outage|alert)\.[a-z]+$",
            "description": "What has happened to what, such as `tocsin.incident.opened`.",
        },
        "ce_time": {
            "type": "string",
            "format": "date-time",
            "description": "End of the bin that decided: event time, not a wall clock's.",
        },
        "ce_subject": {
            "type": "string",
            "pattern": f"^{SERVICE_PATTERN}(/[A-Za-z0-9_-]{{1,32}})?$",
            "description": "The service, and the region where the event is about one.",
        },
        "content-type": {"const": "application/json"},
    }
    return {
        "title": "EventHeaders",
        "description": "Headers of incidents, outages and alerts: CloudEvents 1.0 in Kafka's binary mode, in UTF-8.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }

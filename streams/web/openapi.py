"""The OpenAPI document, made from the table of operations and the types of their answers."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from streams.events import Incident, Outage
from streams.schemas import complete, readable
from streams.settings import Settings
from streams.web import shapes
from streams.web.api import OPERATIONS, Operation
from streams.web.parameters import AFTER, ONLY, SERVICE, Parameter
from streams.web.problems import MEDIA_TYPE
from streams.web.stream import PATH as STREAM

FILE = "openapi.json"
PATH = f"/{FILE}"
#: The version of the API, not of Tocsin: it changes with what clients must understand.
VERSION = "1.0.0"

Tree = dict[str, Any]

_DESCRIPTION = """\
What Tocsin knows, for reading: services, levels, incidents, outages. Times are integer milliseconds since the Unix \
epoch, in UTC; now is the end of the newest judged bin, never the wall clock. Answers carry weak entity tags \
(`If-None-Match` gives 304) and the header `Tocsin-Revision`, after which a stream may begin (`after`)."""

_STREAM_DESCRIPTION = """\
Server-sent events. A batch of changes is a run of `services`, `levels` (with `service` only), `incident` and `outage` \
events that ends with a `revision` event, the only one with an id: a client that comes again with `Last-Event-ID` is \
sent what it has missed. `reset` says that this cannot be told, and everything is to be fetched anew. `status` says \
how current everything is: first of all, and when it changes. All of it is idempotent, and some may come twice."""
_EVENTS: dict[str, type[msgspec.Struct]] = {
    "status": shapes.Status,
    "services": shapes.StreamedServices,
    "levels": shapes.StreamedLevels,
    "incident": Incident,
    "outage": Outage,
    "revision": shapes.StreamedRevision,
    "reset": shapes.StreamedReset,
}


def document() -> Tree:
    """Return the document."""
    answers = [each.gives for each in OPERATIONS if not isinstance(each.gives, str)]
    kinds = [*dict.fromkeys([*answers, *_EVENTS.values(), shapes.Problem])]
    _, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    paths: Tree = {}
    for operation in OPERATIONS:
        paths[operation.path] = {"get": _operation(operation)}
    paths[STREAM] = {"get": _stream()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tocsin",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": f"http://{Settings().web.host}:{Settings().web.port}", "description": "The default."}],
        "paths": paths,
        "components": {
            "schemas": {name: _schema(name, schema) for name, schema in sorted(components.items())},
            "responses": {name: _problem(text) for name, text in _PROBLEMS.items()},
        },
    }


def text() -> str:
    """Return the document as its file holds it."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


_PROBLEMS = {
    "AskedWrongly": "A parameter is not what it should be; the detail names it.",
    "Unknown": "There is no such thing.",
    "NotNow": "It cannot be answered at the moment; the detail says why.",
}


def _schema(name: str, schema: Tree) -> Tree:
    made = readable(schema)
    # a problem leaves out what is usual, everything else has all of its fields
    return made if name == shapes.Problem.__name__ else complete(made)


def _problem(text: str) -> Tree:
    return {
        "description": text,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _operation(operation: Operation) -> Tree:
    if isinstance(operation.gives, str):
        content: Tree = {operation.gives: {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{operation.gives.__name__}"}}}
    headers: Tree = {
        "Tocsin-Revision": {
            "description": "The state of the read model that the answer is of, or a later one.",
            "schema": {"type": "string"},
        }
    }
    responses: Tree = {"200": {"description": operation.summary, "headers": headers, "content": content}}
    parameters = [_parameter(each) for each in operation.parameters]
    if operation.cached:
        headers["ETag"] = {"description": "Tag of the content.", "schema": {"type": "string"}}
        responses["304"] = {"description": "The content is known by its tag."}
        parameters.append(
            {
                "name": "If-None-Match",
                "in": "header",
                "description": "Tags of known content.",
                "schema": {"type": "string"},
            }
        )
    responses["400"] = {"$ref": "#/components/responses/AskedWrongly"}
    if operation.may_miss:
        responses["404"] = {"$ref": "#/components/responses/Unknown"}
    responses["503"] = {"$ref": "#/components/responses/NotNow"}
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        **({"parameters": parameters} if parameters else {}),
        "responses": responses,
    }


def _stream() -> Tree:
    events = "".join(f"\n- `{name}`: `{kind.__name__}`" for name, kind in _EVENTS.items())
    last_event = {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "Id of the last event that has arrived.",
        "schema": {"type": "string"},
    }
    return {
        "operationId": "stream",
        "summary": "What changes, as it changes",
        "description": f"{_STREAM_DESCRIPTION}\n{events}",
        "parameters": [*(_parameter(each) for each in (SERVICE, ONLY, AFTER)), last_event],
        "responses": {
            "200": {
                "description": "Events without end.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            "400": {"$ref": "#/components/responses/AskedWrongly"},
            "503": {"$ref": "#/components/responses/NotNow"},
        },
    }


def _parameter(parameter: Parameter) -> Tree:
    schema: Tree = parameter.schema
    if parameter.repeated:
        schema = {"type": "array", "items": schema}
    made: Tree = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.place == "path",
        "schema": schema,
    }
    if parameter.example is not None:
        made["example"] = parameter.example
    return made

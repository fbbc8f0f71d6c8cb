"""The reference of settings: what tocsin.example.toml says of each key, with what the models say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docs.pages import markdown
from streams.settings import Policy, Region, Settings
from streams.topics import layout

_KEY = re.compile(r"#?(?P<key>[a-z0-9_]+) = (?P<value>.+)")
_TABLE = re.compile(r"#?(?P<brackets>\[+)(?P<name>[^\]]+)\]+")

_INTRODUCTION = """\
# Settings

Read from, highest first: the command line (`--set count.flush_s=2`), the environment (`TOCSIN_COUNT__FLUSH_S=2`, and
`KAFKA_BOOTSTRAP_SERVERS`), the settings file (the one of `--settings`, else the one that `TOCSIN_SETTINGS` names, else
`tocsin.toml` in the working directory), the defaults. An unknown key is an error. `tocsin check-config` prints the
outcome; [`tocsin.example.toml`](../../tocsin.example.toml) is a file to begin with.

What a change takes is one of four things; [how to change settings](../how-to/change-settings.md) has the procedures.

- *restart*: it holds for a worker from its next start on.
- *`--apply-settings`*: it changes what is detected; the detect workers stop until one is told `--apply-settings`.
- *topics*: topics are named or configured otherwise; the present ones have to be altered or replaced as well.
- *drain*: it is fixed for the life of a counts topic; the pipeline is drained to a new `kafka.prefix`.
"""

_CHANGES = {
    "restart": "restart",
    "apply": "`--apply-settings`",
    "topics": "topics",
    "drain": "drain",
}


@dataclass(frozen=True)
class Key:
    """A key of the settings, such as `count.bin_s`, `policy[].service` or `regions.*.name`."""

    path: str
    #: Its JSON Schema.
    schema: dict[str, Any]
    change: str

    @property
    def variable(self) -> str | None:
        """The environment variable that sets it, if there is one for it alone."""
        if "[]" in self.path:
            return None
        return "TOCSIN_" + "__".join(part if part == "*" else part.upper() for part in self.path.split("."))


@dataclass(frozen=True)
class Explained:
    """What tocsin.example.toml says of a key or of a table."""

    text: str
    value: str | None


def page(example: str) -> str:
    """Return the page; `example` is the text of tocsin.example.toml."""
    explained = explanations(example)
    parts = [markdown.GENERATED, _INTRODUCTION]
    table = above = ""
    for key in every_key():
        own_table = key.path.rpartition(".")[0]
        if own_table != table:
            table = own_table
            parts.append(f"## `{_heading(table)}`\n")
            above = explained[table].text if table else ""
            if above:
                parts.append(markdown.paragraph(above))
        parts.append(f"### `{key.path}`\n")
        if explained[key.path].text != above:
            parts.append(markdown.paragraph(explained[key.path].text))
        parts.append(markdown.bullets(_facts(key, explained[key.path])))
    return "\n".join(parts)


def every_key() -> Iterator[Key]:
    """Yield every key of the settings in the order of the models."""
    schema = Settings.model_json_schema()
    changes = _changes()
    for path, own in _walk(schema, schema["$defs"], ""):
        yield Key(path, own, changes[path])


def explanations(example: str) -> dict[str, Explained]:
    """Return what the example says, by the path of the key or table: the comment above it.

    A key without a comment of its own shares that of the key before it, or of its table.
    """
    found: dict[str, Explained] = {}
    table = comment = ""
    shared = ""
    for line in example.splitlines():
        if line.startswith("# "):
            comment = f"{comment} {line[2:].strip()}".strip()
            continue
        if header := _TABLE.fullmatch(line):
            table = header["name"] + ("[]" if header["brackets"] == "[[" else "")
            table = re.sub(r"^regions\..*", "regions.*", table)
            shared = comment
            found[table] = Explained(comment, None)
        elif key := _KEY.fullmatch(line):
            shared = comment or shared
            found[f"{table}.{key['key']}".removeprefix(".")] = Explained(shared, key["value"])
        comment = ""
    return found


def _heading(table: str) -> str:
    if not table:
        return "the file"
    return f"[[{table.removesuffix('[]')}]]" if table.endswith("[]") else f"[{table.replace('*', 'CODE')}]"


def _facts(key: Key, explained: Explained) -> Iterator[tuple[str, str]]:
    yield "value", _type(key.schema)
    default = key.schema.get("default")
    if default is not None:
        yield "default", f"`{json.dumps(default)}`"
    elif explained.value is not None:
        yield "default", f"none; for example `{explained.value}`"
    if key.variable is not None:
        yield "environment", f"`{key.variable.replace('*', 'CODE')}`"
    yield "a change takes", _CHANGES[key.change]


def _type(schema: dict[str, Any]) -> str:
    """Return in words what a JSON Schema admits."""
    schema = _present(schema)
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    kind = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`"}.get(schema["type"], "text")
    bounds = [
        ("minimum", "at least {}"),
        ("exclusiveMinimum", "above {}"),
        ("maximum", "at most {}"),
        ("pattern", "of the pattern `{}`"),
        ("maxLength", "of at most {} characters"),
    ]
    said = [words.format(schema[name]) for name, words in bounds if name in schema]
    return ", ".join([kind, *said])


def _present(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a key that is set, where it may also be absent."""
    return next((each for each in schema.get("anyOf", []) if each.get("type") != "null"), schema)


def _walk(schema: dict[str, Any], definitions: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path and the schema of every key below a table; the keys of a table before its inner tables."""
    inner: list[tuple[str, dict[str, Any]]] = []
    for name, own in schema["properties"].items():
        tables = {"": own, "[]": own.get("items", {}), ".*": next(iter(own.get("patternProperties", {}).values()), {})}
        for suffix, candidate in tables.items():
            if "$ref" in candidate:
                inner.append((f"{path}{name}{suffix}.", definitions[candidate["$ref"].rpartition("/")[2]]))
                break
        else:
            yield path + name, own
    for below, definition in inner:
        yield from _walk(definition, definitions, below)


def _changes() -> dict[str, str]:
    """Return what a change of each key takes, found by changing it."""
    settings = Settings(policy=[Policy()], regions={"XX": Region()})
    schema = settings.model_json_schema()
    return {path: _change(settings, path, own) for path, own in _walk(schema, schema["$defs"], "")}


def _change(settings: Settings, path: str, schema: dict[str, Any]) -> str:
    parts = re.sub(r"\.\*", ".XX", path.replace("[]", ".0")).split(".")
    changed = _replaced(settings, parts, _other(schema))
    if changed.counting != settings.counting:
        return "drain"
    if changed.detecting != settings.detecting:
        return "apply"
    if layout(changed) != layout(settings) or changed.kafka.replication_factor != settings.kafka.replication_factor:
        return "topics"
    return "restart"


def _replaced(value: Any, parts: list[str], new: Any) -> Any:
    """Return a copy of tables in tables, with one key changed."""
    if not parts:
        return new
    first, rest = parts[0], parts[1:]
    if isinstance(value, list):
        return [_replaced(each, rest, new) if str(at) == first else each for at, each in enumerate(value)]
    if isinstance(value, dict):
        return {**value, first: _replaced(value[first], rest, new)}
    return value.model_copy(update={first: _replaced(getattr(value, first), rest, new)})


def _other(schema: dict[str, Any]) -> Any:
    """Return a value of the right type that is not the default."""
    schema = _present(schema) | {"default": schema.get("default")}
    if "enum" in schema:
        return next(value for value in schema["enum"] if value != schema["default"])
    match schema["type"]:
        case "boolean":
            return not schema["default"]
        case "integer" | "number":
            return (schema["default"] or 0) + 1
    return "another"
